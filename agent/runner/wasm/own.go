package wasm

import (
	"slices"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/protocol"
	"github.com/saki-run/saki/wire"
)

// retireAfter is how long a worker that one task had for itself outlives the task: who has the outcome may be writing it down.
const retireAfter = time.Second

// shared reports whether the worker can take any task. space.mu is held, as in all methods of proc.
func (p *proc) shared() bool { return p.conn != nil && !p.killed && !p.own }

// idle reports whether nothing runs on the worker and nothing of it is waited for.
func (p *proc) idle() bool { return len(p.attempts)+len(p.orphans)+len(p.expected)+len(p.results) == 0 }

// claimLocked gives a worker that no other task will have; nil when there is none at the moment. What is in use by all is left
// alone: the reserve is taken, and the supervisor told to start another.
func (sp *space) claimLocked(d api.Digest) *proc {
	if sp.ownLocked() >= sp.cfg.MaxOwn {
		return nil
	}
	var best *proc
	inUse := 0
	for _, p := range sp.procs {
		if !p.shared() {
			continue
		}
		if inUse++; inUse > sp.cfg.Active && p.idle() && (best == nil || !best.loaded[d] && p.loaded[d]) {
			best = p
		}
	}
	if best != nil {
		best.own = true
		sp.orderLocked()
	}
	return best
}

// ownLocked is how many workers belong to one task each.
func (sp *space) ownLocked() int {
	n := 0
	for _, p := range sp.procs {
		if p.own && !p.killed {
			n++
		}
	}
	return n
}

// retireLocked ends a worker whose only task has ended.
func (sp *space) retireLocked(p *proc) {
	time.AfterFunc(retireAfter, func() {
		sp.mu.Lock()
		defer sp.mu.Unlock()
		if p.idle() && !p.killed && !sp.dead[p.incarnation] && !sp.closed {
			sp.killLocked(p)
		}
	})
}

// overseer is the connection of a supervisor, and what wakes the one that writes to it.
type overseer struct {
	*wire.Conn
	wake chan struct{}
}

// orderLocked has the supervisor told what is wanted of it.
func (sp *space) orderLocked() {
	if sp.supervisor == nil {
		return // it will be told when it connects
	}
	select {
	case sp.supervisor.wake <- struct{}{}:
	default:
	}
}

// command tells a supervisor how many workers it should have, and then which it is to kill, in this order: it does not replace
// what is too many. It returns when gone is closed.
func (sp *space) command(sup *overseer, gone <-chan struct{}) {
	told := -1
	for {
		sp.mu.Lock()
		extra, kills := min(sp.ownLocked()+sp.wishes, sp.cfg.MaxOwn), sp.kills
		sp.kills = nil
		sp.mu.Unlock()
		var err error
		if extra != told {
			told, err = extra, protocol.Send(sup.Conn, &protocol.Extra{N: extra})
		}
		for _, inc := range kills {
			if err == nil {
				err = protocol.Send(sup.Conn, &protocol.Kill{Incarnation: inc})
			}
		}
		if err != nil {
			sup.Close() // its reader notices; a worker that stays gets the executor restarted
			return
		}
		select {
		case <-sup.wake:
		case <-gone:
			return
		}
	}
}

// offenders are the modules whose tasks have cost a worker: they get workers of their own. The zero value is ready. space.mu
// guards it.
type offenders struct {
	known map[api.Digest]bool
	order []api.Digest // oldest first
}

// maxOffenders is how many are remembered.
const maxOffenders = 1000

func (o *offenders) add(d api.Digest) {
	if o.known[d] {
		return
	}
	if o.known == nil {
		o.known = map[api.Digest]bool{}
	}
	if len(o.order) >= maxOffenders {
		delete(o.known, o.order[0])
		o.order = slices.Delete(o.order, 0, 1)
	}
	o.known[d] = true
	o.order = append(o.order, d)
}

func (sp *space) offends(d api.Digest) bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.offenders.known[d]
}

// blameLocked notes who has ended a worker that nobody wanted to end, where it can only have been one.
func (sp *space) blameLocked(p *proc) {
	if p.killed || len(p.attempts) != 1 {
		return
	}
	for _, a := range p.attempts {
		sp.offenders.add(a.digest)
	}
}
