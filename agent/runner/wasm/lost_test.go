package wasm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
)

func TestAWorkerThatDoesNotObeyIsKilledAndTheNextIsReady(t *testing.T) {
	b := newBench(t)
	_, neighbour := b.begin(t.Context(), b.task("sleep", "60000"))
	ctx, cancel := context.WithCancelCause(t.Context())
	_, victim := b.begin(ctx, b.task("spin"))
	spare := b.reserve()
	sp, err := b.space("default")
	if err != nil {
		t.Fatal(err)
	}
	sp.mu.Lock()
	pid := sp.procs[0].pid
	sp.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cancel(&runner.Stop{Reason: api.ReasonUserKill, Force: true})
	if r := <-victim; r.err != nil || r.State != api.Killed || r.Reason != api.ReasonUserKill || r.Signal != 9 {
		t.Errorf("got %+v", r)
	}
	r := <-neighbour
	if r.err != nil || r.State != api.Lost || r.Reason != api.ReasonWorkerLost || !strings.Contains(r.Message, "signal 9") {
		t.Errorf("the neighbour: %+v", r)
	}
	if out := b.run(b.task("hello")); out.State != api.Finished {
		t.Errorf("afterwards: %+v", out)
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if name := sp.procs[0].name; name != spare {
		t.Errorf("afterwards %s is used, want %s, which was in reserve", name, spare)
	}
}

// reserve waits for the worker in reserve and gives its name.
func (b *bench) reserve() string {
	b.Helper()
	sp, err := b.space("default")
	if err != nil {
		b.Fatal(err)
	}
	for {
		sp.mu.Lock()
		changed, procs := sp.changed, sp.procs
		sp.mu.Unlock()
		if len(procs) > 1 {
			return procs[1].name
		}
		<-changed
	}
}

func TestATaskWaitsForTheNextWorkerWhenAllAreGone(t *testing.T) {
	b := newBench(t)
	b.run(b.task("hello"))
	b.reserve()
	sp, err := b.space("default")
	if err != nil {
		t.Fatal(err)
	}
	sp.mu.Lock()
	sp.since = sp.since.Add(-time.Hour) // the executor has been up for long
	for _, p := range sp.procs {
		if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	for _, p := range append([]*proc(nil), sp.procs...) {
		sp.loseLocked(p, api.ReasonWorkerLost, "killed")
	}
	sp.mu.Unlock()
	if out := b.run(b.task("hello")); out.State != api.Finished {
		t.Errorf("got %+v", out)
	}
}

func TestADeadExecutorIsStartedAgain(t *testing.T) {
	b := newBench(t)
	_, done := b.begin(t.Context(), b.task("sleep", "60000"))
	sp, err := b.space("default")
	if err != nil {
		t.Fatal(err)
	}
	sp.mu.Lock()
	ex := sp.executor
	sp.mu.Unlock()
	if err := ex.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.err != nil || r.State != api.Lost {
		t.Errorf("got %+v", r)
	}
	if out := b.run(b.task("hello")); out.State != api.Finished {
		t.Errorf("afterwards: %+v", out)
	}
}

func TestAttemptsOutliveTheAgent(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	long, short := b.task("sleep", "60000"), b.task("sleep", "300")
	xl, doneL := b.begin(ctx, long)
	xs, doneS := b.begin(ctx, short)
	cancel(runner.ErrDetach)
	for _, done := range []<-chan result{doneL, doneS} {
		if r := <-done; !errors.Is(r.err, runner.ErrDetach) {
			t.Fatalf("got %+v, want ErrDetach", r)
		}
	}
	if err := b.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	pid := executorPID(t, b)

	b.Runner = b.open()
	if err := b.Adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := b.Reattach(t.Context(), short, *xs.handle.Load(), b.io(short).IO)
	if err != nil || out.State != api.Finished {
		t.Errorf("the short one: %+v, %v", out, err)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	again := b.io(long)
	done := make(chan result, 1)
	go func() {
		out, err := b.Reattach(ctx, long, *xl.handle.Load(), again.IO)
		done <- result{out, err}
	}()
	<-again.started
	cancel(&runner.Stop{Reason: api.ReasonUserKill})
	if r := <-done; r.err != nil || r.State != api.Killed || r.Reason != api.ReasonUserKill {
		t.Errorf("the long one: %+v", r)
	}
	if got := executorPID(t, b); got != pid {
		t.Errorf("another executor was started: %s, was %s", got, pid)
	}
	if _, err := b.Reattach(t.Context(), b.task("noop"), *xl.handle.Load(), again.IO); !errors.Is(err, runner.ErrGone) {
		t.Errorf("an unknown attempt: %v, want ErrGone", err)
	}
}

func TestAttemptsOfALostExecutorAreGone(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	task := b.task("sleep", "60000")
	x, done := b.begin(ctx, task)
	cancel(runner.ErrDetach)
	<-done
	if err := b.Close(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	b.Runner = b.open()
	if _, err := b.Reattach(t.Context(), task, *x.handle.Load(), b.io(task).IO); !errors.Is(err, runner.ErrGone) {
		t.Errorf("got %v, want ErrGone", err)
	}
}

func executorPID(t *testing.T, b *bench) string {
	t.Helper()
	rec, err := os.ReadFile(filepath.Join(b.root, "default", "executor.pid"))
	if err != nil {
		t.Fatal(err)
	}
	return string(rec)
}

func TestACloseForGoodEndsWhatWasNeverTakenOver(t *testing.T) {
	b := newBench(t)
	b.run(b.task("hello"))
	if err := b.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	b.Runner = b.open()
	if err := b.Close(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if left, err := b.launcher(b.root).Running(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("executors of %v are left, %v", left, err)
	}
}
