package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/output"
	"github.com/saki-run/saki/agent/runner/stage"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

// sigKill is what ends an attempt that does not end when asked.
const sigKill = 9

// handle is what an agent needs to find the attempt again.
type handle struct {
	ID string `json:"id"`
}

// Run implements [runner.Runner].
func (r *Runner) Run(ctx context.Context, t *api.Task, at runner.IO) (api.Outcome, error) {
	begun := time.Now() //nolint:forbidigo // spans of a receipt
	if ctx.Err() != nil {
		return unstarted(ctx)
	}
	staged, err := stage.Stage(ctx, t, at)
	if err == nil {
		// Whatever user the image has may write there. Only the container sees it: the folder around it is the agent's alone.
		err = os.Chmod(staged.Box, 0o777)
	}
	if err != nil {
		if ctx.Err() != nil {
			return unstarted(ctx)
		}
		return api.Fail(api.ReasonStagingFailed, err.Error()), nil
	}
	output.Discard(at.Dir)
	id, refused, err := r.create(ctx, t, staged)
	switch {
	case ctx.Err() != nil:
		if id != "" {
			r.removeLater(id)
		}
		return unstarted(ctx)
	case refused != nil:
		return *refused, nil
	case err != nil:
		return api.Outcome{}, fmt.Errorf("run task %s: %w", t.ID, err)
	}
	h, err := wire.Marshal(handle{ID: id})
	if err == nil {
		err = at.Handle(h)
	}
	if err != nil {
		r.removeLater(id)
		return api.Outcome{}, fmt.Errorf("run task %s: record its handle: %w", t.ID, err)
	}
	if ctx.Err() != nil {
		r.removeLater(id)
		return unstarted(ctx)
	}
	return r.fresh(ctx, t, at, id, staged.Stdin, begun)
}

// unstarted is the end of an attempt that never began.
func unstarted(ctx context.Context) (api.Outcome, error) {
	s, detach := runner.Stopped(ctx)
	if detach {
		return api.Outcome{}, runner.ErrDetach
	}
	o := runner.KilledOutcome(s, sigKill)
	o.Inline = true
	return o, nil
}

// fresh starts a container that was created and watches it.
func (r *Runner) fresh(ctx context.Context, t *api.Task, at runner.IO, id, stdin string, begun time.Time) (api.Outcome, error) {
	f, err := r.newFlight(ctx, t, at, id)
	if err != nil {
		r.removeLater(id)
		return api.Outcome{}, err
	}
	defer f.close()
	if err := f.attach(stdin); err != nil {
		r.removeLater(id)
		return api.Outcome{}, fmt.Errorf("run task %s: attach to its container: %w", t.ID, err)
	}
	f.await(container.WaitConditionNextExit) // before the start, or a short task's end is missed
	err = r.docker.ContainerStart(f.calls, id, container.StartOptions{})
	if err != nil && !said(err) && f.startedAnyway(ctx) {
		err = nil
	}
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), runner.ErrDetach):
		return api.Outcome{}, runner.ErrDetach
	case !said(err):
		r.removeLater(id)
		return api.Outcome{}, fmt.Errorf("run task %s: start its container: %w", t.ID, err)
	case noCommand(err):
		r.removeLater(id)
		return api.Fail(api.ReasonCommandNotFound, err.Error()), nil
	default:
		r.removeLater(id)
		return api.Fail(api.ReasonLaunchFailed, err.Error()), nil
	}
	f.began = time.Now() //nolint:forbidigo // as begun
	f.init = f.began.Sub(begun)
	if at.Started != nil {
		at.Started()
	}
	return f.watch(ctx)
}

// Reattach implements [runner.Reattacher]. The output is read again from its start.
func (r *Runner) Reattach(ctx context.Context, t *api.Task, hb []byte, at runner.IO) (api.Outcome, error) {
	var h handle
	if err := wire.Unmarshal(hb, &h); err != nil || h.ID == "" {
		return api.Outcome{}, fmt.Errorf("reattach task %s: its handle says nothing: %w", t.ID, runner.ErrGone)
	}
	asking, stop := detachable(ctx, context.WithoutCancel(ctx))
	c, err := r.inspect(asking, h.ID)
	stop()
	if o, err := output.Load(at.Dir); err == nil { // after the question: a container goes only once its outcome is here
		r.removeLater(h.ID)
		output.Trim(at.Dir, &o)
		return o, nil
	}
	switch {
	case notFound(err):
		return api.Outcome{}, fmt.Errorf("reattach task %s: %w: %w", t.ID, runner.ErrGone, err)
	case err != nil && errors.Is(context.Cause(ctx), runner.ErrDetach):
		return api.Outcome{}, runner.ErrDetach
	case err != nil:
		return api.Outcome{}, fmt.Errorf("reattach task %s: %w", t.ID, err)
	case c.State.Status == "created": // the agent died between the handle and the start: it had no effect
		r.removeLater(h.ID)
		return api.Outcome{}, fmt.Errorf("reattach task %s: its container was never started: %w", t.ID, runner.ErrGone)
	}
	f, err := r.newFlight(ctx, t, at, h.ID)
	if err != nil {
		return api.Outcome{}, err
	}
	defer f.close()
	if f.began = moment(c.State.StartedAt); !runs(c) {
		f.follow()
		return f.finish(c.State.ExitCode, moment(c.State.FinishedAt).Sub(f.began)), nil
	}
	if at.Started != nil {
		at.Started()
	}
	f.follow()
	f.await(container.WaitConditionNotRunning)
	return f.watch(ctx)
}

// moment reads a time of the daemon's, whose clock is also ours.
func moment(s string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Now() //nolint:forbidigo // a daemon that does not say: a timeout begins anew
	}
	return at
}

// removeLater removes a container that nobody waits for.
func (r *Runner) removeLater(id string) {
	r.after.Go(func() {
		if err := r.remove(context.Background(), id); err != nil {
			r.cfg.Log.Warn("a container stays behind until the next start of the agent", "container", id, "err", err)
		}
	})
}
