//go:build linux

package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/saki-run/saki/wire"
)

// readyFor is how long a fresh shim may take to come up.
const readyFor = 30 * time.Second

// errShimGone says that a shim has ended, or does not come up.
var errShimGone = errors.New("the supervising process (saki shim) has ended")

// frame is one message of a shim.
type frame struct {
	typ  wire.Type
	body []byte
}

// lane is the agent's end of one shim.
type lane struct {
	cmd    *exec.Cmd
	conn   *wire.Conn
	proc   proc
	seq    uint64        // of the last order
	frames chan frame    // closed when the shim has closed its end
	reaped chan struct{} // closed when the process has ended
	warm   bool          // it has waited for its order
}

// lanes keeps shims that wait for orders, so that starting one is seldom in a task's way.
type lanes struct {
	argv []string
	keep int // idle shims at most

	mu     sync.Mutex // guards the rest
	idle   []*lane
	busy   map[*lane]bool
	closed bool
	wg     sync.WaitGroup // of goroutines that start shims
}

// take gives a lane that takes an order.
func (p *lanes) take(ctx context.Context) (*lane, error) {
	p.mu.Lock()
	for len(p.idle) > 0 {
		l := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		select {
		case <-l.reaped: // somebody has killed it
			continue
		default:
		}
		p.busy[l] = true
		p.mu.Unlock()
		l.warm = true
		return l, nil
	}
	p.mu.Unlock()
	l, err := startLane(ctx, p.argv)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy[l] = true
	return l, nil
}

// give takes a lane back whose order is done.
func (p *lanes) give(l *lane) {
	p.mu.Lock()
	delete(p.busy, l)
	if !p.closed && len(p.idle) < p.keep {
		p.idle = append(p.idle, l)
		l = nil
	}
	p.mu.Unlock()
	if l != nil {
		l.conn.Close()
	}
}

// drop lets go of a lane whatever it does. Its shim ends with its order.
func (p *lanes) drop(l *lane) {
	p.mu.Lock()
	delete(p.busy, l)
	p.mu.Unlock()
	l.conn.Close()
}

// warmUp starts a shim in the background when none waits.
func (p *lanes) warmUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.keep == 0 || len(p.idle)+len(p.busy) > 0 {
		return
	}
	p.wg.Go(func() {
		l, err := startLane(context.Background(), p.argv)
		if err == nil { // an error comes again, to the task that needs the shim
			p.give(l)
		}
	})
}

// close ends the idle shims; with force, also the busy ones with their tasks. It waits for them.
func (p *lanes) close(ctx context.Context, force bool) error {
	p.mu.Lock()
	p.closed = true
	end := p.idle
	p.idle = nil
	if force {
		for l := range p.busy {
			_ = l.cmd.Process.Signal(unix.SIGUSR1) // an error says that it has ended
			end = append(end, l)
		}
	}
	p.mu.Unlock()
	p.wg.Wait()
	for _, l := range end {
		l.conn.Close()
	}
	for _, l := range end {
		select {
		case <-l.reaped:
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of shims: %w", context.Cause(ctx))
		}
	}
	return nil
}

// startLane starts a shim and waits until it is ready.
func startLane(ctx context.Context, argv []string) (*lane, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make the socket of a shim: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "shim"), os.NewFile(uintptr(fds[1]), "agent")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Args = slices.Concat([]string{"saki"}, argv[1:])
	cmd.Env = []string{"PATH=" + defaultPath} // none of the agent's: tasks can read a shim's
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("start a shim: %w", err)
	}
	l := &lane{cmd: cmd, conn: wire.NewConn(ours), frames: make(chan frame, 2), reaped: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how a shim ends does not matter: what counts is in its frames and files
		close(l.reaped)
	}()
	go l.receive()
	if l.proc, err = identify(cmd.Process.Pid); err != nil {
		l.conn.Close()
		return nil, fmt.Errorf("%w: %w", errShimGone, err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyFor)
	defer cancel()
	select {
	case f, ok := <-l.frames:
		if ok && f.typ == typeReady {
			return l, nil
		}
		err = errShimGone
	case <-ctx.Done():
		err = fmt.Errorf("wait for a shim: %w", context.Cause(ctx))
	}
	l.conn.Close()
	return nil, err
}

func (l *lane) receive() {
	defer close(l.frames)
	for {
		typ, body, err := l.conn.Recv()
		if err != nil {
			return
		}
		l.frames <- frame{typ, body} // two fit, and an order is answered by no more
	}
}
