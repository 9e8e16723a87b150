package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
	"github.com/saki-run/saki/master/sched"
)

// Bounds of a submission.
const (
	maxSubmitBody = 16 * api.MiB
	maxSpecs      = 1000
)

func (s *Server) submit(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, maxSubmitBody)
	if err != nil {
		return err
	}
	specs, err := decodeSpecs(body)
	if err != nil {
		return err
	}
	wait, cancel, waits, err := waitFor(r)
	if err != nil {
		return err
	}
	if waits {
		defer cancel()
	}
	key := r.Header.Get("Idempotency-Key")
	if len(key) > 256 {
		return api.Errorf(api.CodeInvalidArgument, "the idempotency key is longer than 256 bytes")
	}
	cmds := make([]core.Command, len(specs))
	for i := range specs {
		c, err := s.command(r.Context(), &specs[i])
		if err != nil {
			if len(specs) > 1 {
				err = fmt.Errorf("task %d: %w", i, err)
			}
			return err
		}
		if c.Key = key; key != "" && len(specs) > 1 {
			c.Key += "/" + strconv.Itoa(i)
		}
		cmds[i] = c
	}
	events, err := s.cfg.Engine.Do(r.Context(), cmds...)
	if err != nil {
		return err
	}
	tasks, status := make([]*api.Task, 0, len(events)), http.StatusOK
	for _, e := range events {
		switch e.Type {
		case core.Rejected:
			return e.Err
		case api.EventTaskSubmitted:
			status = http.StatusCreated
			tasks = append(tasks, e.Task)
		case core.Same:
			tasks = append(tasks, e.Task)
		}
	}
	for i, t := range tasks {
		if waits {
			tasks[i] = s.cfg.Hub.Wait(wait, t.ID, func() *api.Task { return s.latest(t) })
		} else {
			tasks[i] = s.latest(t)
		}
	}
	return writeJSON(w, status, tasks)
}

// latest gives the task as it is now, or as it was when it has been forgotten meanwhile.
func (s *Server) latest(t *api.Task) *api.Task {
	if now := s.cfg.View().Task(t.ID); now != nil {
		return now
	}
	return t
}

// decodeSpecs reads one spec or a list of them.
func decodeSpecs(body []byte) ([]api.Spec, error) {
	var specs []api.Spec
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
		if err := api.DecodeStrict(body, &specs); err != nil {
			return nil, err
		}
	} else {
		specs = make([]api.Spec, 1)
		if err := api.DecodeStrict(body, &specs[0]); err != nil {
			return nil, err
		}
	}
	if len(specs) == 0 || len(specs) > maxSpecs {
		return nil, api.Errorf(api.CodeInvalidSpec, "a list of %d tasks; send 1 to %d", len(specs), maxSpecs).
			WithHint("for many copies of one task use count")
	}
	return specs, nil
}

// command checks a spec against what the cluster has and makes the command that submits it.
func (s *Server) command(ctx context.Context, given *api.Spec) (*core.Submit, error) {
	spec := given.WithDefaults()
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if size := specSize(&spec); size > int(api.MaxSpec) {
		return nil, api.Errorf(api.CodeTooLarge, "the spec is %d bytes; at most %s are allowed", size, api.MaxSpec).
			WithHint("put long inputs into files or stdin_blob")
	}
	hash := sha256.New()
	if err := json.NewEncoder(hash).Encode(&spec); err != nil {
		return nil, err
	}
	if spec.Wasm != nil {
		w := *spec.Wasm
		if err := s.resolve(ctx, &w, spec.Resources.Mem); err != nil {
			return nil, err
		}
		spec.Wasm = &w
	}
	return &core.Submit{ID: s.cfg.NewID(), Spec: &spec, Hash: hex.EncodeToString(hash.Sum(nil))}, nil
}

// specSize is roughly the length of the spec's JSON.
func specSize(s *api.Spec) int {
	n := 1000 + len(s.Stdin)*4/3 + 150*len(s.Files)
	add := func(texts ...string) {
		for _, t := range texts {
			n += len(t) + 4
		}
	}
	for k, v := range s.Env {
		add(k, v)
	}
	for k, v := range s.Labels {
		add(k, v)
	}
	if s.Wasm != nil {
		add(s.Wasm.Args...)
	}
	if s.Shell != nil {
		add(s.Shell.Script)
		add(s.Shell.Argv...)
	}
	if s.Container != nil {
		add(s.Container.Command...)
	}
	return n
}

// defaultLimit is how many tasks a list has that asks for no number.
const defaultLimit = 1000

func (s *Server) listTasks(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit := defaultLimit
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100_000 {
			return api.Errorf(api.CodeInvalidArgument, "limit is %s; it must be from 1 to 100000", api.Quote(text))
		}
		limit = n
	}
	states := q["state"]
	for _, st := range states {
		if !slices.Contains([]string{"pending", "placed", "running", "finished", "failed", "killed", "lost"}, st) {
			return api.Errorf(api.CodeInvalidArgument, "unknown state %s", api.Quote(st)).
				WithHint("states are pending, placed, running, finished, failed, killed and lost")
		}
	}
	labels := map[string]string{}
	for _, l := range q["label"] {
		k, v, ok := strings.Cut(l, "=")
		if !ok {
			return api.Errorf(api.CodeInvalidArgument, "label %s is not k=v", api.Quote(l))
		}
		labels[k] = v
	}
	out := []*api.Task{}
	for t := range s.cfg.View().Tasks() {
		if len(out) == limit {
			break
		}
		if len(states) > 0 && !slices.Contains(states, string(t.State)) ||
			q.Has("namespace") && t.Spec.Namespace != q.Get("namespace") || q.Has("name") && t.Spec.Name != q.Get("name") ||
			!hasLabels(t, labels) {
			continue
		}
		out = append(out, t)
	}
	return writeJSON(w, http.StatusOK, out)
}

func hasLabels(t *api.Task, want map[string]string) bool {
	for k, v := range want {
		if got, ok := t.Spec.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func (s *Server) getTask(w http.ResponseWriter, r *http.Request) error {
	t, err := s.cfg.View().FindTask(r.PathValue("id"))
	if err != nil {
		return err
	}
	wait, cancel, waits, err := waitFor(r)
	if err != nil {
		return err
	}
	if waits {
		defer cancel()
		t = s.cfg.Hub.Wait(wait, t.ID, func() *api.Task { return s.latest(t) })
	}
	return writeJSON(w, http.StatusOK, t)
}

func (s *Server) killTask(w http.ResponseWriter, r *http.Request) error {
	t, err := s.cfg.View().FindTask(r.PathValue("id"))
	if err != nil {
		return err
	}
	force := r.FormValue("force") == "1" || r.FormValue("force") == "true"
	events, err := s.cfg.Engine.Do(r.Context(), &core.Kill{Task: t.ID, Reason: api.ReasonUserKill, Force: force})
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Type == core.Rejected {
			return e.Err
		}
		t = e.Task
	}
	return writeJSON(w, http.StatusOK, t)
}

func (s *Server) explainTask(w http.ResponseWriter, r *http.Request) error {
	v := s.cfg.View()
	t, err := v.FindTask(r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, sched.Explain(v, t, s.cfg.Policy))
}
