package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/blob"
	"github.com/saki-run/saki/master/core"
)

// keep stores content here and on so many other masters that a minority may be lost, and gives its digest and size.
func (s *Server) keep(r *http.Request, body io.Reader, want api.Digest, limit int64) (api.Digest, api.Bytes, error) {
	d, size, err := s.cfg.Blobs.Put(body, string(want), limit)
	if err != nil {
		return "", 0, blobError(err, limit)
	}
	if err := s.spread(r.Context(), api.Digest(d)); err != nil {
		return "", 0, err
	}
	return api.Digest(d), api.Bytes(size), nil
}

func blobError(err error, limit int64) error {
	switch {
	case errors.Is(err, blob.ErrTooLarge):
		return api.Errorf(api.CodeTooLarge, "the content is longer than %s", api.Bytes(limit))
	case errors.Is(err, blob.ErrDigestMismatch):
		return api.Errorf(api.CodeDigestMismatch, "%v", err)
	case errors.Is(err, blob.ErrNotFound):
		return api.Errorf(api.CodeNotFound, "%v", err)
	}
	return err
}

func (s *Server) peerURLs() []string {
	var out []string
	for _, p := range s.cfg.Peers() {
		out = append(out, "http://"+p)
	}
	return out
}

// spread puts the content on the other masters, and returns once a majority of all masters has it.
func (s *Server) spread(ctx context.Context, d api.Digest) error {
	peers := s.cfg.Peers()
	need := s.cfg.Members() / 2 // besides this one
	if need == 0 {
		return nil
	}
	results := make(chan error, len(peers))
	for _, p := range peers {
		go func() { results <- s.give(context.WithoutCancel(ctx), p, d) }()
	}
	var errs []error
	for range peers {
		select {
		case err := <-results:
			if err != nil {
				errs = append(errs, err)
			} else if need--; need == 0 {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return api.Errorf(api.CodeUnavailable, "%d of %d masters must keep the content and too few could: %v", s.cfg.Members()/2+1, s.cfg.Members(), errors.Join(errs...)).
		WithHint("try again when more masters are up")
}

// give puts the content on one other master.
func (s *Server) give(ctx context.Context, peer string, d api.Digest) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	f, size, err := s.cfg.Blobs.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+peer+"/v1/internal/blobs/"+string(d), f)
	if err != nil {
		return err
	}
	req.ContentLength = size
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("master %s: %w", peer, decodeError(resp))
	}
	return nil
}

// decodeError reads the error that another process answered.
func decodeError(resp *http.Response) error {
	var body api.ErrorBody
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&body) == nil && body.Error != nil {
		return body.Error
	}
	return api.Errorf(api.CodeInternal, "answer %s", resp.Status)
}

// keepBlob stores what another master gives.
func (s *Server) keepBlob(w http.ResponseWriter, r *http.Request) error {
	d, err := api.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return err
	}
	if _, _, err := s.cfg.Blobs.Put(r.Body, string(d), int64(api.MaxBlob)); err != nil {
		return blobError(err, int64(api.MaxBlob))
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) pushBlob(w http.ResponseWriter, r *http.Request) error {
	done, err := s.upload()
	if err != nil {
		return err
	}
	defer done()
	if r.ContentLength > int64(api.MaxBlob) {
		return &http.MaxBytesError{Limit: int64(api.MaxBlob)}
	}
	d, size, err := s.keep(r, r.Body, "", int64(api.MaxBlob))
	if err != nil {
		return err
	}
	info := api.BlobInfo{Digest: d, Size: size}
	if _, err := s.cfg.Engine.Do(r.Context(), &core.PutBlob{Blob: info}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, info)
}

// getBlob serves content that this master has. Who fetches asks one master after the other.
func (s *Server) getBlob(w http.ResponseWriter, r *http.Request) error {
	d, err := api.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return err
	}
	f, size, err := s.cfg.Blobs.Open(string(d))
	if err != nil {
		return blobError(err, 0)
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", fmt.Sprint(size))
	w.WriteHeader(http.StatusOK)
	_, err = io.Copy(w, f)
	return err
}
