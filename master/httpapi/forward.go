package httpapi

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/saki-run/saki/api"
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
		s.forward(w, r, l.Addr)
	case rt.where == anywhere:
		w.Header().Set(headerStale, "1")
		if err := rt.serve(w, r); err != nil && !w.begun {
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

func (s *Server) forward(w http.ResponseWriter, r *http.Request, addr string) {
	p := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: addr})
			p.Out.Header.Set(headerForwarded, "1")
			p.Out.Header.Del("Origin") // checked here
		},
		Transport:     s.client.Transport,
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			code := api.CodeNoLeader
			if r.Method != http.MethodGet {
				code = api.CodeUnknownOutcome
			}
			writeError(w, api.Errorf(code, "the leader at %s did not answer: %v", addr, err).WithHint("try again with the same idempotency key"))
		},
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	p.ServeHTTP(w, r)
}
