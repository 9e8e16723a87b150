package raftlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// kv is a small state machine: an entry "key=value" sets a key.
type kv struct {
	mu       sync.Mutex
	values   map[string]string
	order    []string // every applied entry since the last restore
	restored int
}

var _ FSM = (*kv)(nil)

func (m *kv) Apply(index uint64, data []byte) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		m.values = map[string]string{}
	}
	var k, v string
	fmt.Sscanf(string(data), "%s %s", &k, &v)
	m.values[k] = v
	m.order = append(m.order, string(data))
	return fmt.Sprintf("%d:%s", index, data)
}

func (m *kv) Snapshot() (func(w io.Writer) error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := json.Marshal(m.values)
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}, err
}

func (m *kv) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	next := map[string]string{}
	if err := json.Unmarshal(b, &next); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values, m.order, m.restored = next, nil, m.restored+1
	return nil
}

func (m *kv) state() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.values)
}

func (m *kv) restores() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.restored
}

// group is a cluster over loopback, each member in a directory of its own.
type group struct {
	t     *testing.T
	conf  Config
	root  string
	dirs  map[string]string
	addrs map[string]string
	nodes map[string]*Node
	fsms  map[string]*kv
}

func newGroup(t *testing.T, conf Config) *group {
	if conf.Timeout == 0 {
		conf.Timeout = 200 * time.Millisecond
	}
	g := &group{
		t: t, conf: conf, root: t.TempDir(), dirs: map[string]string{}, addrs: map[string]string{}, nodes: map[string]*Node{}, fsms: map[string]*kv{},
	}
	t.Cleanup(func() {
		for _, n := range g.nodes {
			n.Close()
		}
	})
	return g
}

// start opens a member; one that was there before gets its old directory and address.
func (g *group) start(id string) *Node {
	g.t.Helper()
	c := g.conf
	c.ID = id
	if c.Bind = g.addrs[id]; c.Bind == "" {
		c.Bind = "127.0.0.1:0"
		g.dirs[id] = filepath.Join(g.root, id)
	}
	c.Dir = g.dirs[id]
	if c.Exit == nil {
		c.Exit = func(err error) { g.t.Errorf("%s: %v", id, err) }
	}
	if c.Logger == nil && testing.Verbose() {
		c.Logger = slog.New(slog.NewTextHandler(testWriter{g.t}, nil)).With("id", id)
	}
	g.fsms[id] = &kv{}
	n, err := Open(c, g.fsms[id])
	if err != nil {
		g.t.Fatal(err)
	}
	g.nodes[id], g.addrs[id] = n, string(n.trans.LocalAddr())
	return n
}

// stop ends a member without handing leadership over, as a crash would.
func (g *group) stop(id string) {
	g.t.Helper()
	n := g.nodes[id]
	n.closing.Do(func() { n.closeErr = n.release() })
	if n.closeErr != nil {
		g.t.Errorf("close %s: %v", id, n.closeErr)
	}
	delete(g.nodes, id)
}

func (g *group) bootstrap(ids ...string) {
	g.t.Helper()
	var ms []Member
	for _, id := range ids {
		g.start(id)
		ms = append(ms, Member{ID: id, Addr: g.addrs[id]})
	}
	for _, id := range ids {
		if err := g.nodes[id].Bootstrap(ms); err != nil && !errors.Is(err, ErrHasState) {
			g.t.Fatal(err)
		}
	}
}

// leader waits for one member that leads, which a barrier proves.
func (g *group) leader() (string, *Node) {
	g.t.Helper()
	var id string
	g.eventually("a leader", func() bool {
		for _, i := range slices.Sorted(maps.Keys(g.nodes)) {
			ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Second)
			err := g.nodes[i].Barrier(ctx)
			cancel()
			if err == nil {
				id = i
				return true
			}
		}
		return false
	})
	return id, g.nodes[id]
}

func (g *group) eventually(what string, ok func() bool) {
	g.t.Helper()
	limit, tick := time.After(30*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			g.t.Fatalf("waited 30 s for %s", what)
		}
	}
}

// same waits until all running members have the state of the given one.
func (g *group) same(id string) {
	g.t.Helper()
	want := g.fsms[id].state()
	for other := range g.nodes {
		g.eventually(other+" to have the state of "+id, func() bool { return maps.Equal(want, g.fsms[other].state()) })
	}
}

func (g *group) put(n *Node, key, value string) {
	g.t.Helper()
	if _, _, err := n.Propose(g.t.Context(), []byte(key+" "+value)); err != nil {
		g.t.Fatal(err)
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}
