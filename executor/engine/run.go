package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	wapi "github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/saki-run/saki/api"
)

// maxTrace is the most of a wasm stack trace that goes into an outcome, in bytes.
const maxTrace = 8 << 10

// maxMemory is all that a 32-bit module can address.
const maxMemory = 4 << 30

// quickStart is how long instantiating may take without counting against the deadline. A start function that goes on for longer
// is the guest's run: it must not have the same time twice.
const quickStart = 20 * time.Millisecond

// ErrNotLoaded says that a module is not held, or no longer.
var ErrNotLoaded = errors.New("module is not loaded")

// Stop is the cause of a context cancelled because the task is to end.
type Stop struct{ Reason api.Reason }

// Error implements error.
func (s *Stop) Error() string { return string(s.Reason) }

var errDeadline = &Stop{api.ReasonDeadline}

// Invocation is one run of a module.
type Invocation struct {
	Digest         api.Digest
	Name           string // args[0]
	Func           string // default _start
	Args           []string
	Env            map[string]string
	Stdin          io.Reader // nil is empty; must not block
	Stdout, Stderr io.Writer // nil discards
	Mem            int64     // bytes of linear memory; 0 is all that can be addressed
	Timeout        time.Duration
	Dir            string // the guest's root; made when the guest first looks; "" gives it none
	Disk           Quota  // of Dir
	Began          func() // called when the guest is about to be instantiated and run; may be nil

	Kind Kind   // of engine, for which the module was loaded; "" is the engine's own
	Fuel uint64 // that the guest may use before it is ended at its next checking point; 0 is no limit
	// Deterministic gives the guest a [World] that is the same in every run with the same Digest, Func, Args, Env and Seed,
	// and hides from it what files say of the machine. Its fuel, its output and its end are then the same, too.
	Deterministic bool
	Seed          []byte // more that randomness is to depend on
	World         World  // clocks and randomness; nil is the machine's, or with Deterministic a [Virtual]
}

// Run runs a loaded module in an instance of its own until it ends, its time is up or ctx is cancelled, with a [*Stop] as the
// cause. The error is [ErrNotLoaded]; all else is an outcome. Stdout and Stderr are left to the caller.
//
// Where the guest does not come back, neither does Run: a guest that neither loops nor calls the host cannot be stopped but
// with its process.
func (e *Engine) Run(ctx context.Context, inv Invocation) (api.Outcome, error) {
	began := e.cfg.Now()
	m, ok := e.acquire(inv.Digest, inv.Kind)
	if !ok {
		return api.Outcome{}, fmt.Errorf("run %s: %w", inv.Digest.Short(), ErrNotLoaded)
	}
	defer e.release(context.WithoutCancel(ctx), m)
	ent, failed := findEntry(m.exports, inv.Func, inv.Args)
	if failed != nil {
		return *failed, nil
	}
	if inv.Fuel > 0 && !m.metered {
		return api.Fail(api.ReasonLaunchFailed, "the module cannot be metered, so a limit of fuel cannot be kept; run it without --fuel"), nil
	}
	if inv.Deterministic && inv.World == nil {
		inv.World = NewVirtual(inv.seed())
	}
	limit := uint64(maxMemory)
	if inv.Mem > 0 {
		limit = min(limit, uint64(inv.Mem))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // wazero's watcher ends with it
	g := guest{e: e, m: m, inv: &inv, ent: ent, mem: taskMemory{pool: &e.pool, limit: limit}, began: began}
	if inv.Timeout > 0 {
		g.deadline = time.AfterFunc(inv.Timeout, func() { cancel(errDeadline) })
		defer g.deadline.Stop()
	}
	return g.run(ctx), nil
}

// guest is one instance and its run.
type guest struct {
	e     *Engine
	m     *module
	inv   *Invocation
	ent   entry
	mem   taskMemory
	box   *box
	began time.Time
	ready time.Time // instantiated

	stopped   bool        // from outside
	deadline  *time.Timer // nil without one
	fuelAdded int64
	fuelLeft  wapi.MutableGlobal // nil until a metered guest has asked for the first time
}

func (g *guest) run(ctx context.Context) (out api.Outcome) {
	defer g.mem.release()
	results, err := g.call(ctx)
	end := g.e.cfg.Now()
	if g.ready.IsZero() {
		g.ready = end
	}
	if err == nil && len(results) > 0 && g.inv.Stdout != nil {
		_, err = g.inv.Stdout.Write(formatResults(g.ent.types, results))
	}
	out = g.outcome(ctx, err)
	out.Receipt.InitNS = g.ready.Sub(g.began).Nanoseconds()
	out.Receipt.RunNS = end.Sub(g.ready).Nanoseconds()
	out.Receipt.Fuel = g.fuelUsed()
	out.Receipt.Unmetered = !g.m.metered
	out.Receipt.Deterministic = g.inv.Deterministic && !g.mem.starved && !g.stopped
	out.Receipt.PeakMem = api.Bytes(g.mem.peak)
	return out
}

// errBroken wraps a panic of the engine itself.
type errBroken struct{ cause any }

func (e *errBroken) Error() string { return fmt.Sprint("the engine broke: ", e.cause) }

// call instantiates the module and calls its entry point.
func (g *guest) call(ctx context.Context) (results []uint64, err error) {
	defer func() {
		if p := recover(); p != nil {
			if exit, ok := p.(*sys.ExitError); ok {
				err = exit
				return
			}
			if e, ok := p.(error); ok && errors.Is(e, errNoFuel) {
				err = e
				return
			}
			err = &errBroken{p}
		}
	}()
	conf := g.config(ctx)
	if g.box != nil {
		defer g.box.close()
	}
	ctx = experimental.WithMemoryAllocator(context.WithValue(ctx, guestKey{}, g), &g.mem)
	start := g.e.cfg.Now()
	if g.inv.Began != nil {
		g.inv.Began() // before: the module's start function is the guest's code
	}
	mod, err := g.m.rt.InstantiateModule(ctx, g.m.code, conf)
	if err != nil {
		return nil, err
	}
	defer func() { _ = mod.Close(context.WithoutCancel(ctx)) }()
	g.ready = g.e.cfg.Now()
	if g.deadline != nil && g.ready.Sub(start) < quickStart {
		g.deadline.Reset(g.inv.Timeout)
	}
	if g.ent.init {
		if _, err := mod.ExportedFunction(initFunc).Call(ctx); err != nil {
			return nil, err
		}
	}
	f := mod.ExportedFunction(g.ent.name)
	stack := make([]uint64, max(len(g.ent.params), len(g.ent.types)))
	copy(stack, g.ent.params)
	if err := f.CallWithStack(ctx, stack); err != nil {
		return nil, err
	}
	return stack[:len(g.ent.types)], nil
}

// config is the instance's. The environment comes last: every step copies the one before it.
func (g *guest) config(ctx context.Context) wazero.ModuleConfig {
	inv := g.inv
	c := g.e.base
	if w := inv.World; w != nil {
		c = worldConfig(ctx, c, w)
	} else {
		c = c.WithNanosleep(sleeper(ctx))
	}
	if inv.Stdin != nil {
		c = c.WithStdin(inv.Stdin)
	}
	if inv.Stdout != nil {
		c = c.WithStdout(inv.Stdout)
	}
	if inv.Stderr != nil {
		c = c.WithStderr(inv.Stderr)
	}
	if inv.Dir != "" {
		g.box = newBox(ctx, inv)
		c = c.WithFSConfig(g.box.config())
	}
	args := make([]string, 0, len(inv.Args)+1)
	args = append(append(args, inv.Name), inv.Args...)
	c = c.WithArgs(args...)
	for _, k := range slices.Sorted(maps.Keys(inv.Env)) {
		c = c.WithEnv(k, inv.Env[k])
	}
	return c
}

// outcome says what err means.
func (g *guest) outcome(ctx context.Context, err error) api.Outcome {
	exit, isExit := errors.AsType[*sys.ExitError](err)
	if errors.Is(err, errNoFuel) {
		return api.Fail(api.ReasonFuelExhausted, fmt.Sprintf("the task used up its %d units of fuel", g.inv.Fuel))
	}
	if err != nil && ctx.Err() != nil && (isExit || errors.Is(err, ctx.Err())) {
		g.stopped = true
		return stopped(ctx)
	}
	switch {
	case err == nil, isExit && exit.ExitCode() == 0:
		return api.Outcome{State: api.Finished, Inline: true}
	case isExit:
		return g.exited(int(exit.ExitCode() & 0xff))
	}
	broken, isBroken := errors.AsType[*errBroken](err)
	if g.mem.denied && (isBroken || g.ready.IsZero()) {
		return g.outOfMemory("the module needs more memory to start")
	}
	if isBroken {
		return api.Fail(api.ReasonLaunchFailed, broken.Error())
	}
	return g.trapped(err)
}

// exitGo is how Go programs end that get no memory. Others trap, or say so in their own way.
const exitGo = 2

// exited is the outcome of a guest that left with a status other than 0.
func (g *guest) exited(code int) api.Outcome {
	if code == exitGo && g.mem.denied {
		return g.outOfMemory("the module gave up after it asked for more memory")
	}
	if code == 0 { // a multiple of 256: the guest meant failure
		code = 1
	}
	msg := fmt.Sprintf("exit code %d", code)
	if g.mem.denied {
		msg += fmt.Sprintf(", after it was refused more memory than its limit of %s", api.Bytes(g.mem.limit))
	}
	if g.box != nil && g.box.use.denied {
		q := g.inv.Disk
		msg += fmt.Sprintf(", after it was refused more disk than its limit of %s and %d files", api.Bytes(q.Bytes), q.Files)
	}
	return api.Outcome{State: api.Failed, Reason: api.ReasonExit, Message: msg, ExitCode: code, Inline: true}
}

func (g *guest) outOfMemory(what string) api.Outcome {
	return api.Fail(api.ReasonMemoryLimit, fmt.Sprintf("%s than its limit of %s", what, api.Bytes(g.mem.limit)))
}

// trapped is the outcome of a trap, whose error is a sentence, and a stack trace in the lines below.
func (g *guest) trapped(err error) api.Outcome {
	text := err.Error()
	head, trace, _ := strings.Cut(text, "\nwasm stack trace:\n")
	head = strings.TrimPrefix(head, "wasm error: ")
	if head == "unreachable" && g.mem.denied {
		o := g.outOfMemory("the module aborted after it asked for more memory")
		o.Trace = cut(trace)
		return o
	}
	o := api.Fail(api.ReasonTrap, "the module trapped: "+head)
	o.Trace = cut(trace)
	return o
}

func cut(trace string) string { return strings.TrimRight(trace[:min(len(trace), maxTrace)], "\n") }

// stopped is the outcome of a guest that was ended.
func stopped(ctx context.Context) api.Outcome {
	reason := api.ReasonUserKill
	if s, ok := errors.AsType[*Stop](context.Cause(ctx)); ok {
		reason = s.Reason
	}
	return Stopped(reason)
}

// Stopped is the outcome of a guest that was ended for the reason.
func Stopped(reason api.Reason) api.Outcome {
	if reason == api.ReasonDeadline {
		return api.Fail(reason, reason.Sentence())
	}
	const kill = 9
	return api.Outcome{
		State: api.Killed, Reason: reason, Message: reason.Sentence(),
		Signal: kill, ExitCode: api.ExitSignal + kill, Inline: true,
	}
}
