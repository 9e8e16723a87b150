// Package engine holds the leader's one loop. It takes every waiting request, plans on a scratch copy of the state, writes one
// log entry, and answers the requests from what the entry did; what comes in meanwhile is the next batch. There is no plan
// queue, no optimistic retry and no debounce.
package engine

import (
	"context"
	"sync"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
	"github.com/saki-run/saki/master/sched"
)

// Log is the replicated log. Propose returns when the entry has been applied here, with what [Machine.Apply] gave. Errors are
// *api.Error: no_leader when nothing was written, unknown_outcome when that cannot be told.
type Log interface {
	Propose(ctx context.Context, data []byte) (index uint64, result any, err error)
}

// Config is what an Engine works with.
type Config struct {
	Log     Log
	Machine *Machine
	Policy  sched.Policy
	Now     func() time.Time
	Keeping core.Keeping // zero: nothing is forgotten
}

// Engine batches commands into log entries while this master leads. It is safe for concurrent use.
type Engine struct {
	cfg Config

	mu      sync.Mutex
	leading bool
	queue   []request
	queued  int // bytes, roughly
	wake    chan struct{}
}

type request struct {
	cmds []core.Command
	done func([]core.Event, error)
}

// Bounds of the queue and of one entry.
const (
	maxQueuedRequests = 100_000
	maxQueuedBytes    = 256 << 20
	maxEntryCommands  = 4096
	maxEntryBytes     = 512 << 10
)

// errNotLeading is the answer while another master leads.
var errNotLeading = api.Errorf(api.CodeNoLeader, "this master does not lead").WithHint("try again; any master forwards to the leader")

// New makes an Engine that answers no_leader until [Engine.Run].
func New(cfg Config) *Engine {
	return &Engine{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Do writes the commands and waits until they are part of the replicated state. The events are those of these commands, in
// their order. An error of code unknown_outcome, or ctx's, leaves open whether they will be.
func (e *Engine) Do(ctx context.Context, cmds ...core.Command) ([]core.Event, error) {
	type answer struct {
		events []core.Event
		err    error
	}
	ch := make(chan answer, 1)
	e.Enqueue(func(ev []core.Event, err error) { ch <- answer{ev, err} }, cmds...)
	select {
	case a := <-ch:
		return a.events, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Enqueue is [Engine.Do] without waiting: done is called once, from the engine's loop, and must not block.
func (e *Engine) Enqueue(done func([]core.Event, error), cmds ...core.Command) {
	size := 0
	for _, c := range cmds {
		size += sizeOf(c)
	}
	e.mu.Lock()
	var err error
	switch {
	case !e.leading:
		err = errNotLeading
	case len(e.queue) >= maxQueuedRequests || e.queued+size > maxQueuedBytes:
		err = api.Errorf(api.CodeOverloaded, "the leader has %d requests waiting", len(e.queue)).WithHint("try again in a moment")
	default:
		e.queue = append(e.queue, request{cmds, done})
		e.queued += size
	}
	e.mu.Unlock()
	if err != nil {
		done(nil, err)
		return
	}
	e.Poke()
}

// Poke makes the loop plan again although no command came, because what [sched.Policy] answers has changed.
func (e *Engine) Poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Leading reports whether this master takes commands.
func (e *Engine) Leading() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leading
}

// sizeOf is roughly what a command adds to an entry.
func sizeOf(c core.Command) int {
	n := 300
	switch c := c.(type) {
	case *core.Submit:
		s := c.Spec
		n += len(s.Stdin) + 100*len(s.Files)
		if s.Wasm != nil {
			n += textSize(s.Wasm.Args)
		}
		if s.Shell != nil {
			n += len(s.Shell.Script) + textSize(s.Shell.Argv)
		}
		if s.Container != nil {
			n += textSize(s.Container.Command)
		}
		for k, v := range s.Env {
			n += len(k) + len(v)
		}
	case *core.Report:
		if o := c.Outcome; o != nil {
			n += len(o.Stdout) + len(o.Stderr) + len(o.Message) + len(o.Trace)
		}
	}
	return n
}

func textSize(args []string) int {
	n := 0
	for _, a := range args {
		n += len(a)
	}
	return n
}

// take gives the next batch: whole requests, as many as fit one entry.
func (e *Engine) take() (batch []request, cmds []core.Command, more bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, size := 0, 0
	for ; n < len(e.queue); n++ {
		add := 0
		for _, c := range e.queue[n].cmds {
			add += sizeOf(c)
		}
		if n > 0 && (size+add > maxEntryBytes || len(cmds)+len(e.queue[n].cmds) > maxEntryCommands) {
			break
		}
		size += add
		cmds = append(cmds, e.queue[n].cmds...)
	}
	batch = e.queue[:n:n]
	e.queue = e.queue[n:]
	e.queued -= size
	if len(e.queue) == 0 {
		e.queue = nil
	}
	return batch, cmds, len(e.queue) > 0
}

func (e *Engine) setLeading(on bool) {
	e.mu.Lock()
	e.leading = on
	left := e.queue
	if !on {
		e.queue, e.queued = nil, 0
	}
	e.mu.Unlock()
	if on {
		return
	}
	for _, r := range left {
		r.done(nil, errNotLeading)
	}
}

// Run leads until ctx, which ends with the leadership. By then the machine must have applied all that earlier leaders wrote.
func (e *Engine) Run(ctx context.Context) {
	e.setLeading(true)
	defer e.setLeading(false)
	e.Poke()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-timer.C:
		}
		for more := true; more && ctx.Err() == nil; {
			more = e.step(ctx)
		}
		timer.Reset(e.nextWake())
	}
}

// keepEvery is how often ended tasks are looked at for forgetting.
const keepEvery = 5 * time.Second

// nextWake is how long until time alone makes something to do.
func (e *Engine) nextWake() time.Duration {
	wait := keepEvery
	if at := e.cfg.Machine.View().NextWake(); !at.IsZero() {
		wait = min(wait, max(0, at.Sub(e.cfg.Now()))+time.Millisecond)
	}
	return wait
}

// step writes one entry and reports whether there is more to do at once.
func (e *Engine) step(ctx context.Context) bool {
	batch, cmds, more := e.take()
	v, now := e.cfg.Machine.View(), e.cfg.Now()
	asked := len(cmds)
	if e.cfg.Keeping != (core.Keeping{}) {
		if old := v.Expired(e.cfg.Keeping, now); len(old) > 0 {
			cmds = append(cmds, &core.Forget{Tasks: old})
		}
	}
	entry := Plan(v, cmds, e.cfg.Policy, now)
	if len(entry.Commands) == 0 {
		return false
	}
	events, err := e.propose(ctx, entry)
	answer(batch, events, err)
	// A full plan means that there may be more to place.
	return more || err == nil && len(entry.Commands)-asked >= maxPlacedPerPlan
}

// maxPlacedPerPlan is below what sched places at most in one plan.
const maxPlacedPerPlan = 256

func (e *Engine) propose(ctx context.Context, entry core.Entry) ([]core.Event, error) {
	data, err := entry.Encode()
	if err != nil {
		return nil, err
	}
	_, result, err := e.cfg.Log.Propose(ctx, data)
	if err != nil {
		return nil, err
	}
	events, _ := result.([]core.Event)
	return events, nil
}

// answer gives each request the events of its own commands.
func answer(batch []request, events []core.Event, err error) {
	first := 0
	for _, r := range batch {
		end := first + len(r.cmds)
		var own []core.Event
		for len(events) > 0 && events[0].Cmd < end {
			if events[0].Cmd >= first {
				own = append(own, events[0])
			}
			events = events[1:]
		}
		r.done(own, err)
		first = end
	}
}
