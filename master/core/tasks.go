package core

import (
	"bytes"
	"slices"
	"time"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/saki-run/saki/api"
)

// nextSeq gives the next number of the state's one sequence.
func (a *applying) nextSeq() uint64 {
	a.seq++
	return a.seq
}

func (a *applying) submit(c *Submit) {
	if c.Key != "" {
		if k, ok := a.keys.Get([]byte(c.Key)); ok {
			a.submitAgain(c, k)
			return
		}
	}
	if _, taken := a.tasks.Get([]byte(c.ID)); taken {
		a.reject(api.CodeConflict, "task id %s is taken", c.ID)
		return
	}
	if d := c.Spec.Module(); d != "" {
		if _, ok := a.modules.Get([]byte(d)); !ok {
			a.reject(api.CodeModuleNotFound, "module %s is not in the cluster", d)
			return
		}
	}
	for _, d := range blobsOf(c.Spec) {
		if _, ok := a.blobs.Get([]byte(d)); !ok {
			a.reject(api.CodeNotFound, "blob %s is not in the cluster; upload it with PUT /v1/blobs", d)
			return
		}
	}
	shape := shapeOf(c.Spec)
	if c.Key != "" {
		a.keys.Insert([]byte(c.Key), keyed{c.ID, c.Hash})
	}
	for i := range c.Spec.Count {
		t := &api.Task{ID: c.ID, Index: i, Key: c.Key, Spec: c.Spec, State: api.Pending, Submitted: a.now}
		if c.Spec.Count > 1 {
			t.ID, t.Job = c.ID.Member(i), c.ID
		}
		r := newRecord(t, record{seq: a.nextSeq(), shape: shape})
		a.tasks.Insert([]byte(t.ID), r)
		a.order.Insert(seqKey(r.seq), t.ID)
		a.queues.Insert(queueKey(r), t.ID)
		a.counts[stateIndex(api.Pending)]++
		a.emit(Event{Type: api.EventTaskSubmitted, Task: t})
		a.recall(r)
	}
}

func (a *applying) submitAgain(c *Submit, k keyed) {
	if k.Hash != c.Hash {
		a.reject(api.CodeConflict, "idempotency key %s was used for a different task, %s", api.Quote(c.Key), k.Task)
		return
	}
	members := a.members(k.Task)
	if len(members) == 0 {
		a.reject(api.CodeNotFound, "task %s of idempotency key %s has been forgotten", k.Task, api.Quote(c.Key))
	}
	for _, t := range members {
		a.emit(Event{Type: Same, Task: t})
	}
}

// members gives the task of the id, or those of the array that it names, in the order of their index.
func (s *State) members(id api.TaskID) []*api.Task { return members(s.tasks.Root(), id) }

func members(root *iradix.Node[*record], id api.TaskID) []*api.Task {
	if r, ok := root.Get([]byte(id)); ok {
		return []*api.Task{r.task()}
	}
	var out []*api.Task
	root.WalkPrefix([]byte(id+"-"), func(_ []byte, r *record) bool {
		out = append(out, r.task())
		return false
	})
	slices.SortFunc(out, func(a, b *api.Task) int { return a.Index - b.Index })
	return out
}

func blobsOf(s *api.Spec) []api.Digest {
	var out []api.Digest
	if s.StdinBlob != "" {
		out = append(out, s.StdinBlob)
	}
	for _, f := range s.Files {
		out = append(out, f.Blob)
	}
	return out
}

// wake moves the tasks whose wait is over into their queues.
func (a *applying) wake() {
	for {
		key, id, ok := a.delayed.Root().Minimum()
		if !ok || bytes.Compare(key, pairKey(uint64(a.now.UnixNano()), ^uint64(0))) > 0 {
			return
		}
		a.delayed.Delete(key)
		r, _ := a.tasks.Get([]byte(id))
		a.queues.Insert(queueKey(r), id)
	}
}

// set replaces a task's value and moves it between the indexes.
func (a *applying) set(old *record, t *api.Task) {
	was := old.task()
	a.unindex(was, old)
	places := *old
	if t.State.Terminal() && places.done == 0 {
		places.done = a.nextSeq()
	}
	r := newRecord(t, places)
	a.tasks.Insert([]byte(t.ID), r)
	a.counts[stateIndex(was.State)]--
	a.counts[stateIndex(t.State)]++
	switch {
	case t.State.Terminal():
		a.done.Insert(seqKey(r.done), t.ID)
	case t.Active():
		a.active.Insert(activeKey(t.Node, t.ID), struct{}{})
	case t.NotBefore.After(a.now):
		a.delayed.Insert(delayKey(t, r), t.ID)
	default:
		a.queues.Insert(queueKey(r), t.ID)
	}
}

func (a *applying) unindex(t *api.Task, r *record) {
	switch {
	case t.State.Terminal():
		a.done.Delete(seqKey(r.done))
	case t.Active():
		a.active.Delete(activeKey(t.Node, t.ID))
	default:
		a.queues.Delete(queueKey(r))
		if !t.NotBefore.IsZero() {
			a.delayed.Delete(delayKey(t, r))
		}
	}
}

func (a *applying) place(c *Place) {
	r, ok := a.tasks.Get([]byte(c.Task))
	if !ok || r.live == nil || r.live.State != api.Pending {
		a.emit(Event{Type: Ignored})
		return
	}
	n, ok := a.nodes.Get([]byte(c.Node))
	if !ok || n.State != api.NodeReady {
		a.reject(api.CodeConflict, "node %s is not ready", c.Node)
		return
	}
	t := *r.live
	t.Ports = c.Ports
	used := n.Used.Add(t.Holds())
	if n.Total.Sub(used).Negative() || !n.Total.Ports.Minus(n.Used.Ports).Contains(api.PortsOf(c.Ports...)) {
		a.reject(api.CodeConflict, "node %s has no room for %s", n.Name, t.ID)
		return
	}
	t.State, t.Reason, t.Message = api.Placed, "", ""
	t.Attempt++
	t.Node, t.NodeName = n.ID, n.Name
	t.PlacedAt, t.StartedAt, t.NotBefore = a.now, time.Time{}, time.Time{}
	a.set(r, &t)
	a.setNode(n, func(n *api.Node) { n.Used, n.Tasks = used, n.Tasks+1 })
	a.emit(Event{Type: api.EventTaskPlaced, Task: &t})
}

// release gives back what the task holds of its node.
func (a *applying) release(t *api.Task) {
	n, ok := a.nodes.Get([]byte(t.Node))
	if !ok {
		panic("core: task on a node that does not exist")
	}
	a.setNode(n, func(n *api.Node) { n.Used, n.Tasks = n.Used.Sub(t.Holds()), n.Tasks-1 })
}

func (a *applying) report(c *Report) {
	r, ok := a.tasks.Get([]byte(c.Task))
	if !ok || r.live == nil || !r.live.Active() || r.live.Attempt != c.Attempt || r.live.Node != c.Node {
		a.emit(Event{Type: Ignored})
		return
	}
	if c.Outcome == nil {
		if r.live.State == api.Running {
			a.emit(Event{Type: Ignored})
			return
		}
		t := *r.live
		t.State, t.StartedAt = api.Running, a.now
		a.set(r, &t)
		a.emit(Event{Type: api.EventTaskRunning, Task: &t})
		return
	}
	o := *c.Outcome
	o.Receipt.Node = r.live.NodeName
	o.Receipt.QueueNS = int64(r.live.PlacedAt.Sub(r.live.Submitted))
	a.ended(r, &o)
}

// ended takes in the outcome of the current attempt: the task ends or, where its policy says so, waits for the next attempt.
func (a *applying) ended(r *record, o *api.Outcome) {
	t := *r.live
	a.release(&t)
	t.Outcome = o
	wait, again := nextAttempt(&t, o)
	t.State, t.Reason, t.Message, t.EndedAt = o.State, o.Reason, o.Message, a.now
	if !again {
		a.set(r, &t)
		a.emit(Event{Type: api.EventTaskEnded, Task: &t})
		a.remember(&t)
		return
	}
	past := api.Attempt{
		Number: t.Attempt, Node: t.Node, NodeName: t.NodeName,
		State: o.State, Reason: o.Reason, Message: o.Message, ExitCode: o.ExitCode, EndedAt: a.now,
	}
	t.History = append(t.History[max(0, len(t.History)+1-api.MaxHistory):len(t.History):len(t.History)], past)
	t.State, t.Node, t.NodeName, t.Ports = api.Pending, "", "", nil
	t.PlacedAt, t.StartedAt, t.EndedAt = time.Time{}, time.Time{}, time.Time{}
	if wait > 0 {
		t.NotBefore = a.now.Add(wait)
	}
	a.set(r, &t)
	a.emit(Event{Type: api.EventTaskRetry, Task: &t})
}

// nextAttempt counts the ending against the task's policy and says whether and after what wait another attempt follows.
func nextAttempt(t *api.Task, o *api.Outcome) (wait time.Duration, again bool) {
	switch o.State {
	case api.Failed:
		t.Failures++
		if !retryable(o.Reason) || t.Failures > t.Spec.Retries {
			return 0, false
		}
		wait = backoff(t.Spec.Backoff, t.Failures)
	case api.Lost:
		if o.Reason != api.ReasonNodeLost { // a node's loss is never the task's doing
			t.Losses++
			wait = backoff(api.Duration(100*time.Millisecond), t.Losses)
		}
		if t.Losses > api.MaxLosses {
			return 0, false
		}
	default:
		return 0, false
	}
	if t.Kill != nil {
		o.State, o.Reason = api.Killed, t.Kill.Reason
		return 0, false
	}
	return wait, true
}

// retryable reports whether another attempt could end differently.
func retryable(r api.Reason) bool {
	switch r {
	case api.ReasonModuleRefused, api.ReasonEntryNotFound, api.ReasonVolumeRefused, api.ReasonCompileLimit:
		return false
	}
	return true
}

// backoff doubles with each time, up to the maximum.
func backoff(first api.Duration, times int) time.Duration {
	d := first
	for range times - 1 {
		if d = d * 2; d >= api.MaxBackoff {
			return api.MaxBackoff.D()
		}
	}
	return d.D()
}

func (a *applying) kill(c *Kill) {
	r, ok := a.tasks.Get([]byte(c.Task))
	if !ok {
		a.reject(api.CodeNotFound, "there is no task %s", c.Task)
		return
	}
	old := r.task()
	if old.State.Terminal() || old.Kill != nil && (old.Kill.Force || !c.Force) {
		a.emit(Event{Type: Ignored, Task: old})
		return
	}
	t := *old
	t.Kill = &api.Kill{Reason: c.Reason, Force: c.Force, At: a.now}
	if t.Active() {
		a.set(r, &t)
		a.emit(Event{Type: api.EventTaskKill, Task: &t})
		return
	}
	t.State, t.Reason, t.Message, t.EndedAt = api.Killed, c.Reason, c.Reason.Sentence(), a.now
	t.Outcome = &api.Outcome{State: api.Killed, Reason: c.Reason, Message: t.Message, ExitCode: api.ExitLimit, Inline: true}
	a.set(r, &t)
	a.emit(Event{Type: api.EventTaskEnded, Task: &t})
}

func (a *applying) forget(c *Forget) {
	for _, id := range c.Tasks {
		r, ok := a.tasks.Get([]byte(id))
		if !ok || r.live != nil {
			continue
		}
		t := r.task()
		a.unindex(t, r)
		a.tasks.Delete([]byte(id))
		a.order.Delete(seqKey(r.seq))
		a.counts[stateIndex(t.State)]--
		if t.Key != "" && (t.Job == "" || len(a.members(t.Job)) == 0) {
			a.keys.Delete([]byte(t.Key))
		}
	}
	for _, d := range c.Blobs {
		a.blobs.Delete([]byte(d))
	}
	a.emit(Event{Type: Ignored})
}
