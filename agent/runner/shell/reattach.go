//go:build linux

package shell

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/output"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

// Reattach implements [runner.Reattacher]. The shim of an agent that has gone ends with its task, so that its end is what is
// waited for; the outcome is in the attempt's folder.
func (r *Runner) Reattach(ctx context.Context, t *api.Task, hb []byte, at runner.IO) (api.Outcome, error) {
	var h handle
	if err := wire.Unmarshal(hb, &h); err != nil || h.Dir == "" {
		return api.Outcome{}, fmt.Errorf("reattach task %s: its handle says nothing: %w", t.ID, runner.ErrGone)
	}
	if out, err := output.Load(h.Dir); err == nil {
		return r.ended(ctx, t, h, out), nil
	}
	p, err := hold(h.Proc)
	switch {
	case errors.Is(err, errNoProc):
		return r.late(ctx, t, h)
	case err != nil:
		return api.Outcome{}, fmt.Errorf("reattach task %s: %w", t.ID, err)
	}
	defer p.close()
	if _, err := os.Stat(h.Dir); err != nil {
		return api.Outcome{}, fmt.Errorf("reattach task %s: %w: %w", t.ID, runner.ErrGone, err)
	}
	if at.Started != nil {
		at.Started()
	}
	if err := p.wait(ctx); err == nil {
		return r.late(ctx, t, h)
	} else if ctx.Err() == nil {
		return api.Outcome{}, fmt.Errorf("wait for the shim of task %s: %w", t.ID, err)
	}
	s, detach := runner.Stopped(ctx)
	if detach {
		return api.Outcome{}, runner.ErrDetach
	}
	return r.stopHeld(ctx, t, h, p, s)
}

// stopHeld ends an attempt through its shim, and the shim with it when it does not obey.
func (r *Runner) stopHeld(ctx context.Context, t *api.Task, h handle, p *held, s runner.Stop) (api.Outcome, error) {
	sig, grace := unix.SIGTERM, t.Spec.KillGrace.D()
	if s.Force {
		sig, grace = unix.SIGUSR1, 0
	}
	if err := p.signal(sig); err != nil {
		return api.Outcome{}, fmt.Errorf("stop task %s: %w", t.ID, err)
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace+backstop)
	defer cancel()
	if err := p.wait(wait); err != nil {
		r.cfg.Log.Warn("a shim does not end its task; killing both", "task", t.ID, "pid", h.Proc.PID)
		_ = p.signal(unix.SIGKILL) // an error leaves the group's kill
		r.killGroup(h.Group)
		return runner.KilledOutcome(s, int(unix.SIGKILL)), nil
	}
	return r.late(ctx, t, h)
}

// late is for an attempt whose shim has ended.
func (r *Runner) late(ctx context.Context, t *api.Task, h handle) (api.Outcome, error) {
	out, err := output.Load(h.Dir)
	if err != nil {
		r.killGroup(h.Group)
		return api.Outcome{}, fmt.Errorf("reattach task %s: %w: %w", t.ID, runner.ErrGone, err)
	}
	return r.ended(ctx, t, h, out), nil
}

// ended completes an outcome that was read from the disk. A shim that was stopped by a signal does not know why.
func (r *Runner) ended(ctx context.Context, t *api.Task, h handle, out api.Outcome) api.Outcome {
	r.killGroup(h.Group)
	if out.State == api.Killed && out.Reason == "" {
		out.Reason = api.ReasonUserKill
		if s, detach := runner.Stopped(ctx); ctx.Err() != nil && !detach {
			out.Reason = s.Reason
		} else if t.Kill != nil {
			out.Reason = t.Kill.Reason
		}
		out.Message = out.Reason.Sentence()
	}
	output.Trim(h.Dir, &out)
	return out
}
