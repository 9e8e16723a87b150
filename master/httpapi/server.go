// Package httpapi is the native HTTP API of a master: JSON under /v1/, with /healthz, /readyz and /metrics beside it. Every
// master answers; one that does not lead passes requests on to the one that does.
package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/blob"
	"github.com/saki-run/saki/internal/netx"
	"github.com/saki-run/saki/master/core"
	"github.com/saki-run/saki/master/engine"
	"github.com/saki-run/saki/master/sched"
	"github.com/saki-run/saki/master/session"
)

// Leader is who leads, as far as this master knows.
type Leader struct {
	Name string
	Addr string // of its HTTP API, host:port
	Self bool
}

// Config is what a Server works with.
type Config struct {
	Engine   *engine.Engine
	View     func() core.View
	Hub      *engine.Hub
	Feed     *engine.Feed
	Sessions *session.Manager
	Policy   sched.Policy
	Blobs    *blob.Store
	Fetcher  *blob.Fetcher // from the other masters
	Registry *prometheus.Registry
	Version  api.Version
	Cluster  string
	NewID    func() api.TaskID
	Now      func() time.Time
	Log      *slog.Logger

	Leader  func() Leader                                    // Name is empty while there is none
	Masters func() (masters []api.MasterStatus, term uint64) // of the Raft group
	Peers   func() []string                                  // HTTP addresses of the other members that gossip sees
	Members func() int                                       // size of the Raft group
}

// Server answers requests. It is safe for concurrent use.
type Server struct {
	cfg     Config
	routes  []route
	infos   *infoCache
	uploads chan struct{} // a place for each upload under way
	client  *http.Client
	leader  http.RoundTripper // of what is passed on to the leader
	metrics *metrics
}

// New makes a Server.
func New(cfg Config) *Server {
	s := &Server{
		cfg: cfg, infos: newInfoCache(1024), uploads: make(chan struct{}, 4), client: netx.HTTPClient(), leader: leaderTransport(),
		metrics: newMetrics(cfg.Registry),
	}
	s.routes = s.table()
	return s
}

// Handler gives the whole surface of the port.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes {
		mux.Handle(r.method+" "+r.path, s.wrap(r))
	}
	mux.HandleFunc("/", s.notFound)
	return sameOrigin(mux)
}

// notFound answers what no route takes, telling a wrong method from a wrong path.
func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, rt := range s.routes {
		if matches(rt.path, r.URL.Path) {
			allowed = append(allowed, rt.method)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		writeError(w, api.Errorf(api.CodeMethodNotAllowed, "%s is not for %s", api.Quote(r.URL.Path), r.Method).
			WithHint("use %s", strings.Join(allowed, " or ")))
		return
	}
	writeError(w, api.Errorf(api.CodeNotFound, "there is nothing at %s", api.Quote(r.URL.Path)).
		WithHint("GET /v1/openapi.json describes the API"))
}

func matches(pattern, path string) bool {
	p, q := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(p) != len(q) {
		return false
	}
	for i := range p {
		if p[i] != q[i] && !strings.HasPrefix(p[i], "{") {
			return false
		}
	}
	return true
}

// sameOrigin turns away requests that a page of another site makes from a browser.
func sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o := r.Header.Get("Origin"); o != "" {
			if u, err := url.Parse(o); err != nil || u.Host != r.Host {
				writeError(w, api.Errorf(api.CodeNotAllowed, "requests from the site %s are not taken", api.Quote(o)))
				return
			}
		}
		if rebound(r) {
			writeError(w, api.Errorf(api.CodeNotAllowed, "%s is not a name of this machine's loopback address", api.Quote(r.Host)).
				WithHint("use the address itself, or localhost"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// rebound reports whether a request came in on a loopback address under a name of the public kind. A page can have its own
// name answered with 127.0.0.1, and for the browser this master is then of the page's origin.
func rebound(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !netx.IsLoopback(local.String()) {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	return strings.Contains(host, ".") && !strings.HasSuffix(host, ".localhost")
}

// wrap adds what all routes share: forwarding, counting and error bodies.
func (s *Server) wrap(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := s.cfg.Now()
		rec := &recorder{ResponseWriter: w, code: http.StatusOK}
		defer func() { s.metrics.served(rt, rec.code, s.cfg.Now().Sub(begin)) }()
		if rt.where != here && !s.cfg.Engine.Leading() {
			s.elsewhere(rec, r, rt)
			return
		}
		if err := rt.serve(rec, r); err != nil && !rec.begun {
			writeError(rec, err)
		}
	})
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	code  int
	begun bool
}

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(code int) {
	r.code, r.begun = code, true
	r.ResponseWriter.WriteHeader(code)
}

// Write implements [http.ResponseWriter].
func (r *recorder) Write(b []byte) (int, error) {
	r.begun = true
	return r.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// waitFor gives a context that ends after the request's wait, which is bounded; ok is false when the request asks for none.
func waitFor(r *http.Request) (ctx context.Context, cancel context.CancelFunc, ok bool, err error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return nil, nil, false, nil
	}
	d, err := api.ParseDuration(text)
	if err != nil {
		return nil, nil, false, api.Errorf(api.CodeInvalidArgument, "wait: %v", err)
	}
	ctx, cancel = context.WithTimeout(r.Context(), min(d.D(), maxWait))
	return ctx, cancel, true, nil
}

// maxWait bounds how long one request waits; a client asks again.
const maxWait = 5 * time.Minute
