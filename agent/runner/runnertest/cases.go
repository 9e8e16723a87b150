package runnertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
)

// want checks the part of an outcome that tells how the task ended.
func want(t *testing.T, o api.Outcome, s api.State, r api.Reason, code int) {
	t.Helper()
	if o.State != s || o.Reason != r || o.ExitCode != code {
		t.Errorf("got %s/%s with exit code %d (%s; stderr %q), want %s/%s with %d", o.State, o.Reason, o.ExitCode, o.Message, o.Stderr, s, r, code)
	}
}

// wantKilled checks an outcome of a kill by a user.
func wantKilled(t *testing.T, o api.Outcome) {
	t.Helper()
	want(t, o, api.Killed, api.ReasonUserKill, api.ExitSignal+o.Signal)
	if o.Signal == 0 {
		t.Error("the outcome of a kill names no signal")
	}
}

func probe(t *testing.T, s *suite) {
	task := s.task(t, Exit{})
	c := s.New(t).Probe(t.Context())
	if !c.OK || c.Kind != task.Spec.Kind() {
		t.Errorf("got %+v", c)
	}
}

func exitCodes(t *testing.T, s *suite) {
	want(t, s.run(t, s.task(t, Exit{})), api.Finished, "", 0)
	for _, code := range []int{1, 42, 123} {
		o := s.run(t, s.task(t, Exit{code}))
		want(t, o, api.Failed, api.ReasonExit, code)
		if o.Receipt.RunNS <= 0 {
			t.Errorf("the receipt says the run took %d ns", o.Receipt.RunNS)
		}
	}
}

func inlineOutput(t *testing.T, s *suite) {
	a := s.start(t, s.New(t), s.task(t, Print{Stdout: "to out", Stderr: "to err"}))
	o := s.end(t, a)
	want(t, o, api.Finished, "", 0)
	if string(o.Stdout) != "to out" || string(o.Stderr) != "to err" || !o.Inline {
		t.Errorf("got %q and %q, inline %v", o.Stdout, o.Stderr, o.Inline)
	}
	if o.Receipt.StdoutBytes != 6 || o.Receipt.StderrBytes != 6 {
		t.Errorf("the receipt counts %d and %d bytes", o.Receipt.StdoutBytes, o.Receipt.StderrBytes)
	}
	for _, name := range []string{"stdout", "stderr"} {
		if _, err := os.Stat(filepath.Join(a.io.Dir, name)); err == nil {
			t.Errorf("the file %s was left behind", name)
		}
	}
}

func longOutput(t *testing.T, s *suite) {
	const n = 300_000
	a := s.start(t, s.New(t), s.task(t, BigOutput{n}))
	o := s.end(t, a)
	want(t, o, api.Finished, "", 0)
	if o.Inline || o.Stdout != nil || o.Receipt.StdoutBytes != n || o.Receipt.Dropped != 0 {
		t.Errorf("got inline %v, %d bytes in the outcome, receipt %+v", o.Inline, len(o.Stdout), o.Receipt)
	}
	got, err := os.ReadFile(filepath.Join(a.io.Dir, "stdout"))
	if err != nil || !bytes.Equal(got, bytes.Repeat([]byte("x"), n)) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	if b, err := os.ReadFile(filepath.Join(a.io.Dir, "stderr")); len(b) != 0 || err != nil {
		t.Errorf("stderr: %q, %v", b, err)
	}
}

func outputLimit(t *testing.T, s *suite) {
	const n, limit = 300_000, 5000
	task := s.task(t, BigOutput{n})
	task.Spec.MaxOutput = limit
	a := s.start(t, s.New(t), task)
	o := s.end(t, a)
	want(t, o, api.Finished, "", 0)
	if o.Inline || o.Receipt.StdoutBytes != n || o.Receipt.Dropped != n-limit {
		t.Errorf("got inline %v, receipt %+v", o.Inline, o.Receipt)
	}
	if st, err := os.Stat(filepath.Join(a.io.Dir, "stdout")); err != nil || st.Size() != limit {
		t.Errorf("the file: %v, %v; want %d bytes", st, err, limit)
	}
}

func liveOutput(t *testing.T, s *suite) {
	a := s.start(t, s.New(t), s.task(t, Sleep{}))
	s.ready(t, a)
}

func lines(b []byte) map[string]string {
	m := map[string]string{}
	for l := range strings.SplitSeq(string(b), "\n") {
		if k, v, ok := strings.Cut(l, "="); ok {
			m[k] = v
		}
	}
	return m
}

func environment(t *testing.T, s *suite) {
	task := s.task(t, PrintEnv{})
	task.Spec.Env = map[string]string{"GREETING": "hello world", "EMPTY": "", "SAKI_NODE": "mine"}
	task.Ports = []uint16{31000, 31001}
	o := s.run(t, task)
	want(t, o, api.Finished, "", 0)
	got := lines(o.Stdout)
	for k, v := range map[string]string{
		"GREETING": "hello world", "EMPTY": "", "SAKI_NODE": "mine", "PORT0": "31000", "PORT1": "31001",
		"SAKI_TASK_ID": string(task.ID), "SAKI_TASK_INDEX": "7", "SAKI_ATTEMPT": "1",
	} {
		if g, ok := got[k]; !ok || g != v {
			t.Errorf("%s is %q (set: %v), want %q", k, g, ok, v)
		}
	}
}

func agentEnvironment(t *testing.T, s *suite) {
	t.Setenv("SAKI_SECRET_OF_THE_AGENT", "secret")
	o := s.run(t, s.task(t, PrintEnv{}))
	want(t, o, api.Finished, "", 0)
	if strings.Contains(string(o.Stdout), "SECRET") {
		t.Errorf("the task sees %s", o.Stdout)
	}
}

func noInput(t *testing.T, s *suite) {
	o := s.run(t, s.task(t, CatStdin{}))
	want(t, o, api.Finished, "", 0)
	if len(o.Stdout) != 0 {
		t.Errorf("read %q", o.Stdout)
	}
}

func inlineInput(t *testing.T, s *suite) {
	task := s.task(t, CatStdin{})
	task.Spec.Stdin = []byte("a line\nand \x00\xff more")
	o := s.run(t, task)
	want(t, o, api.Finished, "", 0)
	if !bytes.Equal(o.Stdout, task.Spec.Stdin) {
		t.Errorf("read %q", o.Stdout)
	}
}

func blobInput(t *testing.T, s *suite) {
	task := s.task(t, CatStdin{})
	in := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	task.Spec.StdinBlob = s.blob(t, in)
	a := s.start(t, s.New(t), task)
	want(t, s.end(t, a), api.Finished, "", 0)
	if got, err := os.ReadFile(filepath.Join(a.io.Dir, "stdout")); err != nil || !bytes.Equal(got, in) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(in), err)
	}
}

func stagedFiles(t *testing.T, s *suite) {
	task := s.task(t, ReadFile{"data/in.txt"})
	task.Spec.Files = []api.File{
		{Path: "other", Blob: s.blob(t, []byte("other"))},
		{Path: "data/in.txt", Blob: s.blob(t, []byte("staged"))},
	}
	o := s.run(t, task)
	want(t, o, api.Finished, "", 0)
	if string(o.Stdout) != "staged" {
		t.Errorf("read %q", o.Stdout)
	}
}

func missingFile(t *testing.T, s *suite) {
	task := s.task(t, ReadFile{"in.txt"})
	task.Spec.Files = []api.File{{Path: "in.txt", Blob: "sha256:" + api.Digest(strings.Repeat("0", 64))}}
	o := s.run(t, task)
	want(t, o, api.Failed, api.ReasonStagingFailed, api.ExitCluster)
	if !strings.Contains(o.Message, "in.txt") {
		t.Errorf("the message does not name the file: %s", o.Message)
	}
}

func timeout(t *testing.T, s *suite) {
	task := s.task(t, Sleep{})
	task.Spec.Timeout = api.Duration(300 * time.Millisecond)
	task.Spec.KillGrace = api.Duration(time.Second)
	o := s.run(t, task)
	want(t, o, api.Failed, api.ReasonDeadline, api.ExitDeadline)
	// A start that takes long may count as part of the run.
	if got := time.Duration(o.Receipt.InitNS + o.Receipt.RunNS); got < 300*time.Millisecond {
		t.Errorf("it ran for %v only", got)
	}
}

func memory(t *testing.T, s *suite) {
	task := s.task(t, UseMemory{})
	task.Spec.Resources.Mem = 64 * api.MiB
	want(t, s.run(t, task), api.Failed, api.ReasonMemoryLimit, api.ExitLimit)
}

var userKill = &runner.Stop{Reason: api.ReasonUserKill}

func kill(t *testing.T, s *suite) {
	a := s.start(t, s.New(t), s.task(t, Sleep{}))
	s.ready(t, a)
	a.cancel(userKill)
	wantKilled(t, s.end(t, a))

	a = s.start(t, s.New(t), s.task(t, Sleep{}))
	s.ready(t, a)
	a.cancel(&runner.Stop{Reason: api.ReasonDrained})
	if o := s.end(t, a); o.State != api.Killed || o.Reason != api.ReasonDrained {
		t.Errorf("a drained attempt is %s/%s", o.State, o.Reason)
	}
}

func politeKill(t *testing.T, s *suite) {
	a := s.start(t, s.New(t), s.task(t, ExitOnTerm{}))
	s.ready(t, a)
	a.cancel(userKill)
	wantKilled(t, s.end(t, a))
}

func stubbornKill(t *testing.T, s *suite) {
	task := s.task(t, IgnoreTerm{})
	task.Spec.KillGrace = api.Duration(500 * time.Millisecond)
	a := s.start(t, s.New(t), task)
	s.ready(t, a)
	asked := time.Now() //nolint:forbidigo // a test of real processes
	a.cancel(userKill)
	o := s.end(t, a)
	wantKilled(t, o)
	if o.Signal != 9 {
		t.Errorf("it ended by signal %d, want 9", o.Signal)
	}
	took := time.Since(asked) //nolint:forbidigo // as asked
	if took < task.Spec.KillGrace.D() {
		t.Errorf("it was forced after %v, before its grace period of %v", took, task.Spec.KillGrace)
	}
}

func forcedKill(t *testing.T, s *suite) {
	task := s.task(t, IgnoreTerm{})
	task.Spec.KillGrace = api.Duration(time.Hour)
	a := s.start(t, s.New(t), task)
	s.ready(t, a)
	a.cancel(&runner.Stop{Reason: api.ReasonUserKill, Force: true})
	wantKilled(t, s.end(t, a))
}

func earlyKill(t *testing.T, s *suite) {
	task := s.task(t, Sleep{})
	r := s.New(t)
	a := s.begin(t, task, filepath.Join(s.root, "early"), func(ctx context.Context, io runner.IO) (api.Outcome, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(userKill)
		return r.Run(ctx, task, io)
	})
	wantKilled(t, s.end(t, a))
	if a.started.Load() != 0 {
		t.Error("it was started")
	}
}

func notFound(t *testing.T, s *suite) {
	o := s.run(t, s.task(t, NotFound{}))
	if o.State != api.Failed || o.ExitCode != api.ExitNotFound || api.ExitCode(o.Reason) != api.ExitNotFound || o.Message == "" {
		t.Errorf("got %+v", o)
	}
}

func parallel(t *testing.T, s *suite) {
	r := s.New(t)
	var wg sync.WaitGroup
	for i := range 6 {
		text := fmt.Sprintf("I am %d", i)
		task := s.task(t, CatStdin{})
		task.Spec.Stdin = []byte(text)
		a := s.start(t, r, task)
		wg.Go(func() {
			<-a.done
			o, err := a.result()
			if err != nil || o.State != api.Finished || string(o.Stdout) != text {
				t.Errorf("attempt %d: got %s %q, %v", i, o.State, o.Stdout, err)
			}
		})
	}
	wg.Wait()
}

func detach(t *testing.T, s *suite) {
	task := s.task(t, Gate{Path: "open", Code: 5})
	first := s.New(t)
	a := s.start(t, first, task)
	s.ready(t, a)
	s.leave(t, first, a)
	b := s.reattach(t, s.New(t), a)
	if err := os.WriteFile(filepath.Join(a.io.Dir, "box", "open"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	o := s.end(t, b)
	want(t, o, api.Failed, api.ReasonExit, 5)
	if !o.Inline || string(o.Stdout) != "ready\n" {
		t.Errorf("its output is %q, inline %v", o.Stdout, o.Inline)
	}
}

func detachedEnd(t *testing.T, s *suite) {
	task := s.task(t, Gate{Path: "open", Code: 6})
	first := s.New(t)
	a := s.start(t, first, task)
	s.ready(t, a)
	s.leave(t, first, a)
	if err := os.WriteFile(filepath.Join(a.io.Dir, "box", "open"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	// Twice: an agent may stop again before it has journaled what it learned.
	for range 2 {
		want(t, s.end(t, s.reattach(t, s.New(t), a)), api.Failed, api.ReasonExit, 6)
	}
}

func detachedKill(t *testing.T, s *suite) {
	first := s.New(t)
	a := s.start(t, first, s.task(t, Sleep{}))
	s.ready(t, a)
	s.leave(t, first, a)
	b := s.reattach(t, s.New(t), a)
	b.cancel(userKill)
	wantKilled(t, s.end(t, b))
}

// leave detaches the runner from its attempt and closes it.
func (s *suite) leave(t *testing.T, r runner.Runner, a *attempt) {
	t.Helper()
	if _, ok := r.(runner.Reattacher); !ok {
		t.Skip("attempts of this runner do not outlive the agent")
	}
	a.cancel(runner.ErrDetach)
	<-a.done
	if o, err := a.result(); err != runner.ErrDetach { //nolint:errorlint // the contract says: this very error
		t.Fatalf("a detached Run returned %+v, %v", o, err)
	}
	if c, ok := r.(runner.Closer); ok {
		if err := c.Close(t.Context(), true); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
}

func gone(t *testing.T, s *suite) {
	first := s.New(t)
	a := s.start(t, first, s.task(t, Exit{}))
	want(t, s.end(t, a), api.Finished, "", 0)
	if _, ok := first.(runner.Reattacher); !ok {
		t.Skip("attempts of this runner do not outlive the agent")
	}
	if c, ok := first.(runner.Closer); ok {
		if err := c.Close(t.Context(), false); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	if err := os.RemoveAll(a.io.Dir); err != nil {
		t.Fatal(err)
	}
	for name, handle := range map[string][]byte{"of an attempt that was forgotten": a.handle, "that is no handle": []byte("nonsense"), "that is empty": nil} {
		b := s.begin(t, a.task, a.io.Dir, func(ctx context.Context, io runner.IO) (api.Outcome, error) {
			return s.New(t).(runner.Reattacher).Reattach(ctx, a.task, handle, io)
		})
		<-b.done
		if o, err := b.result(); !errors.Is(err, runner.ErrGone) {
			t.Errorf("a handle %s: got %+v, %v", name, o, err)
		}
	}
}
