//go:build linux

// Package shell runs commands on the agent's machine. Each runs under a small supervising process, the shim (see [Shim]), in a
// session and a control group of its own, so that it keeps its limits, its output and its outcome whatever becomes of the
// agent.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/output"
	"github.com/saki-run/saki/agent/runner/stage"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/internal/cgroup"
	"github.com/saki-run/saki/wire"
)

// defaultPath is the PATH of tasks that set none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// backstop is how long after its grace period an attempt may take to die before its shim is given up.
const backstop = 10 * time.Second

// Config tells New what to make.
type Config struct {
	// Name tells the agents of one machine apart. Control groups lie in saki/<Name>. Required; it is a file name.
	Name string
	// Shim is the command line that runs [Shim]. Default: this program with the one argument "shim".
	Shim []string
	// Idle is how many shims wait for tasks, at most. Default 4; negative is none.
	Idle int
	// MaxPIDs is the most processes and threads of one task. Default 1024.
	MaxPIDs int64
	// NoLimits leaves control groups alone.
	NoLimits bool
	// Log takes what an operator would care about. Default: nothing.
	Log *slog.Logger
}

// Runner runs shell tasks. It is safe for concurrent use.
type Runner struct {
	cfg    Config
	lanes  *lanes
	groups func() (*cgroup.Parent, error)
}

var (
	_ runner.Runner     = (*Runner)(nil)
	_ runner.Reattacher = (*Runner)(nil)
	_ runner.Closer     = (*Runner)(nil)
	_ runner.Sweeper    = (*Runner)(nil)
)

// New makes a Runner and starts nothing.
func New(cfg Config) (*Runner, error) {
	if cfg.Name == "" || filepath.Base(cfg.Name) != cfg.Name {
		return nil, fmt.Errorf("shell runner: %s cannot name a control group", api.Quote(cfg.Name))
	}
	if len(cfg.Shim) == 0 {
		cfg.Shim = []string{"/proc/self/exe", "shim"} // not the path: that may hold another version by now
	}
	if cfg.Idle == 0 {
		cfg.Idle = 4
	}
	if cfg.MaxPIDs == 0 {
		cfg.MaxPIDs = 1024
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &Runner{cfg: cfg, lanes: &lanes{argv: cfg.Shim, keep: max(0, cfg.Idle), busy: map[*lane]bool{}}}
	r.groups = sync.OnceValues(func() (*cgroup.Parent, error) {
		if cfg.NoLimits {
			return nil, fmt.Errorf("%w: turned off", cgroup.ErrUnavailable)
		}
		return cgroup.Open(cfg.Name)
	})
	return r, nil
}

// Probe implements [runner.Runner]. It also starts a first shim in the background.
func (r *Runner) Probe(context.Context) runner.Capability {
	r.lanes.warmUp()
	c := runner.Capability{Kind: api.Shell, OK: true, Attributes: map[string]string{"shell.limits": "cgroup"}}
	if _, err := r.groups(); err != nil {
		c.Attributes["shell.limits"] = "none"
		c.Notice = fmt.Sprintf("shell tasks run without limits of processor and memory (%v); run the agent as root to have them", err)
	}
	return c
}

// Run implements [runner.Runner].
func (r *Runner) Run(ctx context.Context, t *api.Task, at runner.IO) (api.Outcome, error) {
	begun := time.Now() //nolint:forbidigo // spans of a receipt
	if ctx.Err() != nil {
		return unstarted(ctx)
	}
	staged, err := stage.Stage(ctx, t, at)
	if err != nil {
		if ctx.Err() != nil {
			return unstarted(ctx)
		}
		return api.Fail(api.ReasonStagingFailed, err.Error()), nil
	}
	output.Discard(at.Dir)
	l, err := r.lanes.take(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return unstarted(ctx)
		}
		return api.Outcome{}, fmt.Errorf("run task %s: %w", t.ID, err)
	}
	l.seq++
	o := r.order(t, at.Dir, staged, l)
	h, err := wire.Marshal(handle{Dir: at.Dir, Group: o.Group, Proc: l.proc})
	if err == nil {
		err = at.Handle(h)
	}
	if err != nil {
		r.lanes.give(l)
		return api.Outcome{}, fmt.Errorf("run task %s: record its handle: %w", t.ID, err)
	}
	if err := l.conn.Send(typeOrder, o); err != nil {
		r.lanes.drop(l)
		return api.Outcome{}, fmt.Errorf("run task %s: %w: %w", t.ID, errShimGone, err)
	}
	return r.watch(ctx, l, o, at, begun)
}

// unstarted is the end of an attempt that never began.
func unstarted(ctx context.Context) (api.Outcome, error) {
	s, detach := runner.Stopped(ctx)
	if detach {
		return api.Outcome{}, runner.ErrDetach
	}
	o := runner.KilledOutcome(s, int(unix.SIGKILL))
	o.Inline = true
	return o, nil
}

func (r *Runner) order(t *api.Task, dir string, s stage.Staged, l *lane) order {
	o := order{
		Seq: l.seq, Dir: dir, Box: s.Box, Stdin: s.Stdin, Env: environ(t, s.Box), MaxOutput: t.Spec.MaxOutput,
		Timeout: t.Spec.Timeout.D(), Grace: t.Spec.KillGrace.D(), Argv: t.Spec.Shell.Argv,
	}
	if t.Spec.Shell.Script != "" {
		o.Argv = []string{"/bin/sh", "-c", t.Spec.Shell.Script}
	}
	if _, err := r.groups(); err == nil {
		o.Parent, o.Group = r.cfg.Name, groupName(t.ID, t.Attempt, l)
		o.CPUs, o.Mem, o.PIDs = t.Spec.Resources.CPUs, t.Spec.Resources.Mem, r.cfg.MaxPIDs
	}
	return o
}

// environ is all that a task sees: nothing of the agent's.
func environ(t *api.Task, box string) []string {
	env := map[string]string{"PATH": defaultPath, "HOME": box, "SAKI_SANDBOX": box}
	maps.Copy(env, runner.Env(t))
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

// groupName names the control group of one try of an attempt: an earlier try's may still be on its way out.
func groupName(id api.TaskID, attempt uint32, l *lane) string {
	return fmt.Sprintf("%s.%d.%d-%d", id, attempt, l.proc.PID, l.seq)
}

// ofGroup gives the attempt that a control group was named for.
func ofGroup(name string) (id api.TaskID, attempt uint32, ok bool) {
	f := strings.Split(name, ".")
	if len(f) != 3 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(f[1], 10, 32)
	return api.TaskID(f[0]), uint32(n), err == nil
}

// watch waits for the end of an order.
func (r *Runner) watch(ctx context.Context, l *lane, o order, at runner.IO, begun time.Time) (api.Outcome, error) {
	done := ctx.Done()
	var stopped runner.Stop
	var late <-chan time.Time
	var init time.Duration
	for {
		select {
		case f, ok := <-l.frames:
			switch {
			case !ok:
				r.lanes.drop(l)
				return r.orphaned(o.Dir, o.Group)
			case f.typ == typeStarted:
				init = time.Since(begun) //nolint:forbidigo // as begun
				if at.Started != nil {
					at.Started()
				}
			case f.typ == typeEnded:
				var out api.Outcome
				if err := wire.Unmarshal(f.body, &out); err != nil {
					r.lanes.drop(l)
					return api.Outcome{}, err
				}
				out.Receipt.Warm, out.Receipt.InitNS = l.warm, init.Nanoseconds()
				output.Trim(o.Dir, &out)
				r.lanes.give(l)
				return out, nil
			}
		case <-done:
			done = nil
			var detach bool
			if stopped, detach = runner.Stopped(ctx); detach {
				r.lanes.drop(l)
				return api.Outcome{}, runner.ErrDetach
			}
			_ = l.conn.Send(typeStop, stop{Seq: o.Seq, Reason: stopped.Reason, Force: stopped.Force}) // an error ends frames too
			grace := o.Grace
			if stopped.Force {
				grace = 0
			}
			timer := time.NewTimer(grace + backstop)
			defer timer.Stop()
			late = timer.C
		case <-late:
			r.cfg.Log.Warn("a shim does not end its task; killing both", "dir", o.Dir, "pid", l.proc.PID)
			_ = l.cmd.Process.Kill()
			r.lanes.drop(l)
			r.killGroup(o.Group)
			out := runner.KilledOutcome(stopped, int(unix.SIGKILL))
			return out, nil
		}
	}
}

// orphaned is what is left to say when a shim has gone: its outcome if it left one. Its task does not run on without it.
func (r *Runner) orphaned(dir, group string) (api.Outcome, error) {
	if out, err := output.Load(dir); err == nil {
		r.killGroup(group)
		output.Trim(dir, &out)
		return out, nil
	}
	r.killGroup(group)
	return api.Outcome{}, errShimGone
}

// killGroup ends and removes what is left of a control group.
func (r *Runner) killGroup(name string) {
	p, err := r.groups()
	if err != nil || name == "" {
		return
	}
	g, err := p.Load(name)
	if err == nil {
		err = errors.Join(g.Kill(), g.Delete())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.cfg.Log.Warn("a control group stays behind", "group", name, "err", err)
	}
}

// Sweep ends and removes what earlier agents of the same name left behind: every control group of an attempt that known does
// not know. It is for the start of an agent, after it has read its journal.
func (r *Runner) Sweep(_ context.Context, known func(task api.TaskID, attempt uint32) bool) error {
	p, err := r.groups()
	if err != nil {
		return nil //nolint:nilerr // without control groups there is nothing to sweep
	}
	names, err := p.List()
	if err != nil {
		return fmt.Errorf("sweep shell tasks: %w", err)
	}
	for _, name := range names {
		if id, n, ok := ofGroup(name); ok && known(id, n) {
			continue
		}
		r.killGroup(name)
	}
	return nil
}

// Close implements [runner.Closer].
func (r *Runner) Close(ctx context.Context, keep bool) error {
	err := r.lanes.close(ctx, !keep)
	if keep {
		return err
	}
	err = errors.Join(err, r.Sweep(ctx, func(api.TaskID, uint32) bool { return false }))
	if p, gerr := r.groups(); gerr == nil {
		err = errors.Join(err, p.Delete())
	}
	return err
}
