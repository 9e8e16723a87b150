package sched

import (
	"fmt"
	"strings"

	"github.com/saki-run/saki/api"
)

// candidate is a node during planning: what it will still have free when the placements so far have been made.
type candidate struct {
	*api.Node
	attrs map[string]string
	free  api.Resources
	avail bool // the leader has its stream
}

func newCandidate(n *api.Node, p Policy) *candidate {
	c := &candidate{Node: n, attrs: n.Attrs(), free: n.Total.Sub(n.Used)}
	c.avail = p.Available == nil || p.Available(n.ID)
	return c
}

// filter is one condition for a task to fit a node, with the words for when it does not hold.
type filter struct {
	what string
	fits func(*api.Task, *candidate) bool
	why  func(*api.Task, *candidate) string
}

// filters are asked in this order; an explanation names every one that fails.
var filters = []filter{
	{
		"state",
		func(_ *api.Task, c *candidate) bool { return c.State == api.NodeReady && c.avail },
		func(_ *api.Task, c *candidate) string {
			if c.State == api.NodeReady {
				return "not connected to the leader yet"
			}
			return string(c.State)
		},
	},
	{
		"runtime",
		func(t *api.Task, c *candidate) bool { return c.Runs(t.Spec.Kind()) },
		func(t *api.Task, c *candidate) string {
			return fmt.Sprintf("runs no %s tasks%s", t.Spec.Kind(), notices(c))
		},
	},
	{
		"constraint",
		func(t *api.Task, c *candidate) bool { return unmet(t, c) == nil },
		func(t *api.Task, c *candidate) string {
			u := unmet(t, c)
			if v, ok := c.attrs[u.Key]; ok {
				return fmt.Sprintf("%s, and it has %s=%s", u, u.Key, v)
			}
			return fmt.Sprintf("%s, and it has no %s", u, u.Key)
		},
	},
	amount("cpus", func(r api.Resources) int64 { return int64(r.CPUs) }, func(n int64) string { return api.Milli(n).String() }),
	amount("mem", func(r api.Resources) int64 { return int64(r.Mem) }, func(n int64) string { return api.Bytes(n).String() }),
	amount("disk", func(r api.Resources) int64 { return int64(r.Disk) }, func(n int64) string { return api.Bytes(n).String() }),
	{
		"ports",
		func(t *api.Task, c *candidate) bool {
			return t.Spec.Resources.Ports == 0 || c.free.Ports.Len() >= t.Spec.Resources.Ports
		},
		func(t *api.Task, c *candidate) string {
			return fmt.Sprintf("free %d < %d", c.free.Ports.Len(), t.Spec.Resources.Ports)
		},
	},
}

func notices(c *candidate) string {
	if len(c.Notices) == 0 {
		return ""
	}
	return ": " + strings.Join(c.Notices, "; ")
}

func unmet(t *api.Task, c *candidate) *api.Constraint {
	for i := range t.Spec.Constraints {
		if !t.Spec.Constraints[i].Match(c.attrs) {
			return &t.Spec.Constraints[i]
		}
	}
	return nil
}

// amount makes the filter of one counted resource.
func amount(what string, of func(api.Resources) int64, text func(int64) string) filter {
	need := func(t *api.Task) int64 {
		r := t.Spec.Resources
		return of(api.Resources{CPUs: r.CPUs, Mem: r.Mem, Disk: r.Disk})
	}
	return filter{
		what,
		func(t *api.Task, c *candidate) bool { return need(t) <= of(c.free) },
		func(t *api.Task, c *candidate) string {
			return fmt.Sprintf("free %s < %s", text(of(c.free)), text(need(t)))
		},
	}
}

func fits(t *api.Task, c *candidate) bool {
	for _, f := range filters {
		if !f.fits(t, c) {
			return false
		}
	}
	return true
}
