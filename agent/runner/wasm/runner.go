// Package wasm runs wasm tasks in persistent executors, one for each namespace: it starts them, gives them modules, inputs and
// invocations over a unix socket, and kills the worker processes that do not obey. It knows nothing of wasm itself.
package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/wasm/launch"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/engine"
	"github.com/saki-run/saki/wire"
)

// Config configures a [Runner].
type Config struct {
	// Root holds a folder for each namespace. The folder of an attempt, IO.Dir, is <Root>/<namespace>/tasks/<task>.<attempt>;
	// another place will do where the launcher shares the machine's paths.
	Root     string
	Launcher launch.Launcher
	// Active is how many workers of an executor are used at a time; the others are in reserve. Default 1: a worker runs any
	// number of tasks at once, and the next one is ready before the loss of the first is known.
	Active int
	// MaxOwn is how many workers of an executor may belong to one task each. Default 16; others wait.
	MaxOwn int
	// RegistrationTimeout is how long a started executor has to say hello. Default 1 m.
	RegistrationTimeout time.Duration
	// AllowInterpreter accepts executors that can make no native code, at a tenth of the speed or less.
	AllowInterpreter bool
	Log              *slog.Logger
	// Now is the clock. Default [time.Now].
	Now func() time.Time
}

// Times that nobody should need to change.
const (
	forceAfter  = time.Second            // a guest past its deadline is given this before its worker is killed
	forceAtOnce = 250 * time.Millisecond // the same, when a task is to be killed by force
	reconnectIn = 2 * time.Second        // a worker whose connection broke is lost after it
	adoptWithin = 15 * time.Second       // workers of an adopted executor redial within it
	orphansKept = time.Minute            // attempts that nobody reattaches to are ended after it
	ackEvery    = 5 * time.Second        // results are kept by the workers for at least this long
	pingEvery   = 2 * time.Second
	hungAfter   = 20 * time.Second // a worker that answers no ping is killed
	retryLast   = time.Minute      // between two starts of an executor
)

// Runner runs wasm tasks. It is safe for concurrent use.
type Runner struct {
	cfg Config
	ctx context.Context // ends with Close
	end context.CancelFunc

	mu     sync.Mutex
	spaces map[string]*space
	closed bool
}

var (
	_ runner.Runner     = (*Runner)(nil)
	_ runner.Reattacher = (*Runner)(nil)
	_ runner.Closer     = (*Runner)(nil)
)

// New makes a Runner. It starts nothing: see [Runner.Adopt] and [Runner.Warm].
func New(cfg Config) (*Runner, error) {
	if cfg.Launcher == nil || cfg.Log == nil || !filepath.IsAbs(cfg.Root) {
		return nil, errors.New("wasm runner: Root (absolute), Launcher and Log are required")
	}
	if cfg.Active == 0 {
		cfg.Active = 1
	}
	if cfg.MaxOwn == 0 {
		cfg.MaxOwn = 16
	}
	if cfg.RegistrationTimeout == 0 {
		cfg.RegistrationTimeout = time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default of the clock that is passed in
	}
	r := &Runner{cfg: cfg, spaces: map[string]*space{}}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r, nil
}

// Adopt takes over the executors that an earlier agent process left running. An agent calls it once, before anything else.
func (r *Runner) Adopt(ctx context.Context) error {
	all, err := r.cfg.Launcher.Running(ctx)
	if err != nil {
		return fmt.Errorf("look for executors: %w", err)
	}
	for _, ns := range all {
		if _, err := r.space(ns); err != nil {
			return err
		}
	}
	return nil
}

// Warm starts the executor of a namespace and waits until it is ready.
func (r *Runner) Warm(ctx context.Context, ns string) error {
	sp, err := r.space(ns)
	if err != nil {
		return err
	}
	_, _, err = sp.pick(ctx, "", false)
	return err
}

// space gives the namespace's, and brings it up when it is asked for the first time.
func (r *Runner) space(ns string) (*space, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errors.New("wasm runner is closed")
	}
	if sp := r.spaces[ns]; sp != nil {
		return sp, nil
	}
	if err := api.CheckName("namespace", ns); err != nil {
		return nil, err
	}
	sp, err := newSpace(r.ctx, r.cfg, ns)
	if err != nil {
		return nil, fmt.Errorf("wasm executor of namespace %s: %w", ns, err)
	}
	r.spaces[ns] = sp
	return sp, nil
}

// Run implements [runner.Runner].
func (r *Runner) Run(ctx context.Context, t *api.Task, io runner.IO) (api.Outcome, error) {
	began := r.cfg.Now()
	sp, err := r.space(t.Spec.Namespace)
	if err != nil {
		return api.Outcome{}, err
	}
	out, err := sp.run(ctx, t, io)
	return settle(ctx, out, err, r.cfg.Now().Sub(began))
}

// Reattach implements [runner.Reattacher].
func (r *Runner) Reattach(ctx context.Context, t *api.Task, handle []byte, io runner.IO) (api.Outcome, error) {
	began := r.cfg.Now()
	var h handleData
	if err := wire.Unmarshal(handle, &h); err != nil {
		return api.Outcome{}, fmt.Errorf("%w: %w", runner.ErrGone, err)
	}
	sp, err := r.space(t.Spec.Namespace)
	if err != nil {
		return api.Outcome{}, err
	}
	out, err := sp.reattach(ctx, t, h, io)
	return settle(ctx, out, err, r.cfg.Now().Sub(began))
}

// errStopped says that the attempt was stopped before it was of any effect.
var errStopped = errors.New("stopped")

// settle gives an outcome the form that the contract asks for.
func settle(ctx context.Context, out api.Outcome, err error, took time.Duration) (api.Outcome, error) {
	stop, detach := runner.Stop{}, false
	if ctx.Err() != nil {
		stop, detach = runner.Stopped(ctx)
	}
	switch {
	case detach && err != nil:
		return api.Outcome{}, runner.ErrDetach
	case errors.Is(err, errStopped):
		out = runner.KilledOutcome(stop, sigkill)
		out.Inline = true
	case err != nil:
		return api.Outcome{}, err
	case out.State == api.Killed && ctx.Err() != nil && !detach:
		k := runner.KilledOutcome(stop, sigkill)
		out.State, out.Reason, out.Message, out.ExitCode, out.Signal = k.State, k.Reason, k.Message, k.ExitCode, k.Signal
	}
	out.Receipt.DispatchNS = max(0, took.Nanoseconds()-out.Receipt.InitNS-out.Receipt.RunNS)
	return out, nil
}

const sigkill = 9

// Probe implements [runner.Runner].
func (r *Runner) Probe(ctx context.Context) runner.Capability {
	c := runner.Capability{Kind: api.Wasm, OK: true, Executor: r.cfg.Launcher.Name()}
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.spaces))
	r.mu.Unlock()
	var kind, trouble string
	for _, sp := range all {
		k, err := sp.status()
		if k != "" {
			kind = k
		}
		if err != nil {
			trouble = err.Error()
		}
	}
	switch {
	case kind != "":
		c.Attributes = map[string]string{"wasm.engine": kind, "wasm.executor": r.cfg.Launcher.Name()}
		if image := r.cfg.Launcher.Image(); image != "" {
			c.Attributes["executor.image"] = image // the one image that is there for sure: saki bench starts it
		}
		c.Executor += " (" + kind + ")"
		if kind == string(engine.Interpreter) {
			c.Notice = "this machine cannot make native code: wasm is interpreted, at a tenth of the speed or less"
		}
	case trouble != "":
		c.OK, c.Notice = false, trouble
	default:
		if err := r.cfg.Launcher.Check(ctx); err != nil {
			c.OK, c.Notice = false, err.Error()
		}
	}
	return c
}

// Modules lists the modules that a worker of the namespace's executor holds compiled, in no order.
func (r *Runner) Modules(ns string) []api.Digest {
	r.mu.Lock()
	sp := r.spaces[ns]
	r.mu.Unlock()
	if sp == nil {
		return nil
	}
	return sp.modules()
}

// Load puts a module into the namespace's executor before a task asks for it, and waits until it is compiled. path is a local
// copy. The error says why the module is refused.
func (r *Runner) Load(ctx context.Context, ns string, d api.Digest, path string) error {
	sp, err := r.space(ns)
	if err != nil {
		return err
	}
	if err := sp.putModule(d, path); err != nil {
		return err
	}
	return sp.preload(ctx, d)
}

// Close implements [runner.Closer].
func (r *Runner) Close(ctx context.Context, keep bool) error {
	r.mu.Lock()
	r.closed = true
	all := slices.Collect(maps.Values(r.spaces))
	r.mu.Unlock()
	var errs []error
	for _, sp := range all {
		errs = append(errs, sp.close(ctx, keep))
	}
	r.end()
	for _, sp := range all {
		sp.wg.Wait()
	}
	if !keep {
		errs = append(errs, r.sweep(ctx))
	}
	return errors.Join(errs...)
}

// sweep ends the executors that were left by an earlier agent process and that this one had not taken over yet.
func (r *Runner) sweep(ctx context.Context) error {
	left, err := r.cfg.Launcher.Running(ctx)
	errs := []error{err}
	for _, ns := range left {
		ex, err := r.cfg.Launcher.Ensure(ctx, launch.Space{Namespace: ns, Dir: filepath.Join(r.cfg.Root, ns)})
		if err == nil {
			err = ex.Stop(ctx)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// taskDir is the attempt's folder as its executor knows it.
func (sp *space) taskDir(dir string) (string, error) {
	if rel, err := filepath.Rel(sp.dir, dir); err == nil && filepath.IsLocal(rel) {
		return rel, nil
	}
	if sp.cfg.Launcher.SharesPaths() {
		return dir, nil
	}
	return "", fmt.Errorf("the attempt's folder %s is not in %s, which is all that the executor sees", dir, sp.dir)
}

// give hands a path to the user that the executor runs as.
func (sp *space) give(path string) error {
	uid, gid := sp.cfg.Launcher.Owner()
	if uid < 0 {
		return nil
	}
	return os.Lchown(path, uid, gid)
}
