// Package core is the replicated state machine: what the masters agree on. It is pure. Equal logs make equal states, entry by
// entry; the time comes from the entries; nothing fails, a command that cannot be obeyed becomes an event that says so.
//
// State is built of immutable trees: a View of it costs nothing and never changes, so that readers need no lock and a planner
// can try commands on a Fork.
package core

import (
	"encoding/binary"
	"hash/fnv"
	"strconv"
	"time"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/saki-run/saki/api"
)

// keyed is what an idempotency key stands for.
type keyed struct {
	Task api.TaskID `json:"task"`
	Hash string     `json:"hash"`
}

// scalars are the parts of the state that are copied by value.
type scalars struct {
	index  uint64
	now    time.Time
	seq    uint64 // last given to a task, a submission or an ending
	counts counts

	memoCount, memoBytes int // of what memos holds
}

// counts is how many tasks are in each state.
type counts [len(allStates)]int

var allStates = [...]api.State{api.Pending, api.Placed, api.Running, api.Finished, api.Failed, api.Killed, api.Lost}

func stateIndex(s api.State) int {
	for i, x := range allStates {
		if x == s {
			return i
		}
	}
	panic("core: unknown state " + string(s))
}

// State is the state machine. It belongs to one goroutine; everybody else reads a [View].
type State struct {
	scalars
	tasks   *iradix.Txn[*record]       // by id
	order   *iradix.Txn[api.TaskID]    // by order of submission
	queues  *iradix.Txn[api.TaskID]    // pending, by shape and order
	delayed *iradix.Txn[api.TaskID]    // pending but waiting, by time and order
	active  *iradix.Txn[struct{}]      // by node and task id
	done    *iradix.Txn[api.TaskID]    // terminal, by order of ending
	keys    *iradix.Txn[keyed]         // by idempotency key
	nodes   *iradix.Txn[*api.Node]     // by id
	modules *iradix.Txn[*api.Module]   // by digest
	tags    *iradix.Txn[api.Digest]    // by name:tag
	blobs   *iradix.Txn[*api.BlobInfo] // by digest
	memos   *iradix.Txn[*memo]         // by memoKey
	aged    *iradix.Txn[*memo]         // the same, by order of remembering
}

// New makes an empty state.
func New() *State { return View{}.Fork() }

// View is the state at one moment. It never changes and may be shared by any number of goroutines.
type View struct {
	scalars
	tasks   *iradix.Tree[*record]
	order   *iradix.Tree[api.TaskID]
	queues  *iradix.Tree[api.TaskID]
	delayed *iradix.Tree[api.TaskID]
	active  *iradix.Tree[struct{}]
	done    *iradix.Tree[api.TaskID]
	keys    *iradix.Tree[keyed]
	nodes   *iradix.Tree[*api.Node]
	modules *iradix.Tree[*api.Module]
	tags    *iradix.Tree[api.Digest]
	blobs   *iradix.Tree[*api.BlobInfo]
	memos   *iradix.Tree[*memo]
	aged    *iradix.Tree[*memo]
}

// View gives the present state, in constant time.
func (s *State) View() View {
	return View{
		s.scalars,
		s.tasks.CommitOnly(), s.order.CommitOnly(), s.queues.CommitOnly(), s.delayed.CommitOnly(), s.active.CommitOnly(),
		s.done.CommitOnly(), s.keys.CommitOnly(), s.nodes.CommitOnly(), s.modules.CommitOnly(), s.tags.CommitOnly(), s.blobs.CommitOnly(),
		s.memos.CommitOnly(), s.aged.CommitOnly(),
	}
}

// Fork gives a state of its own that starts as v, in constant time: a scratch copy for a dry run.
func (v View) Fork() *State {
	return &State{
		v.scalars,
		txn(v.tasks), txn(v.order), txn(v.queues), txn(v.delayed), txn(v.active),
		txn(v.done), txn(v.keys), txn(v.nodes), txn(v.modules), txn(v.tags), txn(v.blobs),
		txn(v.memos), txn(v.aged),
	}
}

func txn[T any](t *iradix.Tree[T]) *iradix.Txn[T] {
	if t == nil {
		t = iradix.New[T]()
	}
	return t.Txn()
}

// seqKey makes keys that sort by number.
func seqKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func pairKey(a, b uint64) []byte { return binary.BigEndian.AppendUint64(seqKey(a), b) }

func activeKey(n api.NodeID, t api.TaskID) []byte { return []byte(string(n) + "\x00" + string(t)) }

// delayKey sorts by time, then by order of submission.
func delayKey(t *api.Task, r *record) []byte { return pairKey(uint64(t.NotBefore.UnixNano()), r.seq) }

func queueKey(r *record) []byte { return pairKey(r.shape, r.seq) }

// shapeOf hashes all that decides on which nodes a task fits.
func shapeOf(s *api.Spec) uint64 {
	h := fnv.New64a()
	add := func(parts ...string) {
		for _, p := range parts {
			_, _ = h.Write([]byte(p)) // a hash never fails
			_, _ = h.Write([]byte{0})
		}
	}
	n := func(i int64) string { return strconv.FormatInt(i, 36) }
	r := s.Resources
	add(string(s.Kind()), string(s.Placement), n(int64(r.CPUs)), n(int64(r.Mem)), n(int64(r.Disk)), n(int64(r.Ports)))
	for _, c := range s.Constraints {
		add(c.String())
	}
	return h.Sum64()
}
