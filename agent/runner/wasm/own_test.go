package wasm

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/protocol"
)

// until waits for something to hold in the default space.
func (b *bench) until(what string, holds func(sp *space) bool) {
	b.Helper()
	sp, err := b.space("default")
	if err != nil {
		b.Fatal(err)
	}
	late := time.After(20 * time.Second)
	for {
		sp.mu.Lock()
		ok, changed := holds(sp), sp.changed
		sp.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late:
			b.Fatalf("never: %s", what)
		}
	}
}

// host gives the worker that has an attempt.
func (b *bench) host(t *api.Task) *proc {
	b.Helper()
	var found *proc
	b.until("a worker has "+string(t.ID), func(sp *space) bool {
		for _, p := range sp.procs {
			if p.attempts[protocol.Key{Task: t.ID, Attempt: t.Attempt}] != nil {
				found = p
			}
		}
		return found != nil
	})
	return found
}

func TestAStrictTaskHasAWorkerOfItsOwn(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	var dones []<-chan result
	hosts := map[string]bool{}
	begin := func(isolation api.Isolation) {
		task := b.task("sleep", "60000")
		task.Spec.Wasm.Isolation = isolation
		_, done := b.begin(ctx, task)
		dones = append(dones, done)
		hosts[b.host(task).name] = true
	}
	for range 3 {
		begin(api.Strict)
	}
	begin(api.Shared)
	if len(hosts) != 4 {
		t.Errorf("four tasks are on %v", hosts)
	}
	begin(api.Shared)
	if len(hosts) != 4 {
		t.Errorf("two shared tasks do not share a worker: %v", hosts)
	}
	cancel(&runner.Stop{Reason: api.ReasonUserKill})
	for _, done := range dones {
		if r := <-done; r.err != nil || r.State != api.Killed {
			t.Errorf("got %+v", r)
		}
	}
	b.until("the workers of strict tasks are gone, and two are left", func(sp *space) bool {
		for _, p := range sp.procs {
			if p.own {
				return false
			}
		}
		return len(sp.procs) == 2
	})
}

func TestStrictTasksWaitWhenThereAreTooMany(t *testing.T) {
	b := newBench(t)
	b.cfg.MaxOwn = 2
	done := make(chan error, 6)
	for i := range cap(done) {
		task := b.task("echo")
		task.Spec.Stdin = []byte(fmt.Sprint(i))
		task.Spec.Wasm.Isolation = api.Strict
		x := b.io(task)
		go func() {
			out, err := b.Run(t.Context(), task, x.IO)
			if err == nil && (out.State != api.Finished || string(out.Stdout) != fmt.Sprint(i)) {
				err = fmt.Errorf("got %+v", out)
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAModuleThatHasCostAWorkerGetsItsOwn(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	first := b.task("spin")
	_, done := b.begin(ctx, first)
	b.reserve()
	if err := syscall.Kill(b.host(first).pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cancel(&runner.Stop{Reason: api.ReasonUserKill, Force: true})
	if r := <-done; r.err != nil || r.State != api.Killed {
		t.Fatalf("got %+v", r)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	again, other := b.task("spin"), b.task("sleep", "60000")
	_, done1 := b.begin(ctx, again)
	_, done2 := b.begin(ctx, other)
	if p := b.host(again); !p.own || p == b.host(other) {
		t.Errorf("the offender runs on %s, own: %v", p.name, p.own)
	}
	cancel(&runner.Stop{Reason: api.ReasonUserKill})
	<-done1
	<-done2
}

func TestAnOwnWorkerStaysOneWhenTheAgentComesBack(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	task := b.task("sleep", "60000")
	task.Spec.Wasm.Isolation = api.Strict
	x, done := b.begin(ctx, task)
	cancel(runner.ErrDetach)
	if r := <-done; !errors.Is(r.err, runner.ErrDetach) {
		t.Fatalf("got %+v", r)
	}
	if err := b.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	b.Runner = b.open()
	if err := b.Adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.until("the worker is known as a task's own", func(sp *space) bool {
		for _, p := range sp.procs {
			if p.own {
				return true
			}
		}
		return false
	})
	ctx, cancel = context.WithCancelCause(t.Context())
	again := b.io(task)
	ended := make(chan result, 1)
	go func() {
		out, err := b.Reattach(ctx, task, *x.handle.Load(), again.IO)
		ended <- result{out, err}
	}()
	<-again.started
	cancel(&runner.Stop{Reason: api.ReasonUserKill})
	if r := <-ended; r.err != nil || r.State != api.Killed {
		t.Errorf("got %+v", r)
	}
	b.until("it is retired", func(sp *space) bool {
		for _, p := range sp.procs {
			if p.own {
				return false
			}
		}
		return true
	})
}

func TestOffendersAreForgottenWhenThereAreMany(t *testing.T) {
	var o offenders
	for i := range maxOffenders + 5 {
		o.add(api.Digest(fmt.Sprint(i)))
	}
	if len(o.known) != maxOffenders || o.known["4"] || !o.known["5"] {
		t.Errorf("%d are known; 4: %v, 5: %v", len(o.known), o.known["4"], o.known["5"])
	}
}

// BenchmarkANewWorker measures how long it takes from the wish to kill a worker until the one in its place can be given tasks.
func BenchmarkANewWorker(b *testing.B) {
	w := newBench(b)
	w.run(w.task("hello"))
	w.reserve()
	sp, err := w.space("default")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		sp.mu.Lock()
		victim := sp.procs[len(sp.procs)-1]
		sp.killLocked(victim)
		sp.mu.Unlock()
		w.until("another is there", func(sp *space) bool {
			n := 0
			for _, p := range sp.procs {
				if p.shared() {
					n++
				}
			}
			return n == 2
		})
	}
}
