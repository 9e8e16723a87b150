package wasm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/protocol"
	"github.com/saki-run/saki/wire"
)

// handleData is what Reattach needs.
type handleData struct {
	Worker string `json:"worker"` // incarnation
}

// attempt is an attempt that a worker has, or had, and that somebody waits for.
type attempt struct {
	key     protocol.Key
	digest  api.Digest
	done    chan api.Outcome // gets one value
	slow    bool             // runs on the interpreter, though the worker has a compiler
	started chan struct{}    // closed when the worker says that it runs; space.mu guards the closing
}

func newAttempt(k protocol.Key, d api.Digest) *attempt {
	return &attempt{key: k, digest: d, done: make(chan api.Outcome, 1), started: make(chan struct{})}
}

// end delivers the outcome. Only the first counts.
func (a *attempt) end(o api.Outcome) {
	select {
	case a.done <- o:
	default:
	}
}

// start says that it runs. space.mu is held.
func (a *attempt) start() {
	select {
	case <-a.started:
	default:
		close(a.started)
	}
}

// run takes an attempt from its blob to its outcome.
func (sp *space) run(ctx context.Context, t *api.Task, io runner.IO) (api.Outcome, error) {
	if ctx.Err() != nil {
		return api.Outcome{}, errStopped
	}
	d := t.Spec.Module()
	if out, err := sp.fetch(ctx, d, io); out != nil || err != nil {
		return deref(out), stoppedOr(ctx, err)
	}
	inv, err := sp.prepare(ctx, t, io)
	if err != nil {
		if ctx.Err() != nil {
			return api.Outcome{}, errStopped
		}
		return api.Fail(api.ReasonStagingFailed, err.Error()), nil
	}
	inv.Own = t.Spec.Wasm.Isolation == api.Strict || sp.offends(d)
	for try := 1; ; try++ {
		out, err := sp.once(ctx, t, inv, io)
		if err != nil || try == maxTries || !strings.HasSuffix(out.Message, neverArrived) {
			return out, err
		}
	}
}

// neverArrived ends the message of an attempt that no worker has had, so that it can be given to one again.
const neverArrived = " broke before it had the task"

// maxTries bounds how often an attempt that never arrived is sent.
const maxTries = 3

// once gives the attempt to a worker and waits for its end.
func (sp *space) once(ctx context.Context, t *api.Task, inv *protocol.Invoke, io runner.IO) (api.Outcome, error) {
	d := t.Spec.Module()
	p, waited, err := sp.pick(ctx, d, inv.Own)
	if errors.Is(err, errSilent) {
		return lost(api.ReasonRegisterTimeout, err.Error()), nil
	}
	if err != nil {
		return api.Outcome{}, stoppedOr(ctx, err)
	}
	if ctx.Err() != nil {
		return api.Outcome{}, errStopped
	}
	a, err := sp.invoke(p, inv, io)
	if err != nil {
		return api.Outcome{}, err
	}
	out, err := sp.await(ctx, t, p, a, io)
	if waited {
		out.Receipt.Warm = false
	}
	return out, err
}

func deref(o *api.Outcome) api.Outcome {
	if o == nil {
		return api.Outcome{}
	}
	return *o
}

// stoppedOr gives errStopped where err comes of ctx's end.
func stoppedOr(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errStopped
	}
	return err
}

// invoke sends an invocation to a worker.
func (sp *space) invoke(p *proc, inv *protocol.Invoke, io runner.IO) (*attempt, error) {
	if io.Handle != nil {
		h, err := wire.Marshal(handleData{Worker: p.incarnation})
		if err != nil {
			return nil, err
		}
		if err := io.Handle(h); err != nil {
			return nil, fmt.Errorf("record handle: %w", err)
		}
	}
	a := newAttempt(inv.Key, inv.Digest)
	sp.mu.Lock()
	a.slow = inv.Engine != "" && inv.Engine != p.engine
	c := p.conn
	if c != nil {
		p.attempts[inv.Key] = a
	}
	sp.mu.Unlock()
	if c == nil {
		a.end(lost(api.ReasonWorkerLost, "worker "+p.name+" went away before it had the task"))
		return a, nil
	}
	if err := protocol.Send(c, inv); err != nil {
		if errors.Is(err, wire.ErrFrameTooLarge) {
			sp.forget(p, a)
			return nil, err
		}
		c.Close() // its reader notices, and the attempt is lost or found with the worker
	}
	return a, nil
}

func (sp *space) forget(p *proc, a *attempt) {
	sp.mu.Lock()
	delete(p.attempts, a.key)
	sp.mu.Unlock()
}

// await waits for the outcome, passes on a wish to stop, and has the worker killed where it does not obey.
func (sp *space) await(ctx context.Context, t *api.Task, p *proc, a *attempt, io runner.IO) (api.Outcome, error) {
	var (
		overdue <-chan time.Time // the guest should have ended by itself or been ended
		verdict api.Outcome      // what it gets when its worker must be killed for it
		started = a.started
		stopped = ctx.Done()
		told    bool
	)
	announce := func() {
		if !told && io.Started != nil {
			io.Started()
		}
		told = true
	}
	for {
		select {
		case out := <-a.done:
			if out.Receipt.RunNS > 0 {
				announce()
			}
			return sp.finish(out, io), nil
		case <-started:
			started = nil
			announce()
			if t.Spec.Timeout > 0 && overdue == nil {
				overdue = time.After(t.Spec.Timeout.D() + forceAfter)
				verdict = api.Fail(api.ReasonDeadline, api.ReasonDeadline.Sentence())
			}
		case <-stopped:
			stopped = nil
			stop, detach := runner.Stopped(ctx)
			if detach {
				return api.Outcome{}, runner.ErrDetach
			}
			sp.cancel(p, a, stop.Reason)
			grace := forceAtOnce
			if !stop.Force {
				grace = max(grace, t.Spec.KillGrace.D())
			}
			overdue = time.After(grace)
			verdict = runner.KilledOutcome(stop, sigkill)
		case <-overdue:
			overdue = nil
			sp.log.Warn("worker is killed: a task on it does not end", "worker", p.name, "task", a.key.Task, "reason", verdict.Reason)
			sp.mu.Lock()
			delete(p.attempts, a.key)
			a.end(verdict)
			sp.offenders.add(a.digest)
			sp.killLocked(p)
			sp.mu.Unlock()
		}
	}
}

// cancel asks a worker to end an attempt.
func (sp *space) cancel(p *proc, a *attempt, reason api.Reason) {
	sp.mu.Lock()
	c := p.conn
	sp.mu.Unlock()
	if c != nil {
		_ = protocol.Send(c, &protocol.Cancel{Key: a.key, Reason: reason})
	}
}

// finish completes an outcome that the worker could not: whether all of the output is in it.
func (sp *space) finish(out api.Outcome, io runner.IO) api.Outcome {
	if !out.Inline || out.Receipt.RunNS == 0 {
		_, err1 := os.Stat(filepath.Join(io.Dir, protocol.Stdout))
		_, err2 := os.Stat(filepath.Join(io.Dir, protocol.Stderr))
		out.Inline = out.Inline || err1 != nil && err2 != nil
	}
	return out
}

// reattach waits for an attempt that an earlier agent process started.
func (sp *space) reattach(ctx context.Context, t *api.Task, h handleData, io runner.IO) (api.Outcome, error) {
	key := protocol.Key{Task: t.ID, Attempt: t.Attempt}
	p, err := sp.find(ctx, h.Worker)
	if err != nil {
		return api.Outcome{}, err
	}
	a := newAttempt(key, t.Spec.Module())
	sp.mu.Lock()
	switch out := p.results[key]; {
	case out != nil:
		delete(p.results, key)
		sp.ackLocked(p, key)
		a.end(*out)
	case p.expected[key]:
		delete(p.expected, key)
		p.attempts[key] = a
	case p.orphans[key]:
		delete(p.orphans, key)
		p.attempts[key] = a
		a.start()
	default:
		err = fmt.Errorf("worker %s does not know %s: %w", p.name, key, runner.ErrGone)
	}
	sp.mu.Unlock()
	if err != nil {
		return api.Outcome{}, err
	}
	return sp.await(ctx, t, p, a, io)
}
