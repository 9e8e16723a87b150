// Package gossip lets masters and agents find each other. It is the only package that imports memberlist.
//
// Membership is a hint and never truth: whoever holds the key can claim anything, and the view may be old or split.
package gossip

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/saki-run/saki/internal/netx"
)

// Config are the settings. Self, with Name and Role, and Bind are required.
type Config struct {
	Self      Member
	Bind      string   // "ip:port"; port 0 picks one
	Advertise string   // "ip:port" that others use; default the bound one
	Join      []string // gossip addresses to look for others at
	Key       string   // 16, 24 or 32 bytes in hex or base64; empty: not encrypted
	Logger    *slog.Logger
}

// Gossip is one member. Safe for concurrent use.
type Gossip struct {
	cfg  Config
	list *memberlist.Memberlist
	addr string
	wake chan struct{}

	viewMu sync.Mutex // guards view
	view   map[string]Member

	mu    sync.Mutex // guards the fields below
	self  Member
	meta  []byte
	known map[string]bool // addresses of masters seen so far
}

// New checks the settings, listens, and answers others; it looks for none before Run. Run must follow.
func New(cfg Config) (*Gossip, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Self.Name == "" || len(cfg.Self.Name) > 128 {
		return nil, errors.New("gossip: a name of 1 to 128 bytes is required")
	}
	meta, err := cfg.Self.encode()
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	g := &Gossip{cfg: cfg, wake: make(chan struct{}, 1), self: cfg.Self, meta: meta, known: map[string]bool{}, view: map[string]Member{}}
	c := memberlist.DefaultLANConfig()
	if netx.IsLoopback(cfg.Bind) {
		c.GossipInterval, c.ProbeInterval = 50*time.Millisecond, 500*time.Millisecond
	}
	c.ProbeTimeout = min(time.Second, c.ProbeInterval)
	c.Name, c.Label = cfg.Self.Name, cfg.Self.Cluster
	c.DeadNodeReclaimTime, c.GossipToTheDeadTime = 30*time.Second, 10*time.Minute
	c.HandoffQueueDepth, c.UDPBufferSize = 4096, 1350
	c.Delegate, c.Events, c.Conflict = g, g, g
	c.Logger = slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug)
	if c.BindAddr, c.BindPort, err = split(cfg.Bind); err != nil {
		return nil, err
	}
	c.AdvertisePort = c.BindPort
	if cfg.Advertise != "" {
		if c.AdvertiseAddr, c.AdvertisePort, err = split(cfg.Advertise); err != nil {
			return nil, err
		}
	}
	if c.SecretKey, err = parseKey(cfg.Key); err != nil {
		return nil, err
	}
	c.GossipVerifyIncoming, c.GossipVerifyOutgoing = true, true
	if g.list, err = memberlist.Create(c); err != nil {
		return nil, fmt.Errorf("gossip on %s: %w", cfg.Bind, err)
	}
	g.addr = g.list.LocalNode().Address()
	return g, nil
}

// Run looks for others, again every 10 s or so while any known master or join address is missing, which heals a split.
// When ctx ends it tells the others, for at most 2 s, and returns nil.
func (g *Gossip) Run(ctx context.Context) error {
	for {
		g.rejoin()
		select {
		case <-time.After(8*time.Second + rand.N(4*time.Second)):
		case <-ctx.Done():
			if err := g.list.Leave(2 * time.Second); err != nil {
				g.cfg.Logger.Debug("gossip: leave", "error", err)
			}
			return g.list.Shutdown()
		}
	}
}

func (g *Gossip) rejoin() {
	here := map[string]bool{}
	members := g.Members()
	g.mu.Lock()
	for _, m := range members {
		here[m.Addr] = true
		if m.Role == "master" {
			g.known[m.Addr] = true
		}
	}
	var missing []string
	for _, a := range g.cfg.Join {
		if !here[a] {
			missing = append(missing, a)
		}
	}
	for a := range g.known {
		if !here[a] && !slices.Contains(missing, a) {
			missing = append(missing, a)
		}
	}
	g.mu.Unlock()
	if len(missing) > 0 {
		if n, err := g.list.Join(missing); err != nil {
			g.cfg.Logger.Debug("gossip: join", "reached", n, "error", err)
		}
	}
}

// Addr returns the gossip address that others use.
func (g *Gossip) Addr() string { return g.addr }

// Members returns the live members, this one included, by name. Those whose metadata is not understood are left out.
func (g *Gossip) Members() []Member {
	g.viewMu.Lock()
	out := slices.Collect(maps.Values(g.view))
	g.viewMu.Unlock()
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Masters returns the live members that say they are masters.
func (g *Gossip) Masters() []Member {
	return slices.DeleteFunc(g.Members(), func(m Member) bool { return m.Role != "master" })
}

// Watch returns a channel that holds a token when members came, left or changed since it was last read. Several changes
// may share one; read Members after it. There is one channel, for one reader.
func (g *Gossip) Watch() <-chan struct{} { return g.wake }

// Update changes what this member says of itself; its name stays.
func (g *Gossip) Update(m Member) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.self, g.meta = m, b
	g.mu.Unlock()
	return g.list.UpdateNode(2 * time.Second)
}

// changed takes a copy: what memberlist hands out may be read only while it calls us.
func (g *Gossip) changed(n *memberlist.Node, gone bool) {
	m, err := decodeMeta(n.Meta)
	m.Name, m.Addr = n.Name, n.Address()
	g.viewMu.Lock()
	if gone || err != nil {
		delete(g.view, n.Name)
	} else {
		g.view[n.Name] = m
	}
	g.viewMu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// NodeMeta and the methods below are called by memberlist and never block it.
func (g *Gossip) NodeMeta(int) []byte { g.mu.Lock(); defer g.mu.Unlock(); return g.meta }

// NotifyJoin reports a member that came.
func (g *Gossip) NotifyJoin(n *memberlist.Node) { g.changed(n, false) }

// NotifyLeave reports a member that left or died.
func (g *Gossip) NotifyLeave(n *memberlist.Node) { g.changed(n, true) }

// NotifyUpdate reports new metadata.
func (g *Gossip) NotifyUpdate(n *memberlist.Node) { g.changed(n, false) }

// NotifyConflict reports two members of one name.
func (g *Gossip) NotifyConflict(a, b *memberlist.Node) {
	g.cfg.Logger.Error("two members have one name; rename one", "name", a.Name, "first", a.Address(), "second", b.Address())
}

// NotifyMsg is not used.
func (g *Gossip) NotifyMsg([]byte) {}

// GetBroadcasts is not used.
func (g *Gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState is not used.
func (g *Gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState is not used.
func (g *Gossip) MergeRemoteState([]byte, bool) {}

func split(addr string) (string, int, error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("gossip address %q: %w", addr, err)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("gossip address %q: %w", addr, err)
	}
	return host, int(port), nil
}

func parseKey(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if b, err := decode(s); err == nil && (len(b) == 16 || len(b) == 24 || len(b) == 32) {
			return b, nil
		}
	}
	return nil, errors.New("gossip: the key must be 16, 24 or 32 bytes in hex or base64")
}
