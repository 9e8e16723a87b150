package core

import (
	"encoding/binary"
	"iter"
	"strings"
	"time"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/saki-run/saki/api"
)

// Index is the log index that the view reflects.
func (v View) Index() uint64 { return v.index }

// Now is the time of the latest entry.
func (v View) Now() time.Time { return v.now }

// Task gives a task by its full id, or nil.
func (v View) Task(id api.TaskID) *api.Task {
	if v.tasks == nil {
		return nil
	}
	r, ok := v.tasks.Get([]byte(id))
	if !ok {
		return nil
	}
	return r.task()
}

// Members gives the tasks of an array, or the one task of the id, in the order of their index.
func (v View) Members(id api.TaskID) []*api.Task { return members(v.tasks.Root(), id) }

// FindTask gives the task that a person means: a full id, a unique prefix, or "last" for the newest. The error is an
// *api.Error of code not_found or ambiguous.
func (v View) FindTask(s string) (*api.Task, error) {
	if s == "last" {
		for t := range v.Tasks() {
			return t, nil
		}
		return nil, api.Errorf(api.CodeNotFound, "there are no tasks yet")
	}
	if t := v.Task(api.TaskID(s)); t != nil {
		return t, nil
	}
	var found []*api.Task
	v.tasks.Root().WalkPrefix([]byte(s), func(_ []byte, r *record) bool {
		found = append(found, r.task())
		return len(found) > 1
	})
	switch {
	case len(found) == 0 || s == "":
		return nil, api.Errorf(api.CodeNotFound, "there is no task %s", api.Quote(s)).
			WithHint("saki ps shows the tasks; ended ones are forgotten after a while")
	case len(found) > 1:
		return nil, api.Errorf(api.CodeAmbiguous, "%s begins the ids of several tasks, such as %s and %s", api.Quote(s), found[0].ID, found[1].ID).
			WithHint("give more of the id")
	}
	return found[0], nil
}

// Tasks gives every task, newest first.
func (v View) Tasks() iter.Seq[*api.Task] {
	return func(yield func(*api.Task) bool) {
		it := v.order.Root().ReverseIterator()
		for _, id, ok := it.Previous(); ok; _, id, ok = it.Previous() {
			if !yield(v.Task(id)) {
				return
			}
		}
	}
}

// Count is how many tasks are in the state.
func (v View) Count(s api.State) int { return v.counts[stateIndex(s)] }

// Queue walks the pending tasks of one shape, all of which fit the same nodes, oldest first.
type Queue struct {
	v  View
	it *iradix.Iterator[api.TaskID]
}

// Queues gives one walk for each shape that has pending tasks.
func (v View) Queues() []Queue {
	var out []Queue
	for next := uint64(0); ; next++ {
		it := v.queues.Root().Iterator()
		it.SeekLowerBound(seqKey(next))
		key, _, ok := it.Next()
		if !ok {
			return out
		}
		next = binary.BigEndian.Uint64(key)
		it = v.queues.Root().Iterator()
		it.SeekPrefix(seqKey(next))
		out = append(out, Queue{v, it})
		if next == ^uint64(0) {
			return out
		}
	}
}

// Next gives the next task and its order of submission, or false at the end.
func (q Queue) Next() (seq uint64, t *api.Task, ok bool) {
	key, id, ok := q.it.Next()
	if !ok {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(key[8:]), q.v.Task(id), true
}

// NextWake is when the earliest waiting retry is due; zero when none waits.
func (v View) NextWake() time.Time {
	key, _, ok := v.delayed.Root().Minimum()
	if !ok {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(key)))
}

// Node gives a node by id, or nil.
func (v View) Node(id api.NodeID) *api.Node {
	if v.nodes == nil {
		return nil
	}
	n, ok := v.nodes.Get([]byte(id))
	if !ok {
		return nil
	}
	return n
}

// Nodes gives every node in the order of ids.
func (v View) Nodes() iter.Seq[*api.Node] {
	return func(yield func(*api.Node) bool) {
		it := v.nodes.Root().Iterator()
		for _, n, ok := it.Next(); ok; _, n, ok = it.Next() {
			if !yield(n) {
				return
			}
		}
	}
}

// FindNode gives the node of the name or id. The error is an *api.Error.
func (v View) FindNode(s string) (*api.Node, error) {
	var names []string
	for n := range v.Nodes() {
		if n.Name == s || string(n.ID) == s {
			return n, nil
		}
		names = append(names, n.Name)
	}
	e := api.Errorf(api.CodeNotFound, "there is no node %s", api.Quote(s))
	if best := api.Closest(s, names); best != "" {
		return nil, e.WithHint("did you mean %q?", best)
	}
	return nil, e.WithHint("saki node ls shows the nodes")
}

// OnNode gives the ids of the tasks that are placed or running on the node.
func (v View) OnNode(id api.NodeID) []api.TaskID { return onNode(v.active.Root(), id) }

func onNode(root *iradix.Node[struct{}], id api.NodeID) []api.TaskID {
	prefix := activeKey(id, "")
	var out []api.TaskID
	root.WalkPrefix(prefix, func(key []byte, _ struct{}) bool {
		out = append(out, api.TaskID(key[len(prefix):]))
		return false
	})
	return out
}

// Module gives a module by digest, or nil.
func (v View) Module(d api.Digest) *api.Module {
	m, ok := v.modules.Get([]byte(d))
	if !ok {
		return nil
	}
	return m
}

// FindModule gives the module that a reference names. The error is an *api.Error of code module_not_found.
func (v View) FindModule(ref api.ModuleRef) (*api.Module, error) {
	d := ref.Digest
	if d == "" {
		d, _ = v.tags.Get([]byte(ref.String()))
	}
	if m := v.Module(d); m != nil {
		return m, nil
	}
	var tags []string
	v.tags.Root().Walk(func(k []byte, _ api.Digest) bool {
		tags = append(tags, string(k))
		return false
	})
	e := api.Errorf(api.CodeModuleNotFound, "there is no module %s in the cluster", ref)
	if best := api.Closest(ref.String(), tags); best != "" && ref.Digest == "" {
		return nil, e.WithHint("did you mean %s?", best)
	}
	return nil, e.WithHint("push it with: saki module push FILE %s", ref)
}

// Modules gives every module in the order of digests.
func (v View) Modules() iter.Seq[*api.Module] {
	return func(yield func(*api.Module) bool) {
		it := v.modules.Root().Iterator()
		for _, m, ok := it.Next(); ok; _, m, ok = it.Next() {
			if !yield(m) {
				return
			}
		}
	}
}

// ModuleCount is the number of modules.
func (v View) ModuleCount() int { return v.modules.Len() }

// MemoCount is how many results of memo tasks are remembered.
func (v View) MemoCount() int { return v.memoCount }

// Blob gives what is known of a blob, or nil.
func (v View) Blob(d api.Digest) *api.BlobInfo {
	b, ok := v.blobs.Get([]byte(d))
	if !ok {
		return nil
	}
	return b
}

// Keeping is how long ended tasks and unused blobs are kept.
type Keeping struct {
	Tasks int           // at most so many ended tasks
	For   time.Duration // and none longer than this
	Keyed time.Duration // but one with an idempotency key at least this long
}

// maxForget bounds one entry's work.
const maxForget = 1000

// maxKeyed bounds how many tasks are kept for their key's sake.
const maxKeyed = 100_000

// Expired gives the ended tasks that are due to be forgotten at the time now, oldest first, at most [maxForget].
func (v View) Expired(k Keeping, now time.Time) []api.TaskID {
	var out []api.TaskID
	excess := v.done.Len() - k.Tasks
	keyed := v.keys.Len()
	seen := 0
	it := v.done.Root().Iterator()
	for _, id, ok := it.Next(); ok && len(out) < maxForget && seen < 8*maxForget; _, id, ok = it.Next() {
		t := v.Task(id)
		seen++
		age := now.Sub(t.EndedAt)
		if excess <= 0 && age <= k.For {
			break // all later ones ended later
		}
		if t.Key != "" && !strings.HasPrefix(t.Key, api.AutoKeyPrefix) && age < k.Keyed && keyed <= maxKeyed {
			continue
		}
		out = append(out, id)
		excess--
	}
	return out
}

// UnusedBlobs gives blobs older than age that no task names.
func (v View) UnusedBlobs(age time.Duration, now time.Time) []api.Digest {
	if v.blobs.Len() == 0 {
		return nil
	}
	used := map[api.Digest]bool{}
	for t := range v.Tasks() {
		for _, d := range blobsOf(t.Spec) {
			used[d] = true
		}
	}
	var out []api.Digest
	v.blobs.Root().Walk(func(_ []byte, b *api.BlobInfo) bool {
		if !used[b.Digest] && now.Sub(b.Created) > age {
			out = append(out, b.Digest)
		}
		return len(out) == maxForget
	})
	return out
}

// Holds reports whether the digest belongs to a module or blob of the cluster.
func (v View) Holds(d api.Digest) bool { return v.Module(d) != nil || v.Blob(d) != nil }

// Content gives every digest that the cluster holds.
func (v View) Content() []api.Digest {
	out := make([]api.Digest, 0, v.modules.Len()+v.blobs.Len())
	v.modules.Root().Walk(func(k []byte, _ *api.Module) bool {
		out = append(out, api.Digest(k))
		return false
	})
	v.blobs.Root().Walk(func(k []byte, _ *api.BlobInfo) bool {
		out = append(out, api.Digest(k))
		return false
	})
	return out
}
