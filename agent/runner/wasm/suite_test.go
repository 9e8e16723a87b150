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
	guest := buildGuest(t)
	module := api.DigestOf(sha256.Sum256(guest))
	roots := map[string]*Runner{} // the last runner of each test
	runnertest.Run(t, runnertest.Harness{
		Wait:  time.Minute,
		Blobs: map[api.Digest][]byte{module: guest},
		New: func(t *testing.T) runner.Runner {
			// An agent that starts again does so when the one before it has ended, which leaves everything running.
			root := rootOf(t)
			if old := roots[root]; old != nil {
				_ = old.Close(context.Background(), true)
			}
			r, err := New(Config{Root: root, Log: testLog(), Launcher: processes(root)})
			if err != nil {
				t.Fatal(err)
			}
			roots[root] = r
			t.Cleanup(func() { _ = r.Close(context.Background(), roots[root] != r) })
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

// rootOf gives one folder to all runners of a test.
func rootOf(t *testing.T) string {
	sum := sha256.Sum256([]byte(t.Name()))
	root := filepath.Join(os.TempDir(), "saki-suite-"+strconv.Itoa(os.Getpid())+"-"+api.DigestOf(sum).Short())
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	return root
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

func buildGuest(t *testing.T) []byte {
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
	return b
}
