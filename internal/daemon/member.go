// Package daemon puts the parts together: it gives masters and agents their listeners, gossip, runners and folders, and runs
// them as saki master, saki agent or, all in one process, saki dev.
package daemon

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/gossip"
	"github.com/saki-run/saki/internal/netx"
	"github.com/saki-run/saki/master"
)

// Roles in gossip.
const (
	roleMaster = "master"
	roleAgent  = "agent"
)

// newLog makes the logger of a daemon.
func newLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// member is a process's part in the gossip, as the daemons use it.
type member struct {
	*gossip.Gossip
	cluster string

	mu   sync.Mutex
	self gossip.Member
	last []string // masters' HTTP addresses, when there were any
}

type memberConfig struct {
	self   gossip.Member // Name is completed with the role
	bind   string
	join   []string
	key    []byte
	logger *slog.Logger
}

func newMember(c memberConfig) (*member, error) {
	c.self.ID, c.self.Name = c.self.Name, c.self.Role+"-"+c.self.Name
	g, err := gossip.New(gossip.Config{
		Self: c.self, Bind: c.bind, Join: c.join, Key: base64.StdEncoding.EncodeToString(c.key), Logger: c.logger.With("part", "gossip"),
	})
	if err != nil {
		return nil, err
	}
	return &member{Gossip: g, cluster: c.self.Cluster, self: c.self}, nil
}

// masters gives the masters of our cluster that gossip sees.
func (m *member) masters() []master.Peer {
	var out []master.Peer
	for _, x := range m.Masters() {
		if x.Cluster == m.cluster {
			out = append(out, master.Peer{Name: x.ID, API: x.API, Raft: x.Raft, HasState: x.Bootstrapped})
		}
	}
	return out
}

// masterAddrs gives the masters' HTTP addresses; when gossip sees none, those it saw last.
func (m *member) masterAddrs() []string {
	var out []string
	for _, p := range m.masters() {
		out = append(out, p.API)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(out) > 0 {
		m.last = out
	}
	return m.last
}

// announce tells the others whether this master is part of a group.
func (m *member) announce(hasState bool) {
	m.mu.Lock()
	m.self.Bootstrapped = hasState
	self := m.self
	m.mu.Unlock()
	if err := m.Update(self); err != nil {
		slog.Default().Debug("announce", "error", err) // gossip repeats its state by itself
	}
}

// serve answers HTTP until ctx ends, and then gives requests under way a moment to finish.
func serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	srv := netx.HTTPServer(h, log)
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
		defer cancel()
		if srv.Shutdown(end) != nil {
			srv.Close()
		}
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// listen is netx.Listen with words for people when the address is taken.
func listen(ctx context.Context, addr, hint string) (net.Listener, error) {
	l, err := netx.Listen(ctx, addr)
	if used, ok := errors.AsType[*netx.InUseError](err); ok {
		return nil, api.Errorf(api.CodeInUse, "%v", used).WithHint("%s", hint)
	}
	return l, err
}

// warnOpen says loudly, once, that the members listen on the network and believe everybody who speaks to them.
func warnOpen(log *slog.Logger, key []byte, addrs ...string) {
	for _, a := range addrs {
		if len(key) == 0 && a != "" && !netx.IsLoopback(a) {
			log.Warn("LISTENING BEYOND THIS MACHINE WITHOUT A --gossip-key: everybody who reaches these addresses can run tasks here", "addr", a)
			return
		}
	}
}
