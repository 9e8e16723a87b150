package wasm

import (
	"context"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/runnertest"
	"github.com/saki-run/saki/api"
)

func TestTheSuiteOfAllRunners(t *testing.T) {
	if testing.Short() {
		t.Skip("a Go program is built for wasm, which takes seconds")
	}
	path, module := buildGuest(t)
	root := t.TempDir() // of all: what is compiled once stays in it
	var last *Runner
	runnertest.Run(t, runnertest.Harness{
		Wait: time.Minute,
		New: func(t *testing.T) runner.Runner {
			// An agent that starts again does so when the one before it has ended, which leaves everything running.
			if last != nil {
				_ = last.Close(context.Background(), true)
			}
			r, err := New(Config{Root: root, Log: testLog(), Launcher: processes(root)})
			if err != nil {
				t.Fatal(err)
			}
			last = r
			sp, err := r.space(api.DefaultNamespace)
			if err != nil {
				t.Fatal(err)
			}
			if err := sp.putModule(module, path); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Close(context.Background(), last != r) })
			return r
		},
		Task: func(b runnertest.Behaviour) *api.Spec {
			args := arguments(b)
			if args == nil {
				return nil
			}
			s := &api.Spec{Wasm: &api.WasmSpec{Module: string(module), Args: args}}
			if _, ok := b.(runnertest.NotFound); ok {
				s.Wasm.Func = "nothing"
			}
			return s
		},
	})
}

// arguments are what makes the guest behave; nil for what no wasm guest can do, which is to hear of a signal.
func arguments(b runnertest.Behaviour) []string {
	switch b := b.(type) {
	case runnertest.Exit:
		return []string{"exit", strconv.Itoa(b.Code)}
	case runnertest.Print:
		return []string{"print", b.Stdout, b.Stderr}
	case runnertest.CatStdin:
		return []string{"cat"}
	case runnertest.PrintEnv:
		return []string{"env"}
	case runnertest.Sleep:
		return []string{"sleep"}
	case runnertest.Gate:
		return []string{"gate", b.Path, strconv.Itoa(b.Code)}
	case runnertest.ReadFile:
		return []string{"read", b.Path}
	case runnertest.BigOutput:
		return []string{"big", strconv.Itoa(b.N)}
	case runnertest.UseMemory:
		return []string{"memory"}
	case runnertest.NotFound:
		return []string{"exit", "0"}
	}
	return nil
}

func buildGuest(t *testing.T) (path string, d api.Digest) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest.wasm")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", out, "./testdata/guest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if msg, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build guest: %v\n%s", err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return out, api.DigestOf(sha256.Sum256(b))
}
