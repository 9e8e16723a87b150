package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/saki-run/saki/api"
)

// Pattern is where [Handler] belongs in a [http.ServeMux].
const Pattern = "GET /v1/attempts/{task}/{attempt}/logs"

// writeTimeout is how long one write may wait for a slow reader before the request is given up.
const writeTimeout = 10 * time.Second

// Attempt is where the output of an attempt is.
type Attempt struct {
	Dir   string          // with the files stdout and stderr
	Ended <-chan struct{} // closed when the attempt has ended and Outcome gives how

	// Outcome is nil while the attempt runs. It may carry the output itself, and Dir has no files then.
	Outcome func() *api.Outcome
}

// Lookup finds an attempt; ok is false for one that the agent does not know, or knows no more.
type Lookup func(task api.TaskID, attempt uint32) (a Attempt, ok bool)

// Handler serves [Pattern] as plain text. Query: stream=stdout|stderr; offset=N skips N bytes; tail=N gives the last N lines
// only; follow=1 goes on until the attempt has ended. What is gone is an [api.ErrorBody] of code logs_gone.
func Handler(find Lookup) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := parseQuery(r)
		if err != nil {
			writeError(w, err)
			return
		}
		a, ok := find(q.task, q.attempt)
		if !ok {
			writeError(w, gone(q))
			return
		}
		out := &flusher{w: w, rc: http.NewResponseController(w)}
		if err := serve(r.Context(), a, q, out); err != nil && !out.begun {
			writeError(w, err)
		}
	})
}

type query struct {
	task    api.TaskID
	attempt uint32
	stream  string
	follow  bool
	offset  int64
	tail    int // -1 is everything
}

func parseQuery(r *http.Request) (query, error) {
	q := query{task: api.TaskID(r.PathValue("task")), stream: r.FormValue("stream"), tail: -1}
	n, err := strconv.ParseUint(r.PathValue("attempt"), 10, 32)
	if err != nil {
		return q, api.Errorf(api.CodeInvalidArgument, "%s is not the number of an attempt", api.Quote(r.PathValue("attempt")))
	}
	q.attempt = uint32(n)
	if q.stream == "" {
		q.stream = "stdout"
	}
	if q.stream != "stdout" && q.stream != "stderr" {
		return q, api.Errorf(api.CodeInvalidArgument, "unknown stream %s", api.Quote(q.stream)).WithHint("use stdout or stderr")
	}
	if s := r.FormValue("follow"); s != "" {
		if q.follow, err = strconv.ParseBool(s); err != nil {
			return q, api.Errorf(api.CodeInvalidArgument, "follow is %s; it must be 0 or 1", api.Quote(s))
		}
	}
	if s := r.FormValue("offset"); s != "" {
		if q.offset, err = strconv.ParseInt(s, 10, 64); err != nil || q.offset < 0 {
			return q, api.Errorf(api.CodeInvalidArgument, "offset is %s; it must be a number of bytes", api.Quote(s))
		}
	}
	if s := r.FormValue("tail"); s != "" {
		if q.tail, err = strconv.Atoi(s); err != nil || q.tail < 0 {
			return q, api.Errorf(api.CodeInvalidArgument, "tail is %s; it must be a number of lines", api.Quote(s))
		}
	}
	return q, nil
}

// serve writes what q asks for. It tries the file first: an attempt that ends meanwhile removes the file only once its outcome
// carries the output.
func serve(ctx context.Context, a Attempt, q query, out *flusher) error {
	path := filepath.Join(a.Dir, q.stream)
	f, err := Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if o := a.Outcome(); o != nil {
			return inline(o, q, out)
		}
		if !q.follow {
			return out.begin() // it runs and has written nothing yet
		}
	case err != nil:
		return err
	default:
		defer f.Close()
	}
	offset := q.offset
	if f != nil {
		st, err := f.Stat()
		if err != nil {
			return err
		}
		if q.tail >= 0 {
			from, err := tailOffset(f, st.Size(), q.tail)
			if err != nil {
				return err
			}
			offset = max(offset, from)
		}
		if !q.follow {
			if err := out.begin(); err != nil {
				return err
			}
			_, err = io.Copy(out, io.NewSectionReader(f, offset, max(0, st.Size()-offset)))
			return err
		}
	}
	if err := out.begin(); err != nil {
		return err
	}
	err = Follow(ctx, path, offset, a.Ended, out)
	if errors.Is(err, fs.ErrNotExist) {
		if o := a.Outcome(); o != nil {
			return inline(o, q, out)
		}
	}
	return err
}

func inline(o *api.Outcome, q query, out *flusher) error {
	if !o.Inline {
		return gone(q)
	}
	b := o.Stdout
	if q.stream == "stderr" {
		b = o.Stderr
	}
	offset := min(q.offset, int64(len(b)))
	if q.tail >= 0 {
		from, err := tailOffset(bytes.NewReader(b), int64(len(b)), q.tail)
		if err != nil {
			return err
		}
		offset = max(offset, from)
	}
	if err := out.begin(); err != nil {
		return err
	}
	_, err := out.Write(b[offset:])
	return err
}

func gone(q query) *api.Error {
	return api.Errorf(api.CodeLogsGone, "the %s of attempt %d of task %s is no longer on this agent", q.stream, q.attempt, api.Quote(string(q.task))).
		WithHint("output is kept for a while after a task's end; let tasks write what must last to a store of your own")
}

func writeError(w http.ResponseWriter, err error) {
	e := api.AsError(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Code.Status())
	_ = json.NewEncoder(w).Encode(api.ErrorBody{Error: e}) // the client may be gone
}

// flusher sends every write on its way at once and gives slow readers up.
type flusher struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

// begin sends the header, once.
func (f *flusher) begin() error {
	if f.begun {
		return nil
	}
	f.begun = true
	h := f.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	f.w.WriteHeader(http.StatusOK)
	return f.flush()
}

func (f *flusher) flush() error {
	if err := f.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// Write implements [io.Writer].
func (f *flusher) Write(b []byte) (int, error) {
	deadline := time.Now().Add(writeTimeout) //nolint:forbidigo // the kernel's deadline, not the program's logic
	if err := f.rc.SetWriteDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := f.w.Write(b)
	if err != nil {
		return n, err
	}
	return n, f.flush()
}
