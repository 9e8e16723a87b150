package executor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/saki-run/saki/api"
)

// write writes text n times, and looks away for a flush between.
func write(t *testing.T, s *stream, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if p == "flush" {
			s.flush()
			continue
		}
		if n, err := s.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("a guest sees %d, %v", n, err)
		}
	}
}

func TestOutput(t *testing.T) {
	long := strings.Repeat("0123456789", 1000)
	for _, c := range []struct {
		name     string
		max      int64
		out, err []string
		inline   bool
		wantOut  string // of the file, or of the outcome
		wantErr  string
		dropped  int64
	}{
		{name: "none", max: 100, inline: true},
		{name: "short", max: 100, out: []string{"a", "b"}, err: []string{"c"}, inline: true, wantOut: "ab", wantErr: "c"},
		{name: "short and flushed", max: 100, out: []string{"a", "flush", "b"}, inline: true, wantOut: "ab"},
		{name: "as long as may be inline", max: 9999, out: []string{long[:1024]}, inline: true, wantOut: long[:1024]},
		{name: "longer than may be inline", max: 9999, out: []string{long[:1025]}, err: []string{"e"}, wantOut: long[:1025], wantErr: "e"},
		{name: "long", max: 1 << 20, out: []string{long, "flush", long, long, long, long}, wantOut: strings.Repeat(long, 5)},
		{name: "exactly the limit", max: 2000, out: []string{long[:2000]}, wantOut: long[:2000]},
		{name: "over the limit", max: 2000, out: []string{long[:1500], "flush", long}, wantOut: long[:1500] + long[:500], dropped: 9500},
		{name: "over a limit shorter than inline", max: 3, out: []string{"abcdef"}, wantOut: "abc", dropped: 3},
		{name: "over the limit twice", max: 2000, out: []string{long}, err: []string{long}, wantOut: long[:2000], wantErr: long[:2000], dropped: 16000},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "task")
			o := newOutput(dir, c.max)
			write(t, o.out, c.out...)
			write(t, o.err, c.err...)
			var out api.Outcome
			o.finish(&out)
			if out.Inline != c.inline || out.Receipt.Dropped != c.dropped {
				t.Errorf("inline %v, dropped %d", out.Inline, out.Receipt.Dropped)
			}
			gotOut, gotErr := string(out.Stdout), string(out.Stderr)
			entries, _ := os.ReadDir(dir)
			if c.inline && len(entries) > 0 {
				t.Errorf("%d files are left", len(entries))
			}
			if !c.inline {
				if out.Stdout != nil || out.Stderr != nil {
					t.Error("the outcome holds output, too")
				}
				gotOut, gotErr = file(t, dir, "stdout"), file(t, dir, "stderr")
			}
			if gotOut != c.wantOut || gotErr != c.wantErr {
				t.Errorf("got %d bytes %.20q and %.20q", len(gotOut), gotOut, gotErr)
			}
		})
	}
}

func file(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestOutputThatCannotBeWrittenIsCounted(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(parent, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOutput(filepath.Join(parent, "task"), 1<<20) // no folder can be made there
	write(t, o.out, strings.Repeat("x", 100<<10))
	var out api.Outcome
	o.finish(&out)
	if out.Inline || out.Receipt.Dropped != 100<<10 || out.Receipt.StdoutBytes != 100<<10 {
		t.Errorf("got %+v", out)
	}
}

func TestBackoff(t *testing.T) {
	now := time.Unix(1000, 0)
	b := backoff{now: func() time.Time { return now }}
	if got := b.next(); got != 0 {
		t.Errorf("the first restart waits %s", got)
	}
	want := time.Second
	for range 10 {
		now = now.Add(time.Millisecond)
		if got := b.next(); got > want || got < want*3/4 {
			t.Errorf("got %s, want about %s", got, want)
		}
		want = min(2*want, time.Minute)
	}
	now = now.Add(3 * time.Minute)
	if got := b.next(); got != 0 {
		t.Errorf("after a worker that lasted: %s", got)
	}
}
