package raftlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func TestAFailoverLosesNoAcknowledgedEntry(t *testing.T) {
	g := newGroup(t, Config{})
	g.bootstrap("m1", "m2", "m3")
	acked := map[string]bool{}
	for round := range 3 {
		id, n := g.leader()
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var wg sync.WaitGroup
		enough := make(chan struct{})
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					key := fmt.Sprintf("r%d-w%d-%d", round, w, i)
					_, _, err := n.Propose(ctx, []byte(key+" x"))
					if err != nil {
						continue // only acknowledged ones are promised
					}
					mu.Lock()
					acked[key] = true
					if len(acked) == (round+1)*100 {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		g.stop(id) // in the middle of proposals
		cancel()
		wg.Wait()

		newID, n := g.leader()
		if newID == id {
			t.Fatalf("%s still leads", id)
		}
		got := g.fsms[newID].state()
		for key := range acked {
			if _, ok := got[key]; !ok {
				t.Fatalf("round %d: %s was acknowledged by %s and is not known to %s", round, key, id, newID)
			}
		}
		g.put(n, fmt.Sprint("after", round), "x")
		g.start(id)
	}
	id, n := g.leader()
	if err := n.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.same(id)
}

func TestAFollowerThatWasAwayCatchesUpBySnapshot(t *testing.T) {
	g := newGroup(t, Config{TrailingLogs: 5, SnapshotThreshold: 1 << 40})
	g.bootstrap("m1", "m2", "m3")
	id, n := g.leader()
	away := map[string]string{"m1": "m2", "m2": "m3", "m3": "m1"}[id]
	g.put(n, "before", "x")
	g.same(id)
	g.stop(away)
	for i := range 60 {
		g.put(n, fmt.Sprint("k", i), "x")
	}
	if err := n.SnapshotNow(); err != nil {
		t.Fatal(err)
	}
	g.put(n, "after", "x")
	back := g.start(away)
	g.same(id)
	if g.fsms[away].restores() == 0 {
		t.Errorf("%s caught up without a snapshot", away)
	}
	// What came by snapshot stays over a restart, and the log goes on behind it.
	g.put(n, "later", "x")
	g.same(id)
	if s := back.Stats(); s.FirstIndex != s.SnapshotIndex+1 {
		t.Errorf("the log of %s begins at %d, its snapshot ends at %d", away, s.FirstIndex, s.SnapshotIndex)
	}
	g.stop(away)
	g.start(away)
	g.same(id)
}

func TestWithoutAQuorumNothingIsAcknowledged(t *testing.T) {
	g := newGroup(t, Config{})
	g.bootstrap("m1", "m2", "m3")
	id, n := g.leader()
	for _, other := range []string{"m1", "m2", "m3"} {
		if other != id {
			g.stop(other)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := n.Propose(ctx, []byte("lost x")); !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("in flight: got %v, want ErrUnknownOutcome", err)
	}
	g.eventually("the leader to step down", func() bool {
		_, _, err := n.Propose(ctx, []byte("lost x"))
		return errors.Is(err, ErrNoQuorum)
	})
	if err := n.VerifyLeader(ctx); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("verify: got %v, want ErrNoQuorum", err)
	}
	for other := range g.addrs {
		if g.nodes[other] == nil {
			g.start(other)
			break
		}
	}
	_, n = g.leader()
	g.put(n, "again", "x")
}

func TestAFollowerRefusesAndKnowsTheLeader(t *testing.T) {
	g := newGroup(t, Config{})
	g.bootstrap("m1", "m2", "m3")
	leader, n := g.leader()
	if err := n.VerifyLeader(t.Context()); err != nil {
		t.Errorf("verify on the leader: %v", err)
	}
	for id, n := range g.nodes {
		if id == leader {
			continue
		}
		g.eventually("the followers to know the leader", func() bool {
			got, addr := n.Leader()
			return got == leader && addr == g.addrs[leader]
		})
		if _, _, err := n.Propose(t.Context(), []byte("a 1")); !errors.Is(err, ErrNotLeader) {
			t.Errorf("propose on %s: got %v, want ErrNotLeader", id, err)
		}
		if err := n.Barrier(t.Context()); !errors.Is(err, ErrNotLeader) {
			t.Errorf("barrier on %s: got %v, want ErrNotLeader", id, err)
		}
		if err := n.AddVoter(t.Context(), "m9", "127.0.0.1:1"); !errors.Is(err, ErrNotLeader) {
			t.Errorf("add on %s: got %v, want ErrNotLeader", id, err)
		}
		if s := n.Stats(); s.State != "follower" || s.LastContact < 0 || s.Voters != 3 {
			t.Errorf("stats of %s: %+v", id, s)
		}
	}
}

func TestMembersComeAndGo(t *testing.T) {
	g := newGroup(t, Config{})
	g.bootstrap("m1")
	_, n := g.leader()
	for i := range 20 {
		g.put(n, fmt.Sprint("k", i), "x")
	}
	for _, id := range []string{"m2", "m3"} {
		g.start(id)
		if err := n.AddVoter(t.Context(), id, g.addrs[id]); err != nil {
			t.Fatal(err)
		}
		if err := n.AddVoter(t.Context(), id, g.addrs[id]); err != nil {
			t.Errorf("adding %s again: %v", id, err)
		}
	}
	g.same("m1")
	if s := n.Stats(); s.Voters != 3 {
		t.Errorf("stats: %+v", s)
	}
	for name, m := range map[string]Member{
		"an id at another address":     {ID: "m2", Addr: "127.0.0.1:1"},
		"an address of another member": {ID: "m4", Addr: g.addrs["m2"]},
	} {
		if err := n.AddVoter(t.Context(), m.ID, m.Addr); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: got %v, want ErrConflict", name, err)
		}
	}
	// One that never answers gets no vote and so does not raise the quorum.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := n.AddVoter(ctx, "m5", "127.0.0.1:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a dead newcomer: got %v, want DeadlineExceeded", err)
	}
	for _, m := range n.Members() {
		if m.Voter == (m.ID == "m5") {
			t.Errorf("member %+v", m)
		}
	}
	for _, id := range []string{"m5", "m5", "m2"} {
		if err := n.Remove(t.Context(), id); err != nil {
			t.Errorf("remove %s: %v", id, err)
		}
	}
	g.stop("m2")
	if err := n.Remove(t.Context(), "m1"); err != nil && !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("remove the leader itself: %v", err)
	}
	<-n.Done()
	if _, _, err := n.Propose(t.Context(), []byte("a 1")); !errors.Is(err, ErrClosed) {
		t.Errorf("propose on a removed member: got %v, want ErrClosed", err)
	}
	g.stop("m1")
	id, n := g.leader()
	if id != "m3" || len(n.Members()) != 1 {
		t.Errorf("%s leads %v", id, n.Members())
	}
}

func TestACloseHandsLeadershipOver(t *testing.T) {
	g := newGroup(t, Config{Timeout: 2 * time.Second})
	g.bootstrap("m1", "m2", "m3")
	id, n := g.leader()
	start := time.Now()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	delete(g.nodes, id)
	if now, _ := g.leader(); now == id {
		t.Errorf("%s still leads", now)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the next leader took %v, as long as an election by timeout", took)
	}
}

// Each leadership runs once, alone, with a term that grows, on a state that has caught up.
func TestLeadershipRunsOncePerTermAndNeverTwiceAtATime(t *testing.T) {
	g := newGroup(t, Config{})
	type reign struct {
		id   string
		term uint64
	}
	var mu sync.Mutex
	var reigns []reign
	began := make(chan string, 64)
	var wg sync.WaitGroup
	defer wg.Wait()
	follow := func(id string, n *Node) {
		var running atomic.Int32
		wg.Go(func() {
			err := n.Leadership(t.Context(), func(ctx context.Context, term uint64) {
				if running.Add(1) != 1 {
					t.Error("two leaderships of one node overlap")
				}
				mu.Lock()
				reigns = append(reigns, reign{id, term})
				mu.Unlock()
				began <- id
				<-ctx.Done()
				running.Add(-1)
			})
			if !errors.Is(err, ErrClosed) {
				t.Errorf("leadership of %s ended with %v, want ErrClosed", id, err)
			}
		})
	}
	g.bootstrap("m1", "m2", "m3")
	for id, n := range g.nodes {
		follow(id, n)
	}
	for range 3 {
		var id string
		g.eventually("the last one to begin to lead", func() bool {
			select {
			case id = <-began:
			default:
			}
			return id != "" && g.nodes[id].Stats().State == "leader"
		})
		g.put(g.nodes[id], "by-"+id, "x")
		if err := g.nodes[id].Leadership(t.Context(), nil); err == nil {
			t.Error("a second Leadership of one node gave no error")
		}
		g.stop(id)
		follow(id, g.start(id))
	}
	for id := range g.addrs {
		g.stop(id)
	}
	wg.Wait()
	seen := map[uint64]string{}
	for _, r := range reigns {
		if by, ok := seen[r.term]; ok {
			t.Errorf("term %d ran on %s and on %s", r.term, by, r.id)
		}
		seen[r.term] = r.id
	}
	if len(seen) < 3 {
		t.Errorf("leaderships: %v, want at least 3", reigns)
	}
}

// A loss and a gain that come faster than run can end are still two leaderships, and the first one is told.
func TestAFlapOfLeadershipIsTwoLeaderships(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		l := newLeadership(done)
		report := func(gains ...bool) {
			for _, g := range gains {
				l.notify <- g
			}
			synctest.Wait()
		}
		if _, _, ok := l.after(0); ok {
			t.Error("a leadership before any was gained")
		}
		report(true)
		first, number, ok := l.after(0)
		if !ok || number != 1 || first.Err() != nil {
			t.Fatalf("first: %v, %d", ok, number)
		}
		report(false, true)
		second, number, ok := l.after(1)
		if !ok || number != 2 || first.Err() == nil || second.Err() != nil {
			t.Fatalf("after a flap: %v, %d, first ended %v", ok, number, first.Err())
		}
		report(true)
		third, number, ok := l.after(2)
		if !ok || number != 3 || second.Err() == nil {
			t.Fatalf("after two gains in a row: %v, %d, second ended %v", ok, number, second.Err())
		}
		report(false, true, false)
		if _, _, ok := l.after(3); ok || third.Err() == nil {
			t.Errorf("after a loss: leads %v, third ended %v", ok, third.Err())
		}
		report(true)
		last, _, _ := l.after(4)
		close(done)
		synctest.Wait()
		if last.Err() == nil {
			t.Error("a node that stopped still leads")
		}
	})
}

// Heartbeats must not pass by the main loop, or hashicorp/raft #695 can put two values at one index.
func TestHeartbeatsHaveNoFastPath(t *testing.T) {
	g := newGroup(t, Config{})
	n := g.start("m1")
	called := make(chan struct{}, 1)
	n.trans.SetHeartbeatHandler(func(raft.RPC) { called <- struct{}{} })
	g.start("m2")
	// A heartbeat as a leader sends it; m1 must take it through its queue and answer.
	req := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("m2"), Addr: []byte(g.addrs["m2"])}, Term: 7}
	var resp raft.AppendEntriesResponse
	if err := g.nodes["m2"].trans.AppendEntries("m1", raft.ServerAddress(g.addrs["m1"]), req, &resp); err != nil || !resp.Success {
		t.Fatalf("heartbeat: %+v, %v", resp, err)
	}
	select {
	case <-called:
		t.Error("the heartbeat went beside the main loop")
	default:
	}
	if got := n.Stats().Term; got != 7 {
		t.Errorf("term %d, want 7", got)
	}
	if _, ok := raft.Transport(n.trans).(raft.WithPreVote); !ok {
		t.Error("the transport hides pre-votes")
	}
}
