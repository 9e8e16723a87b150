package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/engine"
	"github.com/saki-run/saki/executor/protocol"
)

// Of a run that goes on for longer than a moment, the agent is told that it runs, and its output goes to its files.
const (
	tickEvery     = 20 * time.Millisecond
	announceAfter = 10 * time.Millisecond
	spillEvery    = 100 * time.Millisecond
	tickIdle      = time.Second // the housekeeper sleeps when there was nothing to do for so long
)

// run is an invocation under way.
type run struct {
	inv    *protocol.Invoke
	cancel context.CancelCauseFunc
	out    output
	began  atomic.Int64 // Unix nanoseconds when the guest began; 0 before

	announced bool      // the housekeeper's
	spilled   time.Time // the housekeeper's
}

// invoke starts a run. It returns at once.
func (w *worker) invoke(ctx context.Context, inv *protocol.Invoke) {
	if !filepath.IsAbs(inv.Dir) {
		inv.Dir = filepath.Join(w.cfg.Dir, inv.Dir)
	}
	life := ctx
	ctx, cancel := context.WithCancelCause(life)
	r := &run{inv: inv, cancel: cancel, out: newOutput(inv.Dir, inv.MaxOutput)}
	w.mu.Lock()
	if w.running[inv.Key] != nil || w.ended[inv.Key] != nil {
		w.mu.Unlock()
		cancel(nil)
		return // an agent that asks twice gets one run
	}
	w.running[inv.Key] = r
	w.own = w.own || inv.Own
	w.mu.Unlock()
	if w.active.CompareAndSwap(false, true) {
		w.wake <- struct{}{}
	}
	go func() {
		defer cancel(nil)
		out := w.run(ctx, r)
		r.out.finish(&out)
		if life.Err() != nil {
			return // the process ends, and its tasks with it: nobody has killed them
		}
		res := &protocol.Result{Key: inv.Key, Outcome: out}
		w.mu.Lock()
		delete(w.running, inv.Key)
		w.ended[inv.Key] = res
		w.mu.Unlock()
		w.send(res)
	}()
}

// run loads the module if need be and runs it.
func (w *worker) run(ctx context.Context, r *run) api.Outcome {
	inv := r.inv
	stdin, closeStdin, err := openStdin(inv)
	if err != nil {
		return api.Fail(api.ReasonStagingFailed, err.Error())
	}
	defer closeStdin()
	call := engine.Invocation{
		Digest: inv.Digest, Name: inv.Name, Func: inv.Func, Args: inv.Args, Env: inv.Env,
		Stdin: stdin, Stdout: r.out.out, Stderr: r.out.err,
		Mem: inv.Mem, Timeout: time.Duration(inv.Timeout), Dir: filepath.Join(inv.Dir, protocol.Sandbox),
		Kind: engine.Kind(inv.Engine), Fuel: inv.Fuel, Deterministic: inv.Deterministic,
		Disk:  engine.Quota{Bytes: inv.Disk, Files: inv.Files},
		Began: func() { r.began.Store(w.now().UnixNano()) },
	}
	if inv.Record && !inv.Deterministic { // what is deterministic can be run again without
		rec, done, err := record(inv.Dir, w.now())
		if err != nil {
			return api.Fail(api.ReasonStagingFailed, err.Error())
		}
		defer func() {
			if err := done(); err != nil {
				w.log.Warn("a recording is not whole", "task", inv.Task, "err", err)
			}
		}()
		call.World = rec
	}
	out, err := w.eng.Run(ctx, call)
	if err == nil {
		out.Receipt.Warm = true
		return out
	}
	// Not held, or no longer. A module can be let go again before it is used when very many are in use.
	for range 3 {
		took, lerr := w.load(ctx, inv.Digest, call.Kind)
		if lerr != nil {
			if ctx.Err() != nil {
				return engine.Stopped(stopReason(ctx))
			}
			reason, msg := refusal(lerr)
			return api.Fail(reason, msg)
		}
		if out, err = w.eng.Run(ctx, call); err == nil {
			out.Receipt.InitNS += took.Nanoseconds()
			return out
		}
	}
	return api.Fail(api.ReasonLaunchFailed, err.Error())
}

// maxRecord is the most of a recording that is kept, in bytes.
const maxRecord = 64 << 20

// record gives the machine's world, written down in the task's folder. done ends it.
func record(dir string, now time.Time) (rec *engine.Recorder, done func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("record: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, protocol.Record), os.O_CREATE|os.O_WRONLY|os.O_TRUNC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("record: %w", err)
	}
	rec = engine.NewRecorder(engine.NewReal(now), f, maxRecord)
	return rec, func() error { return errors.Join(rec.Close(), f.Close()) }, nil
}

func stopReason(ctx context.Context) api.Reason {
	if s, ok := errors.AsType[*engine.Stop](context.Cause(ctx)); ok {
		return s.Reason
	}
	return api.ReasonUserKill
}

// openStdin gives what the guest reads. It never blocks.
func openStdin(inv *protocol.Invoke) (io.Reader, func(), error) {
	if !inv.StdinFile {
		if len(inv.Stdin) == 0 {
			return nil, func() {}, nil
		}
		return bytes.NewReader(inv.Stdin), func() {}, nil
	}
	f, err := os.OpenFile(filepath.Join(inv.Dir, protocol.StdinTmp), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open stdin: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("stdin is not a plain file")
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return struct{ io.Reader }{f}, func() { f.Close() }, nil // not as a file: wazero would let the guest block on it
}

// housekeep looks at the runs that take their time, until ctx ends. While there are none it sleeps.
func (w *worker) housekeep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		w.tickWhileBusy(ctx)
	}
}

func (w *worker) tickWhileBusy(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	last := w.now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := w.now()
		if w.tick(now) {
			last = now
			continue
		}
		if now.Sub(last) < tickIdle {
			continue
		}
		w.active.Store(false)
		w.mu.Lock()
		busy := len(w.running) > 0
		w.mu.Unlock()
		if !busy || !w.active.CompareAndSwap(false, true) { // else a run came in between and saw that we were awake
			return
		}
		last = now
	}
}

// tick announces and spills, and reports whether anything runs.
func (w *worker) tick(now time.Time) bool {
	var due []*run
	w.mu.Lock()
	busy := len(w.running) > 0
	for _, r := range w.running {
		if b := r.began.Load(); b != 0 && now.UnixNano()-b >= announceAfter.Nanoseconds() {
			due = append(due, r)
		}
	}
	w.mu.Unlock()
	for _, r := range due {
		if !r.announced {
			r.announced = true
			w.send(&protocol.Started{Key: r.inv.Key})
		}
		if since := now.Sub(time.Unix(0, r.began.Load())); since >= spillEvery && now.Sub(r.spilled) >= spillEvery {
			r.spilled = now
			r.out.flush()
		}
	}
	return busy
}
