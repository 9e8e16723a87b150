package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/saki-run/saki/api"
)

// MaxWait is the longest that one request waits; longer waits are made of several.
const MaxWait = 30 * time.Second

// SubmitOptions tune [Client.Submit]. The zero value is useful.
type SubmitOptions struct {
	// Key makes the submit idempotent: a second one with the same key gives the tasks of the first. Default: a random one.
	Key string

	// Wait is how long to wait for all tasks to end, at most [MaxWait]. When it is over, the tasks are given as they are.
	Wait time.Duration
}

// Submit queues the task that spec describes and gives it back: spec.Count tasks, in the order of their index. It returns
// once the tasks are durable, or have ended when o.Wait is set.
func (c *Client) Submit(ctx context.Context, spec *api.Spec, o SubmitOptions) ([]api.Task, error) {
	return c.submit(ctx, spec, o)
}

// SubmitAll queues several specs at once: all of them or none. The tasks come in the order of the specs.
func (c *Client) SubmitAll(ctx context.Context, specs []api.Spec, o SubmitOptions) ([]api.Task, error) {
	return c.submit(ctx, specs, o)
}

func (c *Client) submit(ctx context.Context, body any, o SubmitOptions) ([]api.Task, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalidSpec, "%v", err)
	}
	if o.Key == "" {
		o.Key = NewKey()
	}
	content := Bytes(b)
	content.Type = "application/json"
	wait := min(o.Wait, MaxWait)
	r := request{method: http.MethodPost, path: "/v1/tasks", key: o.Key, body: &content, wait: wait}
	if wait > 0 {
		r.query = url.Values{"wait": {wait.String()}}
	}
	var tasks []api.Task
	if err := c.call(ctx, &r, &tasks); err != nil {
		return nil, err
	}
	if len(tasks) == 0 {
		return nil, api.Errorf(api.CodeInternal, "the master accepted the submit and named no task")
	}
	return tasks, nil
}

// NewKey makes an idempotency key that nobody else makes.
func NewKey() string { return api.AutoKeyPrefix + rand.Text() }

// Run submits one task and waits for its end.
func (c *Client) Run(ctx context.Context, spec *api.Spec) (*api.Task, error) {
	tasks, err := c.Submit(ctx, spec, SubmitOptions{Wait: MaxWait})
	if err != nil {
		return nil, err
	}
	if t := &tasks[0]; t.State.Terminal() {
		return t, nil
	}
	return c.Wait(ctx, string(tasks[0].ID))
}

// TaskFilter chooses tasks for [Client.Tasks]; its zero value means all of them.
type TaskFilter struct {
	States    []api.State
	Namespace string
	Name      string
	Labels    map[string]string
	Limit     int // 0 leaves it to the master
}

// Tasks lists tasks, newest first.
func (c *Client) Tasks(ctx context.Context, f TaskFilter) ([]api.Task, error) {
	q := url.Values{}
	set := func(k, v string) {
		if v != "" {
			q.Add(k, v)
		}
	}
	for _, s := range f.States {
		set("state", string(s))
	}
	set("namespace", f.Namespace)
	set("name", f.Name)
	for k, v := range f.Labels {
		q.Add("label", k+"="+v)
	}
	if f.Limit > 0 {
		set("limit", strconv.Itoa(f.Limit))
	}
	tasks := []api.Task{}
	return tasks, c.call(ctx, &request{method: http.MethodGet, path: "/v1/tasks", query: q}, &tasks)
}

// Task gives a task by its id, a unique prefix of it, or "last".
func (c *Client) Task(ctx context.Context, id string) (*api.Task, error) { return c.task(ctx, id, 0) }

func (c *Client) task(ctx context.Context, id string, wait time.Duration) (*api.Task, error) {
	r := request{method: http.MethodGet, path: taskPath(id), wait: wait}
	if wait > 0 {
		r.query = url.Values{"wait": {wait.String()}}
	}
	t := new(api.Task)
	if err := c.call(ctx, &r, t); err != nil {
		return nil, err
	}
	return t, nil
}

func taskPath(id string) string { return "/v1/tasks/" + url.PathEscape(id) }

// Wait waits until the task has ended and gives it. It outlives the loss of the leader and of the master it talks to, as
// long as some master answers again within Config.Patience. Bound it by ctx.
func (c *Client) Wait(ctx context.Context, id string) (*api.Task, error) {
	for {
		soon := time.NewTimer(500 * time.Millisecond)
		t, err := c.task(ctx, id, MaxWait)
		if err != nil || t.State.Terminal() {
			soon.Stop()
			return t, err
		}
		id = string(t.ID) // "last" and prefixes may mean another one later
		select {          // a master that does not wait is not asked in a tight loop
		case <-soon.C:
		case <-ctx.Done():
			soon.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// Kill asks for the end of a task and gives it as it is then; the end itself comes later. Killing a task that has ended
// changes nothing. force leaves out the grace period.
func (c *Client) Kill(ctx context.Context, id string, force bool) (*api.Task, error) {
	r := request{method: http.MethodPost, path: taskPath(id) + "/kill"}
	if force {
		r.query = url.Values{"force": {"1"}}
	}
	t := new(api.Task)
	if err := c.call(ctx, &r, t); err != nil {
		return nil, err
	}
	return t, nil
}

// Explain says where a task stands and, while it waits, what each node lacks for it.
func (c *Client) Explain(ctx context.Context, id string) (*api.Explanation, error) {
	e := new(api.Explanation)
	if err := c.call(ctx, &request{method: http.MethodGet, path: taskPath(id) + "/explain"}, e); err != nil {
		return nil, err
	}
	return e, nil
}
