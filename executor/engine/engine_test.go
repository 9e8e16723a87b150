package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/internal/guests"
	"github.com/saki-run/saki/internal/guests/cases"
	"github.com/saki-run/saki/wasm"
)

func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e, err := New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// load loads a guest, or a module of testdata.
func load(t testing.TB, e *Engine, name string) api.Digest {
	t.Helper()
	d, err := tryLoad(t, e, name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func tryLoad(t testing.TB, e *Engine, name string) (api.Digest, error) {
	t.Helper()
	wasm, err := guests.Module(name)
	if err != nil {
		if wasm, err = os.ReadFile(filepath.Join("testdata", name+".wasm")); err != nil {
			t.Fatal(err)
		}
	}
	d := api.DigestOf(sha256.Sum256(wasm))
	return d, e.Load(t.Context(), d, wasm)
}

func TestGuestsDoWhatTheirTableSays(t *testing.T) {
	root := os.DirFS("../../wasm-tasks")
	all, err := cases.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	for mode, cfg := range map[string]Config{
		"compiler": {Kind: Compiler}, "interpreter": {Kind: Interpreter}, "metered": {Kind: Compiler, Rewrite: meter},
	} {
		e := newEngine(t, cfg)
		for _, c := range all {
			if mode == "interpreter" && (c.Module == "markdown" || c.Module == "thumbnail" || c.Module == "nbody") {
				continue // the compiler runs them, and they take long
			}
			t.Run(mode+"/"+c.Name, func(t *testing.T) {
				wasm, err := c.Wasm(root)
				if errors.Is(err, cases.ErrNotBuilt) || testing.Short() && len(wasm) > 1<<20 {
					t.Skip("a large guest: not committed (make wasm), or -short")
				}
				if err != nil {
					t.Fatal(err)
				}
				runCase(t, e, c, wasm)
			})
		}
	}
}

func meter(b []byte) ([]byte, error) { return wasm.Meter(b, wasm.MeterOptions{}) }

func runCase(t *testing.T, e *Engine, c cases.Case, module []byte) {
	d := api.DigestOf(sha256.Sum256(module))
	if err := e.Load(t.Context(), d, module); err != nil {
		t.Fatal(err)
	}
	box := filepath.Join(t.TempDir(), "box")
	for name, data := range c.Files {
		p := filepath.Join(box, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{}
	for _, kv := range c.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	var stdout, stderr bytes.Buffer
	out, err := e.Run(t.Context(), Invocation{
		Digest: d, Name: c.Module, Args: c.Args, Env: env, Stdin: bytes.NewReader(c.Stdin), Stdout: &stdout, Stderr: &stderr,
		Mem: max(c.MemMiB, 64) << 20, Timeout: c.Timeout, Dir: box,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := cases.Result{Exit: out.ExitCode, Trap: out.Reason == api.ReasonTrap, Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	if err := c.Check(got); err != nil {
		t.Errorf("%v (%s: %s)", err, out.Reason, out.Message)
	}
}

func TestOutcomes(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testOutcomes(t, newEngine(t, Config{})) })
	t.Run("metered", func(t *testing.T) { testOutcomes(t, newEngine(t, Config{Rewrite: meter})) })
}

func testOutcomes(t *testing.T, e *Engine) {
	for _, c := range []struct {
		name, module, fn string
		args             []string
		mem              int64
		timeout          time.Duration
		state            api.State
		reason           api.Reason
		exit             int
		message          string
	}{
		{name: "a command that returns", module: "noop", state: api.Finished},
		{name: "an exit code above 123", module: "exit", args: []string{"200"}, state: api.Failed, reason: api.ReasonExit, exit: 200},
		{name: "an exit code above 255", module: "exit", args: []string{"256"}, state: api.Failed, reason: api.ReasonExit, exit: 1},
		{name: "a trap", module: "trap", state: api.Failed, reason: api.ReasonTrap, exit: 134, message: "the module trapped: unreachable"},
		{name: "endless recursion", module: "recurse", state: api.Failed, reason: api.ReasonTrap, exit: 134, message: "stack overflow"},
		{name: "a loop past its deadline", module: "spin", timeout: 20 * time.Millisecond, state: api.Failed, reason: api.ReasonDeadline, exit: 124},
		{name: "a start section past its deadline", module: "startloop", timeout: 20 * time.Millisecond, state: api.Failed, reason: api.ReasonDeadline, exit: 124},
		{name: "a sleep past its deadline", module: "sleep", args: []string{"60000"}, timeout: 20 * time.Millisecond, state: api.Failed, reason: api.ReasonDeadline, exit: 124},
		{name: "a function past its deadline", module: "funcs", fn: "spin", timeout: 20 * time.Millisecond, state: api.Failed, reason: api.ReasonDeadline, exit: 124},
		{name: "too much memory to start", module: "bigstart", mem: 1 << 20, state: api.Failed, reason: api.ReasonMemoryLimit, exit: 137, message: "limit of 1Mi"},
		{name: "enough memory to start", module: "bigstart", mem: 16 << 20, state: api.Finished},
		{name: "an abort for want of memory", module: "oom", mem: 8 << 20, state: api.Failed, reason: api.ReasonMemoryLimit, exit: 137, message: "limit of 8Mi"},
		{name: "an exit after memory was refused", module: "grow", mem: 8 << 20, state: api.Failed, reason: api.ReasonExit, exit: 9, message: "limit of 8Mi"},
		{name: "data out of bounds", module: "baddata", state: api.Failed, reason: api.ReasonTrap, exit: 134, message: "out of bounds"},
		{name: "an unknown function", module: "reactor", fn: "ad", state: api.Failed, reason: api.ReasonEntryNotFound, exit: 127, message: `"ad"; it exports add`},
		{name: "no _start", module: "funcs", state: api.Failed, reason: api.ReasonEntryNotFound, exit: 127, message: "_start"},
		{name: "too few arguments", module: "reactor", fn: "add", args: []string{"1"}, state: api.Failed, reason: api.ReasonLaunchFailed, exit: 125, message: "takes 2 arguments (i32, i32), got 1"},
		{name: "an argument of the wrong type", module: "reactor", fn: "add", args: []string{"1", "x"}, state: api.Failed, reason: api.ReasonLaunchFailed, exit: 125, message: `argument 2: "x" is not a valid i32`},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := e.Run(t.Context(), Invocation{
				Digest: load(t, e, c.module), Name: "x", Func: c.fn, Args: c.args, Mem: c.mem, Timeout: c.timeout,
			})
			if err != nil {
				t.Fatal(err)
			}
			if out.State != c.state || out.Reason != c.reason || out.ExitCode != c.exit || !strings.Contains(out.Message, c.message) {
				t.Errorf("got %s, %s, %d, %q", out.State, out.Reason, out.ExitCode, out.Message)
			}
			if c.module == "trap" && !strings.Contains(out.Trace, "(") {
				t.Errorf("no stack trace: %q", out.Trace)
			}
		})
	}
}

func TestFunctionsTakeAndGiveScalars(t *testing.T) {
	e := newEngine(t, Config{})
	for _, c := range []struct{ module, fn, args, want string }{
		{"reactor", "add", "2 40", "42\n"},
		{"reactor", "add", "-1 0x10", "15\n"},
		{"reactor", "add", "4294967295 0", "-1\n"},
		{"funcs", "add64", "9223372036854775807 -1", "9223372036854775806\n"},
		{"funcs", "half", "3", "1.5\n"},
		{"funcs", "neg", "7", "-7\n"},
		{"funcs", "both", "0.1", "0.1\n-1\n"},
	} {
		var stdout bytes.Buffer
		out, err := e.Run(t.Context(), Invocation{
			Digest: load(t, e, c.module), Name: "x", Func: c.fn, Args: strings.Fields(c.args), Stdout: &stdout,
		})
		if err != nil || out.State != api.Finished || stdout.String() != c.want {
			t.Errorf("%s(%s): %q, %+v, %v; want %q", c.fn, c.args, stdout.String(), out, err, c.want)
		}
	}
}

func TestAKillEndsAGuestForItsReason(t *testing.T) {
	e := newEngine(t, Config{})
	for _, c := range []struct{ module, arg string }{{"spin", ""}, {"sleep", "60000"}, {"flood", "1000000000"}} {
		d := load(t, e, c.module)
		ctx, cancel := context.WithCancelCause(t.Context())
		out, err := e.Run(ctx, Invocation{
			Digest: d, Name: "x", Args: strings.Fields(c.arg), Began: func() { cancel(&Stop{api.ReasonDrained}) }, Stdout: devNull{},
		})
		if err != nil || out.State != api.Killed || out.Reason != api.ReasonDrained || out.ExitCode != 137 {
			t.Errorf("%s: got %+v, %v", c.module, out, err)
		}
	}
}

type devNull struct{}

func (devNull) Write(b []byte) (int, error) { return len(b), nil }

func TestRefusedModules(t *testing.T) {
	e := newEngine(t, Config{})
	for name, c := range map[string]struct {
		wasm []byte
		want string
	}{
		"a component":     {[]byte("\x00asm\x0d\x00\x01\x00"), "component"},
		"not wasm":        {[]byte("#!/bin/sh\n"), "invalid"},
		"nothing":         {nil, "invalid"},
		"unknown imports": {read(t, "badimport"), "env.nope, wasi_snapshot_preview1.fd_dance, wasi_snapshot_preview1.proc_exit"},
	} {
		err := e.Load(t.Context(), api.DigestOf(sha256.Sum256(c.wasm)), c.wasm)
		var r *Refusal
		if !errors.As(err, &r) || r.Reason != api.ReasonModuleRefused || !strings.Contains(r.Message, c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if got := e.Loaded(); len(got) != 0 {
		t.Errorf("refused modules are held: %v", got)
	}
}

func read(t *testing.T, name string) []byte {
	b, err := os.ReadFile(filepath.Join("testdata", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMemoryOfAnEarlierTaskReadsAsZero(t *testing.T) {
	e := newEngine(t, Config{})
	d := load(t, e, "dirty")
	for i := range 5 {
		out, err := e.Run(t.Context(), Invocation{Digest: d, Name: "x", Mem: 16 << 20})
		if err != nil || out.State != api.Finished {
			t.Fatalf("run %d: %+v, %v", i, out, err)
		}
		if out.Receipt.PeakMem != 8*api.MiB {
			t.Fatalf("peak memory %s, want 8Mi", out.Receipt.PeakMem)
		}
	}
	if e.pool.held > e.pool.max {
		t.Errorf("the pool holds %d of %d bytes", e.pool.held, e.pool.max)
	}
}

func TestModulesUsedLongAgoAreLetGo(t *testing.T) {
	e := newEngine(t, Config{MaxModules: 2})
	noop := load(t, e, "noop")
	spin := load(t, e, "spin")
	var wg sync.WaitGroup
	running := make(chan struct{})
	ctx, cancel := context.WithCancelCause(t.Context())
	wg.Go(func() {
		out, err := e.Run(ctx, Invocation{Digest: spin, Name: "x", Began: func() { close(running) }})
		if err != nil || out.State != api.Killed {
			t.Errorf("a module that was let go while it ran: %+v, %v", out, err)
		}
	})
	<-running
	load(t, e, "trap")
	load(t, e, "exit")
	if _, err := e.Run(t.Context(), Invocation{Digest: noop, Name: "x"}); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("got %v, want that noop is not loaded", err)
	}
	if n := len(e.Loaded()); n != 2 {
		t.Errorf("%d modules are held, want 2", n)
	}
	cancel(&Stop{api.ReasonUserKill})
	wg.Wait()
}

func TestHammerLoadAndRun(t *testing.T) {
	e := newEngine(t, Config{MaxModules: 3, PoolBytes: 1 << 20})
	names := []string{"noop", "exit", "trap", "hello", "reactor", "dirty"}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 24 {
				d, err := tryLoad(t, e, names[(w+i)%len(names)])
				if err != nil {
					t.Error(err)
					return
				}
				_, err = e.Run(t.Context(), Invocation{Digest: d, Name: "x", Mem: 16 << 20, Timeout: time.Minute})
				if err != nil && !errors.Is(err, ErrNotLoaded) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestCompiledCodeIsKeptOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	for range 2 {
		e := newEngine(t, Config{CacheDir: dir, Kind: Compiler})
		out, err := e.Run(t.Context(), Invocation{Digest: load(t, e, "noop"), Name: "x"})
		if err != nil || out.State != api.Finished {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	n := 0
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil || n == 0 {
		t.Errorf("%d files in the cache, %v", n, err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the cache is open to others: %v, %v", st.Mode(), err)
	}
}

func TestAMeteredModuleIsStoppedWhereverItIs(t *testing.T) {
	e := newEngine(t, Config{Rewrite: meter})
	for _, name := range []string{"spin", "tree", "fill", "startloop"} {
		out, err := e.Run(t.Context(), Invocation{Digest: load(t, e, name), Name: "x", Timeout: 30 * time.Millisecond})
		if err != nil || out.Reason != api.ReasonDeadline {
			t.Errorf("%s: got %+v, %v", name, out, err)
		}
		if out.Receipt.RunNS+out.Receipt.InitNS > (5 * time.Second).Nanoseconds() {
			t.Errorf("%s: it took %d ns to stop", name, out.Receipt.RunNS)
		}
		if out.Receipt.Fuel == 0 {
			t.Errorf("%s: no fuel was counted", name)
		}
	}
}

func TestTheSameWorkCostsTheSameFuel(t *testing.T) {
	e := newEngine(t, Config{Rewrite: meter})
	d := load(t, e, "nbody")
	var first uint64
	for range 3 {
		out, err := e.Run(t.Context(), Invocation{Digest: d, Name: "x", Args: []string{"2000"}})
		if err != nil || out.State != api.Finished || out.Receipt.Fuel < fuelChunk {
			t.Fatalf("got %+v, %v", out, err)
		}
		if first == 0 {
			first = out.Receipt.Fuel
		}
		if out.Receipt.Fuel != first {
			t.Errorf("fuel %d, was %d", out.Receipt.Fuel, first)
		}
	}
}

func TestARewriteThatFailsRefusesTheModule(t *testing.T) {
	e := newEngine(t, Config{Rewrite: func([]byte) ([]byte, error) { return nil, errors.New("too odd") }})
	if _, err := tryLoad(t, e, "noop"); err == nil || !strings.Contains(err.Error(), "too odd") {
		t.Errorf("got %v, want that the module is refused", err)
	}
}

func BenchmarkNoop(b *testing.B)  { benchmark(b, "noop", nil) }
func BenchmarkHello(b *testing.B) { benchmark(b, "hello", nil) }

func BenchmarkNBody(b *testing.B) {
	benchmark(b, "nbody", func(inv *Invocation) { inv.Args = []string{"2000"} })
}

func BenchmarkNoopWithEnvAndDeadline(b *testing.B) {
	env := map[string]string{}
	for i := range 6 {
		env[fmt.Sprint("SAKI_VAR_", i)] = "value"
	}
	benchmark(b, "noop", func(inv *Invocation) { inv.Env, inv.Timeout, inv.Dir = env, time.Minute, b.TempDir() })
}

func benchmark(b *testing.B, name string, with func(*Invocation)) {
	for mode, cfg := range map[string]Config{"plain": {}, "metered": {Rewrite: meter}} {
		b.Run(mode, func(b *testing.B) {
			e := newEngine(b, cfg)
			inv := Invocation{
				Digest: load(b, e, name), Name: "x", Mem: 64 << 20,
				Stdin: bytes.NewReader(nil), Stdout: devNull{}, Stderr: devNull{},
			}
			if with != nil {
				with(&inv)
			}
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Run(ctx, inv); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
