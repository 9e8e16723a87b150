package output_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/agent/runner/output"
	"github.com/saki-run/saki/api"
)

func TestShortOutputGoesIntoTheOutcomeAndItsFilesAway(t *testing.T) {
	dir := t.TempDir()
	c, err := output.Create(dir, api.MiB)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Stdout().Write([]byte("out"))
	c.Stderr().Write([]byte("err"))
	var o api.Outcome
	c.Fill(&o)
	if !o.Inline || string(o.Stdout) != "out" || string(o.Stderr) != "err" || o.Receipt.StdoutBytes != 3 {
		t.Errorf("got %+v", o)
	}
	output.Trim(dir, &o)
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left in the folder: %v", left)
	}
}

func TestOutputOverTheLimitIsDroppedAndCounted(t *testing.T) {
	dir := t.TempDir()
	c, err := output.Create(dir, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		if n, err := c.Stdout().Write([]byte("0123456")); n != 7 || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	var o api.Outcome
	c.Fill(&o)
	if o.Inline || o.Receipt.StdoutBytes != 21 || o.Receipt.Dropped != 11 || o.Stdout != nil {
		t.Errorf("got %+v", o)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, output.Stdout)); string(b) != "0123456012" {
		t.Errorf("kept %q", b)
	}
	c.Restart()
	c.Stdout().Write([]byte("again"))
	c.Fill(&o)
	if !o.Inline || string(o.Stdout) != "again" || o.Receipt.Dropped != 0 {
		t.Errorf("after a restart: %+v", o)
	}
}

func TestOutputOfExactlyTheInlineLimitIsInline(t *testing.T) {
	for _, n := range []int{int(api.InlineOutput), int(api.InlineOutput) + 1} {
		c, err := output.Create(t.TempDir(), api.MiB)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Stderr().Write(bytes.Repeat([]byte("x"), n))
		var o api.Outcome
		c.Fill(&o)
		if got, want := o.Inline, n == int(api.InlineOutput); got != want {
			t.Errorf("%d bytes: inline %v, want %v", n, got, want)
		}
	}
}

func TestAnOutcomeIsLoadedAsSaved(t *testing.T) {
	dir := t.TempDir()
	if _, err := output.Load(dir); !errors.Is(err, output.ErrNone) {
		t.Errorf("an empty folder gave %v", err)
	}
	want := api.Outcome{State: api.Failed, Reason: api.ReasonExit, ExitCode: 3, Stdout: []byte("x"), Inline: true}
	if err := errors.Join(output.Save(dir, &want), output.Sync(dir)); err != nil {
		t.Fatal(err)
	}
	got, err := output.Load(dir)
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	output.Discard(dir)
	if _, err := output.Load(dir); !errors.Is(err, output.ErrNone) {
		t.Errorf("a discarded outcome gave %v", err)
	}
}

func TestAHalfWrittenOutcomeIsNone(t *testing.T) {
	dir := t.TempDir()
	o := api.Outcome{State: api.Finished, Stdout: []byte("hello")}
	if err := output.Save(dir, &o); err != nil {
		t.Fatal(err)
	}
	p := filepath.Join(dir, "outcome")
	whole, _ := os.ReadFile(p)
	for n := range whole {
		if err := os.WriteFile(p, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if o, err := output.Load(dir); !errors.Is(err, output.ErrNone) {
			t.Fatalf("cut to %d bytes: got %+v, %v", n, o, err)
		}
	}
}
