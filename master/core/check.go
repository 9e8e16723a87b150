package core

import (
	"fmt"

	"github.com/saki-run/saki/api"
)

// Check reports the first invariant that does not hold: nodes hold what their tasks hold and no more than they have, no port
// is held twice, every task stands in exactly the indexes of its state, the counts are right, and what is remembered of memo
// tasks is within its bounds.
func (s *State) Check() error {
	v := s.View()
	used := map[api.NodeID]api.Resources{}
	tasks := map[api.NodeID]int{}
	var n counts
	for t := range v.Tasks() {
		n[stateIndex(t.State)]++
		if err := v.checkTask(t); err != nil {
			return fmt.Errorf("task %s: %w", t.ID, err)
		}
		if !t.Active() {
			continue
		}
		h := t.Holds()
		if got := used[t.Node].Ports.Len() + h.Ports.Len(); used[t.Node].Add(h).Ports.Len() != got {
			return fmt.Errorf("task %s holds a port that another one holds too", t.ID)
		}
		used[t.Node] = used[t.Node].Add(h)
		tasks[t.Node]++
	}
	if err := v.checkMemos(); err != nil {
		return err
	}
	if n != v.counts {
		return fmt.Errorf("counts are %v, want %v", v.counts, n)
	}
	for _, x := range []struct {
		name      string
		got, want int
	}{
		{"tasks", v.tasks.Len(), v.order.Len()},
		{"active", v.active.Len(), n[stateIndex(api.Placed)] + n[stateIndex(api.Running)]},
		{"queued and delayed", v.queues.Len() + v.delayed.Len(), n[stateIndex(api.Pending)]},
		{"done", v.done.Len(), n[stateIndex(api.Finished)] + n[stateIndex(api.Failed)] + n[stateIndex(api.Killed)] + n[stateIndex(api.Lost)]},
	} {
		if x.got != x.want {
			return fmt.Errorf("index %s has %d entries, want %d", x.name, x.got, x.want)
		}
	}
	for node := range v.Nodes() {
		u := used[node.ID]
		if u.CPUs != node.Used.CPUs || u.Mem != node.Used.Mem || u.Disk != node.Used.Disk || u.Ports.String() != node.Used.Ports.String() {
			return fmt.Errorf("node %s: uses %v, its tasks hold %v", node.Name, node.Used, u)
		}
		if tasks[node.ID] != node.Tasks {
			return fmt.Errorf("node %s: counts %d tasks, has %d", node.Name, node.Tasks, tasks[node.ID])
		}
		delete(used, node.ID)
	}
	for id := range used {
		return fmt.Errorf("node %s does not exist but has tasks", id)
	}
	return nil
}

func (v View) checkTask(t *api.Task) error {
	r, _ := v.tasks.Get([]byte(t.ID))
	_, queued := v.queues.Get(queueKey(r))
	_, delayed := v.delayed.Get(delayKey(t, r))
	_, active := v.active.Get(activeKey(t.Node, t.ID))
	_, done := v.done.Get(seqKey(r.done))
	want := [4]bool{}
	switch {
	case t.State.Terminal():
		want[3] = true
	case t.Active():
		want[2] = true
	case delayed:
		want[1] = true
	default:
		want[0] = true
	}
	if got := [4]bool{queued, delayed && t.State == api.Pending, active, done}; got != want {
		return fmt.Errorf("in state %s stands in queue, delay, active, done: %v, want %v", t.State, got, want)
	}
	if t.State.Terminal() != (t.Outcome != nil && t.Outcome.State == t.State && !t.EndedAt.IsZero()) {
		return fmt.Errorf("state %s does not go with its outcome", t.State)
	}
	if t.Active() != (t.Node != "") && t.State == api.Pending {
		return fmt.Errorf("pending, but on node %s", t.Node)
	}
	return nil
}
