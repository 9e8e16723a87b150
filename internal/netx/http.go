package netx

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// HTTPServer returns a server for h with the limits that hold on every route: 5 s for the request header, 64 KiB of
// header, 2 min for an idle connection. It sets no whole-request deadline, since some routes stream; those that do not
// bound themselves with [http.ResponseController]. Broken connections are logged to log at Debug (nil discards them).
func HTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Transport returns a new HTTP transport between members of a cluster. It ignores proxy settings of the environment and
// never unpacks compressed bodies, so a length limit on a body is a limit on what is read. Close its idle connections
// when done with it.
func Transport() *http.Transport {
	return &http.Transport{
		DialContext:         func(ctx context.Context, _, addr string) (net.Conn, error) { return Dial(ctx, addr) },
		DisableCompression:  true,
		MaxIdleConns:        256,
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     90 * time.Second,
		// A peer that never ends its header must not be able to fill our memory.
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// HTTPClient returns a client over its own [Transport]. It does not follow redirects: members answer for themselves, and
// a redirect could point anywhere. It has no overall timeout; callers bound each request by its context.
func HTTPClient() *http.Client {
	return &http.Client{
		Transport:     Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
