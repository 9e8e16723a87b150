package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/saki-run/saki/agent/journal"
	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/output"
	"github.com/saki-run/saki/agent/table"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire/link"
)

// attempt is one that this process runs, or has found again.
type attempt struct {
	link.Attempt
	task   *api.Task
	dir    string
	handle []byte // of an earlier process's runner
	again  bool   // it was started by an earlier process
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed after end is set
	end    *api.Outcome
	got    time.Time // when this process was given it
}

// outcome gives the attempt's end, or nil while it runs.
func (x *attempt) outcome() *api.Outcome {
	select {
	case <-x.ended:
		return x.end
	default:
		return nil
	}
}

// runningAfter is how long an attempt must have run to be reported as running. Most wasm tasks end before.
const runningAfter = 100 * time.Millisecond

// restore puts in what the journal knows. It is called before Run.
func (a *Agent) restore(e journal.Entry) {
	at := link.Attempt{Task: e.Task.ID, Number: e.Task.Attempt}
	a.table.Restore(at, e.Outcome)
	if e.Outcome != nil {
		return
	}
	dir := a.cfg.Home.AttemptDir(e.Task.Spec.Namespace, at.Task, at.Number)
	a.live[at] = &attempt{Attempt: at, task: e.Task, dir: dir, handle: e.Handle, again: true, ended: make(chan struct{})}
}

// resume looks after the attempts of an earlier process.
func (a *Agent) resume() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.live {
		x.ctx, x.cancel = context.WithCancelCause(a.ctx)
		a.goRun(x)
	}
}

// goRun runs the attempt in its own goroutine. The caller holds mu.
func (a *Agent) goRun(x *attempt) {
	x.got = a.cfg.Now()
	a.wg.Go(func() { a.run(x) })
}

// desire takes in what the master wants.
func (a *Agent) desire(d link.Desire) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var notes []journal.Record
	var start []*attempt
	for _, act := range a.table.Desire(d) {
		switch act := act.(type) {
		case table.Start:
			at := link.Attempt{Task: act.Task.ID, Number: act.Task.Attempt}
			x := &attempt{
				Attempt: at, task: act.Task, ended: make(chan struct{}),
				dir: a.cfg.Home.AttemptDir(act.Task.Spec.Namespace, at.Task, at.Number),
			}
			x.ctx, x.cancel = context.WithCancelCause(a.ctx) // a stop may follow before it runs
			a.live[at] = x
			notes = append(notes, journal.Record{Start: act.Task})
			start = append(start, x)
		case table.Stop:
			if x := a.live[act.Attempt]; x != nil {
				x.cancel(&runner.Stop{Reason: act.Reason, Force: act.Force})
			}
		case table.Forget:
			notes = append(notes, journal.Record{Forget: &act.Attempt})
		}
	}
	if len(notes) > 0 {
		if err := a.journal.Write(notes...); err != nil {
			for _, x := range start { // nothing runs that could be forgotten
				delete(a.live, x.Attempt)
			}
			a.fail(err)
			return
		}
	}
	for _, x := range start {
		a.goRun(x)
	}
}

// run runs one attempt to its end and sees that the end is told.
func (a *Agent) run(x *attempt) {
	o, err := a.attempt(x)
	if errors.Is(err, runner.ErrDetach) {
		return
	}
	if err != nil {
		a.cfg.Log.Warn("runner failed", "task", x.Task, "attempt", x.Number, "error", err)
		o = api.Outcome{
			State: api.Lost, Reason: api.ReasonRunnerUnavailable, Message: err.Error(),
			ExitCode: api.ExitCode(api.ReasonRunnerUnavailable), Inline: true,
		}
	}
	a.metrics.ended(x.task.Spec.Kind(), &o)
	if o.Inline && mayBeTriedAgain(x.task, &o) {
		if err := output.Keep(x.dir, &o); err != nil {
			a.cfg.Log.Warn("the output of an attempt is not kept", "task", x.Task, "attempt", x.Number, "error", err)
		}
	}
	a.mu.Lock()
	delete(a.live, x.Attempt)
	news := a.table.Ended(x.Attempt, o)
	a.mu.Unlock()
	x.end = &o
	close(x.ended)
	x.cancel(nil)
	if !news {
		return
	}
	ended := link.Ended{Attempt: x.Attempt, Outcome: o}
	a.journal.Sync(func(err error) {
		if err != nil {
			a.fail(err) // what is not safe here is not reported
			return
		}
		a.reports.ended(ended)
	}, journal.Record{Ended: &ended})
}

// mayBeTriedAgain reports whether the masters may start another attempt after this end.
func mayBeTriedAgain(t *api.Task, o *api.Outcome) bool {
	return o.State == api.Lost || o.State == api.Failed && t.Spec.Retries > 0
}

func (a *Agent) attempt(x *attempt) (api.Outcome, error) {
	kind := x.task.Spec.Kind()
	r := a.cfg.Runners[kind]
	if r == nil {
		return api.Outcome{}, fmt.Errorf("this agent has no runner for %s tasks", kind)
	}
	if err := os.MkdirAll(filepath.Dir(x.dir), 0o711); err != nil {
		return api.Outcome{}, err
	}
	timer := time.AfterFunc(time.Hour, func() { a.started(x) })
	timer.Stop()
	defer timer.Stop()
	io := runner.IO{
		Dir:  x.dir,
		Blob: a.blob,
		Handle: func(h []byte) error {
			return a.journal.Write(journal.Record{Handle: &journal.Handle{Attempt: x.Attempt, Handle: h}})
		},
		Started: func() { timer.Reset(runningAfter) },
	}
	begin := a.cfg.Now()
	var o api.Outcome
	var err error
	if x.again {
		o, err = a.reattach(x, r, io)
	} else {
		o, err = r.Run(x.ctx, x.task, io)
	}
	if o.Receipt.DispatchNS == 0 {
		o.Receipt.DispatchNS = int64(begin.Sub(x.got))
	}
	return o, err
}

func (a *Agent) reattach(x *attempt, r runner.Runner, io runner.IO) (api.Outcome, error) {
	gone := api.Outcome{
		State: api.Lost, Reason: api.ReasonNodeForgot, ExitCode: api.ExitCode(api.ReasonNodeForgot), Inline: true,
		Message: "the agent was restarted and the attempt was gone",
	}
	ra, ok := r.(runner.Reattacher)
	if !ok || x.handle == nil {
		return gone, nil
	}
	o, err := ra.Reattach(x.ctx, x.task, x.handle, io)
	if errors.Is(err, runner.ErrGone) {
		return gone, nil
	}
	return o, err
}

// started reports an attempt that has run for a while.
func (a *Agent) started(x *attempt) {
	a.mu.Lock()
	news := a.table.Started(x.Attempt)
	a.mu.Unlock()
	if news {
		a.reports.started(link.Attempt{Task: x.Task, Number: x.Number, Running: true})
	}
}

// blob gives the path of content, fetching it from a master when it is not here.
func (a *Agent) blob(ctx context.Context, d api.Digest) (string, error) {
	if path, ok := a.cfg.Blobs.Path(string(d)); ok {
		return path, nil
	}
	if err := a.fetch.Fetch(ctx, string(d), a.sources()); err != nil {
		return "", err
	}
	path, ok := a.cfg.Blobs.Path(string(d))
	if !ok {
		return "", api.Errorf(api.CodeNotFound, "content %s vanished after it was fetched", d)
	}
	return path, nil
}
