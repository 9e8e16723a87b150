package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/saki-run/saki/internal/netx"
)

// Fetcher brings blobs here from peers that serve GET {base}/v1/blobs/{digest}. Safe for concurrent use: calls for one
// digest share one download. Make it with [NewFetcher].
type Fetcher struct {
	cfg    FetcherConfig
	flight singleflight.Group
}

// FetcherConfig are the settings of a Fetcher. Store is required.
type FetcherConfig struct {
	Store   *Store
	Client  *http.Client  // default netx.HTTPClient
	Limit   int64         // size limit of a blob in bytes; default 64 MiB
	Timeout time.Duration // for one attempt with one peer; default 30 s
}

// NewFetcher checks the settings and fills in defaults.
func NewFetcher(cfg FetcherConfig) (*Fetcher, error) {
	if cfg.Store == nil {
		return nil, errors.New("blob: a Fetcher needs a Store")
	}
	if cfg.Client == nil {
		cfg.Client = netx.HTTPClient()
	}
	if cfg.Limit <= 0 {
		cfg.Limit = 64 << 20
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	return &Fetcher{cfg: cfg}, nil
}

// Fetch makes sure that the blob is in the store. It asks the peers, base URLs such as "http://10.0.0.1:5050", in order
// and goes on to the next when one fails, has not got it, or sends something else. ErrNotFound means that every peer
// answered that it has not got it; otherwise the errors of all are joined. A shared download goes on for the other callers
// when the ctx of one ends, and is bounded by the timeout per peer alone.
func (f *Fetcher) Fetch(ctx context.Context, digest string, peers []string) error {
	if err := Check(digest); err != nil {
		return err
	}
	if f.cfg.Store.Has(digest) {
		return nil
	}
	ch := f.flight.DoChan(digest, func() (any, error) {
		return nil, f.fetch(context.WithoutCancel(ctx), digest, peers)
	})
	select {
	case res := <-ch:
		return res.Err
	case <-ctx.Done():
		return fmt.Errorf("fetch blob %s: %w", digest, ctx.Err())
	}
}

func (f *Fetcher) fetch(ctx context.Context, digest string, peers []string) error {
	if f.cfg.Store.Has(digest) { // the download before this one brought it
		return nil
	}
	var errs []error
	absent := 0
	for _, peer := range peers {
		err := f.from(ctx, peer, digest)
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrNotFound) {
			absent++
			continue
		}
		errs = append(errs, fmt.Errorf("from %s: %w", peer, err))
	}
	if absent == len(peers) {
		return fmt.Errorf("fetch blob %s: %w with any of %d peers", digest, ErrNotFound, len(peers))
	}
	return fmt.Errorf("fetch blob %s: %w", digest, errors.Join(errs...))
}

func (f *Fetcher) from(ctx context.Context, peer, digest string) error {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(peer, "/")+"/v1/blobs/"+digest, nil)
	if err != nil {
		return err
	}
	resp, err := f.cfg.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return ErrNotFound
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("answered %s", resp.Status)
	case resp.ContentLength > f.cfg.Limit:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, resp.ContentLength, f.cfg.Limit)
	}
	_, _, err = f.cfg.Store.Put(&body{resp.Body, resp.ContentLength}, digest, f.cfg.Limit)
	return err
}

// body tells a download that was cut short from one that is whole but wrong.
type body struct {
	r    io.Reader
	left int64 // negative if the peer did not say
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left >= 0 {
		b.left = max(0, b.left-int64(n))
	}
	if errors.Is(err, io.EOF) && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
