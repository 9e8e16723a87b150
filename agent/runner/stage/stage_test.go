package stage_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/stage"
	"github.com/saki-run/saki/api"
)

func blobs(t *testing.T, content map[api.Digest]string) func(context.Context, api.Digest) (string, error) {
	dir := t.TempDir()
	return func(_ context.Context, d api.Digest) (string, error) {
		s, ok := content[d]
		if !ok {
			return "", api.Errorf(api.CodeNotFound, "no node has %s", d)
		}
		p := filepath.Join(dir, d.Hex())
		return p, os.WriteFile(p, []byte(s), 0o400)
	}
}

func TestFilesAreStagedWithTheirModes(t *testing.T) {
	at := runner.IO{Dir: filepath.Join(t.TempDir(), "a"), Blob: blobs(t, map[api.Digest]string{"sha256:a": "hi"})}
	task := &api.Task{Spec: &api.Spec{Files: []api.File{
		{Path: "in.txt", Blob: "sha256:a"},
		{Path: "bin/deep/run", Blob: "sha256:a", Mode: 0o755},
	}}}
	for range 2 { // a second try finds the leftovers of the first
		s, err := stage.Stage(t.Context(), task, at)
		if err != nil {
			t.Fatal(err)
		}
		for name, mode := range map[string]fs.FileMode{"in.txt": 0o644, "bin/deep/run": 0o755} {
			p := filepath.Join(s.Box, name)
			st, err := os.Stat(p)
			if err != nil || st.Mode() != mode {
				t.Errorf("%s: got %v, %v; want mode %v", name, st, err, mode)
			}
			if b, _ := os.ReadFile(p); string(b) != "hi" {
				t.Errorf("%s holds %q", name, b)
			}
		}
	}
}

func TestAFileNeverLeavesTheSandbox(t *testing.T) {
	dir := t.TempDir()
	at := runner.IO{Dir: filepath.Join(dir, "a"), Blob: blobs(t, map[api.Digest]string{"sha256:a": "hi"})}
	for _, p := range []string{"../out", "x/../../out", "/" + dir + "/out"} {
		task := &api.Task{Spec: &api.Spec{Files: []api.File{{Path: p, Blob: "sha256:a"}}}}
		if _, err := stage.Stage(t.Context(), task, at); err == nil {
			t.Errorf("%s was staged", p)
		}
	}
	for _, p := range []string{"out", "a/out"} {
		if _, err := os.Lstat(filepath.Join(dir, p)); err == nil {
			t.Errorf("%s was written outside of the sandbox", p)
		}
	}
}

func TestABlobThatNobodyHasIsNamedInTheError(t *testing.T) {
	at := runner.IO{Dir: filepath.Join(t.TempDir(), "a"), Blob: blobs(t, nil)}
	task := &api.Task{Spec: &api.Spec{Files: []api.File{{Path: "in.txt", Blob: "sha256:gone"}}}}
	_, err := stage.Stage(t.Context(), task, at)
	if got, want := api.AsError(err), `stage "in.txt": no node has sha256:gone`; got == nil || got.Code != api.CodeNotFound || got.Message != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestStandardInputIsInlineOrABlob(t *testing.T) {
	at := runner.IO{Dir: filepath.Join(t.TempDir(), "a"), Blob: blobs(t, map[api.Digest]string{"sha256:a": "blob"})}
	for _, c := range []struct {
		spec api.Spec
		want string
	}{
		{api.Spec{Stdin: []byte("inline")}, "inline"},
		{api.Spec{StdinBlob: "sha256:a"}, "blob"},
	} {
		s, err := stage.Stage(t.Context(), &api.Task{Spec: &c.spec}, at)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(s.Stdin); string(b) != c.want {
			t.Errorf("stdin is %q, want %q", b, c.want)
		}
	}
	s, err := stage.Stage(t.Context(), &api.Task{Spec: &api.Spec{}}, at)
	if err != nil || s.Stdin != "" {
		t.Errorf("a task without input got %q, %v", s.Stdin, err)
	}
}
