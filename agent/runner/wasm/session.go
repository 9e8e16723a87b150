package wasm

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/engine"
	"github.com/saki-run/saki/executor/protocol"
	"github.com/saki-run/saki/wire"
)

// proc is a worker process. space.mu guards its fields.
type proc struct {
	name        string
	incarnation string
	pid         int // as it sees it itself: of use where no container is between
	engine      string
	conn        *wire.Conn // nil while the connection is broken
	loaded      map[api.Digest]bool
	attempts    map[protocol.Key]*attempt
	orphans     map[protocol.Key]bool         // run, and nobody waits for them yet
	expected    map[protocol.Key]bool         // have ended, and their results are on the way
	results     map[protocol.Key]*api.Outcome // have ended, and nobody has asked yet
	acks        []protocol.Key                // to be sent, oldest first
	connected   time.Time                     // for the first time
	heard       time.Time                     // the last frame
	killed      bool                          // its end was asked for
	own         bool                          // one task has it, or had it
}

// accept serves the processes that dial until ctx ends.
func (sp *space) accept(ctx context.Context) {
	for ctx.Err() == nil {
		nc, err := sp.ln.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			sp.log.Error("accept", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second): // out of file descriptors, as a rule
			}
			continue
		}
		sp.wg.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
			defer stop()
			if err := sp.serve(nc); err != nil && ctx.Err() == nil {
				sp.log.Debug("connection of a process ended", "err", err)
			}
		})
	}
}

// helloWithin is how long a process that has dialled may be silent.
const helloWithin = 10 * time.Second

func (sp *space) serve(nc net.Conn) error {
	c := wire.NewConn(nc)
	defer c.Close()
	_ = nc.SetDeadline(time.Now().Add(helloWithin)) //nolint:forbidigo // deadlines of connections are the system's
	m, err := protocol.Recv(c)
	if err != nil {
		return err
	}
	h, ok := m.(*protocol.Hello)
	if !ok {
		return fmt.Errorf("unexpected %T", m)
	}
	if subtle.ConstantTimeCompare([]byte(h.Token), []byte(sp.token)) != 1 {
		return protocol.Send(c, &protocol.Refused{Why: "wrong token"})
	}
	_ = nc.SetDeadline(time.Time{})
	if h.Version != protocol.Version {
		return sp.refuse(c, fmt.Sprintf("protocol version %d, the agent speaks %d", h.Version, protocol.Version))
	}
	if h.Role == protocol.Supervisor {
		return sp.serveSupervisor(c, h)
	}
	if h.Engine == string(engine.Interpreter) && !sp.cfg.AllowInterpreter {
		return sp.refuse(c, "the executor cannot make native code, so wasm would be interpreted, at a tenth of the speed or less; "+
			"start the agent with --allow-interpreter to accept that")
	}
	return sp.serveWorker(c, h)
}

// refuse turns a process away and remembers why.
func (sp *space) refuse(c *wire.Conn, why string) error {
	sp.mu.Lock()
	sp.refused = errors.New(why)
	sp.changedLocked()
	sp.mu.Unlock()
	return protocol.Send(c, &protocol.Refused{Why: why})
}

func (sp *space) serveSupervisor(c *wire.Conn, h *protocol.Hello) error {
	if err := protocol.Send(c, &protocol.Welcome{}); err != nil {
		return err
	}
	sp.mu.Lock()
	sup := &overseer{Conn: c, wake: make(chan struct{}, 1)}
	sp.supervisor = sup
	sp.alive = map[string]bool{}
	for _, inc := range h.Alive {
		sp.alive[inc] = true
	}
	sp.changedLocked()
	sp.mu.Unlock()
	gone := make(chan struct{})
	sp.wg.Go(func() { sp.command(sup, gone) })
	defer func() {
		close(gone)
		sp.mu.Lock()
		if sp.supervisor == sup {
			sp.supervisor = nil
		}
		sp.mu.Unlock()
	}()
	for {
		m, err := protocol.Recv(c)
		if err != nil {
			return err
		}
		e, ok := m.(*protocol.Exited)
		if !ok {
			continue // a Pong: that it came is all
		}
		sp.mu.Lock()
		delete(sp.alive, e.Incarnation)
		for _, p := range sp.procs {
			if p.incarnation == e.Incarnation {
				if e.OOM || e.Signal != sigkill { // else somebody has done it from outside
					sp.blameLocked(p)
				}
				sp.loseLocked(p, api.ReasonWorkerLost, howExited(e))
				break
			}
		}
		sp.changedLocked()
		sp.mu.Unlock()
	}
}

// howExited says how a worker ended.
func howExited(e *protocol.Exited) string {
	s := "worker " + e.Name
	switch {
	case e.Signal != 0 && e.OOM:
		s += fmt.Sprintf(" was killed by signal %d: the executor is out of memory", e.Signal)
	case e.Signal != 0:
		s += fmt.Sprintf(" was killed by signal %d", e.Signal)
	default:
		s += fmt.Sprintf(" ended with exit code %d", e.ExitCode)
	}
	if line, _, _ := strings.Cut(strings.TrimSpace(e.Tail), "\n"); line != "" {
		s += ": " + api.Quote(line)
	}
	return s
}

func (sp *space) serveWorker(c *wire.Conn, h *protocol.Hello) error {
	p := sp.register(c, h)
	if p == nil {
		return protocol.Send(c, &protocol.Refused{Why: "given up", Exit: true})
	}
	if err := protocol.Send(c, &protocol.Welcome{}); err != nil {
		sp.disconnected(p, c)
		return err
	}
	defer sp.disconnected(p, c)
	sp.mu.Lock()
	sp.changedLocked()
	sp.mu.Unlock()
	for {
		m, err := protocol.Recv(c)
		if err != nil {
			return err
		}
		sp.handle(p, m)
	}
}

// register takes a worker in, for the first time or again; nil when it was given up before.
func (sp *space) register(c *wire.Conn, h *protocol.Hello) *proc {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.dead[h.Incarnation] || sp.closed {
		return nil
	}
	now := sp.cfg.Now()
	var p *proc
	for _, q := range sp.procs {
		if q.incarnation == h.Incarnation {
			p = q
		}
	}
	if p == nil {
		p = &proc{
			name: h.Name, incarnation: h.Incarnation, pid: h.PID, engine: h.Engine, connected: now,
			loaded: map[api.Digest]bool{}, attempts: map[protocol.Key]*attempt{}, orphans: map[protocol.Key]bool{},
			expected: map[protocol.Key]bool{}, results: map[protocol.Key]*api.Outcome{},
		}
		sp.procs = append(sp.procs, p)
	} else if p.conn != nil {
		p.conn.Close()
	}
	p.conn, p.heard, p.own = c, now, p.own || h.Own
	for _, d := range h.Loaded {
		p.loaded[d] = true
	}
	known := map[protocol.Key]bool{}
	for _, k := range h.Running {
		known[k] = true
		if p.attempts[k] == nil {
			p.orphans[k] = true
		}
	}
	for _, k := range h.Ended {
		known[k] = true
		if p.attempts[k] == nil && p.results[k] == nil {
			p.expected[k] = true
		}
	}
	for k, a := range p.attempts {
		if !known[k] { // the invocation never arrived
			a.end(lost(api.ReasonWorkerLost, "the connection to worker "+p.name+neverArrived))
			delete(p.attempts, k)
		}
	}
	return p
}

// disconnected notes that a worker's connection broke. A worker that does not come back, and whose end nobody reports, is
// given up after a while.
func (sp *space) disconnected(p *proc, c *wire.Conn) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if p.conn != c {
		return // it has connected again already
	}
	p.conn = nil
	sp.changedLocked()
	if sp.closed {
		return
	}
	time.AfterFunc(reconnectIn, func() {
		sp.mu.Lock()
		defer sp.mu.Unlock()
		if p.conn == nil && !sp.dead[p.incarnation] && !sp.closed {
			sp.loseLocked(p, api.ReasonWorkerLost, "worker "+p.name+" is out of touch")
			sp.killLocked(p)
		}
	})
}

// loseLocked gives a worker up: all that it ran is lost, and it will not be let in again.
func (sp *space) loseLocked(p *proc, r api.Reason, why string) {
	if sp.dead[p.incarnation] {
		return
	}
	sp.dead[p.incarnation] = true
	for i, q := range sp.procs {
		if q == p {
			sp.procs = append(sp.procs[:i:i], sp.procs[i+1:]...)
			break
		}
	}
	if len(p.attempts) > 0 {
		sp.log.Warn("worker is lost", "worker", p.name, "attempts", len(p.attempts), "why", why)
	}
	for k, a := range p.attempts {
		a.end(lost(r, why))
		delete(p.attempts, k)
	}
	if p.conn != nil {
		p.conn.Close()
	}
	sp.changedLocked()
}

func lost(r api.Reason, why string) api.Outcome {
	return api.Outcome{State: api.Lost, Reason: r, Message: why, ExitCode: api.ExitCode(r)}
}

// killLocked has a worker killed by the supervisor; the executor is restarted when it cannot.
func (sp *space) killLocked(p *proc) {
	sp.kills = append(sp.kills, p.incarnation)
	defer sp.orderLocked()
	if p.killed {
		return
	}
	p.killed = true
	time.AfterFunc(reconnectIn, func() {
		sp.mu.Lock()
		stuck := p.conn != nil && !sp.dead[p.incarnation] && !sp.closed
		sp.mu.Unlock()
		if stuck {
			sp.restart(context.Background(), "worker "+p.name+" could not be killed")
		}
	})
}

// handle takes in what a worker says.
func (sp *space) handle(p *proc, m protocol.Message) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	p.heard = sp.cfg.Now()
	switch m := m.(type) {
	case *protocol.Started:
		if a := p.attempts[m.Key]; a != nil {
			a.start()
		}
	case *protocol.Result:
		delete(p.orphans, m.Key)
		delete(p.expected, m.Key)
		a := p.attempts[m.Key]
		if a == nil {
			if !p.acked(m.Key) {
				p.results[m.Key] = &m.Outcome
				sp.changedLocked()
			}
			return
		}
		delete(p.attempts, m.Key)
		if m.Outcome.Receipt.RunNS > 0 && !a.slow && !p.loaded[a.digest] {
			p.loaded[a.digest] = true
			sp.spreadLocked(a.digest)
		}
		sp.ackLocked(p, m.Key)
		a.end(m.Outcome)
		if p.own {
			sp.retireLocked(p)
		}
	case *protocol.Loaded:
		if m.Reason == "" {
			p.loaded[m.Digest] = true
		} else {
			sp.log.Info("module is refused", "module", m.Digest.Short(), "reason", m.Reason, "why", m.Message)
			sp.refusals[m.Digest] = fmt.Errorf("load %s: %s", m.Digest.Short(), m.Message)
		}
		sp.changedLocked()
	}
}

// spreadLocked has the other workers load a module that one has run: they get the native code from disk, and are ready when
// they are needed.
func (sp *space) spreadLocked(d api.Digest) {
	for _, c := range sp.connsLocked(func(p *proc) bool { return p.shared() && !p.loaded[d] }) {
		go func() {
			_ = protocol.Send(c, &protocol.Load{Digest: d}) // a broken connection is its reader's business
		}()
	}
}

func (p *proc) acked(k protocol.Key) bool { return slices.Contains(p.acks, k) }
