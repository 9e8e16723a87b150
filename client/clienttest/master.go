// Package clienttest has a fake master for tests: it speaks the HTTP API and leaves the answers to functions.
package clienttest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saki-run/saki/api"
)

// Master is a fake master. A function that is nil answers with the code internal. The functions may be called concurrently;
// an error they return is sent as it is when it is an [*api.Error].
type Master struct {
	Submit  func(specs []api.Spec, key string, wait time.Duration) ([]api.Task, error)
	Tasks   func(q url.Values) ([]api.Task, error)
	Task    func(id string, wait time.Duration) (*api.Task, error)
	Kill    func(id string, force bool) (*api.Task, error)
	Explain func(id string) (*api.Explanation, error)
	Logs    func(id string, q url.Values, w io.Writer) error // w flushes each write

	PushModule   func(wasm []byte, tag string) (*api.Module, error)
	Modules      func() ([]api.Module, error)
	Module       func(ref string) (*api.Module, error) // also answers HEAD
	RemoveModule func(ref string) error
	ForgetMemo   func() (*api.MemoForgotten, error)
	PushBlob     func(b []byte) (*api.BlobInfo, error)
	HasBlob      func(d string) bool
	Blob         func(d string) ([]byte, error)

	Nodes   func() ([]api.Node, error)
	Node    func(name, verb string) (*api.Node, error) // verb is "", drain or undrain
	Cluster func() (*api.ClusterStatus, error)
	Events  func(q url.Values, send func(api.Event)) error
	Version func() (*api.Version, error)

	mu       sync.Mutex
	requests []string
}

// Start serves the master on a loopback port until the test ends and gives its URL.
func (m *Master) Start(t testing.TB) string {
	s := httptest.NewServer(m)
	t.Cleanup(func() {
		s.CloseClientConnections() // followers would keep it open
		s.Close()
	})
	return s.URL
}

// Requests gives the requests so far, such as "GET /v1/tasks?limit=3".
func (m *Master) Requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.requests...)
}

// ServeHTTP implements [http.Handler].
func (m *Master) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.requests = append(m.requests, r.Method+" "+r.URL.RequestURI())
	m.mu.Unlock()
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // the sentinel itself
				panic(p)
			}
			write(w, nil, api.Errorf(api.CodeInternal, "%s %s: %v", r.Method, r.URL.Path, p))
		}
	}()
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	for len(parts) < 3 {
		parts = append(parts, "")
	}
	switch parts[0] {
	case "tasks":
		m.tasks(w, r, parts[1], parts[2])
	case "modules":
		m.modules(w, r, parts[1])
	case "memo":
		v, err := m.ForgetMemo()
		write(w, v, err)
	case "blobs":
		if r.Method == http.MethodGet {
			b, err := m.Blob(parts[1])
			if err != nil {
				write(w, nil, err)
				return
			}
			_, _ = w.Write(b)
			return
		}
		if r.Method == http.MethodHead {
			if !m.HasBlob(parts[1]) {
				w.WriteHeader(http.StatusNotFound)
			}
			return
		}
		body, _ := io.ReadAll(r.Body)
		v, err := m.PushBlob(body)
		write(w, v, err)
	case "nodes":
		if parts[1] == "" {
			v, err := m.Nodes()
			write(w, v, err)
			return
		}
		v, err := m.Node(parts[1], parts[2])
		write(w, v, err)
	case "cluster":
		v, err := m.Cluster()
		write(w, v, err)
	case "version":
		v, err := m.Version()
		write(w, v, err)
	case "events":
		flush(w)
		err := m.Events(r.URL.Query(), func(e api.Event) {
			_ = json.NewEncoder(w).Encode(e)
			flush(w)
		})
		if err == nil && r.URL.Query().Get("follow") != "" {
			<-r.Context().Done()
		}
	default:
		write(w, nil, api.Errorf(api.CodeNotFound, "no such path %s", r.URL.Path))
	}
}

func (m *Master) tasks(w http.ResponseWriter, r *http.Request, id, verb string) {
	q := r.URL.Query()
	wait, _ := time.ParseDuration(q.Get("wait"))
	switch {
	case id == "" && r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		specs := []api.Spec{{}}
		var err error
		if body[0] == '[' {
			err = api.DecodeStrict(body, &specs)
		} else {
			err = api.DecodeStrict(body, &specs[0])
		}
		var v []api.Task
		if err == nil {
			v, err = m.Submit(specs, r.Header.Get("Idempotency-Key"), wait)
		}
		write(w, v, err)
	case id == "":
		v, err := m.Tasks(q)
		write(w, v, err)
	case verb == "kill":
		v, err := m.Kill(id, q.Get("force") == "1")
		write(w, v, err)
	case verb == "explain":
		v, err := m.Explain(id)
		write(w, v, err)
	case verb == "logs":
		if err := m.Logs(id, q, flusher{w}); err != nil {
			if e, ok := err.(*api.Error); ok { //nolint:errorlint // given bare by tests
				write(w, nil, e)
				return
			}
			panic(http.ErrAbortHandler) // breaks the connection
		}
	default:
		v, err := m.Task(id, wait)
		write(w, v, err)
	}
}

func (m *Master) modules(w http.ResponseWriter, r *http.Request, ref string) {
	switch {
	case r.Method == http.MethodPut:
		body, _ := io.ReadAll(r.Body)
		v, err := m.PushModule(body, r.URL.Query().Get("tag"))
		write(w, v, err)
	case r.Method == http.MethodDelete:
		write(w, struct{}{}, m.RemoveModule(ref))
	case ref == "":
		v, err := m.Modules()
		write(w, v, err)
	default:
		v, err := m.Module(ref)
		if err != nil {
			write(w, nil, err)
			return
		}
		write(w, map[string]any{"module": v, "info": map[string]any{"entry": v.Entry}}, nil)
	}
}

func write(w http.ResponseWriter, v any, err error) {
	if err != nil {
		e := api.AsError(err)
		w.WriteHeader(e.Code.Status())
		_ = json.NewEncoder(w).Encode(api.ErrorBody{Error: e})
		return
	}
	_ = json.NewEncoder(w).Encode(v)
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

type flusher struct{ w http.ResponseWriter }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	flush(f.w)
	if err != nil {
		return n, fmt.Errorf("write the log: %w", err)
	}
	return n, nil
}
