// Package raftlog replicates entries among the masters and applies them in one order on each of them.
//
// It is the only package that imports hashicorp/raft. Around that library it puts the guards that its open defects call
// for; DESIGN.md lists them. What an entry means is the caller's affair.
package raftlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/saki-run/saki/internal/netx"
	"github.com/saki-run/saki/master/raftlog/wal"
)

// MaxEntry is the size in bytes that callers keep a batch of commands under. Heartbeats share the connection with
// entries, so long ones delay them. [Node.Propose] refuses entries of more than eight times this.
const MaxEntry = 512 << 10

// ExitCode is the process status that the default [Config.Exit] ends with. A supervisor should start the process again.
const ExitCode = 75

var (
	// ErrNotLeader says that another member leads; nothing was written. [Node.Leader] may know which.
	ErrNotLeader = errors.New("not the leader")
	// ErrNoQuorum says that no leader is known, so nothing can be committed now; nothing was written.
	ErrNoQuorum = errors.New("no leader: too few masters are reachable")
	// ErrUnknownOutcome says that leadership or patience ended while the entry was in flight: it may or may not be applied.
	ErrUnknownOutcome = errors.New("outcome is unknown")
	// ErrBusy says that the entry could not be queued in time; nothing was written.
	ErrBusy = errors.New("log is busy")
	// ErrTooLarge says that an entry is over the limit; nothing was written.
	ErrTooLarge = errors.New("entry is too large")
	// ErrHasState says that a member that already has a log, a snapshot or a vote cannot be bootstrapped.
	ErrHasState = errors.New("member already has state")
	// ErrConflict says that a membership change does not fit the members there are.
	ErrConflict = errors.New("membership conflict")
	// ErrClosed says that the node was closed, was removed from the group, or gave up.
	ErrClosed = errors.New("raft node has stopped")
)

// FSM is what the entries are applied to.
type FSM interface {
	// Apply applies one entry and returns what Propose hands to its caller. Entries come in log order, one at a time. It
	// must not keep or change data, and equal entries must make equal states. After a restart entries since the last
	// snapshot come again.
	Apply(index uint64, data []byte) any
	// Snapshot returns a function that writes the state as it is now. Snapshot must be quick, as Apply waits for it; the
	// function may run while Apply goes on.
	Snapshot() (func(w io.Writer) error, error)
	// Restore replaces the whole state by the one read from r. It must read to io.EOF before it drops the old state: any
	// other error means that the snapshot is damaged, and then the old state must stay.
	Restore(r io.Reader) error
}

// Config says how a node takes part. ID, Dir and one of Listener and Bind are required.
type Config struct {
	ID        string       // name of this member, never used again by another one
	Dir       string       // holds the log, the vote and the snapshots of this member
	Bind      string       // raft address to listen on, "host:port"
	Listener  net.Listener // used in place of Bind; closed with the node
	Advertise string       // address that the others dial; default the listener's

	// Dial connects to another member; default netx.Dial.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// Timeout is how long a follower waits for its leader before it calls an election; default 1 s. Stalls of the disk of
	// about half of it are survived without one. A group of one is ready after one to two of it; 50 ms suits that.
	Timeout time.Duration

	SnapshotThreshold uint64        // entries since the last snapshot that ask for a new one; default 16384
	SnapshotInterval  time.Duration // how often that is looked at; default 30 s
	TrailingLogs      uint64        // entries kept behind a snapshot for followers that lag; default 32768

	// AppendLimit is how long one write to the log or the vote may take before the node gives up; default 10 s.
	AppendLimit time.Duration

	Logger *slog.Logger // default none

	// Exit is called once, when the node can no longer keep its promises: its disk hangs, fails or gives back other bytes.
	// Default: the process ends with [ExitCode]. If Exit returns, the node does nothing any more but can be closed.
	Exit func(error)
}

func (c Config) withDefaults() (Config, error) {
	if c.ID == "" || c.Dir == "" || (c.Listener == nil && c.Bind == "") {
		return c, errors.New("raft: ID, Dir and a listen address are required")
	}
	def(&c.Timeout, time.Second)
	def(&c.SnapshotThreshold, 16384)
	def(&c.SnapshotInterval, 30*time.Second)
	def(&c.TrailingLogs, 32768)
	def(&c.AppendLimit, 10*time.Second)
	if c.Dial == nil {
		c.Dial = netx.Dial
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Exit == nil {
		c.Exit = func(err error) {
			fmt.Fprintln(os.Stderr, "fatal:", err)
			os.Exit(ExitCode)
		}
	}
	return c, nil
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// logCache is how many entries are kept in memory for followers that are a little behind. Each may be [MaxEntry] long.
const logCache = 64

// Node is one member of the group. Safe for concurrent use.
type Node struct {
	cfg    Config
	raft   *raft.Raft
	fsm    *machine
	trans  *transport
	store  *logStore
	log    *wal.Log
	stable *stable
	snaps  raft.SnapshotStore
	doom   *doom
	lead   *leadership
	stuck  stuckTransfer

	changing sync.Mutex // one membership change at a time
	closing  sync.Once
	closeErr error
	done     chan struct{} // closed when raft has stopped for whatever reason
	stop     func()        // closes done
}

// Open reads what Dir holds and starts the node. A member without state waits until it is bootstrapped or added. An error
// that wraps [wal.ErrCorrupt] means that Dir is damaged: the member should be removed and rejoin under a new id.
func Open(cfg Config, fsm FSM) (_ *Node, err error) {
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, fsm: &machine{fsm: fsm}, done: make(chan struct{})}
	n.stop = sync.OnceFunc(func() { close(n.done) })
	n.doom = newDoom(cfg, n.stop)
	n.lead = newLeadership(n.done)
	defer func() {
		if err != nil {
			_ = n.release() // err says more
			err = fmt.Errorf("open raft member %s: %w", cfg.ID, err)
		}
	}()
	if n.trans, err = listen(cfg); err != nil {
		return nil, err
	}
	if err := n.openStores(); err != nil {
		return nil, err
	}
	if err := n.startRaft(); err != nil {
		return nil, err
	}
	n.watchShutdown()
	return n, nil
}

func (n *Node) openStores() error {
	var err error
	if n.log, err = wal.Open(filepath.Join(n.cfg.Dir, "log"), wal.Options{Logger: n.cfg.Logger}); err != nil {
		return err
	}
	n.store = &logStore{log: n.log, doom: n.doom, limit: n.cfg.AppendLimit}
	if n.snaps, err = raft.NewFileSnapshotStoreWithLogger(n.cfg.Dir, 3, bridge(n.cfg.Logger)); err != nil {
		return err
	}
	metas, err := n.snaps.List()
	if err != nil {
		return err
	}
	var snapshot uint64
	if len(metas) > 0 {
		snapshot = metas[0].Index
	}
	if first := n.log.First(); first > snapshot+1 {
		return fmt.Errorf("%w: it begins at entry %d, the newest snapshot ends at %d", wal.ErrCorrupt, first, snapshot)
	}
	n.stable, err = openStable(filepath.Join(n.cfg.Dir, "vote"), n.doom, n.cfg.AppendLimit)
	if err != nil {
		return err
	}
	if n.stable.fresh() && (n.log.Last() > 0 || snapshot > 0) {
		return fmt.Errorf("%w: the vote file is missing, so this member could vote twice", wal.ErrCorrupt)
	}
	return nil
}

func (n *Node) startRaft() (err error) {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(n.cfg.ID)
	rc.HeartbeatTimeout, rc.ElectionTimeout = n.cfg.Timeout, n.cfg.Timeout
	rc.LeaderLeaseTimeout = n.cfg.Timeout / 2
	rc.MaxAppendEntries = 256
	rc.BatchApplyCh = true
	rc.SnapshotThreshold = n.cfg.SnapshotThreshold
	rc.SnapshotInterval = n.cfg.SnapshotInterval
	rc.TrailingLogs = n.cfg.TrailingLogs
	rc.NotifyCh = n.lead.notify
	rc.Logger = bridge(n.cfg.Logger)
	rc.NoLegacyTelemetry = true

	cached, err := raft.NewLogCache(logCache, n.store)
	if err != nil {
		return err
	}
	// The library panics when the log it is given does not add up. That is damage, not a bug of ours.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", wal.ErrCorrupt, p)
		}
	}()
	n.raft, err = raft.NewRaft(rc, n.fsm, cached, n.stable, n.snaps, n.trans)
	return err
}

// watchShutdown closes done when raft stops by itself, as a removed leader does.
func (n *Node) watchShutdown() {
	ch := make(chan raft.Observation, 4)
	n.raft.RegisterObserver(raft.NewObserver(ch, false, func(o *raft.Observation) bool {
		s, ok := o.Data.(raft.RaftState)
		return ok && s == raft.Shutdown
	}))
	go func() {
		select {
		case <-ch:
			n.stop()
		case <-n.done:
		}
	}()
}

// Done is closed when the node has stopped: closed, removed from the group, or after Exit was called.
func (n *Node) Done() <-chan struct{} { return n.done }

// Close hands leadership over if it can do so quickly, stops the node and closes its files. The state machine is not
// called any more after it returns, unless the disk hangs.
func (n *Node) Close() error {
	n.closing.Do(func() {
		if !n.stopped() && n.raft.State() == raft.Leader && len(n.Members()) > 1 {
			ctx, cancel := context.WithTimeout(context.Background(), 2*n.cfg.Timeout)
			// Best effort. Only here: a transfer that overlaps a step-down never ends (hashicorp/raft #696).
			if err := wait(ctx, n.done, func() error { return n.raft.LeadershipTransfer().Error() }); err != nil {
				n.cfg.Logger.Debug("leadership was not handed over", "error", err)
			}
			cancel()
		}
		n.closeErr = n.release()
	})
	return n.closeErr
}

// release stops and closes whatever has been opened so far.
func (n *Node) release() error {
	var errs []error
	if n.raft != nil {
		f := n.raft.Shutdown()
		n.stop()
		// A doomed node has parked goroutines of raft; waiting for them would be for ever.
		if !n.doom.met() {
			ctx, cancel := context.WithTimeout(context.Background(), n.cfg.AppendLimit)
			errs = append(errs, wait(ctx, nil, f.Error))
			cancel()
		}
	}
	n.stop()
	if n.trans != nil {
		errs = append(errs, n.trans.Close())
	} else if n.cfg.Listener != nil {
		errs = append(errs, n.cfg.Listener.Close())
	}
	n.doom.release()
	if n.log != nil {
		errs = append(errs, n.log.Close())
	}
	return errors.Join(errs...)
}

func (n *Node) stopped() bool {
	select {
	case <-n.done:
		return true
	default:
		return false
	}
}
