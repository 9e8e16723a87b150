package raftlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// queueTimeout bounds how long an entry waits to be taken up when the caller sets no deadline.
const queueTimeout = 10 * time.Second

// Propose replicates data and waits until this node has applied it; result is what FSM.Apply returned. Entries of
// concurrent calls share one write to the disk. ErrNotLeader, ErrNoQuorum, ErrBusy and ErrTooLarge mean that nothing was
// written, ErrUnknownOutcome that the entry may yet be applied. It keeps data; do not change it afterwards.
func (n *Node) Propose(ctx context.Context, data []byte) (index uint64, result any, err error) {
	if len(data) > 8*MaxEntry {
		return 0, nil, fmt.Errorf("propose %d bytes: %w", len(data), ErrTooLarge)
	}
	if n.stopped() {
		return 0, nil, ErrClosed
	}
	if n.raft.State() != raft.Leader {
		return 0, nil, n.notLeader()
	}
	var f raft.ApplyFuture
	if err := wait(ctx, n.done, func() error {
		f = n.raft.Apply(data, queueFor(ctx))
		return f.Error()
	}); err != nil {
		return 0, nil, n.proposeError(err)
	}
	n.stuck.clear()
	return f.Index(), f.Response(), nil
}

func (n *Node) proposeError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return n.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrBusy
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		if n.stuck.since(time.Now()) > stuckLimit {
			n.doom.declare(errors.New("a transfer of leadership never ends (hashicorp/raft #696)"))
		}
		return fmt.Errorf("%w: it is handing leadership over", ErrNotLeader)
	default:
		// Lost leadership, a shutdown, our own patience, or a failed write: the entry may be in a log somewhere.
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}

func (n *Node) notLeader() error {
	if _, addr := n.Leader(); addr == "" {
		return ErrNoQuorum
	}
	return ErrNotLeader
}

// Barrier returns once every entry that was committed before the call is applied here. Only the leader can tell.
func (n *Node) Barrier(ctx context.Context) error {
	return n.ask(ctx, func() error { return n.raft.Barrier(queueFor(ctx)).Error() })
}

// VerifyLeader asks a quorum whether this node still leads. For a read that must not be stale, read first and verify then:
// the other way round the state may be replaced in between.
func (n *Node) VerifyLeader(ctx context.Context) error {
	return n.ask(ctx, func() error { return n.raft.VerifyLeader().Error() })
}

// ask runs a question that changes nothing, so that its outcome is never unknown.
func (n *Node) ask(ctx context.Context, f func() error) error {
	if n.stopped() {
		return ErrClosed
	}
	switch err := wait(ctx, n.done, f); {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return n.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrBusy
	default:
		return err
	}
}

// Leader returns the id and the raft address of the member that leads, as far as this one knows; both are empty when it
// knows none.
func (n *Node) Leader() (id, addr string) {
	a, i := n.raft.LeaderWithID()
	return string(i), string(a)
}

// queueFor returns how long an entry may wait to be taken up.
func queueFor(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return max(time.Until(at), time.Millisecond)
	}
	return queueTimeout
}

// wait runs a call into raft and waits for it, for ctx, or for the end of the node. Futures that were still queued when
// raft stops are never answered, which is why the last one is needed; their goroutines stay until the process ends.
func wait(ctx context.Context, done <-chan struct{}, call func() error) error {
	answer := make(chan error, 1)
	go func() { answer <- call() }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		select {
		case err := <-answer:
			return err
		default:
			return ErrClosed
		}
	}
}

// stuckLimit is how long a transfer of leadership may go on.
const stuckLimit = 5 * time.Second

// stuckTransfer measures how long entries have been refused because of a transfer of leadership.
type stuckTransfer struct {
	mu    sync.Mutex
	first time.Time // guarded by mu; zero when the last entry was taken
}

func (s *stuckTransfer) since(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() {
		s.first = now
	}
	return now.Sub(s.first)
}

func (s *stuckTransfer) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = time.Time{}
}
