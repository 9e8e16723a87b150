// Package guests runs the example guests of wasm-tasks through a whole cluster: HTTP API, Raft, an agent, and executor
// processes.
package guests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/saki-run/saki/agent"
	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/wasm"
	"github.com/saki-run/saki/agent/runner/wasm/launch"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
	"github.com/saki-run/saki/executor"
	"github.com/saki-run/saki/internal/guests/cases"
	"github.com/saki-run/saki/test/cluster"
)

// TestMain lets the test binary be its own executor.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "executor" {
		if err := executor.Main(context.Background(), os.Args[2:], "test", os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// start starts a cluster whose one agent runs wasm in processes.
func start(t *testing.T) *client.Client {
	t.Helper()
	c := cluster.Start(t, cluster.Config{})
	home := filepath.Join(t.TempDir(), "a1")
	log := slog.New(slog.DiscardHandler)
	root := filepath.Join(home, "ns")
	w, err := wasm.New(wasm.Config{Root: root, Launcher: &launch.Process{Root: root, Log: log}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	c.AddAgent("a1", home, map[api.Kind]runner.Runner{api.Wasm: w}, func(a *agent.Config) { a.EndTasks = true })
	cl, err := client.New(client.Config{Addrs: c.URLs()})
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func TestTheGuestsInACluster(t *testing.T) {
	dir := os.DirFS(filepath.Join("..", "..", "wasm-tasks"))
	all, err := cases.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	cl := start(t)
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			module, err := c.Wasm(dir)
			if errors.Is(err, cases.ErrNotBuilt) {
				t.Skipf("%s is %v", c.Module, err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if testing.Short() && len(module) > 1<<20 {
				t.Skip("a large guest takes seconds to compile")
			}
			if err := c.Check(run(t, cl, c, module)); err != nil {
				t.Error(err)
			}
		})
	}
}

// run runs a case as a client would.
func run(t *testing.T, cl *client.Client, c cases.Case, module []byte) cases.Result {
	t.Helper()
	m, err := cl.PushModule(t.Context(), client.Bytes(module), c.Module)
	if err != nil {
		t.Fatal(err)
	}
	spec := api.Spec{
		Wasm: &api.WasmSpec{Module: string(m.Digest), Args: c.Args}, Timeout: api.Duration(c.Timeout), Env: map[string]string{},
		Resources: api.Request{Mem: 256 * api.MiB},
	}
	if c.MemMiB > 0 {
		spec.Resources.Mem = api.Bytes(c.MemMiB) * api.MiB
	}
	for _, kv := range c.Env {
		k, v, _ := strings.Cut(kv, "=")
		spec.Env[k] = v
	}
	if len(c.Stdin) > int(api.MaxInlineStdin) {
		spec.StdinBlob = push(t, cl, c.Stdin)
	} else {
		spec.Stdin = c.Stdin
	}
	for path, content := range c.Files {
		spec.Files = append(spec.Files, api.File{Path: strings.TrimPrefix(path, "/"), Blob: push(t, cl, content)})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	task, err := cl.Run(ctx, &spec)
	if err != nil {
		t.Fatal(err)
	}
	if !task.State.Terminal() {
		t.Fatalf("task is %s", task.State)
	}
	return cases.Result{
		Exit: task.Outcome.ExitCode, Trap: task.Reason == api.ReasonTrap,
		Stdout: output(t, cl, task, "stdout"), Stderr: output(t, cl, task, "stderr"),
	}
}

func push(t *testing.T, cl *client.Client, content []byte) api.Digest {
	t.Helper()
	b, err := cl.PushBlob(t.Context(), client.Bytes(content))
	if err != nil {
		t.Fatal(err)
	}
	return b.Digest
}

func output(t *testing.T, cl *client.Client, task *api.Task, stream string) []byte {
	t.Helper()
	r, err := cl.Logs(t.Context(), string(task.ID), client.LogOptions{Stream: stream})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
