package client

import (
	"context"
	"sync"
	"time"

	"github.com/saki-run/saki/api"
)

// Progress counts the tasks of one [Client.WaitAll].
type Progress struct {
	Total   int
	Running int
	Done    int // ended, well or badly
	Failed  int // of those, not finished
}

// Watch gets what [Client.WaitAll] sees. Its functions are called one at a time; either may be nil.
type Watch struct {
	Ended   func(api.Task) // once for each task, as they end
	Changed func(Progress)
}

// sweepEvery is how often WaitAll asks for the tasks themselves, in case an event got lost.
const sweepEvery = 20 * time.Second

// fetchers is how many ended tasks WaitAll fetches at a time.
const fetchers = 8

// WaitAll waits until all the tasks have ended. It follows the cluster's events from the index since, which is best taken
// before the tasks were submitted; tasks that have ended already are told at once.
func (c *Client) WaitAll(ctx context.Context, tasks []api.Task, since uint64, w Watch) error {
	a := &all{c: c, w: w, open: map[api.TaskID]bool{}, running: map[api.TaskID]bool{}, done: make(chan struct{})}
	a.p.Total = len(tasks)
	for i := range tasks {
		a.open[tasks[i].ID] = true
	}
	for i := range tasks {
		a.saw(&tasks[i])
	}
	if len(tasks) == 0 || a.finished() {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	fetch := make(chan fetching, fetchers)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	for range fetchers {
		wg.Go(func() { a.fetch(ctx, cancel, fetch) })
	}
	wg.Go(func() { a.sweep(ctx, since == 0, fetch) })
	wg.Go(func() { // events only make it quicker: sweeps go on without them
		_ = c.Events(ctx, since, true, func(ev api.Event) error { return a.event(ctx, ev, fetch) })
	})
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fetching is a task to be asked for.
type fetching struct {
	id   api.TaskID
	wait time.Duration // an event said that it ended, but the master asked may lag behind
}

// all is the state of one WaitAll.
type all struct {
	c    *Client
	w    Watch
	done chan struct{}

	mu      sync.Mutex // guards what follows, and the calls of w
	p       Progress
	open    map[api.TaskID]bool // not ended yet
	running map[api.TaskID]bool
}

func (a *all) finished() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.open) == 0
}

// saw takes note of a task as the master gave it.
func (a *all) saw(t *api.Task) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.open[t.ID] {
		return
	}
	if !t.State.Terminal() {
		a.runsLocked(t.ID, t.State == api.Running)
		return
	}
	delete(a.open, t.ID)
	delete(a.running, t.ID)
	a.p.Done++
	if t.State != api.Finished {
		a.p.Failed++
	}
	a.p.Running = len(a.running)
	if a.w.Ended != nil {
		a.w.Ended(*t)
	}
	if a.w.Changed != nil {
		a.w.Changed(a.p)
	}
	if len(a.open) == 0 {
		close(a.done)
	}
}

func (a *all) runsLocked(id api.TaskID, runs bool) {
	if a.running[id] == runs {
		return
	}
	if runs {
		a.running[id] = true
	} else {
		delete(a.running, id)
	}
	a.p.Running = len(a.running)
	if a.w.Changed != nil {
		a.w.Changed(a.p)
	}
}

func (a *all) event(ctx context.Context, ev api.Event, fetch chan<- fetching) error {
	a.mu.Lock()
	ours := a.open[ev.Task]
	if ours && ev.Type != api.EventTaskEnded {
		a.runsLocked(ev.Task, ev.Type == api.EventTaskRunning)
	}
	a.mu.Unlock()
	if !ours || ev.Type != api.EventTaskEnded {
		return nil
	}
	select {
	case fetch <- fetching{ev.Task, 2 * time.Second}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fetch asks for tasks until ctx ends. An error that patience did not cure ends the whole wait.
func (a *all) fetch(ctx context.Context, fail context.CancelCauseFunc, ids <-chan fetching) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-ids:
			t, err := a.c.task(ctx, string(f.id), f.wait)
			if err != nil {
				fail(err)
				return
			}
			a.saw(t)
		}
	}
}

// sweep fetches every open task now and then, beginning at once if now is set.
func (a *all) sweep(ctx context.Context, now bool, fetch chan<- fetching) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for ; ; now = false {
		if !now {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		a.mu.Lock()
		ids := make([]api.TaskID, 0, len(a.open))
		for id := range a.open {
			ids = append(ids, id)
		}
		a.mu.Unlock()
		for _, id := range ids {
			select {
			case fetch <- fetching{id: id}:
			case <-ctx.Done():
				return
			}
		}
	}
}
