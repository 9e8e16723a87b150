//go:build linux

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/saki-run/saki/agent/runner/output"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

// Shim is the body of the hidden command that stands between the agent and a shell task. It takes orders from the socket that
// it inherits as file descriptor 3, one after the other, and ends when the agent has gone and its task has ended. Without such
// a socket it gives an error: it is nothing that people start.
//
// It keeps the task's output within limits and writes how the task ended to the attempt's folder, so that both survive the
// agent. While no agent listens, SIGTERM asks its task to stop, and SIGUSR1 forces it.
func Shim(ctx context.Context) error {
	if err := unix.SetNonblock(orderFD, true); err != nil {
		return errors.New("saki shim is started by the agent, not by people")
	}
	// What the agent itself was started with is not the task's either. An error is that of an old kernel.
	_ = unix.CloseRange(orderFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	unix.CloseOnExec(orderFD)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of a task's orphans: %w", err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGUSR1)
	// Caught and dropped: what is ignored would be ignored by the task too.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)

	conn := wire.NewConn(os.NewFile(orderFD, "agent"))
	defer conn.Close()
	s := &shim{conn: conn, stops: make(chan stop, 8)}
	orders := make(chan order)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go s.receive(ctx, orders)
	go s.translate(ctx, signals)
	if err := conn.SendRaw(typeReady, nil); err != nil {
		return fmt.Errorf("tell the agent: %w", err)
	}
	for o := range orders {
		s.run(o)
	}
	s.after.Wait()
	return nil
}

type shim struct {
	conn  *wire.Conn
	stops chan stop
	after sync.WaitGroup // work that no order waits for
}

// anySeq is the order that a signal is for: whichever runs.
const anySeq = 0

// receive sorts what the agent sends. It closes orders when the agent has gone.
func (s *shim) receive(ctx context.Context, orders chan<- order) {
	defer close(orders)
	for {
		typ, body, err := s.conn.Recv()
		if err != nil {
			return
		}
		switch typ {
		case typeOrder:
			var o order
			if wire.Unmarshal(body, &o) != nil {
				return // of another version; the agent sees us go
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		case typeStop:
			var st stop
			if wire.Unmarshal(body, &st) == nil {
				s.ask(ctx, st)
			}
		}
	}
}

func (s *shim) translate(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case sig := <-signals:
			s.ask(ctx, stop{Seq: anySeq, Force: sig == syscall.SIGUSR1})
		case <-ctx.Done():
			return
		}
	}
}

func (s *shim) ask(ctx context.Context, st stop) {
	select {
	case s.stops <- st:
	case <-ctx.Done():
	}
}

// run runs one order to its end and tells of it: first by the file, for whoever comes later, then to the agent that may listen,
// and then the disk is made sure of.
func (s *shim) run(o order) {
	outcome, clean := s.attempt(o)
	err := output.Save(o.Dir, &outcome)
	_ = s.conn.Send(typeEnded, outcome) // nobody may be there
	s.after.Go(func() {
		if err == nil {
			_ = output.Sync(o.Dir) // a full disk: the agent has it, or reads what there is
		}
		clean()
	})
}

// attempt runs the order's task. clean is to be called when there is time.
func (s *shim) attempt(o order) (_ api.Outcome, clean func()) {
	clean = func() {}
	capture, err := output.Create(o.Dir, o.MaxOutput)
	if err != nil {
		return api.Fail(api.ReasonLaunchFailed, err.Error()), clean
	}
	defer capture.Close()
	t := &task{order: o, capture: capture}
	if refused := t.start(); refused != nil {
		return *refused, t.remove
	}
	_ = s.conn.SendRaw(typeStarted, nil)
	outcome := t.wait(s.stops)
	capture.Fill(&outcome)
	return outcome, t.remove
}

// copyAll moves a pipe into the capture until every holder of its other end has gone, or the pipe is closed.
func copyAll(dst io.Writer, src *os.File) {
	_, _ = io.Copy(dst, src)
	src.Close()
}
