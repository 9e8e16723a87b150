package engine

import (
	"context"
	"sync"

	"github.com/saki-run/saki/api"
)

// Hub wakes those who wait for a task's end. It is safe for concurrent use.
type Hub struct {
	mu   sync.Mutex
	wait map[api.TaskID][]chan *api.Task
}

// Applied is to be called for every applied entry.
func (h *Hub) Applied(a Applied) {
	h.mu.Lock()
	idle := len(h.wait) == 0
	h.mu.Unlock()
	if idle {
		return
	}
	for _, e := range a.Events {
		if e.Type == api.EventTaskEnded {
			h.Ended(e.Task)
		}
	}
}

// Ended tells those who wait that the task has ended. It may come before the end is committed, when an agent has it safe.
func (h *Hub) Ended(t *api.Task) {
	h.mu.Lock()
	waiting := h.wait[t.ID]
	delete(h.wait, t.ID)
	h.mu.Unlock()
	for _, ch := range waiting {
		ch <- t // it has room for one and gets one
	}
}

// Wait blocks until the task has ended and gives it then. current is asked once for the task as it is, after the waiting has
// begun, so that no end is missed; nil means that there is no such task. When ctx ends first, Wait gives the task as current
// last showed it.
func (h *Hub) Wait(ctx context.Context, id api.TaskID, current func() *api.Task) *api.Task {
	ch := make(chan *api.Task, 1)
	h.mu.Lock()
	if h.wait == nil {
		h.wait = map[api.TaskID][]chan *api.Task{}
	}
	h.wait[id] = append(h.wait[id], ch)
	h.mu.Unlock()
	t := current()
	if t == nil || t.State.Terminal() {
		h.leave(id, ch)
		return t
	}
	select {
	case t := <-ch:
		return t
	case <-ctx.Done():
		h.leave(id, ch)
		return current()
	}
}

func (h *Hub) leave(id api.TaskID, ch chan *api.Task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	left := h.wait[id][:0:0]
	for _, c := range h.wait[id] {
		if c != ch {
			left = append(left, c)
		}
	}
	if len(left) == 0 {
		delete(h.wait, id)
		return
	}
	h.wait[id] = left
}
