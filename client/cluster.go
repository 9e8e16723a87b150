package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/saki-run/saki/api"
)

// Nodes lists the agents.
func (c *Client) Nodes(ctx context.Context) ([]api.Node, error) {
	ns := []api.Node{}
	return ns, c.call(ctx, &request{method: http.MethodGet, path: "/v1/nodes"}, &ns)
}

// Node gives an agent by its name or id.
func (c *Client) Node(ctx context.Context, name string) (*api.Node, error) {
	return c.node(ctx, http.MethodGet, name, "")
}

// Drain makes an agent take no new tasks; the ones it runs go on.
func (c *Client) Drain(ctx context.Context, name string) (*api.Node, error) {
	return c.node(ctx, http.MethodPost, name, "/drain")
}

// Undrain makes a drained agent take tasks again.
func (c *Client) Undrain(ctx context.Context, name string) (*api.Node, error) {
	return c.node(ctx, http.MethodPost, name, "/undrain")
}

func (c *Client) node(ctx context.Context, method, name, verb string) (*api.Node, error) {
	n := new(api.Node)
	if err := c.call(ctx, &request{method: method, path: "/v1/nodes/" + url.PathEscape(name) + verb}, n); err != nil {
		return nil, err
	}
	return n, nil
}

// Cluster tells how the cluster is.
func (c *Client) Cluster(ctx context.Context) (*api.ClusterStatus, error) {
	s := new(api.ClusterStatus)
	if err := c.call(ctx, &request{method: http.MethodGet, path: "/v1/cluster"}, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Version tells which version the answering master runs.
func (c *Client) Version(ctx context.Context) (*api.Version, error) {
	v := new(api.Version)
	if err := c.call(ctx, &request{method: http.MethodGet, path: "/v1/version"}, v); err != nil {
		return nil, err
	}
	return v, nil
}

// Events calls fn with each event after the index since (0: all that are still kept), in order. With follow it goes on with
// what happens until ctx ends, over the loss of masters; without, it ends at the newest event. An error of fn ends it and is returned.
func (c *Client) Events(ctx context.Context, since uint64, follow bool, fn func(api.Event) error) error {
	for {
		since0 := since
		err := c.events(ctx, &since, follow, fn)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil || !follow:
			return err
		}
		if since == since0 { // a master that hangs up at once is not asked in a tight loop
			if err := c.pause(ctx, 3, 0, nil); err != nil {
				return context.Cause(ctx)
			}
		}
	}
}

// events reads one connection's worth. With follow, a broken connection is no error.
func (c *Client) events(ctx context.Context, since *uint64, follow bool, fn func(api.Event) error) error {
	q := url.Values{}
	if *since > 0 {
		q.Set("since", strconv.FormatUint(*since, 10))
	}
	if follow {
		q.Set("follow", "1")
	}
	body, err := c.stream(ctx, "/v1/events", q)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if follow || errors.Is(err, io.EOF) && len(line) == 0 {
				return nil
			}
			return api.Errorf(api.CodeUnreachable, "the events broke off: %v", err)
		}
		if len(line) <= 1 {
			continue // keep-alive
		}
		var ev api.Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return api.Errorf(api.CodeInternal, "an event cannot be read: %v", err)
		}
		if err := fn(ev); err != nil {
			return err
		}
		*since = max(*since, ev.Index)
	}
}
