package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/output"
	"github.com/saki-run/saki/api"
)

// backstop is how long after its grace period a container may take to die before it is removed by force.
const backstop = 20 * time.Second

// settle is how long a container of less than one processor is left to start; see [late].
const settle = 250 * time.Millisecond

// lateNews is how long after a container's end the daemon may still tell that it ran out of memory.
const lateNews = 500 * time.Millisecond

// drainFor is how long the last of the output may take to arrive once the container has ended.
const drainFor = 5 * time.Second

// flight is one container that runs, seen from the agent. It belongs to one goroutine.
type flight struct {
	r       *Runner
	t       *api.Task
	at      runner.IO
	id      string
	capture *output.Capture
	calls   context.Context //nolint:containedctx // of all calls that a kill of the task must not cancel
	cancel  context.CancelFunc
	began   time.Time
	init    time.Duration

	exit    <-chan container.WaitResponse
	exitErr <-chan error
	source  func()        // closes the current source of output
	drained chan struct{} // closed when that source is at its end
	streams sync.WaitGroup

	why *runner.Stop // somebody asked for the end
}

func (r *Runner) newFlight(ctx context.Context, t *api.Task, at runner.IO, id string) (*flight, error) {
	capture, err := output.Create(at.Dir, t.Spec.MaxOutput)
	if err != nil {
		return nil, fmt.Errorf("run task %s: %w", t.ID, err)
	}
	f := &flight{r: r, t: t, at: at, id: id, capture: capture}
	f.calls, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return f, nil
}

// close lets go of the container, which may run on.
func (f *flight) close() {
	f.cancel()
	f.streams.Wait()
	f.capture.Close()
}

// attach connects to the container's streams before it starts, and feeds it its standard input.
func (f *flight) attach(stdin string) error {
	conn, err := f.r.docker.ContainerAttach(f.calls, f.id, container.AttachOptions{Stream: true, Stdin: stdin != "", Stdout: true, Stderr: true})
	if err != nil {
		return err
	}
	f.source = conn.Close
	context.AfterFunc(f.calls, conn.Close)
	if stdin != "" {
		f.streams.Go(func() {
			if in, err := os.Open(stdin); err == nil {
				_, _ = io.Copy(conn.Conn, in) // a task need not read all
				in.Close()
			}
			_ = conn.CloseWrite() // the end of the input; a task that has ended needs none
		})
	}
	f.drain(conn.Reader)
	return nil
}

// follow reads the container's log from its start, instead of the source before.
func (f *flight) follow() {
	if f.source != nil {
		f.source()
		<-f.drained
	}
	f.capture.Restart()
	logs, err := f.r.docker.ContainerLogs(f.calls, f.id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if err != nil {
		f.r.cfg.Log.Warn("the output of a task cannot be read", "task", f.t.ID, "err", err)
		f.source, f.drained = nil, make(chan struct{})
		close(f.drained)
		return
	}
	f.source = func() { logs.Close() }
	context.AfterFunc(f.calls, f.source)
	f.drain(logs)
}

func (f *flight) drain(src io.Reader) {
	done := make(chan struct{})
	f.drained = done
	f.streams.Go(func() {
		defer close(done)
		_, _ = stdcopy.StdCopy(f.capture.Stdout(), f.capture.Stderr(), src) // a source that breaks is followed by another
	})
}

// await asks the daemon to tell of the container's end.
func (f *flight) await(c container.WaitCondition) {
	f.exit, f.exitErr = f.r.docker.ContainerWait(f.calls, f.id, c)
}

// watch waits for the container's end, obeying ctx and the timeout.
func (f *flight) watch(ctx context.Context) (api.Outcome, error) {
	done := ctx.Done()
	var timeout, grace, overdue, settled <-chan time.Time
	if late(f.t.Spec.Resources.CPUs) {
		timer := time.NewTimer(max(0, settle-f.since()))
		defer timer.Stop()
		settled = timer.C
	}
	if d := f.t.Spec.Timeout.D(); d > 0 {
		timer := time.NewTimer(max(0, d-f.since()))
		defer timer.Stop()
		timeout = timer.C
	}
	ask := func(s runner.Stop) {
		if f.why == nil {
			f.why = &s
			g := f.t.Spec.KillGrace.D()
			grace, overdue = time.After(g), time.After(g+backstop)
			if !s.Force {
				f.kill("SIGTERM")
			}
		}
		if s.Force {
			f.kill("SIGKILL")
		}
	}
	for {
		select {
		case res := <-f.exit:
			return f.finish(int(res.StatusCode), f.since()), nil
		case err := <-f.exitErr:
			ended, code, err := f.recover(ctx, err)
			switch {
			case err != nil:
				return api.Outcome{}, err
			case ended:
				return f.finish(code, f.since()), nil
			case f.why != nil: // the daemon may have forgotten what it was told
				f.kill("SIGTERM")
			}
		case <-done:
			done = nil
			s, detach := runner.Stopped(ctx)
			if detach {
				return api.Outcome{}, runner.ErrDetach
			}
			ask(s)
		case <-timeout:
			ask(runner.Stop{Reason: api.ReasonDeadline})
		case <-settled:
			f.limit()
		case <-grace:
			f.kill("SIGKILL")
		case <-overdue:
			f.r.cfg.Log.Warn("a container does not die; removing it", "task", f.t.ID, "container", f.id)
			if err := f.r.remove(f.calls, f.id); err != nil {
				return api.Outcome{}, fmt.Errorf("end task %s: %w", f.t.ID, err)
			}
			return f.end(runner.KilledOutcome(*f.why, sigKill)), nil
		}
	}
}

// kill sends a signal. A container that has ended, or a daemon that is away, is no error here: watch learns of both.
func (f *flight) kill(signal string) {
	ctx, cancel := context.WithTimeout(f.calls, callFor)
	f.streams.Go(func() {
		defer cancel()
		if err := f.r.docker.ContainerKill(ctx, f.id, signal); err != nil && !notFound(err) && !conflict(err) && ctx.Err() == nil {
			f.r.cfg.Log.Warn("a container was not signalled", "task", f.t.ID, "signal", signal, "err", err)
		}
	})
}

// limit sets the limit of the processor that the start was spared.
func (f *flight) limit() {
	ctx, cancel := context.WithTimeout(f.calls, callFor)
	f.streams.Go(func() {
		defer cancel()
		cpus := container.Resources{NanoCPUs: int64(f.t.Spec.Resources.CPUs) * 1e6}
		_, err := f.r.docker.ContainerUpdate(ctx, f.id, container.UpdateConfig{Resources: cpus})
		if err == nil || ctx.Err() != nil || notFound(err) {
			return
		}
		if c, ierr := f.r.docker.ContainerInspect(ctx, f.id); ierr != nil || runs(c) {
			f.r.cfg.Log.Warn("a container runs without its limit of the processor", "task", f.t.ID, "err", err)
		}
	})
}

// startedAnyway finds out whether a container runs, or ran, whose start the daemon did not answer.
func (f *flight) startedAnyway(ctx context.Context) bool {
	asking, stop := detachable(ctx, f.calls)
	defer stop()
	c, err := f.r.inspect(asking, f.id)
	return err == nil && c.State.Status != "created"
}

// recover finds out what became of the container after the daemon broke the wait. A daemon that is away is waited for: not to
// know is not to have lost.
func (f *flight) recover(ctx context.Context, broken error) (ended bool, code int, err error) {
	f.r.cfg.Log.Warn("the Docker daemon broke off; asking again", "task", f.t.ID, "err", broken)
	asking, stop := detachable(ctx, f.calls)
	defer stop()
	c, err := f.r.inspect(asking, f.id)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), runner.ErrDetach):
		return false, 0, runner.ErrDetach
	case notFound(err):
		return false, 0, fmt.Errorf("the container of task %s was removed by somebody else", f.t.ID)
	case err != nil:
		return false, 0, fmt.Errorf("wait for the container of task %s: %w", f.t.ID, err)
	}
	f.follow()
	if !runs(c) {
		return true, c.State.ExitCode, nil
	}
	f.await(container.WaitConditionNotRunning)
	return false, 0, nil
}

// runs reports whether a container has not ended yet.
func runs(c container.InspectResponse) bool {
	return c.State.Running || c.State.Restarting || c.State.Paused
}

// detachable is calls, cancelled also when ctx is detached, but not when the task is to be killed.
func detachable(ctx, calls context.Context) (_ context.Context, stop func()) {
	c, cancel := context.WithCancelCause(calls)
	unhook := context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), runner.ErrDetach) {
			cancel(runner.ErrDetach)
		}
	})
	return c, func() { unhook(); cancel(nil) }
}

// inspect asks for the state of a container until the daemon answers, for as long as it is worth the patience.
func (r *Runner) inspect(ctx context.Context, id string) (container.InspectResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Patience)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		c, err := r.docker.ContainerInspect(ctx, id)
		if err == nil || said(err) || ctx.Err() != nil {
			return c, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return c, err
		}
	}
}

func (f *flight) since() time.Duration {
	return time.Since(f.began) //nolint:forbidigo // the span of a run, measured where it is watched
}

// finish makes the outcome of a container that has ended.
func (f *flight) finish(code int, took time.Duration) api.Outcome {
	var o api.Outcome
	sig := code - api.ExitSignal
	bySignal := sig > 0 && sig < 65
	if f.why == nil && f.t.Kill != nil && bySignal { // an earlier agent had asked
		f.why = &runner.Stop{Reason: f.t.Kill.Reason}
	}
	switch {
	case f.why != nil && bySignal:
		o = runner.KilledOutcome(*f.why, sig)
	case f.why != nil:
		o = runner.KilledOutcome(*f.why, 15)
	case code == 0:
		o = api.Outcome{State: api.Finished}
	default:
		o = f.failure(code, bySignal)
	}
	o.Receipt.RunNS = took.Nanoseconds()
	return f.end(o)
}

// failure tells why a container ended badly by itself. Only then is it worth another question to the daemon.
func (f *flight) failure(code int, bySignal bool) api.Outcome {
	ctx, cancel := context.WithTimeout(f.calls, callFor)
	defer cancel()
	c, err := f.r.docker.ContainerInspect(ctx, f.id)
	if err == nil && c.State.OOMKilled || code == api.ExitSignal+sigKill && f.ranOut(ctx) {
		o := api.Fail(api.ReasonMemoryLimit, fmt.Sprintf("the task needed more than its %s of memory", f.t.Spec.Resources.Mem))
		o.Signal = sigKill
		return o
	}
	o := api.Fail(api.ReasonExit, fmt.Sprintf("ended with exit code %d", code))
	o.ExitCode = code
	if bySignal {
		o.Reason, o.Signal = api.ReasonSignal, code-api.ExitSignal
		o.Message = fmt.Sprintf("ended by signal %d", o.Signal)
	}
	return o
}

// ranOut asks for the event of a container that ran out of memory. The daemon may learn of it only after the end, and does not
// put it into the container's state then.
func (f *flight) ranOut(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, lateNews)
	defer cancel()
	news, errs := f.r.docker.Events(ctx, events.ListOptions{
		Since:   strconv.FormatInt(f.began.Unix()-1, 10), // what was, and what is still to come
		Filters: filters.NewArgs(filters.Arg("container", f.id), filters.Arg("event", string(events.ActionOOM))),
	})
	select {
	case <-news:
		return true
	case <-errs: //nolint:errcheck // a channel: the daemon does not say, or the time is up
		return false
	}
}

// end completes an outcome with the output, and sees the container off behind it: first the outcome is put on the disk, for an
// agent that is started before this one has recorded it.
func (f *flight) end(o api.Outcome) api.Outcome {
	select {
	case <-f.drained:
	case <-time.After(drainFor):
		f.r.cfg.Log.Warn("the output of a task may lack its end", "task", f.t.ID)
	}
	f.capture.Fill(&o)
	o.Receipt.InitNS = f.init.Nanoseconds()
	output.Trim(f.at.Dir, &o)
	r, dir, id := f.r, f.at.Dir, f.id
	r.after.Go(func() {
		err := errors.Join(output.Save(dir, &o), output.Sync(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // an agent that has the outcome may have removed the folder
			r.cfg.Log.Warn("an outcome is not on the disk", "dir", dir, "err", err)
		}
		if err := r.remove(context.Background(), id); err != nil {
			r.cfg.Log.Warn("a container stays behind until the next start of the agent", "container", id, "err", err)
		}
	})
	return o
}
