package raftlog

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/saki-run/saki/internal/netx"
)

// transport carries raft's messages over TCP. It differs from the library's in two ways. Heartbeats go through raft's main
// loop like every other message: handled beside it they can raise the term under a leader, and two values may then be
// applied at one index (hashicorp/raft #695). And it remembers how far each follower says its log goes.
type transport struct {
	*raft.NetworkTransport

	mu   sync.Mutex
	seen map[raft.ServerID]sighting
}

// sighting is what a follower last said of itself.
type sighting struct {
	last uint64 // its last log index
	at   time.Time
}

func listen(cfg Config) (*transport, error) {
	ln := cfg.Listener
	if ln == nil {
		var err error
		if ln, err = netx.Listen(context.Background(), cfg.Bind); err != nil {
			return nil, err
		}
	}
	addr := cfg.Advertise
	if addr == "" {
		addr = ln.Addr().String()
	}
	if host, _, err := net.SplitHostPort(addr); err != nil || host == "" || net.ParseIP(host).IsUnspecified() {
		ln.Close()
		return nil, fmt.Errorf("%q is not an address that others can dial; set an advertised one", addr)
	}
	return &transport{
		seen: map[raft.ServerID]sighting{},
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:                  &stream{Listener: ln, addr: advertised(addr), dial: cfg.Dial},
			MaxPool:                 3,
			Timeout:                 10 * time.Second,
			Logger:                  bridge(cfg.Logger),
			MsgpackUseNewTimeFormat: true,
		}),
	}, nil
}

// SetHeartbeatHandler drops the handler, which makes heartbeats go through the main loop.
func (t *transport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntries sends entries or a heartbeat and notes what the follower answers.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.NetworkTransport.AppendEntries(id, to, req, resp)
	if err == nil {
		t.mu.Lock()
		t.seen[id] = sighting{last: resp.LastLog, at: time.Now()}
		t.mu.Unlock()
	}
	return err
}

// sighting returns what a follower last said; the zero one when it never answered.
func (t *transport) sighting(id string) sighting {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen[raft.ServerID(id)]
}

// stream gives raft its connections.
type stream struct {
	net.Listener
	addr advertised
	dial func(ctx context.Context, addr string) (net.Conn, error)
}

func (s *stream) Addr() net.Addr { return s.addr }

func (s *stream) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.dial(ctx, string(to))
}

// advertised is the address that others dial.
type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }
