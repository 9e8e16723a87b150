package daemon

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/saki-run/saki/agent/runner"
	wasmrunner "github.com/saki-run/saki/agent/runner/wasm"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/cli"
	"github.com/saki-run/saki/executor/engine"
	"github.com/saki-run/saki/wasm"
)

// Replay is saki replay: it runs an ended wasm task again in this process, as a worker would, in a temporary folder.
func Replay(ctx context.Context, c cli.ReplayConfig) (api.Outcome, error) {
	s := c.Task.Spec
	code, err := fetch(ctx, c, s.Module(), int64(api.MaxModule))
	if err != nil {
		return api.Outcome{}, fmt.Errorf("module: %w", err)
	}
	stdin := s.Stdin
	if s.StdinBlob != "" {
		if stdin, err = fetch(ctx, c, s.StdinBlob, int64(api.MaxBlob)); err != nil {
			return api.Outcome{}, fmt.Errorf("stdin: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "saki-replay-")
	if err != nil {
		return api.Outcome{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	box := filepath.Join(dir, "box")
	if err := stageFiles(ctx, c, box); err != nil {
		return api.Outcome{}, err
	}
	e, err := engine.New(ctx, engine.Config{
		Rewrite: func(b []byte) ([]byte, error) { return wasm.Meter(b, wasm.MeterOptions{}) }, // as workers do
	})
	if err != nil {
		return api.Outcome{}, err
	}
	defer func() { _ = e.Close(context.WithoutCancel(ctx)) }() // the process ends soon
	kind := engine.Kind(s.Wasm.Engine)
	if err := e.LoadFor(ctx, s.Module(), kind, code); err != nil {
		if r, ok := errors.AsType[*engine.Refusal](err); ok {
			return api.Fail(r.Reason, r.Message), nil
		}
		return api.Outcome{}, err
	}
	return e.Run(ctx, engine.Invocation{
		Digest: s.Module(), Name: runner.Program(c.Task), Func: s.Wasm.Func, Args: s.Wasm.Args, Env: runner.Env(c.Task),
		Stdin: bytes.NewReader(stdin), Stdout: c.Stdout, Stderr: c.Stderr,
		Mem: int64(s.Resources.Mem), Timeout: s.Timeout.D(), Dir: box,
		Kind: kind, Fuel: s.Wasm.Fuel, Deterministic: s.Wasm.Deterministic,
		Disk: engine.Quota{Bytes: int64(cmp.Or(s.Resources.Disk, wasmrunner.DefaultDisk)), Files: wasmrunner.MaxFiles},
	})
}

// stageFiles puts the task's files into its sandbox.
func stageFiles(ctx context.Context, c cli.ReplayConfig, box string) error {
	if len(c.Task.Spec.Files) == 0 {
		return nil // the guest makes the folder when it writes
	}
	if err := os.Mkdir(box, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(box)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range c.Task.Spec.Files {
		b, err := fetch(ctx, c, f.Blob, int64(api.MaxBlob))
		if err == nil {
			err = root.MkdirAll(path.Dir(f.Path), 0o755)
		}
		mode := fs.FileMode(cmp.Or(f.Mode, 0o644)) & fs.ModePerm
		if err == nil {
			err = root.WriteFile(f.Path, b, mode|0o200)
		}
		if err == nil {
			err = root.Chmod(f.Path, mode)
		}
		if err != nil {
			return fmt.Errorf("file %s: %w", api.Quote(f.Path), err)
		}
	}
	return nil
}

// fetch reads content and checks that it is what was asked for.
func fetch(ctx context.Context, c cli.ReplayConfig, d api.Digest, most int64) ([]byte, error) {
	r, err := c.Blob(ctx, d)
	if errors.Is(err, &api.Error{Code: api.CodeNotFound}) {
		return nil, api.Errorf(api.CodeNotFound, "the cluster does not hold %s any longer", d.Short()).WithHint("push it again")
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.Short(), err)
	}
	if got := api.DigestOf(sha256.Sum256(b)); got != d {
		return nil, api.Errorf(api.CodeDigestMismatch, "the cluster gave %s for %s", got.Short(), d.Short())
	}
	return b, nil
}
