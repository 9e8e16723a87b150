// Package session keeps one stream per agent while this master leads: assignments go out on it, reports come in. It also
// decides when an agent that went out of touch is given up.
package session

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
	"github.com/saki-run/saki/master/engine"
	"github.com/saki-run/saki/wire"
	"github.com/saki-run/saki/wire/link"
)

// DefaultGrace is how long an agent may be out of touch before its tasks run elsewhere.
const DefaultGrace = 20 * time.Second

// Engine is what a Manager needs of the leader's loop; [engine.Engine] is one.
type Engine interface {
	Enqueue(done func([]core.Event, error), cmds ...core.Command)
	Do(ctx context.Context, cmds ...core.Command) ([]core.Event, error)
	Poke()
}

// Config is what a Manager works with.
type Config struct {
	Cluster string
	Master  string        // this master's name
	Grace   time.Duration // default [DefaultGrace]
	Hub     *engine.Hub
	Now     func() time.Time
	Log     *slog.Logger
}

// Manager holds the streams. It is safe for concurrent use.
type Manager struct {
	cfg Config

	mu      sync.Mutex
	reign   *reign // nil while another master leads
	streams map[api.NodeID]*stream
	away    map[api.NodeID]time.Time // since when
	changed chan struct{}            // away has a new entry
}

// reign is one leadership.
type reign struct {
	ctx    context.Context
	term   uint64
	engine Engine
	view   func() core.View
}

// New makes a Manager that turns agents away until [Manager.Lead].
func New(cfg Config) *Manager {
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	return &Manager{
		cfg: cfg, streams: map[api.NodeID]*stream{}, away: map[api.NodeID]time.Time{}, changed: make(chan struct{}, 1),
	}
}

// Available reports whether the node's stream is up.
func (m *Manager) Available(id api.NodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[id]
	return s != nil && s.ready
}

// Holds reports whether the node is known to have the module.
func (m *Manager) Holds(id api.NodeID, d api.Digest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[id]
	return s != nil && s.holds[d]
}

// Lead accepts streams until ctx, which ends with the leadership, and gives up agents that stay away too long.
func (m *Manager) Lead(ctx context.Context, term uint64, e Engine, view func() core.View) {
	r := &reign{ctx, term, e, view}
	m.mu.Lock()
	m.reign = r
	for n := range view().Nodes() {
		if n.State != api.NodeLost {
			m.away[n.ID] = m.cfg.Now()
		}
	}
	m.mu.Unlock()
	defer m.resign()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.changed:
		case <-timer.C:
		}
		timer.Reset(m.giveUp(r))
	}
}

// resign ends every stream; the agents look for the new leader.
func (m *Manager) resign() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reign = nil
	clear(m.away)
	for id, s := range m.streams {
		s.conn.Close()
		delete(m.streams, id)
	}
}

// giveUp declares the agents lost whose grace is over, and gives the time until the next one's is.
func (m *Manager) giveUp(r *reign) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := time.Hour
	for id, since := range m.away {
		left := m.cfg.Grace - m.cfg.Now().Sub(since)
		if left > 0 {
			next = min(next, left)
			continue
		}
		delete(m.away, id)
		m.cfg.Log.Warn("agent lost", "node", id, "after", m.cfg.Grace)
		r.engine.Enqueue(func(_ []core.Event, err error) {
			if err != nil {
				m.setAway(id) // the grace starts anew
			}
		}, &core.NodeLost{Node: id})
	}
	return next
}

func (m *Manager) setAway(id api.NodeID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reign != nil && m.streams[id] == nil {
		m.away[id] = m.cfg.Now()
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
}

// Applied is to be called for every applied entry: it sends agents what the entry wants of them. It does not block.
func (m *Manager) Applied(a engine.Applied) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reign == nil {
		return
	}
	for _, e := range a.Events {
		if e.Task == nil {
			continue
		}
		s := m.streams[e.Task.Node]
		if s == nil {
			continue
		}
		switch e.Type {
		case api.EventTaskPlaced:
			if d := e.Task.Spec.Module(); d != "" {
				s.holds[d] = true
			}
			s.add(func(w *link.Desire) { w.Run = append(w.Run, e.Task) })
		case api.EventTaskKill:
			s.add(func(w *link.Desire) { w.Stop = append(w.Stop, stopOf(e.Task)) })
		}
	}
}

func stopOf(t *api.Task) link.Stop {
	return link.Stop{Attempt: link.Attempt{Task: t.ID, Number: t.Attempt}, Reason: t.Kill.Reason, Force: t.Kill.Force}
}

// Serve speaks with one agent until either side ends the stream, and closes it.
func (m *Manager) Serve(ctx context.Context, nc net.Conn) error {
	conn := wire.NewConn(nc)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	deadline(nc)
	typ, body, err := conn.Recv()
	if err != nil {
		return fmt.Errorf("receive hello: %w", err)
	}
	var hello link.Hello
	if typ != link.TypeHello {
		return fmt.Errorf("agent began with a frame of type %d", typ)
	}
	if err := wire.Unmarshal(body, &hello); err != nil {
		return err
	}
	s, err := m.admit(ctx, conn, &hello)
	if err != nil {
		e := api.AsError(err)
		m.cfg.Log.Info("agent turned away", "node", hello.Info.Name, "error", e.Message)
		return conn.Send(link.TypeRefused, link.Refused{Error: e})
	}
	defer m.drop(s)
	m.cfg.Log.Info("agent connected", "node", s.name, "tasks", len(hello.Active), "ended", len(hello.Ended))
	go s.write()
	for {
		deadline(nc)
		typ, body, err := conn.Recv()
		if err != nil {
			return fmt.Errorf("agent %s: %w", s.name, err)
		}
		if err := m.receive(s, typ, body); err != nil {
			return fmt.Errorf("agent %s: %w", s.name, err)
		}
	}
}

func deadline(nc net.Conn) {
	_ = nc.SetReadDeadline(time.Now().Add(3 * link.PingEvery * time.Second)) //nolint:forbidigo // the kernel's clock, not ours; a closed connection shows at the read
}

// admit registers the agent and takes in what it tells of its attempts.
func (m *Manager) admit(ctx context.Context, conn *wire.Conn, h *link.Hello) (*stream, error) {
	m.mu.Lock()
	r := m.reign
	m.mu.Unlock()
	switch {
	case r == nil:
		return nil, api.Errorf(api.CodeNoLeader, "this master does not lead")
	case h.Cluster != "" && h.Cluster != m.cfg.Cluster:
		return nil, api.Errorf(api.CodeConflict, "agent %s belongs to cluster %s, not %s", h.Info.Name, api.Quote(h.Cluster), m.cfg.Cluster).
			WithHint("give it an empty --data-dir to join this cluster")
	case h.MaxTerm > r.term:
		return nil, api.Errorf(api.CodeNoLeader, "agent %s has seen a newer leader", h.Info.Name)
	}
	if err := checkInfo(&h.Info); err != nil {
		return nil, err
	}
	s := newStream(h, conn, r)
	// The stream takes its place before the node is up, so that the end of an older one cannot put the node away afterwards.
	if err := m.replace(s); err != nil {
		return nil, err
	}
	err := m.register(ctx, s, h)
	if err == nil {
		err = conn.Send(link.TypeWelcome, link.Welcome{Cluster: m.cfg.Cluster, Term: r.term, Master: m.cfg.Master, Node: h.Info.ID})
	}
	if err != nil {
		m.drop(s)
		return nil, err
	}
	// What is placed from here on reaches the stream by itself; the rest is in the view. A task in both is no harm.
	s.whole(r.view())
	m.report(s, &link.Report{Started: started(h.Active), Ended: h.Ended})
	m.mu.Lock()
	s.ready = true
	m.mu.Unlock()
	r.engine.Poke()
	return s, nil
}

// replace makes s the node's stream, though not one that tasks are placed for yet, and ends the one before.
func (m *Manager) replace(s *stream) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reign != s.reign {
		return errNotLeading
	}
	if old := m.streams[s.node]; old != nil {
		old.conn.Close()
	}
	m.streams[s.node] = s
	delete(m.away, s.node)
	return nil
}

// register commits that the node is up.
func (m *Manager) register(ctx context.Context, s *stream, h *link.Hello) error {
	events, err := s.reign.engine.Do(ctx, &core.NodeUp{Info: h.Info})
	if err == nil && len(events) > 0 && events[0].Type == core.Rejected {
		return events[0].Err
	}
	return err
}

var errNotLeading = api.Errorf(api.CodeNoLeader, "this master does not lead any more")

func checkInfo(i *api.NodeInfo) error {
	if i.ID == "" || len(i.ID) > 64 {
		return api.Errorf(api.CodeInvalidArgument, "an agent without an id")
	}
	if err := api.CheckName("node", i.Name); err != nil {
		return err
	}
	if i.Total.Negative() {
		return api.Errorf(api.CodeInvalidResources, "node %s offers less than nothing", i.Name)
	}
	return nil
}

func started(as []link.Attempt) []link.Attempt {
	var out []link.Attempt
	for _, a := range as {
		if a.Running {
			out = append(out, a)
		}
	}
	return out
}

// drop forgets the stream and starts the agent's grace, unless a newer stream has taken over.
func (m *Manager) drop(s *stream) {
	s.stop()
	m.mu.Lock()
	mine := m.streams[s.node] == s
	if mine {
		delete(m.streams, s.node)
		// In one step with the above: a stream that comes next queues its NodeUp after this.
		s.reign.engine.Enqueue(func([]core.Event, error) {}, &core.NodeAway{Node: s.node})
	}
	m.mu.Unlock()
	if !mine {
		return
	}
	m.cfg.Log.Info("agent out of touch", "node", s.name)
	m.setAway(s.node)
}

func (m *Manager) receive(s *stream, typ wire.Type, body []byte) error {
	switch typ {
	case link.TypePing:
		return nil
	case link.TypeReport:
		var rep link.Report
		if err := wire.Unmarshal(body, &rep); err != nil {
			return err
		}
		m.report(s, &rep)
		return nil
	case link.TypeInfo:
		var info link.Info
		if err := wire.Unmarshal(body, &info); err != nil {
			return err
		}
		return m.news(s, &info)
	}
	return fmt.Errorf("frame of unknown type %d", typ)
}

// news takes in what the agent says of itself: what it can run and which modules it has.
func (m *Manager) news(s *stream, info *link.Info) error {
	if info.Info.ID != s.node {
		return fmt.Errorf("sent news of node %s", info.Info.ID)
	}
	if err := checkInfo(&info.Info); err != nil {
		return err
	}
	m.mu.Lock()
	s.holds = setOf(info.Holds)
	m.mu.Unlock()
	s.reign.engine.Enqueue(func([]core.Event, error) {}, &core.NodeUp{Info: info.Info})
	return nil
}

// report takes news of attempts into the state, shows ends to those who wait for them, and acknowledges what is committed.
func (m *Manager) report(s *stream, rep *link.Report) {
	var cmds []core.Command
	for _, a := range rep.Started {
		cmds = append(cmds, &core.Report{Task: a.Task, Node: s.node, Attempt: a.Number})
	}
	acks := make([]link.Attempt, 0, len(rep.Ended))
	view, now := s.reign.view(), m.cfg.Now()
	for i := range rep.Ended {
		e := &rep.Ended[i]
		c := &core.Report{Task: e.Task, Node: s.node, Attempt: e.Number, Outcome: &e.Outcome}
		if t, final := view.Ending(c, now); final {
			m.cfg.Hub.Ended(t)
		}
		cmds = append(cmds, c)
		acks = append(acks, e.Attempt)
	}
	if len(cmds) == 0 {
		return
	}
	s.reign.engine.Enqueue(func(_ []core.Event, err error) {
		if err == nil && len(acks) > 0 { // otherwise the agent repeats them
			s.add(func(w *link.Desire) { w.Acks = append(w.Acks, acks...) })
		}
	}, cmds...)
}
