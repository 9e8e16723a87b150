package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/saki-run/saki/api"
)

// LogOptions choose what [Client.Logs] and [Client.FollowLogs] read. The zero value means the whole stdout of the last attempt.
type LogOptions struct {
	Stream  string // stdout (default) or stderr
	Attempt uint32 // 0 is the last one
	Offset  int64  // bytes to leave out at the start
}

func (o LogOptions) query(follow bool) url.Values {
	q := url.Values{"stream": {"stdout"}}
	if o.Stream != "" {
		q.Set("stream", o.Stream)
	}
	if o.Attempt > 0 {
		q.Set("attempt", strconv.FormatUint(uint64(o.Attempt), 10))
	}
	if o.Offset > 0 {
		q.Set("offset", strconv.FormatInt(o.Offset, 10))
	}
	if follow {
		q.Set("follow", "1")
	}
	return q
}

// Logs reads what a task has written so far. The caller closes it. The code of the error is [api.CodeLogsGone] when the
// output is no longer kept.
func (c *Client) Logs(ctx context.Context, id string, o LogOptions) (io.ReadCloser, error) {
	return c.stream(ctx, taskPath(id)+"/logs", o.query(false))
}

func (c *Client) stream(ctx context.Context, path string, q url.Values) (io.ReadCloser, error) {
	a, err := c.do(ctx, &request{method: http.MethodGet, path: path, query: q, stream: true})
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// FollowLogs copies what a task writes to w while it is being written, until the task has ended. It goes on where it was
// when a connection or a master is lost, and with the next attempt when the task is retried (unless o.Attempt is set).
func (c *Client) FollowLogs(ctx context.Context, id string, o LogOptions, w io.Writer) error {
	only := o.Attempt // 0: all that are still to come
	t, err := c.Task(ctx, id)
	for ; ; t, err = c.task(ctx, id, pauseBetweenReads) {
		if err != nil {
			return err
		}
		id = string(t.ID) // "last" may mean another one later
		ended := t.State.Terminal() || only > 0 && t.Attempt > only
		if t.Attempt == 0 {
			if !ended {
				continue
			}
			if t.Outcome == nil || !t.Outcome.Receipt.Memo {
				return nil // it never ran
			}
		}
		if only == 0 && t.Attempt != o.Attempt {
			if o.Attempt != 0 {
				o.Offset = 0
			}
			o.Attempt = t.Attempt
		}
		n, whole, err := c.copyLogs(ctx, id, o, w)
		o.Offset += n
		if only == 0 && !ended && outOfReach(err) {
			continue // the next attempt may be within reach, or the end tell more
		}
		if err != nil || whole && ended {
			return err
		}
		if !whole {
			if err := c.pause(ctx, 2, 0, nil); err != nil {
				return context.Cause(ctx)
			}
		}
	}
}

// outOfReach reports whether the output is gone or its agent is, which is no reason to give the task up.
func outOfReach(err error) bool {
	e, ok := errors.AsType[*api.Error](err)
	return ok && (e.Code == api.CodeLogsGone || e.Code == api.CodeUnreachable)
}

// pauseBetweenReads is how long to wait for the end of a task whose output has ended: the report may still be on its way.
const pauseBetweenReads = time.Second

// copyLogs copies one stream of the log and reports how much, and whether it came to its end. A connection that breaks is
// no error: the caller goes on.
func (c *Client) copyLogs(ctx context.Context, id string, o LogOptions, w io.Writer) (n int64, whole bool, err error) {
	body, err := c.stream(ctx, taskPath(id)+"/logs", o.query(true))
	if err != nil {
		return 0, false, err
	}
	defer body.Close()
	out := &sink{w: w}
	n, err = io.Copy(out, body)
	switch {
	case out.err != nil:
		return n, false, out.err
	case ctx.Err() != nil:
		return n, false, context.Cause(ctx)
	}
	return n, err == nil, nil
}

// sink remembers whether it was the writer that failed.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}
