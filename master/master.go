// Package master is one member of the group that keeps the cluster's truth: the replicated log, the leader's loop above it,
// the streams to the agents and the HTTP API. Package daemon gives it its listeners and its gossip.
package master

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/blob"
	"github.com/saki-run/saki/master/core"
	"github.com/saki-run/saki/master/engine"
	"github.com/saki-run/saki/master/httpapi"
	"github.com/saki-run/saki/master/raftlog"
	"github.com/saki-run/saki/master/sched"
	"github.com/saki-run/saki/master/session"
)

// Peer is a master as gossip knows it: a hint, never truth.
type Peer struct {
	Name     string
	API      string // address of its HTTP API, host:port
	Raft     string // address of its Raft listener
	HasState bool   // it is, or was, part of a Raft group
}

// Config is what a Master works with.
type Config struct {
	Name    string
	Cluster string
	DataDir string
	API     string       // where others reach its HTTP API, host:port
	Raft    net.Listener // closed with the Master
	Expect  int          // how many masters begin a new group; 0 joins one that exists

	// Peers gives the masters that gossip sees, this one included. Announce tells the others that this one has state now.
	Peers    func() []Peer
	Announce func(hasState bool)

	Keeping     core.Keeping  // default [DefaultKeeping]
	NodeGrace   time.Duration // default [session.DefaultGrace]
	RaftTimeout time.Duration // default 1 s; 50 ms for a group of one

	Version api.Version
	Now     func() time.Time // default time.Now
	Log     *slog.Logger
}

// DefaultKeeping is how long ended tasks are remembered.
var DefaultKeeping = core.Keeping{Tasks: 10_000, For: 24 * time.Hour, Keyed: 24 * time.Hour}

// Master is one member. Make it with [New].
type Master struct {
	cfg      Config
	node     *raftlog.Node
	machine  *engine.Machine
	engine   *engine.Engine
	sessions *session.Manager
	blobs    *blob.Store
	fetcher  *blob.Fetcher
	api      *httpapi.Server
	broken   chan error
}

// New checks the config and opens the data directory. It takes no part in the group before [Master.Run].
func New(cfg Config) (_ *Master, err error) {
	if err := api.CheckName("master", cfg.Name); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // this is where the clock comes in
	}
	if cfg.Keeping == (core.Keeping{}) {
		cfg.Keeping = DefaultKeeping
	}
	if cfg.RaftTimeout == 0 {
		cfg.RaftTimeout = time.Second
		if cfg.Expect == 1 {
			cfg.RaftTimeout = 50 * time.Millisecond
		}
	}
	m := &Master{cfg: cfg, broken: make(chan error, 1)}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	if m.blobs, err = blob.Open(filepath.Join(cfg.DataDir, "blobs")); err != nil {
		return nil, err
	}
	if m.fetcher, err = blob.NewFetcher(blob.FetcherConfig{Store: m.blobs, Limit: int64(api.MaxBlob)}); err != nil {
		return nil, err
	}
	hub, feed := &engine.Hub{}, engine.NewFeed()
	m.sessions = session.New(session.Config{
		Cluster: cfg.Cluster, Master: cfg.Name, Grace: cfg.NodeGrace, Hub: hub, Now: cfg.Now, Log: cfg.Log.With("part", "session"),
	})
	m.machine = engine.NewMachine(m.fail, m.sessions.Applied, hub.Applied, feed.Applied)
	policy := sched.Policy{Available: m.sessions.Available, Holds: m.sessions.Holds}
	if m.node, err = raftlog.Open(raftlog.Config{
		ID: cfg.Name, Dir: filepath.Join(cfg.DataDir, "raft"), Listener: cfg.Raft, Timeout: cfg.RaftTimeout,
		Logger: cfg.Log.With("part", "raft"), Exit: m.fail,
	}, m.machine); err != nil {
		return nil, errors.Join(err, m.blobs.Close())
	}
	m.engine = engine.New(engine.Config{Log: replicated{m.node}, Machine: m.machine, Policy: policy, Now: cfg.Now, Keeping: cfg.Keeping})
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.api = httpapi.New(httpapi.Config{
		Engine: m.engine, View: m.machine.View, Hub: hub, Feed: feed, Sessions: m.sessions, Policy: policy,
		Blobs: m.blobs, Fetcher: m.fetcher, Registry: reg, Version: cfg.Version, Cluster: cfg.Cluster,
		NewID: newTaskID, Now: cfg.Now, Log: cfg.Log.With("part", "http"),
		Leader: m.leader, Masters: m.masters, Peers: m.peerAddrs, Members: func() int { return len(m.node.Members()) },
	})
	return m, nil
}

func newTaskID() api.TaskID {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return api.NewTaskID(binary.LittleEndian.Uint64(b[:]))
}

// fail ends Run: this master cannot keep its promises any more.
func (m *Master) fail(err error) {
	select {
	case m.broken <- err:
	default:
	}
}

// Handler gives the HTTP surface of the master's port.
func (m *Master) Handler() http.Handler { return m.api.Handler() }

// Leading reports whether this master leads and takes commands.
func (m *Master) Leading() bool { return m.engine.Leading() }

// ReadyNodes gives the agents that have a stream to this master and can be given tasks.
func (m *Master) ReadyNodes() []*api.Node {
	var out []*api.Node
	for n := range m.View().Nodes() {
		if n.State == api.NodeReady && m.sessions.Available(n.ID) {
			out = append(out, n)
		}
	}
	return out
}

// View gives the replicated state as this master knows it.
func (m *Master) View() core.View { return m.machine.View() }

// Run takes part in the group until ctx ends, or until this master cannot go on: its disk fails, or the log holds what it
// does not understand. It then closes what it holds.
func (m *Master) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.join(ctx) })
	g.Go(func() error { return m.node.Leadership(ctx, m.lead) })
	g.Go(func() error { return m.keepBlobs(ctx) })
	g.Go(func() error {
		select {
		case err := <-m.broken:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	err := g.Wait()
	return errors.Join(err, m.node.Close(), m.blobs.Close())
}

// lead works for as long as this master leads. The log is applied up to the beginning of the leadership.
func (m *Master) lead(ctx context.Context, term uint64) {
	m.cfg.Log.Info("leading", "term", term)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { m.engine.Run(ctx); return nil })
	g.Go(func() error {
		m.sessions.Lead(ctx, term, m.engine, m.machine.View)
		return nil
	})
	g.Go(func() error { return m.admitMasters(ctx) })
	if err := g.Wait(); err != nil {
		m.cfg.Log.Error("leading ended", "error", err)
	}
	m.cfg.Log.Info("not leading any more", "term", term)
}

// replicated is the log as the engine wants it.
type replicated struct{ node *raftlog.Node }

var _ engine.Log = replicated{}

// Propose implements [engine.Log].
func (r replicated) Propose(ctx context.Context, data []byte) (uint64, any, error) {
	index, result, err := r.node.Propose(ctx, data)
	return index, result, publicError(err)
}

func publicError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raftlog.ErrNotLeader), errors.Is(err, raftlog.ErrNoQuorum):
		return api.Errorf(api.CodeNoLeader, "%v", err).WithHint("try again in a moment")
	case errors.Is(err, raftlog.ErrUnknownOutcome):
		return api.Errorf(api.CodeUnknownOutcome, "the leader changed while the request was written").
			WithHint("try again with the same idempotency key")
	case errors.Is(err, raftlog.ErrBusy):
		return api.Errorf(api.CodeOverloaded, "%v", err).WithHint("try again in a moment")
	case errors.Is(err, raftlog.ErrTooLarge):
		return api.Errorf(api.CodeTooLarge, "%v", err)
	case errors.Is(err, raftlog.ErrClosed):
		return api.Errorf(api.CodeUnavailable, "this master is stopping")
	}
	return err
}
