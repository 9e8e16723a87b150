// Package executor is the program inside the wasm executor: a supervisor that keeps worker processes running, and the workers,
// which run the tasks. Nothing in it decides what runs: it does what an agent asks, and keeps results until the agent has them.
// DESIGN.md has the reasons.
package executor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/saki-run/saki/executor/protocol"
	"github.com/saki-run/saki/wire"
)

// Config configures an executor's supervisor.
type Config struct {
	Dir string // the folder shared with the agent
	// Workers is how many worker processes are kept running. The agent uses some and holds the rest in reserve. Default 2.
	Workers int
	// WorkerMem is what each worker's Go runtime tries to keep within, in bytes; 0 is no limit.
	WorkerMem int64
	Build     string // of the program, for people
	Log       *slog.Logger
	// Command makes the command of a worker process. Default: this program with "executor worker" and flags.
	Command func(w WorkerConfig) *exec.Cmd
	// Now is the clock. Default [time.Now].
	Now func() time.Time
}

// stopWithin is how long workers get to end by themselves.
const stopWithin = 2 * time.Second

// supervisor keeps workers running.
type supervisor struct {
	cfg Config
	log *slog.Logger

	mu    sync.Mutex // guards what follows
	conn  *wire.Conn // nil while there is no agent
	procs map[string]*os.Process
	asked map[string]bool // incarnations that the agent wanted killed
	named int
	loops int // that keep one worker each
	extra int // beyond Config.Workers

	wg sync.WaitGroup
}

// maxExtra bounds what an agent may ask for.
const maxExtra = 64

// Run keeps the workers of an executor running until ctx ends or the agent tells it to exit. As the first process of a
// container it also reaps what its workers leave behind.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Workers == 0 {
		cfg.Workers = 2
	}
	if cfg.Command == nil {
		cfg.Command = WorkerCommand
	}
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default of the clock that is passed in
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &supervisor{cfg: cfg, log: cfg.Log, procs: map[string]*os.Process{}, asked: map[string]bool{}}
	s.want(ctx, 0)
	s.wg.Go(func() {
		s.talk(ctx)
		cancel() // the agent told it to exit, or ctx has ended
	})
	if os.Getpid() == 1 {
		s.wg.Go(func() { s.reapForEver(ctx) })
	}
	s.wg.Wait()
	return nil
}

// WorkerCommand is the command "saki executor worker" of this program.
func WorkerCommand(w WorkerConfig) *exec.Cmd {
	return exec.Command("/proc/self/exe", "executor", "worker", "--dir", w.Dir, "--name", w.Name,
		"--incarnation", w.Incarnation, "--memory", strconv.FormatInt(w.MemLimit, 10))
}

// want starts workers until there are as many as are wanted. What is too many ends by itself: see tooMany.
func (s *supervisor) want(ctx context.Context, extra int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extra = max(0, min(extra, maxExtra))
	for s.loops < s.cfg.Workers+s.extra {
		s.loops++
		s.wg.Go(func() { s.keep(ctx) })
	}
}

// tooMany reports whether the loop that asks is to end.
func (s *supervisor) tooMany() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loops <= s.cfg.Workers+s.extra {
		return false
	}
	s.loops--
	return true
}

// keep runs one worker after the other until ctx ends or there are too many. One that the agent had killed did nothing wrong
// by itself: the next is started at once.
func (s *supervisor) keep(ctx context.Context) {
	b := backoff{now: s.cfg.Now}
	for ctx.Err() == nil {
		asked, err := s.runWorker(ctx)
		if s.tooMany() {
			return
		}
		if asked {
			continue
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("worker ended", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(b.next()):
		}
	}
}

// runWorker runs one worker process to its end, and tells whether the agent had it killed.
func (s *supervisor) runWorker(ctx context.Context) (asked bool, err error) {
	s.mu.Lock()
	s.named++
	name := "w" + strconv.Itoa(s.named)
	s.mu.Unlock()
	incarnation := name + "-" + rand.Text()[:12]
	cmd := s.cfg.Command(WorkerConfig{Dir: s.cfg.Dir, Name: name, Incarnation: incarnation, MemLimit: s.cfg.WorkerMem})
	tail := &tailWriter{next: os.Stderr}
	cmd.Stdout, cmd.Stderr = tail, tail
	alive, err := cmd.StdinPipe() // it ends with this process, and the worker with it
	if err != nil {
		return false, fmt.Errorf("start worker: %w", err)
	}
	defer alive.Close()
	cmd.WaitDelay = time.Second
	ooms := oomKills()
	s.mu.Lock() // until it is known: a reaper must not take it for a stranger's child
	err = cmd.Start()
	if err == nil {
		s.procs[incarnation] = cmd.Process
	}
	s.mu.Unlock()
	if err != nil {
		return false, fmt.Errorf("start worker: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		_ = alive.Close()
		time.AfterFunc(stopWithin, func() { _ = cmd.Process.Kill() })
	})
	err = cmd.Wait()
	if !stop() {
		err = nil // it was told to
	}
	s.mu.Lock()
	asked = s.asked[incarnation]
	delete(s.procs, incarnation)
	delete(s.asked, incarnation)
	c := s.conn
	s.mu.Unlock()
	if c != nil {
		e := &protocol.Exited{Name: name, Incarnation: incarnation, OOM: oomKills() > ooms, Tail: tail.String()}
		e.Signal, e.ExitCode = status(cmd)
		_ = protocol.Send(c, e)
	}
	return asked, err
}

// talk tells the agent of workers that ended and kills the ones it is told to, until ctx ends or the agent tells it to exit.
func (s *supervisor) talk(ctx context.Context) {
	wait := redialFirst
	for ctx.Err() == nil {
		c, err := dial(ctx, s.cfg.Dir, s.hello)
		if err == nil {
			wait = redialFirst
			err = s.serve(ctx, c)
			c.Close()
		}
		if errors.Is(err, errExit) {
			return
		}
		s.log.Debug("no agent", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(wait*2, redialLast)
	}
}

func (s *supervisor) hello() *protocol.Hello {
	h := &protocol.Hello{Role: protocol.Supervisor, Name: "supervisor", Incarnation: "supervisor", Build: s.cfg.Build}
	s.mu.Lock()
	defer s.mu.Unlock()
	for inc := range s.procs {
		h.Alive = append(h.Alive, inc)
	}
	return h
}

func (s *supervisor) serve(ctx context.Context, c *wire.Conn) error {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	s.mu.Lock()
	s.conn = c
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.conn = nil
		s.mu.Unlock()
	}()
	for {
		m, err := protocol.Recv(c)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		switch m := m.(type) {
		case *protocol.Kill:
			s.mu.Lock()
			p := s.procs[m.Incarnation]
			if p != nil {
				s.asked[m.Incarnation] = true
			}
			s.mu.Unlock()
			if p != nil {
				s.log.Info("worker is killed, as the agent asks", "worker", m.Incarnation)
				_ = p.Kill()
			}
		case *protocol.Extra:
			s.want(ctx, m.N)
		case *protocol.Ping:
			if err := protocol.Send(c, &protocol.Pong{N: m.N}); err != nil {
				return err
			}
		case *protocol.Refused:
			if m.Exit {
				return errExit
			}
		default:
			return fmt.Errorf("unexpected %T", m)
		}
	}
}
