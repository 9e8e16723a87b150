package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/saki-run/saki/api"
)

// request is one call of the API, in a form that can be sent again.
type request struct {
	method string
	path   string // escaped
	query  url.Values
	key    string // idempotency key
	body   *Content
	wait   time.Duration // the server may take this long on purpose
	stream bool          // the caller reads the body
	once   bool          // the body cannot be sent again
}

// backoffs between rounds over all masters; the last one repeats.
var backoffs = []time.Duration{20, 50, 100, 200, 400, 800}

// errRetry wraps what may pass by itself.
type errRetry struct {
	err   error
	after time.Duration // the server's wish; 0 is none
}

func (e *errRetry) Error() string { return e.err.Error() }
func (e *errRetry) Unwrap() error { return e.err }

// do sends the request until a master gives a final answer or patience ends. The body of the answer is open only for
// streams; otherwise it is in buf.
func (c *Client) do(ctx context.Context, r *request) (*answer, error) {
	first := int(c.current.Load())
	var giveUp <-chan time.Time // starts with the first failure
	for round := 0; ; round++ {
		var last *errRetry
		var tried []string
		for i := range c.addrs {
			at := (first + i) % len(c.addrs)
			a, err := c.try(ctx, c.addrs[at], r)
			if err == nil {
				c.current.Store(uint32(at))
				return a, nil
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if !errors.As(err, &last) {
				c.current.Store(uint32(at))
				return nil, err
			}
			if e, ok := errors.AsType[*api.Error](last.err); ok {
				tried = append(tried, fmt.Sprintf("%s: %s", c.addrs[at], e.Message))
			} else {
				tried = append(tried, fmt.Sprintf("%s: %s", c.addrs[at], reason(last.err)))
			}
			if r.once {
				return nil, c.failed(last, tried)
			}
		}
		if giveUp == nil {
			giveUp = time.After(c.patience())
		}
		if err := c.pause(ctx, round, last.after, giveUp); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, c.failed(last, tried)
		}
	}
}

var errGiveUp = errors.New("patience ended")

func (c *Client) pause(ctx context.Context, round int, after time.Duration, giveUp <-chan time.Time) error {
	d := max(after, backoffs[min(round, len(backoffs)-1)]*time.Millisecond)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-giveUp:
		return errGiveUp
	case <-t.C:
		return nil
	}
}

func (c *Client) patience() time.Duration {
	if !c.reached.Load() {
		return max(0, c.cfg.ConnectPatience)
	}
	return max(0, c.cfg.Patience)
}

// failed makes the final error: the cluster's own when a master answered, else the list of what was tried.
func (c *Client) failed(last *errRetry, tried []string) error {
	if e, ok := errors.AsType[*api.Error](last.err); ok {
		return e
	}
	return api.Errorf(api.CodeUnreachable, "no master reachable (tried %s)", strings.Join(tried, "; ")).
		WithHint("start a cluster with 'saki dev', or point SAKI_ADDR at one of its masters")
}

// reason says in a few words why a master could not be reached.
func reason(err error) string {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "connection refused"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "unknown host " + dns.Name
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return err.Error()
}

// answer is a successful response.
type answer struct {
	status int
	buf    *bytes.Buffer // the body; given back by release
	body   io.ReadCloser // instead, for streams
	header http.Header
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (a *answer) release() {
	if a.buf != nil && a.buf.Cap() <= 1<<20 {
		a.buf.Reset()
		buffers.Put(a.buf)
	}
	a.buf = nil
}

// try sends the request to one master. Errors that may pass are wrapped in errRetry.
func (c *Client) try(ctx context.Context, addr string, r *request) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	answered := make(chan struct{})
	var timer, look *time.Timer
	if r.body == nil || r.body.Size <= 1<<20 {
		timer = time.AfterFunc(r.wait+c.cfg.AnswerTimeout, func() { cancel(context.DeadlineExceeded) })
		if len(c.addrs) > 1 {
			look = time.AfterFunc(c.lookEvery, func() { c.look(ctx, addr, answered, cancel) })
		}
	}
	quiet := sync.OnceFunc(func() {
		close(answered)
		if timer != nil {
			timer.Stop()
		}
		if look != nil {
			look.Stop()
		}
	})
	stop := func() {
		quiet()
		cancel(nil)
	}
	req, err := c.build(ctx, addr, r)
	if err != nil {
		stop()
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		cause := context.Cause(ctx)
		stop()
		if cause != nil {
			err = cause
		}
		return nil, &errRetry{err: err}
	}
	c.reached.Store(true)
	if r.stream && resp.StatusCode < 300 {
		quiet()
		return &answer{status: resp.StatusCode, header: resp.Header, body: &streamBody{resp.Body, func() { cancel(nil) }}}, nil
	}
	defer stop()
	defer resp.Body.Close()
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	if _, err := buf.ReadFrom(resp.Body); err != nil {
		return nil, &errRetry{err: fmt.Errorf("answer broke off: %w", err)}
	}
	a := &answer{status: resp.StatusCode, header: resp.Header, buf: buf}
	if resp.StatusCode < 300 {
		return a, nil
	}
	defer a.release()
	return nil, refusal(addr, r, resp, buf.Bytes())
}

// lookEvery is how often a master that takes long over an answer is asked whether it lives, when there are others.
const lookEvery = 2 * time.Second

// look gives the request up once its master does not answer even the simplest question: one that is stopped or cut off still
// takes connections.
func (c *Client) look(ctx context.Context, addr string, answered <-chan struct{}, giveUp context.CancelCauseFunc) {
	tick := time.NewTicker(c.lookEvery)
	defer tick.Stop()
	for c.alive(ctx, addr) {
		select {
		case <-answered:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	select {
	case <-answered:
	default:
		giveUp(context.DeadlineExceeded)
	}
}

// alive reports whether something speaks HTTP at addr.
func (c *Client) alive(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, c.lookEvery)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, addr+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return true
}

// refusal turns an answer of status 300 and more into an error.
func refusal(addr string, r *request, resp *http.Response, body []byte) error {
	var eb api.ErrorBody
	if json.Unmarshal(body, &eb) != nil || eb.Error == nil || eb.Error.Code == "" {
		if e := headError(r, resp.StatusCode); e != nil {
			return e
		}
		err := fmt.Errorf("HTTP status %s instead of an answer of Saki's", resp.Status)
		if resp.StatusCode >= 502 && resp.StatusCode <= 504 {
			return &errRetry{err: err}
		}
		return api.Errorf(api.CodeUnreachable, "%s: %v", addr, err).WithHint("is SAKI_ADDR the address of a Saki master?")
	}
	switch eb.Error.Code {
	case api.CodeNoLeader, api.CodeUnknownOutcome, api.CodeUnavailable, api.CodeOverloaded:
		secs, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return &errRetry{err: eb.Error, after: time.Duration(min(max(secs, 0), 5)) * time.Second}
	}
	return eb.Error
}

// headError makes an error of a status alone: answers to HEAD have no body.
func headError(r *request, status int) error {
	if r.method != http.MethodHead {
		return nil
	}
	switch status {
	case http.StatusNotFound:
		return api.Errorf(api.CodeNotFound, "%s is not in the cluster", strings.TrimPrefix(r.path, "/v1/"))
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return &errRetry{err: api.Errorf(api.CodeUnavailable, "the master is not ready")}
	case http.StatusBadRequest:
		return api.Errorf(api.CodeInvalidArgument, "%s is not a valid reference", strings.TrimPrefix(r.path, "/v1/"))
	}
	return nil
}

func (c *Client) build(ctx context.Context, addr string, r *request) (*http.Request, error) {
	u := addr + r.path
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u, nil)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalidArgument, "%v", err)
	}
	if r.body != nil {
		body, err := r.body.Open()
		if err != nil {
			return nil, err
		}
		req.Body, req.ContentLength = body, r.body.Size
		if !r.once {
			req.GetBody = r.body.Open
		}
		req.Header.Set("Content-Type", r.body.Type)
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	return req, nil
}

// streamBody lets go of the request's context with the body.
type streamBody struct {
	io.ReadCloser
	cancel func()
}

func (b *streamBody) Close() error {
	b.cancel()
	return b.ReadCloser.Close()
}

// call sends the request and decodes the answer into out, which may be nil.
func (c *Client) call(ctx context.Context, r *request, out any) error {
	a, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer a.release()
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(a.buf.Bytes(), out); err != nil {
		return api.Errorf(api.CodeInternal, "the answer to %s %s cannot be read: %v", r.method, r.path, err).
			WithHint("client and master may be of different versions; see saki version")
	}
	return nil
}
