package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/internal/netx"
)

const (
	// headerForwarded marks a request that a master has passed on, so that it is passed on once.
	headerForwarded = "Saki-Forwarded"
	// headerLeader names the leader's address to those who must speak with it directly.
	headerLeader = "Saki-Leader"
	// headerStale marks an answer from a master that knows no leader.
	headerStale = "Saki-Stale"
)

// elsewhere passes the request on to the leader or, where a view that may be old will do, answers while there is none.
func (s *Server) elsewhere(w *recorder, r *http.Request, rt route) {
	l := s.cfg.Leader()
	switch {
	case rt.where == direct:
		w.Header().Set(headerLeader, l.Addr)
		writeError(w, noLeader(l))
	case l.Addr != "" && !l.Self && r.Header.Get(headerForwarded) == "":
		s.forward(w, r, l)
	case rt.where == anywhere:
		w.Header().Set(headerStale, "1")
		if err := rt.serve(w, r); err != nil && !w.begun {
			if missing(err) {
				err = noLeader(l) // what is new here may be missing: this master may have just started
			}
			writeError(w, err)
		}
	default:
		writeError(w, noLeader(l))
	}
}

func noLeader(l Leader) error {
	if l.Name == "" {
		return api.Errorf(api.CodeNoLeader, "the masters have no leader now").
			WithHint("try again in a few seconds; if it stays so, start the other masters")
	}
	return api.Errorf(api.CodeNoLeader, "master %s leads", l.Name).WithHint("try again; it may just have been elected")
}

// missing reports whether an error says that something does not exist.
func missing(err error) bool {
	e, ok := errors.AsType[*api.Error](err)
	return ok && (e.Code == api.CodeNotFound || e.Code == api.CodeModuleNotFound)
}

const (
	// leaderDial is how long the leader may take to accept a connection. A machine that died does not refuse one, and the
	// masters agree on a new leader sooner than the usual limit ends.
	leaderDial = time.Second
	// leaderCheck is how often it is looked whether the master that a request was passed on to leads still.
	leaderCheck = 250 * time.Millisecond
)

// errDeposed says that the master that was asked is not the leader any more.
var errDeposed = errors.New("it does not lead any more")

// leaderTransport carries what is passed on.
func leaderTransport() *http.Transport {
	t := netx.Transport()
	t.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, leaderDial)
		defer cancel()
		return netx.Dial(ctx, addr)
	}
	return t
}

// whileLeading gives a context that ends once another master than l leads, or none does: a leader without a network does not
// say that it has none, and would be waited for until the client gives up.
func (s *Server) whileLeading(ctx context.Context, l Leader) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(leaderCheck)
		defer tick.Stop()
		for s.cfg.Leader().Name == l.Name {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		cancel(errDeposed)
	}()
	return ctx, cancel
}

func (s *Server) forward(w http.ResponseWriter, r *http.Request, l Leader) {
	ctx, cancel := s.whileLeading(r.Context(), l)
	defer cancel(nil)
	p := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: l.Addr})
			p.Out.Header.Set(headerForwarded, "1")
			p.Out.Header.Del("Origin") // checked here
		},
		Transport:     s.leader,
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			code := api.CodeNoLeader
			if r.Method != http.MethodGet {
				code = api.CodeUnknownOutcome
			}
			if cause := context.Cause(ctx); errors.Is(cause, errDeposed) {
				err = cause
			}
			writeError(w, api.Errorf(code, "the leader at %s did not answer: %v", l.Addr, err).WithHint("try again with the same idempotency key"))
		},
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	p.ServeHTTP(w, r.WithContext(ctx))
}
