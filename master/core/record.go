package core

import (
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

// record is a task and its places in the indexes. Most tasks that a master remembers have ended; those are kept as bytes,
// which take a fifth of the memory and which the garbage collector need not look into.
type record struct {
	live  *api.Task // nil once it has ended
	ended []byte    // without the spec when that is shared
	spec  *api.Spec // of an ended member of an array, shared by all of them
	seq   uint64    // order of submission
	shape uint64    // tasks of one shape fit the same nodes
	done  uint64    // order of ending; 0 while alive
}

// newRecord makes the record of a task with the places of an older one.
func newRecord(t *api.Task, places record) *record {
	r := &record{seq: places.seq, shape: places.shape, done: places.done}
	if !t.State.Terminal() {
		r.live = t
		return r
	}
	c := *t
	if t.Job != "" {
		r.spec, c.Spec = t.Spec, nil
	}
	b, err := wire.Marshal(&c)
	if err != nil {
		panic("core: " + err.Error()) // our own types always encode
	}
	r.ended = b
	return r
}

// task gives the task. That of an ended one is made anew each time.
func (r *record) task() *api.Task {
	if r.live != nil {
		return r.live
	}
	var t api.Task
	if err := wire.Unmarshal(r.ended, &t); err != nil {
		panic("core: " + err.Error()) // newRecord wrote it
	}
	if r.spec != nil {
		t.Spec = r.spec
	}
	return &t
}
