package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/wasm/launch"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor"
	"github.com/saki-run/saki/internal/guests"
	"github.com/saki-run/saki/internal/guests/cases"
)

// TestMain lets the test's program play "saki executor".
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "executor" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := executor.Main(ctx, os.Args[2:], "test", os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// bench is a runner and the blobs it can fetch.
type bench struct {
	testing.TB
	*Runner
	root     string
	blobs    string
	launcher func(root string) launch.Launcher
	n        atomic.Int64
}

// testLog is quiet but for errors: a test that is over may still have a supervisor that goes away.
func testLog() *slog.Logger {
	if os.Getenv("SAKI_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// processes launches executors as processes of the test's program.
func processes(root string) launch.Launcher {
	return &launch.Process{Root: root, Options: launch.Options{Workers: 2}, Log: testLog()}
}

func newBench(t testing.TB) *bench { return newBenchWith(t, t.TempDir(), processes) }

func newBenchWith(t testing.TB, root string, l func(root string) launch.Launcher) *bench {
	b := &bench{TB: t, root: root, blobs: t.TempDir(), launcher: l}
	b.Runner = b.open()
	t.Cleanup(func() { _ = b.Close(context.Background(), false) })
	return b
}

// open makes a runner in the bench's folder, as an agent that starts does.
func (b *bench) open() *Runner {
	b.Helper()
	r, err := New(Config{Root: b.root, Log: testLog(), Launcher: b.launcher(b.root)})
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// push stores content as a blob.
func (b *bench) push(content []byte) api.Digest {
	b.Helper()
	d := api.DigestOf(sha256.Sum256(content))
	path := filepath.Join(b.blobs, d.Hex())
	if _, err := os.Stat(path); err == nil {
		return d // others may be reading it
	}
	tmp := fmt.Sprint(path, ".", b.n.Add(1))
	if err := errors.Join(os.WriteFile(tmp, content, 0o600), os.Rename(tmp, path)); err != nil {
		b.Fatal(err)
	}
	return d
}

func (b *bench) blob(_ context.Context, d api.Digest) (string, error) {
	p := filepath.Join(b.blobs, d.Hex())
	if _, err := os.Stat(p); err != nil {
		return "", fmt.Errorf("blob: %w", api.Errorf(api.CodeNotFound, "no peer has %s", d))
	}
	return p, nil
}

// task makes a task that runs a guest.
func (b *bench) task(guest string, args ...string) *api.Task {
	b.Helper()
	wasm, err := guests.Module(guest)
	if err != nil {
		b.Fatal(err)
	}
	spec := api.Spec{Name: guest, Wasm: &api.WasmSpec{Module: string(b.push(wasm)), Args: args}}.WithDefaults()
	return &api.Task{ID: api.TaskID(fmt.Sprintf("t%011d", b.n.Add(1))), Spec: &spec, Attempt: 1, NodeName: "n1"}
}

// attempt is an attempt's IO, and what the runner has done with it.
type testIO struct {
	runner.IO
	started chan struct{}
	handle  atomic.Pointer[[]byte]
	starts  atomic.Int32
}

func (b *bench) io(t *api.Task) *testIO {
	x := &testIO{started: make(chan struct{})}
	x.IO = runner.IO{
		Dir:  filepath.Join(b.root, t.Spec.Namespace, "tasks", fmt.Sprintf("%s.%d", t.ID, t.Attempt)),
		Blob: b.blob,
		Handle: func(h []byte) error {
			x.handle.Store(&h)
			return nil
		},
		Started: func() {
			if x.starts.Add(1) == 1 {
				close(x.started)
			}
		},
	}
	return x
}

// run runs a task to its end.
func (b *bench) run(t *api.Task) api.Outcome {
	b.Helper()
	out, err := b.Run(b.Context(), t, b.io(t).IO)
	if err != nil {
		b.Fatalf("%s: %v", t.Spec.Name, err)
	}
	return out
}

// begin runs a task until it has started, and gives what will be its end.
func (b *bench) begin(ctx context.Context, t *api.Task) (*testIO, <-chan result) {
	b.Helper()
	x, done := b.io(t), make(chan result, 1)
	go func() {
		out, err := b.Run(ctx, t, x.IO)
		done <- result{out, err}
	}()
	select {
	case <-x.started:
	case r := <-done:
		b.Fatalf("%s ended before it started: %+v", t.Spec.Name, r)
	}
	return x, done
}

type result struct {
	api.Outcome
	err error
}

func TestGuestsDoWhatTheirTableSays(t *testing.T) {
	b := newBench(t)
	root := os.DirFS("../../../wasm-tasks")
	all, err := cases.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			wasm, err := c.Wasm(root)
			if errors.Is(err, cases.ErrNotBuilt) || len(wasm) > 1<<20 && testing.Short() {
				t.Skip("a large guest: not committed (make wasm), or -short")
			}
			if err != nil {
				t.Fatal(err)
			}
			spec := api.Spec{
				Name: c.Module, Wasm: &api.WasmSpec{Module: string(b.push(wasm)), Args: c.Args}, Env: map[string]string{},
				Timeout: api.Duration(c.Timeout), Resources: api.Request{Mem: api.Bytes(c.MemMiB) * api.MiB},
			}.WithDefaults()
			for _, kv := range c.Env {
				k, v, _ := strings.Cut(kv, "=")
				spec.Env[k] = v
			}
			if len(c.Stdin) > 100 {
				spec.StdinBlob = b.push(c.Stdin)
			} else {
				spec.Stdin = c.Stdin
			}
			for name, data := range c.Files {
				spec.Files = append(spec.Files, api.File{Path: strings.TrimPrefix(name, "/"), Blob: b.push(data)})
			}
			task := &api.Task{ID: api.TaskID(fmt.Sprintf("t%011d", b.n.Add(1))), Spec: &spec, Attempt: 1}
			x := b.io(task)
			out, err := b.Run(t.Context(), task, x.IO)
			if err != nil {
				t.Fatal(err)
			}
			got := cases.Result{Exit: out.ExitCode, Trap: out.Reason == api.ReasonTrap, Stdout: out.Stdout, Stderr: out.Stderr}
			if !out.Inline {
				got.Stdout, _ = os.ReadFile(filepath.Join(x.Dir, "stdout"))
				got.Stderr, _ = os.ReadFile(filepath.Join(x.Dir, "stderr"))
			}
			if c.Module == "env" { // the runner adds its own
				got.Stdout = withoutSaki(got.Stdout)
			}
			if err := c.Check(got); err != nil {
				t.Errorf("%v (%s: %s)", err, out.Reason, out.Message)
			}
			if n := x.starts.Load(); n != 1 {
				t.Errorf("started %d times, want once", n)
			}
		})
	}
}

func withoutSaki(env []byte) []byte {
	var out []byte
	for line := range bytes.Lines(env) {
		if !bytes.HasPrefix(line, []byte("SAKI_")) {
			out = append(out, line...)
		}
	}
	return out
}

func TestAWarmTaskCostsLittle(t *testing.T) {
	b := newBench(t)
	first := b.run(b.task("hello", "you"))
	if first.Receipt.Warm {
		t.Error("the first run was warm")
	}
	again := b.run(b.task("hello", "you"))
	rec := again.Receipt
	if !rec.Warm || rec.RunNS == 0 || rec.InitNS == 0 || rec.DispatchNS == 0 || rec.PeakMem == 0 || rec.StdoutBytes == 0 {
		t.Errorf("got %+v", rec)
	}
	if !again.Inline || !bytes.Contains(again.Stdout, []byte("you")) {
		t.Errorf("got %+v", again)
	}
	if got := b.Modules("default"); len(got) != 1 {
		t.Errorf("modules %v, want one", got)
	}
	tasks, err := os.ReadDir(filepath.Join(b.root, "default", "tasks"))
	if err != nil || len(tasks) != 0 {
		t.Errorf("tiny tasks left %d folders (%v)", len(tasks), err)
	}
	c := b.Probe(t.Context())
	if !c.OK || c.Executor != "process (compiler)" || c.Attributes["wasm.engine"] != "compiler" {
		t.Errorf("got %+v", c)
	}
}

func TestAModuleThatWasLoadedAheadIsWarm(t *testing.T) {
	b := newBench(t)
	task := b.task("hello")
	d := task.Spec.Module()
	if err := b.Load(t.Context(), "default", d, filepath.Join(b.blobs, d.Hex())); err != nil {
		t.Fatal(err)
	}
	if out := b.run(task); !out.Receipt.Warm {
		t.Errorf("got %+v", out.Receipt)
	}
	bad := b.push(bomb)
	if err := b.Load(t.Context(), "default", bad, filepath.Join(b.blobs, bad.Hex())); err == nil || !strings.Contains(err.Error(), "globals") {
		t.Errorf("got %v, want why it is refused", err)
	}
	if err := b.Load(t.Context(), "default", d, filepath.Join(b.blobs, bad.Hex())); err != nil {
		t.Errorf("a module that is there was copied again: %v", err)
	}
}

func TestAModuleThatNobodyHas(t *testing.T) {
	b := newBench(t)
	task := b.task("noop")
	task.Spec.Wasm.Module = "sha256:" + strings.Repeat("0", 64)
	if out := b.run(task); out.Reason != api.ReasonModuleNotFound || out.ExitCode != 127 {
		t.Errorf("got %+v", out)
	}
}

func TestARefusedModule(t *testing.T) {
	b := newBench(t)
	task := b.task("noop")
	task.Spec.Wasm.Module = string(b.push([]byte("\x00asm\x0d\x00\x01\x00")))
	if out := b.run(task); out.Reason != api.ReasonModuleRefused || out.ExitCode != 126 || !strings.Contains(out.Message, "component") {
		t.Errorf("got %+v", out)
	}
}

// bomb declares 2^32-1 globals, which wazero would allocate at once: the Go runtime of a process that compiled it would die.
var bomb = []byte("\x00asm\x01\x00\x00\x00\x06\x05\xff\xff\xff\xff\x0f")

func TestAModuleMadeToKillTheCompilerHarmsNobody(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	_, neighbour := b.begin(ctx, b.task("sleep", "60000"))
	task := b.task("noop")
	task.Spec.Wasm.Module = string(b.push(bomb))
	if out := b.run(task); out.Reason != api.ReasonModuleRefused || out.ExitCode != 126 {
		t.Errorf("got %+v", out)
	}
	cancel(&runner.Stop{Reason: api.ReasonUserKill})
	if r := <-neighbour; r.State != api.Killed {
		t.Errorf("the neighbour: %+v", r)
	}
}

func TestLongOutputGoesToFilesWithinItsLimit(t *testing.T) {
	b := newBench(t)
	task := b.task("flood")
	task.Spec.MaxOutput = 2000
	task.Spec.Timeout = api.Duration(200 * time.Millisecond)
	x := b.io(task)
	out, err := b.Run(t.Context(), task, x.IO)
	if err != nil || out.Reason != api.ReasonDeadline || out.Inline {
		t.Fatalf("got %+v, %v", out, err)
	}
	got, err := os.ReadFile(filepath.Join(x.Dir, "stdout"))
	if err != nil || len(got) != 2000 || !bytes.HasPrefix(got, []byte("flood: ")) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if rec := out.Receipt; rec.Dropped != rec.StdoutBytes-2000 || rec.StdoutBytes < 100000 {
		t.Errorf("dropped %d of %d", rec.Dropped, rec.StdoutBytes)
	}
}

func TestAKillEndsATask(t *testing.T) {
	b := newBench(t)
	for _, guest := range []string{"spin", "sleep"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		_, done := b.begin(ctx, b.task(guest, "60000"))
		cancel(&runner.Stop{Reason: api.ReasonDrained})
		if r := <-done; r.err != nil || r.State != api.Killed || r.Reason != api.ReasonDrained || r.Signal != 9 || r.ExitCode != 137 {
			t.Errorf("%s: got %+v", guest, r)
		}
	}
}

func TestADeadline(t *testing.T) {
	b := newBench(t)
	task := b.task("spin")
	task.Spec.Timeout = api.Duration(50 * time.Millisecond)
	if out := b.run(task); out.State != api.Failed || out.Reason != api.ReasonDeadline || out.ExitCode != 124 {
		t.Errorf("got %+v", out)
	}
}

func TestNamespacesHaveExecutorsOfTheirOwn(t *testing.T) {
	b := newBench(t)
	one, two := b.task("hello"), b.task("hello")
	two.Spec.Namespace = "other"
	b.run(one)
	b.run(two)
	if _, err := os.Stat(filepath.Join(b.root, "other", "executor.pid")); err != nil {
		t.Error(err)
	}
}

func TestAProcessWithoutTheTokenIsTurnedAway(t *testing.T) {
	b := newBench(t)
	if err := b.Warm(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := errors.Join(
		os.Symlink(filepath.Join(b.root, "default", "agent.sock"), filepath.Join(dir, "agent.sock")),
		os.WriteFile(filepath.Join(dir, "token"), []byte("guess"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	h := slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		log.Write(p)
		cancel()
		return len(p), nil
	}), &slog.HandlerOptions{Level: slog.LevelDebug})
	if err := executor.Worker(ctx, executor.WorkerConfig{Dir: dir, Name: "w", Incarnation: "x", Log: slog.New(h)}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "wrong token") {
		t.Errorf("got %s", log.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestALongRootIsNoTrouble(t *testing.T) {
	b := newBenchWith(t, filepath.Join(t.TempDir(), strings.Repeat("long-name/", 12)), processes)
	if out := b.run(b.task("hello")); out.State != api.Finished {
		t.Errorf("got %+v", out)
	}
}

func TestHammerRuns(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := range 20 {
				want := 0
				task := b.task("hello")
				if i%3 == 1 {
					task, want = b.task("exit", "7"), 7
				}
				out, err := b.Run(t.Context(), task, b.io(task).IO)
				if err != nil || out.ExitCode != want {
					t.Errorf("got %+v, %v", out, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkRun(b *testing.B) {
	for _, inFlight := range []int{1, 64} {
		b.Run(fmt.Sprint(inFlight), func(tb *testing.B) {
			b := newBench(tb)
			base := b.task("noop")
			b.run(base)
			var wg sync.WaitGroup
			var n atomic.Int64
			tb.ResetTimer()
			for range inFlight {
				wg.Go(func() {
					for n.Add(1) <= int64(tb.N) {
						task := *base
						task.ID = api.TaskID(fmt.Sprintf("t%011d", b.n.Add(1)))
						io := b.io(&task).IO
						if out, err := b.Run(tb.Context(), &task, io); err != nil || out.State != api.Finished {
							tb.Errorf("%+v, %v", out, err)
							return
						}
					}
				})
			}
			wg.Wait()
			tb.ReportMetric(float64(tb.N)/tb.Elapsed().Seconds(), "tasks/s")
		})
	}
}
