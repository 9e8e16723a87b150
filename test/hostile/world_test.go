package hostile

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/saki-run/saki/agent/runner"
	wasmrunner "github.com/saki-run/saki/agent/runner/wasm"
	"github.com/saki-run/saki/agent/runner/wasm/launch"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor"
	"github.com/saki-run/saki/internal/guests"
)

// burn makes the test's program use a processor until it is killed.
const burn = "burn"

// TestMain lets the test's program play "saki executor", and somebody who uses a processor.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == burn {
		for n := 0; ; n++ {
			runtime.KeepAlive(n)
		}
	}
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

// world is a runner with an executor, and what it can fetch.
type world struct {
	t        *testing.T
	r        *wasmrunner.Runner
	launcher *watched
	root     string
	blobs    string
	n        atomic.Int64
}

// watched is a launcher that counts the executors it has started.
type watched struct {
	launch.Launcher
	started atomic.Int32
}

// Ensure implements [launch.Launcher].
func (w *watched) Ensure(ctx context.Context, s launch.Space) (launch.Executor, error) {
	w.started.Add(1)
	return w.Launcher.Ensure(ctx, s)
}

// processes gives a world whose executor is a tree of processes.
func processes(t *testing.T) *world {
	root := t.TempDir()
	return newWorld(t, root, &launch.Process{Root: root, Options: launch.Options{Workers: 2}, Log: quiet()})
}

// containers gives a world whose executor is a container.
func containers(t *testing.T) *world {
	exe := filepath.Join(t.TempDir(), "saki")
	build := exec.Command("go", "build", "-o", exe, "../../agent/runner/wasm/testdata/saki")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	root, cluster := t.TempDir(), "hostile-"+strings.ToLower(rand.Text()[:8])
	l, err := launch.NewDocker(launch.DockerConfig{
		Cluster: cluster, Agent: "a1", Root: root, Exe: exe, Log: quiet(),
		Options: launch.Options{Workers: 2}, CPUs: 2, Memory: 2 << 30, Pids: 256,
	})
	if err != nil {
		t.Skipf("no Docker: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := l.Check(ctx); err != nil {
		t.Skipf("no Docker daemon answers: %v", err)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // of the executor's image, which only this test has
		_ = exec.Command("docker", "image", "rm", "saki-executor:"+api.DigestOf(sha256.Sum256(program)).Short()).Run()
	})
	return newWorld(t, root, l)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newWorld(t *testing.T, root string, l launch.Launcher) *world {
	t.Helper()
	w := &world{t: t, root: root, blobs: t.TempDir(), launcher: &watched{Launcher: l}}
	r, err := wasmrunner.New(wasmrunner.Config{Root: root, Launcher: w.launcher, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	w.r = r
	t.Cleanup(func() {
		if err := r.Close(context.Background(), false); err != nil {
			t.Error(err)
		}
	})
	if err := r.Warm(t.Context(), api.DefaultNamespace); err != nil {
		t.Fatal(err)
	}
	return w
}

// push stores a module.
func (w *world) push(module []byte) api.Digest {
	w.t.Helper()
	d := api.DigestOf(sha256.Sum256(module))
	if err := os.WriteFile(filepath.Join(w.blobs, d.Hex()), module, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// bytes gives one of our guests.
func (w *world) bytes(name string) []byte {
	w.t.Helper()
	module, err := guests.Module(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return module
}

func (w *world) guest(name string) api.Digest {
	w.t.Helper()
	return w.push(w.bytes(name))
}

// task makes a task of a module.
func (w *world) task(name string, d api.Digest) *api.Task {
	spec := api.Spec{Name: name, Wasm: &api.WasmSpec{Module: string(d)}}.WithDefaults()
	return &api.Task{ID: api.TaskID(fmt.Sprintf("t%011d", w.n.Add(1))), Spec: &spec, Attempt: 1, NodeName: "n1"}
}

func (w *world) run(t *api.Task) (api.Outcome, error) {
	return w.r.Run(context.Background(), t, runner.IO{
		Dir: filepath.Join(w.root, t.Spec.Namespace, "tasks", fmt.Sprintf("%s.%d", t.ID, t.Attempt)),
		Blob: func(_ context.Context, d api.Digest) (string, error) {
			p := filepath.Join(w.blobs, d.Hex())
			_, err := os.Stat(p)
			return p, err
		},
	})
}

// resident is the memory of all processes of the executor, in bytes. It sees processes only, not containers.
func (w *world) resident() (sum int64) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, dir := range dirs {
		cmd, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !strings.Contains(string(cmd), w.root) {
			continue // it has ended, or is somebody else's
		}
		statm, err := os.ReadFile(filepath.Join(dir, "statm"))
		if f := strings.Fields(string(statm)); err == nil && len(f) > 1 {
			pages, perr := strconv.ParseInt(f[1], 10, 64)
			err = errors.Join(err, perr)
			sum += pages * int64(os.Getpagesize())
		}
		if err != nil {
			w.t.Log(err)
		}
	}
	return sum
}
