package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/internal/netx"
	"github.com/saki-run/saki/wire"
	"github.com/saki-run/saki/wire/link"
)

// Waits between tries to reach the leader.
const (
	firstWait = 50 * time.Millisecond
	maxWait   = 2 * time.Second
)

// repeatEvery is how often outcomes that no master has acknowledged are told again.
const repeatEvery = 10 * time.Second

// keepStream keeps a stream to the leader until ctx ends.
func (a *Agent) keepStream(ctx context.Context) error {
	wait := firstWait
	lastProblem := ""
	for ctx.Err() == nil {
		for _, addr := range a.tries() {
			welcomed, err := a.connect(ctx, addr)
			if welcomed {
				wait, lastProblem = firstWait, ""
			}
			if err == nil || ctx.Err() != nil {
				break
			}
			if msg := err.Error(); msg != lastProblem {
				a.cfg.Log.Info("no stream to the master", "master", addr, "error", msg)
				lastProblem = msg
			}
			if welcomed || a.leader != "" {
				break // begin again, with the leader that was named
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, maxWait)
	}
	return nil
}

// tries gives the masters to be asked: the one that was named as leader, then all.
func (a *Agent) tries() []string {
	masters := a.cfg.Masters()
	if a.leader == "" {
		return masters
	}
	hint := a.leader
	a.leader = ""
	out := []string{hint}
	for _, m := range masters {
		if m != hint {
			out = append(out, m)
		}
	}
	return out
}

// connect opens a stream to one master and speaks on it until it ends. welcomed tells whether the master took us.
func (a *Agent) connect(ctx context.Context, addr string) (welcomed bool, err error) {
	nc, err := a.upgrade(ctx, addr)
	if err != nil {
		return false, err
	}
	conn := wire.NewConn(nc)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	// News is gathered from before the table is read for the Hello, so that none falls between the two.
	a.reports.open()
	defer a.reports.close()
	if err := conn.Send(link.TypeHello, a.hello()); err != nil {
		return false, err
	}
	w, err := a.welcome(nc, conn)
	if err != nil {
		return false, err
	}
	a.cfg.Log.Info("connected", "master", w.Master, "addr", addr, "term", w.Term)
	a.metrics.connected.Set(1)
	defer a.metrics.connected.Set(0)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.reports.send(gctx, conn) })
	g.Go(func() error { return a.ping(gctx, conn) })
	g.Go(func() error {
		defer conn.Close()
		return a.obey(nc, conn)
	})
	return true, g.Wait()
}

func (a *Agent) hello() link.Hello {
	h := link.Hello{Cluster: a.cfg.Home.Cluster, Info: a.info(), Holds: a.holds(), MaxTerm: a.maxTerm}
	a.mu.Lock()
	defer a.mu.Unlock()
	h.Active, h.Ended = a.table.Active(), a.table.Unacknowledged()
	return h
}

func (a *Agent) welcome(nc net.Conn, conn *wire.Conn) (*link.Welcome, error) {
	deadline(nc)
	typ, body, err := conn.Recv()
	if err != nil {
		return nil, err
	}
	switch typ {
	case link.TypeRefused:
		var r link.Refused
		if err := wire.Unmarshal(body, &r); err != nil {
			return nil, err
		}
		a.leader = r.Leader
		return nil, fmt.Errorf("refused: %w", r.Error)
	case link.TypeWelcome:
		var w link.Welcome
		if err := wire.Unmarshal(body, &w); err != nil {
			return nil, err
		}
		if w.Term < a.maxTerm {
			return nil, fmt.Errorf("master %s leads in term %d, but term %d has been seen", w.Master, w.Term, a.maxTerm)
		}
		a.maxTerm = w.Term
		return &w, a.cfg.Home.Join(w.Cluster)
	}
	return nil, fmt.Errorf("master began with a frame of type %d", typ)
}

// obey reads what the master wants until the stream ends.
func (a *Agent) obey(nc net.Conn, conn *wire.Conn) error {
	for {
		deadline(nc)
		typ, body, err := conn.Recv()
		if err != nil {
			return err
		}
		switch typ {
		case link.TypePing:
		case link.TypeDesire:
			var d link.Desire
			if err := wire.Unmarshal(body, &d); err != nil {
				return err
			}
			a.desire(d)
		default:
			return fmt.Errorf("frame of unknown type %d", typ)
		}
	}
}

func deadline(nc net.Conn) {
	_ = nc.SetReadDeadline(time.Now().Add(3 * link.PingEvery * time.Second)) //nolint:forbidigo // the kernel's clock, not ours; a closed connection shows at the read
}

// ping keeps the stream alive and repeats outcomes that are not acknowledged.
func (a *Agent) ping(ctx context.Context, conn *wire.Conn) error {
	ping, repeat := time.NewTicker(link.PingEvery*time.Second), time.NewTicker(repeatEvery)
	defer ping.Stop()
	defer repeat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ping.C:
			if err := conn.Send(link.TypePing, struct{}{}); err != nil {
				return err
			}
		case <-repeat.C:
			a.mu.Lock()
			left := a.table.Unacknowledged()
			a.mu.Unlock()
			if len(left) > 0 {
				a.reports.ended(left...)
			}
		}
	}
}

// upgrade dials a master's HTTP port and turns the connection into a stream.
func (a *Agent) upgrade(ctx context.Context, addr string) (_ net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	nc, err := netx.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			nc.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+link.Path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", link.Protocol)
	if err := req.Write(nc); err != nil {
		return nil, err
	}
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return nil, a.turnedAway(resp)
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if r.Buffered() > 0 {
		return nil, errors.New("master spoke before it was spoken to")
	}
	return nc, nil
}

// turnedAway reads why a master did not take the stream, and who leads.
func (a *Agent) turnedAway(resp *http.Response) error {
	a.leader = resp.Header.Get("Saki-Leader")
	var body api.ErrorBody
	if json.NewDecoder(resp.Body).Decode(&body) == nil && body.Error != nil {
		return body.Error
	}
	return fmt.Errorf("master answered %s", resp.Status)
}
