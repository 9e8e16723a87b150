package sched

import (
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
)

// head is the oldest task of a queue that has not been placed yet.
type head struct {
	queue core.Queue
	seq   uint64
	task  *api.Task
}

func (h *head) advance() (ok bool) {
	h.seq, h.task, ok = h.queue.Next()
	return ok
}

// heads is a heap of queues by the age of their head.
type heads []*head

func (h heads) Len() int           { return len(h) }
func (h heads) Less(i, j int) bool { return h[i].seq < h[j].seq }
func (h heads) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements [container/heap.Interface].
func (h *heads) Push(x any) { *h = append(*h, x.(*head)) }

// Pop implements [container/heap.Interface].
func (h *heads) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
