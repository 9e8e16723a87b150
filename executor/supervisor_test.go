package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/engine"
	"github.com/saki-run/saki/executor/protocol"
	"github.com/saki-run/saki/wasm/build"
	"github.com/saki-run/saki/wire"
)

// TestMain lets the test's program play "saki executor".
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "executor" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := Main(ctx, os.Args[2:], "test", os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// agent is the other end: it takes in every process that dials.
type agent struct {
	t     *testing.T
	dir   string
	ln    net.Listener
	conns chan joined
}

// joined is a process that said hello.
type joined struct {
	*wire.Conn
	*protocol.Hello
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{t: t, dir: t.TempDir(), conns: make(chan joined, 16)}
	if err := os.WriteFile(filepath.Join(a.dir, protocol.Token), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.listen()
	return a
}

func (a *agent) listen() {
	_ = os.Remove(filepath.Join(a.dir, protocol.Socket))
	ln, err := net.Listen("unix", filepath.Join(a.dir, protocol.Socket))
	if err != nil {
		a.t.Fatal(err)
	}
	a.ln = ln
	a.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			c := wire.NewConn(nc)
			m, err := protocol.Recv(c)
			h, ok := m.(*protocol.Hello)
			if err != nil || !ok || h.Token != "secret" || protocol.Send(c, &protocol.Welcome{}) != nil {
				c.Close()
				continue
			}
			a.conns <- joined{c, h}
		}
	}()
}

// recv receives messages until one is an M.
func recv[M protocol.Message](t *testing.T, c joined) M {
	t.Helper()
	for {
		m, err := protocol.Recv(c.Conn)
		if err != nil {
			t.Fatal(err)
		}
		if want, ok := m.(M); ok {
			return want
		}
	}
}

func (a *agent) send(c joined, m protocol.Message) {
	a.t.Helper()
	if err := protocol.Send(c.Conn, m); err != nil {
		a.t.Fatal(err)
	}
}

func TestTheSupervisorReplacesAWorkerThatIsKilled(t *testing.T) {
	a := newAgent(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, Config{Dir: a.dir, Workers: 1, Log: slog.New(slog.DiscardHandler)}) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	var sup, worker joined
	for sup.Conn == nil || worker.Conn == nil {
		if c := <-a.conns; c.Role == protocol.Supervisor {
			sup = c
		} else {
			worker = c
		}
	}
	a.send(sup, &protocol.Kill{Incarnation: "nobody"})
	a.send(sup, &protocol.Kill{Incarnation: worker.Incarnation})
	if e := recv[*protocol.Exited](t, sup); e.Incarnation != worker.Incarnation || e.Signal != 9 {
		t.Errorf("got %+v", e)
	}
	if next := <-a.conns; next.Role != protocol.Worker || next.Incarnation == worker.Incarnation {
		t.Errorf("got %+v", next.Hello)
	}
	a.send(sup, &protocol.Ping{N: 7})
	if p := recv[*protocol.Pong](t, sup); p.N != 7 {
		t.Errorf("got %+v", p)
	}
}

func TestTheSupervisorEndsWhenItIsTold(t *testing.T) {
	a := newAgent(t)
	done := make(chan error, 1)
	go func() { done <- Run(t.Context(), Config{Dir: a.dir, Workers: 1, Log: slog.New(slog.DiscardHandler)}) }()
	for c := range a.conns {
		if c.Role == protocol.Supervisor {
			a.send(c, &protocol.Refused{Why: "no longer needed", Exit: true})
			break
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestResultsAreKeptUntilTheyAreAcknowledged(t *testing.T) {
	a := newAgent(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Worker(ctx, WorkerConfig{Dir: a.dir, Name: "w1", Incarnation: "i1", Log: slog.New(slog.DiscardHandler)})
	}()
	w := <-a.conns
	key := protocol.Key{Task: "t", Attempt: 1}
	a.send(w, &protocol.Invoke{Key: key, Digest: api.Digest("sha256:" + strings.Repeat("0", 64)), Dir: "tasks/t.1"})
	first := recv[*protocol.Result](t, w)
	if first.Outcome.Reason != api.ReasonModuleNotFound {
		t.Errorf("got %+v", first)
	}
	w.Close()
	w = <-a.conns
	if len(w.Ended) != 1 || w.Ended[0] != key {
		t.Errorf("the worker comes back with %+v", w.Hello)
	}
	if again := recv[*protocol.Result](t, w); again.Key != key || again.Outcome.Message != first.Outcome.Message {
		t.Errorf("got %+v, then %+v", first, again)
	}
	a.send(w, &protocol.Ack{Keys: []protocol.Key{key}})
	a.send(w, &protocol.Ping{})
	recv[*protocol.Pong](t, w)
	w.Close()
	w = <-a.conns
	if len(w.Ended) != 0 {
		t.Errorf("it still has %v", w.Ended)
	}
	a.send(w, &protocol.Refused{Exit: true})
	if err := <-done; err != nil {
		t.Error(err)
	}
	cancel()
}

func TestTheCompilerApart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.wasm")
	if err := Compiler(dir)(t.Context(), path, engine.Compiler); err == nil {
		t.Error("a module that is not there was compiled")
	} else if _, ok := errors.AsType[*engine.Refusal](err); ok {
		t.Errorf("a module that is not there is refused: %v", err)
	}
	if err := os.WriteFile(path, []byte("no wasm"), 0o600); err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	for want, ctx := range map[api.Reason]context.Context{api.ReasonModuleRefused: t.Context(), api.ReasonCompileLimit: late} {
		err := compileApart(ctx, dir, path, engine.Compiler, compileMem)
		if r, ok := errors.AsType[*engine.Refusal](err); !ok || r.Reason != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := os.WriteFile(path, []byte("\x00asm\x01\x00\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Compiler(dir)(t.Context(), path, engine.Compiler); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := Compiler(dir)(t.Context(), path, engine.Compiler); err != nil {
		t.Errorf("it was compiled twice: %v", err)
	}
}

func TestAModuleThatIsTooMuchToCompileIsRemembered(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.wasm")
	var m build.Module
	m.Memory(1, 1)
	m.PassiveData(make([]byte, 60<<20))
	m.Export("_start", build.Func, m.Func(m.Type(nil, nil), nil))
	if err := os.WriteFile(path, m.Bytes(), 0o600); err != nil { // it is read, rewritten and read again
		t.Fatal(err)
	}
	err := compileApart(t.Context(), dir, path, engine.Compiler, 160<<20)
	r, ok := errors.AsType[*engine.Refusal](err)
	if !ok || r.Reason != api.ReasonCompileLimit { // how Go dies without memory differs from time to time
		t.Fatalf("got %v", err)
	}
	mark := marks{dir: filepath.Join(cacheDir(dir), doneDir), name: "m.compiler"}
	if err := mark.write(err); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	again := Compiler(dir)(t.Context(), path, engine.Compiler)
	if r, ok := errors.AsType[*engine.Refusal](again); !ok || r.Reason != api.ReasonCompileLimit || time.Since(began) > time.Second {
		t.Errorf("the second time: %v after %v", again, time.Since(began))
	}
	if err := os.WriteFile(path, []byte("\x00asm\x01\x00\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Compiler(dir)(t.Context(), path, engine.Interpreter); err != nil {
		t.Errorf("on the interpreter: %v", err)
	}
	old := time.Now().Add(-refusedFor - time.Minute)
	if err := os.Chtimes(filepath.Join(mark.dir, mark.name+".refused"), old, old); err != nil {
		t.Fatal(err)
	}
	if done, err := mark.read(); done || err != nil {
		t.Errorf("after an hour: %v, %v", done, err)
	}
}

func TestMainNeedsAFolder(t *testing.T) {
	for _, args := range [][]string{nil, {"worker"}, {"--dir", "x", "extra"}, {"--unknown"}} {
		if err := Main(t.Context(), args, "test", new(strings.Builder)); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
