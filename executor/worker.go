package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/saki-run/saki/executor/engine"
	"github.com/saki-run/saki/executor/protocol"
	"github.com/saki-run/saki/wire"
)

// Redialling waits for a moment at first, because an agent that restarts is away for a second or two.
const (
	redialFirst = 5 * time.Millisecond
	redialLast  = time.Second
	helloWithin = 10 * time.Second
)

// maxSocketPath is what fits into a unix address, with its final zero.
const maxSocketPath = 107

// WorkerConfig configures a worker process.
type WorkerConfig struct {
	Dir         string // the executor's folder, shared with the agent
	Name        string // for people: "w3"
	Incarnation string // unlike any other process's
	Build       string // of the program, for people
	Log         *slog.Logger
	Engine      engine.Config // CacheDir defaults to [protocol.Cache] in Dir
	// Parent, when it ends, ends the worker: the other end of a pipe that the supervisor holds. Default: nothing does.
	Parent io.Reader
	// MemLimit is what the Go runtime tries to keep within, in bytes; 0 is no limit.
	MemLimit int64
	// Compile compiles the module at path for a kind of engine into the cache elsewhere, where a module that breaks the compiler
	// does no harm. An error that is an [*engine.Refusal] refuses the module. Default: the module is compiled in this process.
	Compile func(ctx context.Context, path string, kind engine.Kind) error
}

// worker runs what an agent asks for. All that it knows outlives its connections.
type worker struct {
	cfg WorkerConfig
	log *slog.Logger
	eng *engine.Engine

	active atomic.Bool   // the housekeeper is awake
	wake   chan struct{} // wakes it

	mu      sync.Mutex // guards what follows
	conn    *wire.Conn // nil while there is no agent
	running map[protocol.Key]*run
	ended   map[protocol.Key]*protocol.Result // not acknowledged yet
	loading map[loadKey]*loading
	own     bool // it was given to one task, and takes no other
}

// Worker is the body of a worker process. It dials the agent's socket in the executor's folder until ctx ends, and runs what
// it is asked to. An agent that goes away stops nothing. It returns nil when ctx ended or the agent told it to exit.
func Worker(ctx context.Context, cfg WorkerConfig) error {
	debug.SetGCPercent(400) // the garbage of a task is small and short-lived; its memory is not on the heap
	if cfg.MemLimit > 0 {
		debug.SetMemoryLimit(cfg.MemLimit)
	}
	if cfg.Engine.CacheDir == "" {
		cfg.Engine.CacheDir = cacheDir(cfg.Dir)
	}
	eng, err := engine.New(ctx, cfg.Engine)
	if err != nil {
		return fmt.Errorf("worker %s: %w", cfg.Name, err)
	}
	w := &worker{
		cfg: cfg, log: cfg.Log.With("worker", cfg.Name), eng: eng,
		wake:    make(chan struct{}, 1),
		running: map[protocol.Key]*run{},
		ended:   map[protocol.Key]*protocol.Result{},
		loading: map[loadKey]*loading{},
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go w.housekeep(ctx)
	if cfg.Parent != nil {
		go func() {
			_, _ = io.Copy(io.Discard, cfg.Parent)
			cancel()
		}()
	}
	return w.dialForEver(ctx)
}

// errExit says that the agent wants the process gone.
var errExit = errors.New("told to exit")

func (w *worker) dialForEver(ctx context.Context) error {
	wait := redialFirst
	for ctx.Err() == nil {
		c, err := dial(ctx, w.cfg.Dir, w.hello)
		if err == nil {
			wait = redialFirst
			err = w.serve(ctx, c)
			c.Close()
		}
		if errors.Is(err, errExit) {
			return nil
		}
		w.log.Debug("no agent", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(wait*2, redialLast)
	}
	return nil
}

// dial connects to the agent and is welcomed.
func dial(ctx context.Context, dir string, hello func() *protocol.Hello) (*wire.Conn, error) {
	token, err := os.ReadFile(filepath.Join(dir, protocol.Token))
	if err != nil {
		return nil, fmt.Errorf("dial agent: %w", err)
	}
	addr := filepath.Join(dir, protocol.Socket)
	if len(addr) > maxSocketPath {
		d, err := os.Open(dir)
		if err != nil {
			return nil, fmt.Errorf("dial agent: %w", err)
		}
		defer d.Close()
		addr = fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), protocol.Socket)
	}
	nc, err := (&net.Dialer{}).DialContext(ctx, "unix", addr)
	if err != nil {
		return nil, fmt.Errorf("dial agent: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	_ = nc.SetDeadline(time.Now().Add(helloWithin)) //nolint:forbidigo // deadlines of connections are the system's
	c := wire.NewConn(nc)
	h := hello()
	h.Version, h.Token, h.PID = protocol.Version, strings.TrimSpace(string(token)), os.Getpid()
	if err := protocol.Send(c, h); err != nil {
		c.Close()
		return nil, fmt.Errorf("greet agent: %w", err)
	}
	m, err := protocol.Recv(c)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("greet agent: %w", err)
	}
	switch m := m.(type) {
	case *protocol.Welcome:
		_ = nc.SetDeadline(time.Time{})
		return c, nil
	case *protocol.Refused:
		c.Close()
		if m.Exit {
			return nil, fmt.Errorf("refused: %s: %w", m.Why, errExit)
		}
		return nil, fmt.Errorf("refused: %s", m.Why)
	}
	c.Close()
	return nil, fmt.Errorf("greet agent: unexpected %T", m)
}

func (w *worker) hello() *protocol.Hello {
	h := &protocol.Hello{
		Role: protocol.Worker, Name: w.cfg.Name, Incarnation: w.cfg.Incarnation, Build: w.cfg.Build,
		Engine: string(w.eng.Kind()), Loaded: w.eng.Loaded(),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	h.Own = w.own
	for k := range w.running {
		h.Running = append(h.Running, k)
	}
	for k := range w.ended {
		h.Ended = append(h.Ended, k)
	}
	return h
}

// serve does what the agent asks until the connection ends.
func (w *worker) serve(ctx context.Context, c *wire.Conn) error {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	w.mu.Lock()
	w.conn = c
	var again []*protocol.Result
	for _, r := range w.ended {
		again = append(again, r)
	}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.conn = nil
		w.mu.Unlock()
	}()
	for _, r := range again {
		if err := protocol.Send(c, r); err != nil {
			return err
		}
	}
	for {
		m, err := protocol.Recv(c)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if err := w.handle(ctx, c, m); err != nil {
			return err
		}
	}
}

func (w *worker) handle(ctx context.Context, c *wire.Conn, m protocol.Message) error {
	switch m := m.(type) {
	case *protocol.Invoke:
		w.invoke(ctx, m)
	case *protocol.Cancel:
		w.mu.Lock()
		r := w.running[m.Key]
		w.mu.Unlock()
		if r != nil {
			r.cancel(&engine.Stop{Reason: m.Reason})
		}
	case *protocol.Ack:
		w.mu.Lock()
		for _, k := range m.Keys {
			delete(w.ended, k)
		}
		w.mu.Unlock()
	case *protocol.Load:
		go func() {
			began := w.now()
			_, err := w.load(ctx, m.Digest, "")
			l := &protocol.Loaded{Digest: m.Digest, TookNS: w.now().Sub(began).Nanoseconds()}
			if err != nil {
				l.Reason, l.Message = refusal(err)
			}
			w.send(l)
		}()
	case *protocol.Ping:
		return protocol.Send(c, &protocol.Pong{N: m.N})
	case *protocol.Refused:
		if m.Exit {
			return errExit
		}
	default:
		return fmt.Errorf("unexpected %T", m)
	}
	return nil
}

// send sends m if there is an agent. What matters is kept until it is acknowledged; the rest is of no use to the next agent.
func (w *worker) send(m protocol.Message) {
	w.mu.Lock()
	c := w.conn
	w.mu.Unlock()
	if c == nil {
		return
	}
	if err := protocol.Send(c, m); err != nil {
		c.Close() // the receiving side sees it and dials again
	}
}

func (w *worker) now() time.Time {
	if w.cfg.Engine.Now != nil {
		return w.cfg.Engine.Now()
	}
	return time.Now() //nolint:forbidigo // the default of the clock that is passed in
}
