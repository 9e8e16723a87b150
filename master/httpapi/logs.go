package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/saki-run/saki/api"
)

// taskLogs gives one stream of a task's output: from the outcome when that has it, else from the agent that has the files.
// With follow it goes on over all attempts until the task has ended.
func (s *Server) taskLogs(w http.ResponseWriter, r *http.Request) error {
	t, err := s.cfg.View().FindTask(r.PathValue("id"))
	if err != nil {
		return err
	}
	q := r.URL.Query()
	stream := q.Get("stream")
	if stream == "" {
		stream = "stdout"
	}
	if stream != "stdout" && stream != "stderr" {
		return api.Errorf(api.CodeInvalidArgument, "unknown stream %s", api.Quote(stream)).WithHint("use stdout or stderr")
	}
	for _, k := range []string{"offset", "tail"} {
		if text := q.Get(k); text != "" {
			if _, err := strconv.ParseUint(text, 10, 63); err != nil {
				return api.Errorf(api.CodeInvalidArgument, "%s is %s; it must be a number that is not negative", k, api.Quote(text))
			}
		}
	}
	l := logReader{s: s, w: w, r: r, stream: stream, query: q}
	if text := q.Get("attempt"); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return api.Errorf(api.CodeInvalidArgument, "%s is not the number of an attempt", api.Quote(text))
		}
		return l.attempt(t, uint32(n))
	}
	if q.Get("follow") == "1" || q.Get("follow") == "true" {
		return l.follow(t)
	}
	return l.attempt(t, t.Attempt)
}

// logReader answers one request for output.
type logReader struct {
	s      *Server
	w      http.ResponseWriter
	r      *http.Request
	stream string
	query  url.Values
	wrote  bool
}

// follow copies the output of each attempt as it comes until the task has ended.
func (l *logReader) follow(t *api.Task) error {
	done := uint32(0) // the last attempt that was copied
	for {
		missed := l.s.cfg.Feed.Changed()
		t = l.s.latest(t)
		if t.Attempt > done && (t.Active() || t.State.Terminal()) {
			err := l.attempt(t, t.Attempt)
			if err != nil && !l.wrote && t.State.Terminal() {
				return err
			}
			if err == nil {
				done = t.Attempt
				continue
			}
		}
		if t.State.Terminal() && t.Attempt == 0 {
			return l.attempt(t, 0)
		}
		if t.State.Terminal() {
			return l.begin()
		}
		if err := l.begin(); err != nil { // so that the client knows that it waits
			return err
		}
		select {
		case <-missed:
		case <-l.r.Context().Done():
			return nil
		}
	}
}

// begin sends the header when nothing was sent yet.
func (l *logReader) begin() error {
	if l.wrote {
		return nil
	}
	l.wrote = true
	l.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	l.w.Header().Set("X-Content-Type-Options", "nosniff")
	l.w.WriteHeader(http.StatusOK)
	return http.NewResponseController(l.w).Flush()
}

// attempt copies the output of one attempt.
func (l *logReader) attempt(t *api.Task, n uint32) error {
	switch {
	case n == t.Attempt && t.State.Terminal() && t.Outcome.Inline:
		return l.inline(t.Outcome) // also of a memo task that was never placed
	case n == 0:
		return l.begin() // never placed
	}
	node := t.Node
	if n != t.Attempt {
		for _, past := range t.History {
			if past.Number == n {
				node = past.Node
			}
		}
	}
	info := l.s.cfg.View().Node(node)
	if info == nil {
		return api.Errorf(api.CodeLogsGone, "the output of attempt %d of task %s is gone with its node", n, t.ID)
	}
	err := l.fromAgent(info, t.ID, n)
	if now := l.s.latest(t); errors.Is(err, errGone) && now.State.Terminal() && !t.State.Terminal() {
		return l.attempt(now, n) // the agent gave the output to the masters while we asked it
	}
	return err
}

// errGone matches what an agent answers that does not have the output.
var errGone = &api.Error{Code: api.CodeLogsGone}

func (l *logReader) inline(o *api.Outcome) error {
	b := o.Stdout
	if l.stream == "stderr" {
		b = o.Stderr
	}
	offset, _ := strconv.Atoi(l.query.Get("offset"))
	b = b[min(max(0, offset), len(b)):]
	if n, err := strconv.Atoi(l.query.Get("tail")); err == nil && n >= 0 {
		b = lastLines(b, n)
	}
	if err := l.begin(); err != nil {
		return err
	}
	_, err := l.w.Write(b)
	return err
}

// lastLines gives the end of b that has n lines.
func lastLines(b []byte, n int) []byte {
	at := len(b)
	for i, v := range slices.Backward(b) {
		if v == '\n' && i != len(b)-1 {
			if n--; n <= 0 {
				return b[at:]
			}
		}
		at = i
	}
	if n <= 0 {
		return nil
	}
	return b
}

func (l *logReader) fromAgent(n *api.Node, id api.TaskID, attempt uint32) error {
	q := url.Values{"stream": {l.stream}}
	for _, k := range []string{"follow", "offset", "tail"} {
		if l.query.Has(k) {
			q.Set(k, l.query.Get(k))
		}
	}
	u := fmt.Sprintf("http://%s/v1/attempts/%s/%d/logs?%s", n.Addr, id, attempt, q.Encode())
	req, err := http.NewRequestWithContext(l.r.Context(), http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	resp, err := l.s.client.Do(req)
	if err != nil {
		return api.Errorf(api.CodeUnreachable, "agent %s, which has the output, cannot be reached: %v", n.Name, errors.Unwrap(err)).
			WithHint("try again when the agent is back")
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return decodeError(resp)
	}
	if err := l.begin(); err != nil {
		return err
	}
	_, err = io.Copy(flushing{l.w, http.NewResponseController(l.w)}, resp.Body)
	return err
}

// flushing sends each write on its way at once.
type flushing struct {
	io.Writer
	rc *http.ResponseController
}

// Write implements [io.Writer].
func (f flushing) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	if err == nil {
		err = f.rc.Flush()
	}
	return n, err
}
