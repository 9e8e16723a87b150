package wasm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/saki-run/saki/agent/runner/wasm/launch"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/protocol"
	"github.com/saki-run/saki/wire"
)

// space is a namespace on this agent: its folder, its socket and its executor.
type space struct {
	cfg   Config
	ns    string
	dir   string
	log   *slog.Logger
	root  *os.Root // dir; whatever the executor can write to is reached through it
	token string
	ln    *net.UnixListener
	wg    sync.WaitGroup
	stop  context.CancelFunc
	keep  atomic.Bool // after close: the executor is to stay

	mu         sync.Mutex // guards what follows, and the fields of proc and attempt
	changed    chan struct{}
	procs      []*proc         // workers that said hello and are not lost, oldest first
	dead       map[string]bool // incarnations that were given up
	supervisor *overseer
	kills      []string // incarnations that the supervisor is to kill
	wishes     int      // tasks that wait for a worker of their own
	offenders  offenders
	alive      map[string]bool // incarnations that the supervisor had when it connected; nil before
	executor   launch.Executor
	since      time.Time            // of the executor; zero while it is being started
	launchErr  error                // of the last start
	refused    error                // why workers were turned away
	held       map[api.Digest]bool  // lie in the folder
	refusals   map[api.Digest]error // of modules that were to be loaded ahead
	closed     bool
}

// newSpace makes the folder, listens in it, and begins to bring up the executor.
func newSpace(ctx context.Context, cfg Config, ns string) (*space, error) {
	sp := &space{
		cfg: cfg, ns: ns, dir: filepath.Join(cfg.Root, ns), log: cfg.Log.With("namespace", ns),
		changed: make(chan struct{}), dead: map[string]bool{}, held: map[api.Digest]bool{},
		refusals: map[api.Digest]error{},
	}
	if err := sp.makeFolders(); err != nil {
		return nil, err
	}
	if err := sp.readToken(); err != nil {
		return nil, err
	}
	ln, err := listen(sp.dir, protocol.Socket)
	if err != nil {
		return nil, err
	}
	if err := sp.give(sp.path(protocol.Socket)); err != nil {
		_ = ln.Close()
		return nil, err
	}
	sp.ln = ln
	ctx, sp.stop = context.WithCancel(ctx)
	sp.wg.Go(func() { sp.accept(ctx) })
	sp.wg.Go(func() { sp.keepUp(ctx) })
	sp.wg.Go(func() { sp.housekeep(ctx) })
	return sp, nil
}

// makeFolders makes the folder and what is in it. Where the executor runs as another user, it can write to two of them only: it
// must not be able to swap the others for links that lead the agent astray.
func (sp *space) makeFolders() error {
	for _, d := range []struct {
		path  string
		mode  fs.FileMode
		given bool
	}{
		{sp.dir, 0o711, false},
		{sp.path(protocol.Modules), 0o755, false},
		{sp.path(protocol.Tasks), 0o700, true},
		{sp.path(protocol.Cache), 0o700, true},
	} {
		if err := os.MkdirAll(d.path, d.mode); err != nil {
			return err
		}
		if d.given {
			if err := sp.give(d.path); err != nil {
				return err
			}
		}
	}
	root, err := os.OpenRoot(sp.dir)
	sp.root = root
	return err
}

func (sp *space) path(name string) string { return filepath.Join(sp.dir, name) }

// readToken reads what processes must show, or makes it. It outlives the agent: its executors do, too.
func (sp *space) readToken() error {
	path := sp.path(protocol.Token)
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		sp.token = strings.TrimSpace(string(b))
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sp.token = rand.Text()
	if err := os.WriteFile(path, []byte(sp.token+"\n"), 0o600); err != nil {
		return err
	}
	return sp.give(path)
}

// changedLocked wakes whoever waits for a worker.
func (sp *space) changedLocked() {
	close(sp.changed)
	sp.changed = make(chan struct{})
}

// keepUp starts the executor, and again when it has ended, until ctx ends.
func (sp *space) keepUp(ctx context.Context) {
	var wait time.Duration
	for ctx.Err() == nil {
		began := sp.cfg.Now()
		err := sp.runExecutor(ctx)
		if sp.isClosed() {
			return
		}
		if sp.cfg.Now().Sub(began) > retryLast {
			wait = 0
		}
		sp.log.Warn("executor is down", "err", err, "retry", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(max(2*wait, time.Second), retryLast)
	}
}

// runExecutor brings an executor up and watches it to its end.
func (sp *space) runExecutor(ctx context.Context) error {
	ex, err := sp.cfg.Launcher.Ensure(ctx, launch.Space{Namespace: sp.ns, Dir: sp.dir})
	sp.mu.Lock()
	sp.launchErr = err
	if err == nil {
		sp.executor, sp.since, sp.refused = ex, sp.cfg.Now(), nil
	}
	sp.changedLocked()
	sp.mu.Unlock()
	if err != nil {
		return err
	}
	if sp.isClosed() { // meanwhile
		if sp.keep.Load() {
			ex.Release()
			return nil
		}
		return ex.Stop(context.WithoutCancel(ctx))
	}
	sp.log.Info("executor runs", "launcher", sp.cfg.Launcher.Name(), "adopted", ex.Adopted())
	defer ex.Release()
	silent := time.NewTimer(sp.cfg.RegistrationTimeout)
	defer silent.Stop()
	why := ""
	for why == "" {
		select {
		case <-ctx.Done():
			return nil
		case <-ex.Done():
			why = ex.Ended()
		case <-silent.C:
			sp.mu.Lock()
			registered := len(sp.procs) > 0
			sp.mu.Unlock()
			if registered {
				continue // it came in time; what comes later is for the supervisor
			}
			if err := ex.Stop(ctx); err != nil {
				return err
			}
			why = fmt.Sprintf("no worker said hello within %s", sp.cfg.RegistrationTimeout)
		}
	}
	sp.mu.Lock()
	sp.executor, sp.since, sp.alive = nil, time.Time{}, nil
	lost := append([]*proc(nil), sp.procs...)
	for _, p := range lost {
		sp.loseLocked(p, api.ReasonExecutorLost, why)
	}
	sp.mu.Unlock()
	return errors.New(why)
}

// restart ends the executor because it does not do what it is told. Its attempts are lost.
func (sp *space) restart(ctx context.Context, why string) {
	sp.mu.Lock()
	ex := sp.executor
	sp.mu.Unlock()
	if ex == nil {
		return
	}
	sp.log.Error("executor is stopped", "why", why)
	if err := ex.Stop(ctx); err != nil {
		sp.log.Error("executor cannot be stopped", "err", err)
	}
}

// close lets go of the executor or ends it.
func (sp *space) close(ctx context.Context, keep bool) error {
	sp.keep.Store(keep)
	sp.mu.Lock()
	ex := sp.executor
	sp.closed = true
	var conns []*wire.Conn
	for _, p := range sp.procs {
		if p.conn != nil {
			conns = append(conns, p.conn)
		}
	}
	if sp.supervisor != nil {
		conns = append(conns, sp.supervisor.Conn)
	}
	sp.mu.Unlock()
	var err error
	if !keep && ex != nil {
		err = ex.Stop(ctx)
	}
	sp.stop()
	_ = sp.ln.Close()
	defer func() { _ = sp.root.Close() }()
	for _, c := range conns {
		c.Close()
	}
	return err
}

func (sp *space) isClosed() bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.closed
}

// status tells which engine runs, or why none does.
func (sp *space) status() (kind string, err error) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	for _, p := range sp.procs {
		if p.conn != nil {
			return p.engine, nil
		}
	}
	return "", errors.Join(sp.launchErr, sp.refused)
}

// modules lists what connected workers hold.
func (sp *space) modules() []api.Digest {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	seen := map[api.Digest]bool{}
	var out []api.Digest
	for _, p := range sp.procs {
		for d := range p.loaded {
			if !seen[d] {
				seen[d] = true
				out = append(out, d)
			}
		}
	}
	return out
}
