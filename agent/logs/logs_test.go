package logs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/saki-run/saki/api"
)

func TestFollowEndsWhenTheAttemptHasEndedAndAllIsCopied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stdout")
	ended := make(chan struct{})
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- Follow(t.Context(), path, 2, ended, w); w.Close() }()

	f, err := os.Create(path) // only after Follow has begun: it waits for the file
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(r)
	for i := range 50 {
		fmt.Fprintf(f, "%d\n", 100+i)
		want := fmt.Sprintln(100 + i)
		if i == 0 {
			want = want[2:]
		}
		if got, err := in.ReadString('\n'); got != want {
			t.Fatalf("line %d: got %q, %v; want %q", i, got, err, want)
		}
	}
	fmt.Fprint(f, "last")
	os.Remove(path)
	close(ended)
	if rest, _ := io.ReadAll(in); string(rest) != "last" {
		t.Errorf("after the end: %q", rest)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if err := Follow(ctx, filepath.Join(t.TempDir(), "stdout"), 0, nil, io.Discard); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestFollowSaysWhenThereNeverWasAFile(t *testing.T) {
	ended := make(chan struct{})
	close(ended)
	err := Follow(t.Context(), filepath.Join(t.TempDir(), "no", "stdout"), 0, ended, io.Discard)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	os.WriteFile(secret, []byte("x"), 0o600)
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(secret, link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{link, fifo, dir} {
		if f, err := Open(p); err == nil {
			f.Close()
			t.Errorf("%s was opened", p)
		}
	}
}

func TestTailCountsLinesFromTheEnd(t *testing.T) {
	long := strings.Repeat("x", 70<<10)
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"a\nb\nc\n", 2, "b\nc\n"},
		{"a\nb\nc", 2, "b\nc"},
		{"a\nb\nc\n", 3, "a\nb\nc\n"},
		{"a\nb\nc\n", 9, "a\nb\nc\n"},
		{"a\n", 0, ""},
		{"", 5, ""},
		{"\n\n\n", 1, "\n"},
		{"a\n" + long + "\nz\n", 2, long + "\nz\n"},
		{"a\n" + long, 1, long},
	} {
		r := strings.NewReader(c.text)
		off, err := tailOffset(r, r.Size(), c.n)
		if err != nil || c.text[off:] != c.want {
			t.Errorf("tail %d of %.20q: got %.20q, %v", c.n, c.text, c.text[off:], err)
		}
	}
}

func FuzzTail(f *testing.F) {
	f.Add("a\nb\nc", 2)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n &= 0xf
		off, err := tailOffset(strings.NewReader(s), int64(len(s)), n)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(s, "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		if want := strings.Join(lines[max(0, len(lines)-n):], ""); s[off:] != want {
			t.Fatalf("tail %d of %q: got %q, want %q", n, s, s[off:], want)
		}
	})
}

// fake is an agent with the one attempt 1 of task "t".
type fake struct {
	dir   string
	ended chan struct{}
	o     *api.Outcome
}

func (f *fake) serve(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.Handle(Pattern, Handler(func(task api.TaskID, n uint32) (Attempt, bool) {
		return Attempt{Dir: f.dir, Ended: f.ended, Outcome: func() *api.Outcome {
			select {
			case <-f.ended:
				return f.o
			default:
				return nil
			}
		}}, task == "t" && n == 1
	}))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestTheHandlerGivesFilesAndInlineOutput(t *testing.T) {
	run := &fake{dir: t.TempDir(), ended: make(chan struct{})}
	os.WriteFile(filepath.Join(run.dir, "stdout"), []byte("1\n2\n3\n"), 0o600)
	done := &fake{dir: t.TempDir(), ended: make(chan struct{}), o: &api.Outcome{Inline: true, Stdout: []byte("1\n2\n3\n"), Stderr: []byte("e")}}
	close(done.ended)
	for name, f := range map[string]*fake{"of a running attempt": run, "of an ended attempt": done} {
		s := f.serve(t)
		for q, want := range map[string]string{"": "1\n2\n3\n", "?tail=1": "3\n", "?offset=2": "2\n3\n", "?offset=99": "", "?tail=2&offset=4": "3\n"} {
			if code, got := get(t, s.URL+"/v1/attempts/t/1/logs"+q); code != 200 || got != want {
				t.Errorf("%s, %s: got %d %q, want %q", name, q, code, got, want)
			}
		}
	}
	if _, got := get(t, done.serve(t).URL+"/v1/attempts/t/1/logs?stream=stderr&follow=1"); got != "e" {
		t.Errorf("stderr: got %q", got)
	}
}

func TestTheHandlerFollowsToTheEnd(t *testing.T) {
	f := &fake{dir: t.TempDir(), ended: make(chan struct{}), o: &api.Outcome{}}
	out, err := os.Create(filepath.Join(f.dir, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(f.serve(t).URL + "/v1/attempts/t/1/logs?follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	for i := range 3 {
		fmt.Fprintln(out, i)
		if got, err := in.ReadString('\n'); got != fmt.Sprintln(i) {
			t.Fatalf("got %q, %v", got, err) // each line arrives before the next is written
		}
	}
	close(f.ended)
	if rest, err := io.ReadAll(in); len(rest) != 0 || err != nil {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestOutputThatIsGoneIsAnErrorWithItsCode(t *testing.T) {
	f := &fake{dir: filepath.Join(t.TempDir(), "gone"), ended: make(chan struct{}), o: &api.Outcome{}}
	close(f.ended)
	s := f.serve(t)
	for path, want := range map[string]api.Code{
		"t/1/logs":               api.CodeLogsGone,
		"t/2/logs":               api.CodeLogsGone,
		"t/x/logs":               api.CodeInvalidArgument,
		"t/1/logs?stream=stdin":  api.CodeInvalidArgument,
		"t/1/logs?offset=-1":     api.CodeInvalidArgument,
		"t/1/logs?tail=many":     api.CodeInvalidArgument,
		"t/1/logs?follow=please": api.CodeInvalidArgument,
	} {
		code, body := get(t, s.URL+"/v1/attempts/"+path)
		var e api.ErrorBody
		if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error.Code != want || code != want.Status() {
			t.Errorf("%s: got %d %s; want %s", path, code, body, want)
		}
	}
}
