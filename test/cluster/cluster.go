// Package cluster runs whole clusters inside a test: real masters with real Raft over loopback, real agents with their
// streams and journals, and runners that the test provides. Gossip is left out: everybody knows everybody.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/saki-run/saki/agent"
	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/blob"
	"github.com/saki-run/saki/internal/netx"
	"github.com/saki-run/saki/master"
	"github.com/saki-run/saki/master/core"
)

// Config says what to start. The zero value is one master and no agents.
type Config struct {
	Masters   int           // default 1
	NodeGrace time.Duration // default 20 s
	Keeping   core.Keeping
	Log       *slog.Logger // default: none
}

// Cluster is what runs. Its methods are safe for concurrent use.
type Cluster struct {
	t   testing.TB
	cfg Config

	mu      sync.Mutex
	masters map[string]*Master
	state   map[string]bool // announced
	agents  map[string]*Agent
}

// Master is one master of a Cluster.
type Master struct {
	*master.Master
	Name string
	Addr string // of its HTTP API
	raft string
	dir  string
	stop func()
	done chan error
}

// Agent is one agent of a Cluster.
type Agent struct {
	Name string
	Home string
	stop func(end bool)
	done chan error
}

// Start starts a cluster that is stopped at the end of the test.
func Start(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	if cfg.Masters == 0 {
		cfg.Masters = 1
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{t: t, cfg: cfg, masters: map[string]*Master{}, state: map[string]bool{}, agents: map[string]*Agent{}}
	var listeners []net.Listener
	for i := range cfg.Masters {
		l := c.listen("127.0.0.1:0")
		listeners = append(listeners, l)
		name := fmt.Sprintf("m%d", i+1)
		c.masters[name] = &Master{Name: name, raft: l.Addr().String(), dir: filepath.Join(t.TempDir(), name)}
	}
	for i, l := range listeners {
		c.startMaster(c.masters[fmt.Sprintf("m%d", i+1)], l)
	}
	t.Cleanup(c.stopAll)
	return c
}

func (c *Cluster) listen(addr string) net.Listener {
	c.t.Helper()
	l, err := netx.Listen(context.Background(), addr)
	if err != nil {
		c.t.Fatal(err)
	}
	return l
}

func (c *Cluster) startMaster(m *Master, raft net.Listener) {
	c.t.Helper()
	addr := m.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	web := c.listen(addr)
	c.mu.Lock()
	m.Addr = web.Addr().String()
	c.mu.Unlock()
	timeout := 300 * time.Millisecond
	if c.cfg.Masters == 1 {
		timeout = 0
	}
	mm, err := master.New(master.Config{
		Name: m.Name, Cluster: "test", DataDir: m.dir, API: m.Addr, Raft: raft, Expect: c.cfg.Masters,
		Peers: c.peers, Announce: func(has bool) { c.announce(m.Name, has) },
		NodeGrace: c.cfg.NodeGrace, Keeping: c.cfg.Keeping, RaftTimeout: timeout, Log: c.cfg.Log.With("master", m.Name),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	srv := netx.HTTPServer(mm.Handler(), c.cfg.Log)
	m.Master, m.done = mm, make(chan error, 1)
	go func() {
		if err := srv.Serve(web); !errors.Is(err, http.ErrServerClosed) {
			c.cfg.Log.Error("serve", "error", err)
		}
	}()
	go func() {
		err := mm.Run(ctx)
		srv.Close()
		m.done <- err
	}()
	m.stop = cancel
}

func (c *Cluster) announce(name string, has bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state[name] = has
}

// peers is what gossip would say: masters that were stopped are still seen, so that their address is known.
func (c *Cluster) peers() []master.Peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []master.Peer
	for _, m := range c.masters {
		out = append(out, master.Peer{Name: m.Name, API: m.Addr, Raft: m.raft, HasState: c.state[m.Name]})
	}
	return out
}

// URLs gives the addresses of all masters.
func (c *Cluster) URLs() []string {
	var out []string
	for _, p := range c.peers() {
		out = append(out, "http://"+p.API)
	}
	return out
}

// Leader waits until a master leads and gives it.
func (c *Cluster) Leader() *Master {
	c.t.Helper()
	var found *Master
	c.Until("a master leads", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, m := range c.masters {
			if m.Master != nil && m.Leading() {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// Until waits until the condition holds, or fails the test after half a minute.
func (c *Cluster) Until(what string, cond func() bool) {
	c.t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// Stop stops a master, which keeps its data and can be started again.
func (c *Cluster) Stop(m *Master) {
	c.t.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		c.t.Errorf("master %s: %v", m.Name, err)
	}
	c.mu.Lock()
	m.Master = nil
	c.mu.Unlock()
}

// Restart starts a stopped master with its old data and addresses.
func (c *Cluster) Restart(m *Master) {
	c.t.Helper()
	c.startMaster(m, c.listen(m.raft))
}

// AddAgent starts an agent. home is the folder of an earlier one of the name, or "" for a new one.
func (c *Cluster) AddAgent(name, home string, runners map[api.Kind]runner.Runner, change func(*agent.Config)) *Agent {
	c.t.Helper()
	if home == "" {
		home = filepath.Join(c.t.TempDir(), name)
	}
	h, err := agent.OpenHome(home)
	if err != nil {
		c.t.Fatal(err)
	}
	blobs, err := blob.Open(filepath.Join(home, "blobs"))
	if err != nil {
		c.t.Fatal(err)
	}
	web := c.listen("127.0.0.1:0")
	cfg := agent.Config{
		Home: h, Name: name, Addr: web.Addr().String(), Runners: runners, Blobs: blobs, Now: time.Now, Log: c.cfg.Log.With("agent", name),
		Total: api.Resources{CPUs: 4000, Mem: 8 * api.GiB, Disk: 100 * api.GiB, Ports: api.Ports{{First: 8000, Last: 8100}}},
		Masters: func() []string {
			var out []string
			for _, p := range c.peers() {
				out = append(out, p.API)
			}
			return out
		},
	}
	if change != nil {
		change(&cfg)
	}
	a, err := agent.New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	srv := netx.HTTPServer(a.Handler(), c.cfg.Log)
	go func() { _ = srv.Serve(web) }()
	ctx, cancel := context.WithCancel(context.Background())
	x := &Agent{Name: name, Home: home, done: make(chan error, 1)}
	x.stop = func(bool) { cancel() }
	go func() {
		err := a.Run(ctx)
		srv.Close()
		x.done <- errors.Join(err, blobs.Close(), h.Close())
	}()
	c.mu.Lock()
	c.agents[name] = x
	c.mu.Unlock()
	return x
}

// StopAgent stops an agent; its attempts are left running where the runner can.
func (c *Cluster) StopAgent(a *Agent) {
	c.t.Helper()
	c.mu.Lock()
	delete(c.agents, a.Name)
	c.mu.Unlock()
	a.stop(false)
	if err := <-a.done; err != nil {
		c.t.Errorf("agent %s: %v", a.Name, err)
	}
}

func (c *Cluster) stopAll() {
	c.mu.Lock()
	agents, masters := c.agents, c.masters
	c.mu.Unlock()
	for _, a := range agents {
		c.StopAgent(a)
	}
	for _, m := range masters {
		if m.Master != nil {
			c.Stop(m)
		}
	}
}
