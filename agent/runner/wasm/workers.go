package wasm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/protocol"
	"github.com/saki-run/saki/wire"
)

// errSilent says that an executor was started and did not register.
var errSilent = errors.New("the executor did not register in time")

// pick gives the worker for a task: of those in use the one that holds the module and has least to do, or one that the task is
// to have for itself. It waits for an executor or a worker that is being started, and tells whether it had to.
func (sp *space) pick(ctx context.Context, d api.Digest, own bool) (p *proc, waited bool, err error) {
	asked := sp.cfg.Now()
	wish := func(n int) {
		if own {
			sp.mu.Lock()
			sp.wishes += n
			sp.orderLocked()
			sp.mu.Unlock()
		}
	}
	defer func() {
		if waited {
			wish(-1)
		}
	}()
	for {
		sp.mu.Lock()
		if own {
			p = sp.claimLocked(d)
		} else {
			p = sp.bestLocked(d)
		}
		changed, failed, since := sp.changed, errors.Join(sp.launchErr, sp.refused), sp.since
		if own && slices.ContainsFunc(sp.procs, (*proc).shared) {
			since = time.Time{} // it is up; others have all the workers there may be
		}
		sp.mu.Unlock()
		if p != nil {
			return p, waited, nil
		}
		if failed != nil {
			return nil, waited, fmt.Errorf("wasm executor: %w", failed)
		}
		if !waited {
			waited = true
			wish(1)
		}
		var silent <-chan time.Time // while the executor itself is being started, or is busy, there is no limit
		var t *time.Timer
		if !since.IsZero() {
			if since.Before(asked) { // it was up before: its workers are being replaced
				since = asked
			}
			t = time.NewTimer(since.Add(sp.cfg.RegistrationTimeout).Sub(sp.cfg.Now()))
			silent = t.C
		}
		select {
		case <-changed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-silent:
			err = fmt.Errorf("%w: no worker said hello within %s", errSilent, sp.cfg.RegistrationTimeout)
		}
		if t != nil {
			t.Stop()
		}
		if err != nil {
			return nil, waited, err
		}
	}
}

func (sp *space) bestLocked(d api.Digest) *proc {
	var best *proc
	inUse := 0
	for _, p := range sp.procs {
		if !p.shared() {
			continue
		}
		if inUse++; inUse > sp.cfg.Active {
			break
		}
		if best == nil || better(p, best, d) {
			best = p
		}
	}
	return best
}

func better(a, b *proc, d api.Digest) bool {
	if a.loaded[d] != b.loaded[d] {
		return a.loaded[d]
	}
	return len(a.attempts) < len(b.attempts)
}

// find waits for a worker of an earlier time to dial, and gives ErrGone when it is known that it will not.
func (sp *space) find(ctx context.Context, incarnation string) (*proc, error) {
	timeout := time.NewTimer(adoptWithin)
	defer timeout.Stop()
	gone := fmt.Errorf("worker %s: %w", incarnation, runner.ErrGone)
	for {
		sp.mu.Lock()
		changed := sp.changed
		dead := sp.dead[incarnation] || sp.launchErr != nil ||
			sp.executor != nil && !sp.executor.Adopted() || sp.alive != nil && !sp.alive[incarnation]
		var found *proc
		for _, p := range sp.procs {
			if p.incarnation == incarnation && p.conn != nil {
				found = p
			}
		}
		sp.mu.Unlock()
		switch {
		case found != nil:
			return found, nil
		case dead:
			return nil, gone
		}
		select {
		case <-changed:
		case <-timeout.C:
			return nil, gone
		case <-ctx.Done():
			return nil, errStopped
		}
	}
}

// preload has every connected worker load a module, and waits until one in use holds it. The error says why it is refused.
func (sp *space) preload(ctx context.Context, d api.Digest) error {
	p, _, err := sp.pick(ctx, d, false)
	if err != nil {
		return err
	}
	sp.mu.Lock()
	delete(sp.refusals, d)
	conns := sp.connsLocked(func(p *proc) bool { return p.shared() && !p.loaded[d] })
	sp.mu.Unlock()
	for _, c := range conns {
		if err := protocol.Send(c, &protocol.Load{Digest: d}); err != nil {
			return fmt.Errorf("load %s: %w", d.Short(), err)
		}
	}
	for {
		sp.mu.Lock()
		changed, held, refused, gone := sp.changed, p.loaded[d], sp.refusals[d], sp.dead[p.incarnation]
		sp.mu.Unlock()
		switch {
		case held:
			return nil
		case refused != nil:
			return refused
		case gone:
			return fmt.Errorf("load %s: worker %s went away", d.Short(), p.name)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("load %s: %w", d.Short(), context.Cause(ctx))
		}
	}
}

func (sp *space) connsLocked(want func(*proc) bool) []*wire.Conn {
	var out []*wire.Conn
	for _, p := range sp.procs {
		if p.conn != nil && want(p) {
			out = append(out, p.conn)
		}
	}
	return out
}

// ackLocked notes that the worker need not keep a result. It is told a little later: whoever has the outcome now may still be
// writing it down when the agent dies.
func (sp *space) ackLocked(p *proc, k protocol.Key) { p.acks = append(p.acks, k) }

// maxAcks is how many results a worker is made to keep, at most, while it waits to be told.
const maxAcks = 4096

// housekeep acknowledges results, pings, and ends what nobody wants, until ctx ends.
func (sp *space) housekeep(ctx context.Context) {
	acks, pings := time.NewTicker(ackEvery), time.NewTicker(pingEvery)
	defer acks.Stop()
	defer pings.Stop()
	due := map[*proc]int{} // how many acks were there a tick ago
	for {
		select {
		case <-ctx.Done():
			return
		case <-acks.C:
			sp.sendAcks(due)
		case <-pings.C:
			sp.ping()
		}
	}
}

// sendAcks sends the acks that have waited since the last time; due says how many those are.
func (sp *space) sendAcks(due map[*proc]int) {
	type batch struct {
		c    *wire.Conn
		keys []protocol.Key
	}
	var out []batch
	sp.mu.Lock()
	for p := range due {
		if sp.dead[p.incarnation] {
			delete(due, p)
		}
	}
	for _, p := range sp.procs {
		n := min(max(due[p], len(p.acks)-maxAcks), len(p.acks))
		if p.conn != nil && n > 0 {
			out = append(out, batch{p.conn, p.acks[:n:n]})
			p.acks = p.acks[n:]
		}
		due[p] = len(p.acks)
	}
	sp.mu.Unlock()
	for _, b := range out {
		_ = protocol.Send(b.c, &protocol.Ack{Keys: b.keys}) // a broken connection is its reader's business
	}
}

// ping asks every worker whether it is there, kills the one that has not answered for long, and ends attempts that were found
// with a worker and that nobody has asked for.
func (sp *space) ping() {
	now := sp.cfg.Now()
	sp.mu.Lock()
	for _, p := range sp.procs {
		if p.conn == nil {
			continue
		}
		if now.Sub(p.heard) > hungAfter && !p.killed {
			sp.log.Error("worker is killed: it does not answer", "worker", p.name, "attempts", len(p.attempts))
			sp.killLocked(p)
		}
		if p.own && p.idle() && !p.killed {
			sp.killLocked(p)
		}
		if now.Sub(p.connected) > orphansKept {
			for k := range p.orphans {
				sp.log.Warn("attempt is ended: nobody asked for it", "task", k.Task, "attempt", k.Attempt)
				go protocol.Send(p.conn, &protocol.Cancel{Key: k, Reason: api.ReasonSuperseded}) //nolint:errcheck // its reader notices
			}
			for k := range p.results {
				delete(p.results, k)
				sp.ackLocked(p, k)
			}
		}
	}
	conns := sp.connsLocked(func(*proc) bool { return true })
	sp.mu.Unlock()
	for _, c := range conns {
		_ = protocol.Send(c, &protocol.Ping{})
	}
}
