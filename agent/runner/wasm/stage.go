package wasm

import (
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
	"strings"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/protocol"
)

// fetch puts a module into the executor's folder. The outcome is set when there is no such module anywhere.
func (sp *space) fetch(ctx context.Context, d api.Digest, io runner.IO) (*api.Outcome, error) {
	sp.mu.Lock()
	held := sp.held[d]
	sp.mu.Unlock()
	if held {
		return nil, nil
	}
	if _, err := api.ParseDigest(string(d)); err != nil {
		return nil, err
	}
	path, err := io.Blob(ctx, d)
	if err != nil {
		if errors.Is(err, &api.Error{Code: api.CodeNotFound}) || errors.Is(err, &api.Error{Code: api.CodeModuleNotFound}) {
			out := api.Fail(api.ReasonModuleNotFound, fmt.Sprintf("module %s: %v", d.Short(), err))
			return &out, nil
		}
		return nil, fmt.Errorf("fetch module %s: %w", d.Short(), err)
	}
	return nil, sp.putModule(d, path)
}

// putModule copies a module to where the workers find it.
func (sp *space) putModule(d api.Digest, from string) error {
	to := filepath.Join(sp.path(protocol.Modules), d.Hex()+".wasm")
	if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
		// Not a link: what runs in the executor could write to it.
		if err := sp.copyModule(d, from, to); err != nil {
			return fmt.Errorf("put module %s: %w", d.Short(), err)
		}
	} else if err != nil {
		return fmt.Errorf("put module %s: %w", d.Short(), err)
	}
	sp.mu.Lock()
	sp.held[d] = true
	sp.mu.Unlock()
	return nil
}

func (sp *space) copyModule(d api.Digest, from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	tmp, err := os.CreateTemp(filepath.Dir(to), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(tmp, sum), src)
	if got := api.DigestOf([32]byte(sum.Sum(nil))); err == nil && got != d {
		err = fmt.Errorf("%s holds %s", from, got.Short())
	}
	if err = errors.Join(err, tmp.Chmod(0o444), tmp.Close(), sp.give(tmp.Name())); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}

// prepare makes the invocation, and puts its files where the guest will see them.
func (sp *space) prepare(ctx context.Context, t *api.Task, rio runner.IO) (*protocol.Invoke, error) {
	s := t.Spec
	dir, err := sp.taskDir(rio.Dir)
	if err != nil {
		return nil, err
	}
	inv := &protocol.Invoke{
		Key:    protocol.Key{Task: t.ID, Attempt: t.Attempt},
		Digest: s.Module(), Name: runner.Program(t), Func: s.Wasm.Func, Args: s.Wasm.Args,
		Env: runner.Env(t), Stdin: s.Stdin, Dir: dir,
		Mem: int64(s.Resources.Mem), Timeout: s.Timeout.D().Nanoseconds(), MaxOutput: int64(cmp.Or(s.MaxOutput, api.DefaultMaxOutput)),
		Fuel: s.Wasm.Fuel, Engine: s.Wasm.Engine, Disk: int64(cmp.Or(s.Resources.Disk, DefaultDisk)), Files: MaxFiles,
		Deterministic: s.Wasm.Deterministic || s.Wasm.Memo, Record: s.Wasm.Record,
	}
	if len(s.Files) == 0 && s.StdinBlob == "" {
		return inv, nil // its folder is made when it writes
	}
	return inv, sp.stage(ctx, s, rio, inv)
}

// Limits of a sandbox.
const (
	DefaultDisk = api.GiB // for a task that asks for nothing
	MaxFiles    = 10_000  // files and folders; what was staged counts
)

// stage copies what the task needs into its folder.
func (sp *space) stage(ctx context.Context, s *api.Spec, rio runner.IO, inv *protocol.Invoke) error {
	root, err := sp.openTask(inv.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if s.StdinBlob != "" {
		if err := sp.stageBlob(ctx, root, rio, protocol.StdinTmp, s.StdinBlob, 0o400); err != nil {
			return fmt.Errorf("stdin: %w", err)
		}
		inv.StdinFile, inv.Stdin = true, nil
	}
	for _, f := range s.Files {
		if !filepath.IsLocal(f.Path) {
			return fmt.Errorf("file %s leads out of the sandbox", api.Quote(f.Path))
		}
		name := path.Join(protocol.Sandbox, f.Path)
		if err := sp.makeDirs(root, path.Dir(name)); err != nil {
			return fmt.Errorf("file %s: %w", api.Quote(f.Path), err)
		}
		mode := fs.FileMode(cmp.Or(f.Mode, 0o644)) & fs.ModePerm
		if err := sp.stageBlob(ctx, root, rio, name, f.Blob, mode); err != nil {
			return fmt.Errorf("file %s: %w", api.Quote(f.Path), err)
		}
	}
	return nil
}

// openTask makes a task's folder and opens it. dir is as the executor knows it.
func (sp *space) openTask(dir string) (*os.Root, error) {
	if filepath.IsAbs(dir) { // of a process that is this user anyway
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		return os.OpenRoot(dir)
	}
	if err := sp.makeDirs(sp.root, filepath.ToSlash(dir)); err != nil {
		return nil, err
	}
	return sp.root.OpenRoot(dir)
}

// makeDirs makes a folder and those above it.
func (sp *space) makeDirs(root *os.Root, dir string) error {
	uid, gid := sp.cfg.Launcher.Owner()
	at := ""
	for part := range strings.SplitSeq(dir, "/") {
		at = path.Join(at, part)
		if err := root.Mkdir(at, 0o755); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return err
		}
		if uid >= 0 {
			if err := root.Lchown(at, uid, gid); err != nil {
				return err
			}
		}
	}
	return nil
}

func (sp *space) stageBlob(ctx context.Context, root *os.Root, rio runner.IO, name string, d api.Digest, mode fs.FileMode) error {
	from, err := rio.Blob(ctx, d)
	if err != nil {
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o200)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	err = errors.Join(err, dst.Chmod(mode))
	if uid, gid := sp.cfg.Launcher.Owner(); uid >= 0 {
		err = errors.Join(err, dst.Chown(uid, gid))
	}
	return errors.Join(err, dst.Close())
}
