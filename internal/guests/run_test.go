package guests_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/saki-run/saki/internal/guests/cases"
)

// host runs guests with nothing of Saki between them and the engine.
type host struct {
	cache wazero.CompilationCache
	dir   string    // the guest's /
	out   io.Writer // replaces the recorded stdout if set
	slept time.Duration
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{cache: wazero.NewCompilationCache(), dir: t.TempDir()}
	t.Cleanup(func() { _ = h.cache.Close(context.Background()) })
	return h
}

// run runs one case to its end. Sleeping is only written down.
func (h *host) run(t *testing.T, wasm []byte, c cases.Case) cases.Result {
	t.Helper()
	ctx := t.Context()
	config := wazero.NewRuntimeConfig().WithCompilationCache(h.cache)
	if c.MemMiB > 0 {
		config = config.WithMemoryLimitPages(uint32(c.MemMiB * 16))
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
		config = config.WithCloseOnContextDone(true)
	}
	runtime := wazero.NewRuntimeWithConfig(ctx, config)
	defer runtime.Close(context.Background())
	wasi_snapshot_preview1.MustInstantiate(ctx, runtime)
	compiled, err := runtime.CompileModule(ctx, wasm)
	if err != nil {
		t.Fatalf("compile %s: %v", c.Module, err)
	}

	var stdout, stderr bytes.Buffer
	module := wazero.NewModuleConfig().WithName("").
		WithArgs(append([]string{c.Module}, c.Args...)...).
		WithStdin(bytes.NewReader(c.Stdin)).WithStdout(&stdout).WithStderr(&stderr).
		WithFSConfig(wazero.NewFSConfig().WithDirMount(h.dir, "/")).
		WithSysWalltime().WithSysNanotime().WithRandSource(rand.Reader).
		WithNanosleep(func(ns int64) { h.slept += time.Duration(ns) })
	if h.out != nil {
		module = module.WithStdout(h.out)
	}
	for _, kv := range c.Env {
		k, v, _ := strings.Cut(kv, "=")
		module = module.WithEnv(k, v)
	}
	_, err = runtime.InstantiateModule(ctx, compiled, module)

	result := cases.Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	if exit, ok := errors.AsType[*sys.ExitError](err); ok {
		result.Exit = int(exit.ExitCode())
		if exit.ExitCode() == sys.ExitCodeDeadlineExceeded {
			result.Exit = 124
		}
	} else {
		result.Trap = err != nil
	}
	return result
}

func (h *host) stage(t *testing.T, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		local := filepath.Join(h.dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(local), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(local, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCases(t *testing.T) {
	root := os.DirFS(tasks)
	all, err := cases.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	cache := newHost(t).cache // compiles each guest once
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			wasm, err := c.Wasm(root)
			if errors.Is(err, cases.ErrNotBuilt) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if testing.Short() && len(wasm) > 1<<20 {
				t.Skip("compiling a Go guest takes a second, under -race twenty; not done in -short mode")
			}
			h := &host{cache: cache, dir: t.TempDir()}
			h.stage(t, c.Files)
			if err := c.Check(h.run(t, wasm, c)); err != nil {
				t.Error(err)
			}
		})
	}
}
