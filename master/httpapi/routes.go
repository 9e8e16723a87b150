package httpapi

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire/link"
)

// where says which master may answer a route.
type where int

const (
	atLeader where = iota // only the leader; others pass it on
	anywhere              // the leader, or any master while there is none, from what it knows
	here                  // every master for itself
	direct                // the leader, and the client must come to it
)

// route is one method and path. What it says of itself becomes the OpenAPI document.
type route struct {
	method, path string
	where        where
	serve        func(http.ResponseWriter, *http.Request) error
	summary      string
	query        []param
	body         any // nil: none; a zero value of its type; rawBody for bytes
	answer       any // likewise
	internal     bool
}

type param struct{ name, about string }

// rawBody marks a body or answer that is bytes.
type rawBody struct{}

func (s *Server) table() []route {
	wait := param{"wait", "answer once the tasks have ended, or after this time, such as 30s"}
	return []route{
		{method: "POST", path: "/v1/tasks", serve: s.submit, summary: "Submit one task, an array of copies, or a list of tasks", query: []param{wait}, body: api.Spec{}, answer: []*api.Task{}},
		{method: "GET", path: "/v1/tasks", where: anywhere, serve: s.listTasks, summary: "List tasks, newest first", query: []param{{"state", "only tasks in this state; may be given more than once"}, {"namespace", "only tasks of this namespace"}, {"label", "only tasks with this label, k=v"}, {"name", "only tasks of this name"}, {"limit", "at most so many; default 1000"}}, answer: []*api.Task{}},
		{method: "GET", path: "/v1/tasks/{id}", where: anywhere, serve: s.getTask, summary: "Show a task by id, unique prefix, or last", query: []param{wait}, answer: api.Task{}},
		{method: "POST", path: "/v1/tasks/{id}/kill", serve: s.killTask, summary: "Ask for a task's end", query: []param{{"force", "1: without a grace period"}}, answer: api.Task{}},
		{method: "GET", path: "/v1/tasks/{id}/explain", where: anywhere, serve: s.explainTask, summary: "Say where a task stands and what each node lacks for it", answer: api.Explanation{}},
		{method: "GET", path: "/v1/tasks/{id}/logs", where: anywhere, serve: s.taskLogs, summary: "Read a task's output", query: []param{{"stream", "stdout (default) or stderr"}, {"follow", "1: go on until the task ends"}, {"offset", "skip so many bytes"}, {"tail", "only the last so many lines"}, {"attempt", "of an earlier attempt"}}, answer: rawBody{}},
		{method: "PUT", path: "/v1/modules", serve: s.pushModule, summary: "Upload a wasm module", query: []param{{"tag", "name:tag to point at it"}}, body: rawBody{}, answer: api.Module{}},
		{method: "GET", path: "/v1/modules", where: anywhere, serve: s.listModules, summary: "List modules", answer: []*api.Module{}},
		{method: "GET", path: "/v1/modules/{ref}", where: anywhere, serve: s.inspectModule, summary: "Show a module by digest or name[:tag], with its imports and exports", answer: ModuleDetail{}},
		{method: "DELETE", path: "/v1/modules/{ref}", serve: s.removeModule, summary: "Remove a tag, or a module with all its tags", answer: api.Module{}},
		{method: "DELETE", path: "/v1/memo", serve: s.forgetMemo, summary: "Forget the results that are remembered of memo tasks", answer: api.MemoForgotten{}},
		{method: "PUT", path: "/v1/blobs", serve: s.pushBlob, summary: "Upload a file or a long input of a task", body: rawBody{}, answer: api.BlobInfo{}},
		{method: "GET", path: "/v1/blobs/{digest}", where: here, serve: s.getBlob, summary: "Read content by digest", answer: rawBody{}},
		{method: "GET", path: "/v1/nodes", where: anywhere, serve: s.listNodes, summary: "List nodes", answer: []*api.Node{}},
		{method: "GET", path: "/v1/nodes/{node}", where: anywhere, serve: s.getNode, summary: "Show a node by name or id", answer: api.Node{}},
		{method: "POST", path: "/v1/nodes/{node}/drain", serve: s.drain(true), summary: "Keep new tasks off a node", answer: api.Node{}},
		{method: "POST", path: "/v1/nodes/{node}/undrain", serve: s.drain(false), summary: "Let a node have tasks again", answer: api.Node{}},
		{method: "GET", path: "/v1/cluster", where: anywhere, serve: s.cluster, summary: "Show the cluster", answer: api.ClusterStatus{}},
		{method: "GET", path: "/v1/events", where: anywhere, serve: s.events, summary: "Read events as NDJSON, or as server-sent events when the client accepts text/event-stream", query: []param{{"follow", "1: go on"}, {"since", "only events after this log index"}}, answer: api.Event{}},
		{method: "GET", path: "/v1/version", where: here, serve: s.version, summary: "Show the version", answer: api.Version{}},
		{method: "GET", path: "/v1/openapi.json", where: here, serve: s.openAPI, summary: "This document", answer: map[string]any{}},
		{method: "GET", path: "/healthz", where: here, serve: s.healthz, summary: "200 while the process works", answer: rawBody{}},
		{method: "GET", path: "/readyz", where: here, serve: s.readyz, summary: "200 while requests can be answered", answer: rawBody{}},
		{method: "GET", path: "/metrics", where: here, serve: s.metricsPage, summary: "Metrics for Prometheus", answer: rawBody{}},
		{method: "POST", path: link.Path, where: direct, serve: s.agentStream, internal: true},
		{method: "PUT", path: "/v1/internal/blobs/{digest}", where: here, serve: s.keepBlob, internal: true},
	}
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, s.cfg.Version)
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	_, err := w.Write([]byte("ok\n"))
	return err
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	if l := s.cfg.Leader(); l.Name == "" || l.Self && !s.cfg.Engine.Leading() {
		return noLeader(l)
	}
	_, err := w.Write([]byte("ok\n"))
	return err
}

func (s *Server) metricsPage(w http.ResponseWriter, r *http.Request) error {
	s.metrics.observe(s.cfg.View(), s.cfg.Engine.Leading())
	promhttp.HandlerFor(s.cfg.Registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	return nil
}

// agentStream hands the connection of an agent over to the session manager.
func (s *Server) agentStream(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Upgrade") != link.Protocol {
		return api.Errorf(api.CodeInvalidArgument, "this path is for agents that speak %s", link.Protocol)
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	if rec, ok := w.(*recorder); ok {
		rec.begun, rec.code = true, http.StatusSwitchingProtocols
	}
	if _, err := conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + link.Protocol + "\r\n\r\n")); err != nil {
		return conn.Close()
	}
	if buf.Reader.Buffered() > 0 { // an agent speaks only once it has been answered
		return conn.Close()
	}
	if err := s.cfg.Sessions.Serve(r.Context(), conn); err != nil {
		s.cfg.Log.Debug("agent stream ended", "error", err)
	}
	return nil
}
