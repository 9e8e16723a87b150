package core

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

// formatVersion is the first thing in a snapshot. A master refuses one it does not know.
const formatVersion = 1

// saved is one record of a snapshot: exactly one field is set, the header in the first and End in the last.
type saved struct {
	Header *savedHeader  `json:"header,omitempty"`
	Spec   *api.Spec     `json:"spec,omitempty"` // of the tasks that follow without one
	Task   *savedTask    `json:"task,omitempty"`
	Key    *savedKey     `json:"key,omitempty"`
	Node   *api.Node     `json:"node,omitempty"`
	Module *api.Module   `json:"module,omitempty"`
	Blob   *api.BlobInfo `json:"blob,omitempty"`
	Memo   *memo         `json:"memo,omitempty"`
	End    bool          `json:"end,omitempty"`
}

type savedHeader struct {
	Version int       `json:"version"`
	Index   uint64    `json:"index"`
	Now     time.Time `json:"now"`
	Seq     uint64    `json:"seq"`
}

type savedTask struct {
	Task  api.Task `json:"task"` // without its spec
	Seq   uint64   `json:"seq"`
	Done  uint64   `json:"done,omitempty"`
	Queue bool     `json:"queue,omitempty"` // pending and not waiting
}

type savedKey struct {
	Key string `json:"key"`
	keyed
}

// Save writes the state as it is now. See [View.Save].
func (s *State) Save(w io.Writer) error { return s.View().Save(w) }

// Save writes the view as a stream that [Load] reads. Equal states give equal bytes.
func (v View) Save(w io.Writer) error {
	e := wire.NewEncoder(w)
	err := e.Encode(saved{Header: &savedHeader{formatVersion, v.index, v.now, v.seq}})
	each := func(s saved) bool {
		err = e.Encode(s)
		return err != nil
	}
	if err == nil {
		v.nodes.Root().Walk(func(_ []byte, n *api.Node) bool { return each(saved{Node: n}) })
	}
	if err == nil {
		v.modules.Root().Walk(func(_ []byte, m *api.Module) bool { return each(saved{Module: m}) })
	}
	if err == nil {
		v.blobs.Root().Walk(func(_ []byte, b *api.BlobInfo) bool { return each(saved{Blob: b}) })
	}
	if err == nil {
		v.keys.Root().Walk(func(k []byte, x keyed) bool { return each(saved{Key: &savedKey{string(k), x}}) })
	}
	if err == nil {
		v.aged.Root().Walk(func(_ []byte, m *memo) bool { return each(saved{Memo: m}) })
	}
	if err == nil {
		err = v.saveTasks(e)
	}
	if err == nil {
		err = e.Encode(saved{End: true})
	}
	if err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}

func (v View) saveTasks(e *wire.Encoder) (err error) {
	var spec *api.Spec // of the task before: the tasks of an array follow each other and share theirs
	var job api.TaskID
	v.order.Root().Walk(func(_ []byte, id api.TaskID) bool {
		r, _ := v.tasks.Get([]byte(id))
		task := *r.task()
		if spec == nil || job == "" || task.Job != job {
			spec, job = task.Spec, task.Job
			if err = e.Encode(saved{Spec: spec}); err != nil {
				return true
			}
		}
		task.Spec = nil
		t := savedTask{Task: task, Seq: r.seq, Done: r.done}
		_, t.Queue = v.queues.Get(queueKey(r))
		err = e.Encode(saved{Task: &t})
		return err != nil
	})
	return err
}

// Load reads what Save wrote. A stream that is cut short, damaged or of an unknown version is an error.
func Load(r io.Reader) (*State, error) {
	s, err := load(r)
	if err != nil {
		return nil, fmt.Errorf("load state: %w", err)
	}
	return s, nil
}

func load(r io.Reader) (*State, error) {
	s := New()
	d := wire.NewDecoder(r)
	var first saved
	if err := d.Decode(&first); err != nil {
		return nil, err
	}
	h := first.Header
	if h == nil || h.Version != formatVersion {
		return nil, errors.New("not a snapshot of a version that this master knows")
	}
	s.index, s.now, s.seq = h.Index, h.Now.UTC(), h.Seq
	var spec *api.Spec
	for {
		var x saved
		if err := d.Decode(&x); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		switch {
		case x.Spec != nil:
			spec = x.Spec
		case x.Task != nil:
			if spec == nil {
				return nil, errors.New("a task without a spec")
			}
			if err := s.loadTask(x.Task, spec); err != nil {
				return nil, err
			}
		case x.Key != nil:
			s.keys.Insert([]byte(x.Key.Key), x.Key.keyed)
		case x.Node != nil:
			s.nodes.Insert([]byte(x.Node.ID), x.Node)
		case x.Module != nil:
			s.modules.Insert([]byte(x.Module.Digest), x.Module)
			for _, tag := range x.Module.Tags {
				s.tags.Insert([]byte(tag), x.Module.Digest)
			}
		case x.Blob != nil:
			s.blobs.Insert([]byte(x.Blob.Digest), x.Blob)
		case x.Memo != nil:
			s.addMemo(x.Memo)
		case x.End:
			return s, s.Check()
		default:
			return nil, errors.New("a record of an unknown kind")
		}
	}
}

func (s *State) loadTask(x *savedTask, spec *api.Spec) error {
	t := x.Task
	t.Spec = spec
	if !known(t.State) {
		return fmt.Errorf("task %s is in the unknown state %s", t.ID, api.Quote(string(t.State)))
	}
	r := newRecord(&t, record{seq: x.Seq, shape: shapeOf(spec), done: x.Done})
	s.tasks.Insert([]byte(t.ID), r)
	s.order.Insert(seqKey(r.seq), t.ID)
	s.counts[stateIndex(t.State)]++
	switch {
	case t.State.Terminal():
		s.done.Insert(seqKey(r.done), t.ID)
	case t.Active():
		s.active.Insert(activeKey(t.Node, t.ID), struct{}{})
	case x.Queue:
		s.queues.Insert(queueKey(r), t.ID)
	default:
		s.delayed.Insert(delayKey(&t, r), t.ID)
	}
	return nil
}

func known(s api.State) bool {
	for _, x := range allStates {
		if x == s {
			return true
		}
	}
	return false
}
