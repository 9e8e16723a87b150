package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"syscall"

	"github.com/saki-run/saki/api"
)

// writeJSON answers with one JSON value.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client may be gone
	return nil
}

// writeError answers with the error's status and body.
func writeError(w http.ResponseWriter, err error) {
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = api.Errorf(api.CodeTooLarge, "the request's body is longer than %s", api.Bytes(tooLong.Limit))
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = api.Errorf(api.CodeNoSpace, "a disk of the masters is full: %v", err).WithHint("make room on the disk that holds the master's --data-dir")
	}
	e := api.AsError(err)
	if e.Code == api.CodeOverloaded {
		w.Header().Set("Retry-After", "1")
	}
	_ = writeJSON(w, e.Code.Status(), api.ErrorBody{Error: e}) // an Error always encodes
}

// readBody reads a body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit api.Bytes) ([]byte, error) {
	if r.ContentLength > int64(limit) {
		return nil, &http.MaxBytesError{Limit: int64(limit)}
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, api.Errorf(api.CodeInvalidArgument, "a body with content encoding %s is not taken", api.Quote(enc)).WithHint("send it uncompressed")
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	if _, ok := errors.AsType[*http.MaxBytesError](err); err != nil && !ok {
		return nil, api.Errorf(api.CodeInvalidArgument, "the request's body broke off: %v", err)
	}
	return b, err
}
