package raftlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/raft"
)

// Member is one master in the group.
type Member struct {
	ID    string
	Addr  string // raft address
	Voter bool   // counts towards the quorum; a member that is catching up does not
}

// HasState says whether this member has ever taken part in a group: it has a log, a snapshot, or has seen a term.
func (n *Node) HasState() (bool, error) {
	return raft.HasExistingState(n.store, n.stable, n.snaps)
}

// Bootstrap makes a new group of these members; all of them vote. Each of the first members may do it with the same list,
// in any order. ErrHasState means that this one is past that, for example because another one was quicker, and is harmless
// then. Bootstrapping two lists that differ makes two groups.
func (n *Node) Bootstrap(members []Member) error {
	var c raft.Configuration
	for _, m := range members {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(m.ID), Address: raft.ServerAddress(m.Addr)})
	}
	err := wait(context.Background(), n.done, func() error { return n.raft.BootstrapCluster(c).Error() })
	if errors.Is(err, raft.ErrCantBootstrap) {
		return ErrHasState
	}
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

// Members returns the group as this member knows it, changes in flight included.
func (n *Node) Members() []Member {
	members, _ := n.members()
	return members
}

// members also returns the index that the next change must name as its predecessor.
func (n *Node) members() ([]Member, uint64) {
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return nil, 0
	}
	var ms []Member
	for _, s := range f.Configuration().Servers {
		ms = append(ms, Member{ID: string(s.ID), Addr: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return ms, f.Index()
}

// AddVoter adds a member in two steps: it joins without a vote, and gets one when its log has caught up, so that a slow
// newcomer never holds up the quorum. If ctx ends in between, the member stays without a vote and the call can be made
// again. Adding a voter that is there already does nothing; its id with another address, or its address under another
// id, gives ErrConflict. Only the leader can do it.
func (n *Node) AddVoter(ctx context.Context, id, addr string) (err error) {
	n.changing.Lock()
	defer n.changing.Unlock()
	members, prev := n.members()
	joined := false
	for _, m := range members {
		switch {
		case m.ID == id && m.Addr == addr && m.Voter:
			return n.VerifyLeader(ctx)
		case m.ID == id && m.Addr == addr:
			joined = true
		case m.ID == id || m.Addr == addr:
			return fmt.Errorf("add %s at %s: %w: %s is at %s", id, addr, ErrConflict, m.ID, m.Addr)
		}
	}
	since := time.Now()
	if !joined {
		if prev, err = n.change(ctx, func(wait time.Duration) raft.IndexFuture {
			return n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), prev, wait)
		}); err != nil {
			return fmt.Errorf("add %s at %s: %w", id, addr, err)
		}
	}
	if err := n.caughtUp(ctx, id, since); err != nil {
		return fmt.Errorf("add %s at %s: it did not catch up: %w", id, addr, err)
	}
	if _, err := n.change(ctx, func(wait time.Duration) raft.IndexFuture {
		return n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(addr), prev, wait)
	}); err != nil {
		return fmt.Errorf("make %s a voter: %w", id, err)
	}
	return nil
}

// caughtUp waits until the member has said, after since, that its log reaches what is committed now.
func (n *Node) caughtUp(ctx context.Context, id string, since time.Time) error {
	goal := n.raft.CommitIndex()
	tick := time.NewTicker(n.cfg.Timeout / 20)
	defer tick.Stop()
	for {
		if s := n.trans.sighting(id); s.last >= goal && s.at.After(since) {
			return nil
		}
		if n.raft.State() != raft.Leader {
			return n.notLeader()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.done:
			return ErrClosed
		}
	}
}

// Remove takes a member out of the group; one that is not in it is no error. Its id must not be used again. A node that is
// removed stops: see [Node.Done]. Only the leader can do it, and it may remove itself.
func (n *Node) Remove(ctx context.Context, id string) error {
	n.changing.Lock()
	defer n.changing.Unlock()
	members, prev := n.members()
	for _, m := range members {
		if m.ID != id {
			continue
		}
		if _, err := n.change(ctx, func(wait time.Duration) raft.IndexFuture {
			return n.raft.RemoveServer(raft.ServerID(id), prev, wait)
		}); err != nil {
			return fmt.Errorf("remove %s: %w", id, err)
		}
		return nil
	}
	return n.VerifyLeader(ctx)
}

// change makes one membership change and returns its index.
func (n *Node) change(ctx context.Context, ask func(wait time.Duration) raft.IndexFuture) (index uint64, err error) {
	if n.stopped() {
		return 0, ErrClosed
	}
	var f raft.IndexFuture
	if err := wait(ctx, n.done, func() error {
		f = ask(queueFor(ctx))
		return f.Error()
	}); err != nil {
		return 0, n.proposeError(err)
	}
	return f.Index(), nil
}

// Stats is what a member says of itself.
type Stats struct {
	State         string        // "follower", "candidate", "leader" or "stopped"
	Term          uint64        // present term
	Applied       uint64        // last entry handed to the state machine
	Commit        uint64        // last entry known to be committed
	LastIndex     uint64        // last entry in the log
	FirstIndex    uint64        // first entry still in the log
	SnapshotIndex uint64        // last entry in the newest snapshot
	Voters        int           // members that vote
	LastContact   time.Duration // since the leader was last heard of; 0 on the leader, negative if never
}

// Stats returns what this member knows now. The numbers are not taken at one instant.
func (n *Node) Stats() Stats {
	s := Stats{
		Term:       n.raft.CurrentTerm(),
		Applied:    n.raft.AppliedIndex(),
		Commit:     n.raft.CommitIndex(),
		LastIndex:  n.raft.LastIndex(),
		FirstIndex: n.log.First(),
	}
	// The library tells this only as text.
	s.SnapshotIndex, _ = strconv.ParseUint(n.raft.Stats()["last_snapshot_index"], 10, 64)
	switch n.raft.State() {
	case raft.Follower:
		s.State = "follower"
	case raft.Candidate:
		s.State = "candidate"
	case raft.Leader:
		s.State = "leader"
	case raft.Shutdown:
		s.State = "stopped"
	}
	if n.stopped() {
		s.State = "stopped"
	}
	for _, m := range n.Members() {
		if m.Voter {
			s.Voters++
		}
	}
	if s.State != "leader" {
		s.LastContact = -1
		if at := n.raft.LastContact(); !at.IsZero() {
			s.LastContact = time.Since(at)
		}
	}
	return s
}

// SnapshotNow writes a snapshot and drops the log before it. Nothing new since the last one is no error.
func (n *Node) SnapshotNow() error {
	if n.stopped() {
		return ErrClosed
	}
	err := wait(context.Background(), n.done, func() error { return n.raft.Snapshot().Error() })
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}
