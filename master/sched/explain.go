package sched

import (
	"fmt"
	"strings"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
)

// Explain says where a task stands. For one that is pending it names, for each node, all that the node lacks for it now.
func Explain(v core.View, t *api.Task, p Policy) api.Explanation {
	x := api.Explanation{Task: t}
	switch {
	case t.State.Terminal():
		x.Summary = fmt.Sprintf("task %s is %s", t.ID, t.State)
		if t.Message != "" {
			x.Summary += ": " + t.Message
		}
		if t.Outcome != nil && t.Outcome.Receipt.Memo {
			x.Summary += fmt.Sprintf("; nothing ran: this is the result of the equal task %s", t.Outcome.Receipt.MemoOf)
		}
		x.Hint = t.Reason.Sentence()
		return x
	case t.Active():
		x.Summary = fmt.Sprintf("task %s is %s on node %s as attempt %d", t.ID, t.State, t.NodeName, t.Attempt)
		return x
	case t.NotBefore.After(v.Now()):
		x.Summary = fmt.Sprintf("task %s waits until %s for attempt %d", t.ID, t.NotBefore.Format("15:04:05Z"), t.Attempt+1)
		return x
	}
	fit := 0
	for n := range v.Nodes() {
		c := newCandidate(n, p)
		g := api.NodeGaps{Node: n.Name, Gaps: []api.Gap{}}
		for _, f := range filters {
			if !f.fits(t, c) {
				g.Gaps = append(g.Gaps, api.Gap{What: f.what, Why: f.why(t, c)})
			}
		}
		if len(g.Gaps) == 0 {
			fit++
		}
		x.Nodes = append(x.Nodes, g)
	}
	switch {
	case len(x.Nodes) == 0:
		x.Summary = fmt.Sprintf("task %s is pending: there are no nodes", t.ID)
		x.Hint = "start an agent with: saki agent --join …"
	case fit > 0:
		x.Summary = fmt.Sprintf("task %s is pending and fits %d of %d nodes; it is next in line", t.ID, fit, len(x.Nodes))
	default:
		x.Summary = fmt.Sprintf("task %s cannot be placed: none of %d nodes fits (%s)", t.ID, len(x.Nodes), wants(t))
		x.Hint = nearest(x.Nodes)
	}
	return x
}

// wants lists what the task asks for.
func wants(t *api.Task) string {
	r := t.Spec.Resources
	parts := []string{fmt.Sprintf("cpus %s", r.CPUs), fmt.Sprintf("mem %s", r.Mem)}
	if r.Disk > 0 {
		parts = append(parts, fmt.Sprintf("disk %s", r.Disk))
	}
	if r.Ports > 0 {
		parts = append(parts, fmt.Sprintf("%d ports", r.Ports))
	}
	for _, c := range t.Spec.Constraints {
		parts = append(parts, c.String())
	}
	return strings.Join(parts, ", ")
}

// nearest names the node that lacks least.
func nearest(nodes []api.NodeGaps) string {
	best := nodes[0]
	for _, n := range nodes[1:] {
		if len(n.Gaps) < len(best.Gaps) {
			best = n
		}
	}
	lacks := make([]string, len(best.Gaps))
	for i, g := range best.Gaps {
		lacks[i] = g.What
	}
	return fmt.Sprintf("%s comes nearest and lacks %s; ask for less, wait, or add an agent", best.Node, strings.Join(lacks, ", "))
}
