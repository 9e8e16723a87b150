package master

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/httpapi"
	"github.com/saki-run/saki/master/raftlog"
)

// lookEvery is how often gossip is asked for masters while that matters.
const lookEvery = 50 * time.Millisecond

// join makes this master part of a group: the one it is in already, a new one once as many masters as expected have met, or
// one that exists, whose leader adds it.
func (m *Master) join(ctx context.Context) error {
	has, err := m.node.HasState()
	if err != nil {
		return err
	}
	m.cfg.Announce(has)
	if has {
		return nil
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		peers := m.peers()
		if m.complete(peers) {
			members := make([]raftlog.Member, len(peers))
			for i, p := range peers {
				members[i] = raftlog.Member{ID: p.Name, Addr: p.Raft, Voter: true}
			}
			m.cfg.Log.Info("beginning a new group", "masters", len(members))
			if err := m.node.Bootstrap(members); err != nil && !errors.Is(err, raftlog.ErrHasState) {
				return err // with state, another member's bootstrap has reached us already
			}
			m.cfg.Announce(true)
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if has, err := m.node.HasState(); err != nil || has {
			m.cfg.Announce(has)
			return err
		}
	}
}

// peers gives the masters that gossip sees, in the order of their names.
func (m *Master) peers() []Peer {
	ps := m.cfg.Peers()
	slices.SortFunc(ps, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	return ps
}

// complete reports whether these masters are to begin a new group: exactly as many as expected, none of which is in one.
// Every one of them decides so by itself, and all begin with the same list.
func (m *Master) complete(peers []Peer) bool {
	self := false
	for _, p := range peers {
		if p.HasState {
			return false
		}
		self = self || p.Name == m.cfg.Name
	}
	return self && len(peers) == m.cfg.Expect
}

// admitEvery is how often the leader looks for masters that are not in the group.
const admitEvery = 2 * time.Second

// admitMasters adds masters that gossip sees to the group, and notes new addresses of its members.
func (m *Master) admitMasters(ctx context.Context) error {
	tick := time.NewTicker(admitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		known := map[string]raftlog.Member{}
		for _, mem := range m.node.Members() {
			known[mem.ID] = mem
		}
		for _, p := range m.peers() {
			if mem, ok := known[p.Name]; ok && mem.Addr == p.Raft && mem.Voter || p.Name == m.cfg.Name || p.Raft == "" {
				continue
			}
			m.cfg.Log.Info("adding a master", "name", p.Name, "raft", p.Raft)
			if err := m.node.AddVoter(ctx, p.Name, p.Raft); err != nil && ctx.Err() == nil {
				m.cfg.Log.Warn("cannot add a master", "name", p.Name, "error", err)
			}
		}
	}
}

// leader tells who leads, with the address that gossip knows.
func (m *Master) leader() httpapi.Leader {
	id, _ := m.node.Leader()
	l := httpapi.Leader{Name: id, Self: id == m.cfg.Name}
	if l.Self {
		l.Addr = m.cfg.API
		return l
	}
	for _, p := range m.cfg.Peers() {
		if p.Name == id {
			l.Addr = p.API
		}
	}
	return l
}

// masters describes the group.
func (m *Master) masters() (out []api.MasterStatus, term uint64) {
	alive := map[string]Peer{}
	for _, p := range m.cfg.Peers() {
		alive[p.Name] = p
	}
	leader, _ := m.node.Leader()
	for _, mem := range m.node.Members() {
		p, ok := alive[mem.ID]
		out = append(out, api.MasterStatus{Name: mem.ID, Addr: p.API, Raft: mem.Addr, Leader: mem.ID == leader, Alive: ok})
	}
	slices.SortFunc(out, func(a, b api.MasterStatus) int { return cmp.Compare(a.Name, b.Name) })
	return out, m.node.Stats().Term
}

// peerAddrs gives the HTTP addresses of the other members of the group.
func (m *Master) peerAddrs() []string {
	member := map[string]bool{}
	for _, mem := range m.node.Members() {
		member[mem.ID] = true
	}
	var out []string
	for _, p := range m.cfg.Peers() {
		if p.Name != m.cfg.Name && member[p.Name] {
			out = append(out, p.API)
		}
	}
	return out
}
