// Package stage prepares the folder of an attempt: its sandbox with the task's files, and its standard input.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
)

// Box is the name of the sandbox within an attempt's folder.
const Box = "box"

// defaultMode is the mode of a staged file that asks for none.
const defaultMode = 0o644

// Staged is a prepared attempt.
type Staged struct {
	Box   string // absolute path of the sandbox
	Stdin string // path of a file to be read as standard input; "" is none
}

// Stage makes at.Dir, an empty sandbox in it with the files of t, and the file of its standard input. What an earlier try left
// in the sandbox is removed. An error names the file that could not be staged; it wraps ctx's error when ctx was cancelled.
func Stage(ctx context.Context, t *api.Task, at runner.IO) (Staged, error) {
	if err := os.Mkdir(at.Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return Staged{}, fmt.Errorf("make the attempt's folder: %w", err)
	}
	s := Staged{Box: filepath.Join(at.Dir, Box)}
	if err := emptyDir(s.Box); err != nil {
		return Staged{}, fmt.Errorf("make the sandbox: %w", err)
	}
	if len(t.Spec.Files) > 0 {
		if err := files(ctx, s.Box, t.Spec.Files, at); err != nil {
			return Staged{}, err
		}
	}
	var err error
	s.Stdin, err = stdin(ctx, t.Spec, at)
	return s, err
}

func emptyDir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Mkdir(dir, 0o755)
}

// files copies every file, never leaving the sandbox whatever the paths say.
func files(ctx context.Context, box string, files []api.File, at runner.IO) error {
	root, err := os.OpenRoot(box)
	if err != nil {
		return fmt.Errorf("open the sandbox: %w", err)
	}
	defer func() { _ = root.Close() }() // nothing was written through it
	for _, f := range files {
		if err := file(ctx, root, f, at); err != nil {
			return fmt.Errorf("stage %s: %w", api.Quote(f.Path), err)
		}
	}
	return nil
}

func file(ctx context.Context, root *os.Root, f api.File, at runner.IO) error {
	src, err := at.Blob(ctx, f.Blob)
	if err != nil {
		return err
	}
	if dir := path.Dir(f.Path); dir != "." {
		if err := root.MkdirAll(filepath.FromSlash(dir), 0o755); err != nil {
			return err
		}
	}
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	mode := fs.FileMode(f.Mode)
	if mode == 0 {
		mode = defaultMode
	}
	name := filepath.FromSlash(f.Path)
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(mode) // not with OpenFile: the umask is not the task's business
	}
	return errors.Join(err, out.Close())
}

// stdin gives the path of what the task reads: the blob itself, or a file made of the inline bytes.
func stdin(ctx context.Context, s *api.Spec, at runner.IO) (string, error) {
	switch {
	case s.StdinBlob != "":
		p, err := at.Blob(ctx, s.StdinBlob)
		if err != nil {
			return "", fmt.Errorf("stage standard input: %w", err)
		}
		return p, nil
	case len(s.Stdin) > 0:
		p := filepath.Join(at.Dir, "stdin")
		if err := os.WriteFile(p, s.Stdin, 0o600); err != nil {
			return "", fmt.Errorf("stage standard input: %w", err)
		}
		return p, nil
	}
	return "", nil
}
