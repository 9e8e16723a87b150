// Package sched decides which node runs which task, and says why none does. It is business logic: it reads a view of the
// state and gives decisions, and knows nothing of networks, logs or clocks.
package sched

import (
	"container/heap"
	"hash/fnv"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
)

// Policy is what the leader knows that is not in the state. The zero value knows nothing and is useful in tests.
type Policy struct {
	// Available tells whether the leader has a node's stream, so that a task given to it starts now. nil: all of them.
	Available func(api.NodeID) bool
	// Holds tells whether a node has the module on its disk. nil: none.
	Holds func(api.NodeID, api.Digest) bool
}

// maxPlacements bounds one plan, so that one log entry stays small.
const maxPlacements = 512

// Place gives nodes to as many pending tasks as fit, oldest first. Tasks of one shape that fits nowhere do not hold up the
// others. waiting is how many shapes were left without room.
func Place(v core.View, p Policy) (placed []*core.Place, waiting int) {
	queues := v.Queues()
	if len(queues) == 0 {
		return nil, 0
	}
	var nodes []*candidate
	for n := range v.Nodes() {
		if c := newCandidate(n, p); c.State == api.NodeReady && c.avail {
			nodes = append(nodes, c)
		}
	}
	h := make(heads, 0, len(queues))
	for _, q := range queues {
		first := &head{queue: q}
		first.advance()
		h = append(h, first)
	}
	heap.Init(&h)
	for len(h) > 0 && len(placed) < maxPlacements {
		t := h[0].task
		best := choose(t, nodes, p)
		if best == nil {
			waiting++
			heap.Pop(&h)
			continue
		}
		place := &core.Place{Task: t.ID, Node: best.ID}
		if n := t.Spec.Resources.Ports; n > 0 {
			place.Ports = best.free.Ports.Take(n)
		}
		r := t.Spec.Resources
		best.free = best.free.Sub(api.Resources{CPUs: r.CPUs, Mem: r.Mem, Disk: r.Disk, Ports: api.PortsOf(place.Ports...)})
		placed = append(placed, place)
		if h[0].advance() {
			heap.Fix(&h, 0)
		} else {
			heap.Pop(&h)
		}
	}
	return placed, waiting
}

// choose gives the best node that the task fits, or nil.
func choose(t *api.Task, nodes []*candidate, p Policy) *candidate {
	var best *candidate
	var bestScore score
	for _, c := range nodes {
		if !fits(t, c) {
			continue
		}
		if s := rate(t, c, p); best == nil || s.better(bestScore) {
			best, bestScore = c, s
		}
	}
	return best
}

// score orders nodes; a larger field wins, the first that differs decides.
type score [4]int64

func (s score) better(o score) bool {
	for i := range s {
		if s[i] != o[i] {
			return s[i] > o[i]
		}
	}
	return false
}

// rate scores a node that the task fits: not the one where its last attempt was lost, then one that holds the module, then by
// the strategy; equal nodes are told apart by a hash, so that no node is the first for every task.
func rate(t *api.Task, c *candidate, p Policy) score {
	var fresh, holds int64
	if n := len(t.History); n == 0 || t.History[n-1].Node != c.ID {
		fresh = 1
	}
	if d := t.Spec.Module(); d != "" && p.Holds != nil && p.Holds(c.ID, d) {
		holds = 1
	}
	used := dominant(c)
	if t.Spec.Placement == api.Spread {
		return score{fresh, -used, holds, tie(t.ID, c.ID)}
	}
	return score{fresh, holds, used, tie(t.ID, c.ID)}
}

// dominant is the share of the node's scarcest resource that is used, in thousandths.
func dominant(c *candidate) int64 {
	share := func(free, total int64) int64 {
		if total <= 0 {
			return 0
		}
		return 1000 - free/max(1, total/1000)
	}
	return max(share(int64(c.free.CPUs), int64(c.Total.CPUs)), share(int64(c.free.Mem), int64(c.Total.Mem)), share(int64(c.free.Disk), int64(c.Total.Disk)))
}

func tie(t api.TaskID, n api.NodeID) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(t)) // a hash never fails
	_, _ = h.Write([]byte(n))
	return int64(h.Sum32())
}
