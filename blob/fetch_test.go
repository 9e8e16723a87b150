package blob_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saki-run/saki/blob"
)

const content = "the content of a blob"

var digest = blob.Sum([]byte(content))

// peer is a server that answers each request by h.
func peer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

func fetcher(t *testing.T, dir string) (*blob.Fetcher, *blob.Store) {
	t.Helper()
	s := open(t, dir)
	f, err := blob.NewFetcher(blob.FetcherConfig{Store: s, Limit: 100, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return f, s
}

func good(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/blobs/"+digest {
		http.NotFound(w, r)
		return
	}
	io.WriteString(w, content)
}

func TestFetchGoesOnToTheNextPeer(t *testing.T) {
	bad := map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"has not got it":    {http.NotFound, blob.ErrNotFound},
		"is broken":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, nil},
		"sends another one": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "other") }, blob.ErrDigestMismatch},
		"sends too much":    {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 101)) }, blob.ErrTooLarge},
		"streams too much":  {endless, blob.ErrTooLarge},
		"is cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "50")
			io.WriteString(w, "x")
		}, io.ErrUnexpectedEOF},
		"hangs":              {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, context.DeadlineExceeded},
		"sends us elsewhere": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, nil},
	}
	for name, tc := range bad {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f, s := fetcher(t, dir)
			first := peer(t, tc.answer)
			err := f.Fetch(t.Context(), digest, []string{first})
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) || s.Has(digest) {
				t.Errorf("alone: got %v, want %v", err, tc.want)
			}
			noLeftovers(t, dir)
			if err := f.Fetch(t.Context(), digest, []string{first, peer(t, good)}); err != nil {
				t.Errorf("with a good one behind it: %v", err)
			}
			if b, err := s.Read(digest); string(b) != content {
				t.Errorf("read: %q, %v", b, err)
			}
		})
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	for range 100 {
		io.WriteString(w, strings.Repeat("x", 1000))
		w.(http.Flusher).Flush()
	}
}

func TestFetchOfWhatNobodyHas(t *testing.T) {
	f, _ := fetcher(t, t.TempDir())
	if err := f.Fetch(t.Context(), digest, nil); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("no peers: got %v, want ErrNotFound", err)
	}
	// A peer that does not answer may have it.
	err := f.Fetch(t.Context(), digest, []string{peer(t, http.NotFound), "http://127.0.0.1:1"})
	if err == nil || errors.Is(err, blob.ErrNotFound) {
		t.Errorf("one peer down: got %v, want an error that is not ErrNotFound", err)
	}
	if err := f.Fetch(t.Context(), "../x", nil); !errors.Is(err, blob.ErrBadDigest) {
		t.Errorf("bad digest: got %v", err)
	}
	if _, err := blob.NewFetcher(blob.FetcherConfig{}); err == nil {
		t.Error("a fetcher without a store")
	}
}

func TestCallsForOneBlobShareADownload(t *testing.T) {
	f, s := fetcher(t, t.TempDir())
	var asked atomic.Int32
	release := make(chan struct{})
	url := peer(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
		good(w, r)
	})
	// The caller that began the download leaves; the others still get it.
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- f.Fetch(ctx, digest, []string{url}) }()
	for asked.Load() == 0 {
		select {
		case err := <-left:
			t.Fatalf("the first caller ended early: %v", err)
		default:
		}
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that left: got %v", err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := f.Fetch(t.Context(), digest, []string{url}); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	wg.Wait()
	if got := asked.Load(); got != 1 || !s.Has(digest) {
		t.Errorf("the peer was asked %d times, want once", got)
	}
}
