package session

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
	"github.com/saki-run/saki/master/engine"
	"github.com/saki-run/saki/wire"
	"github.com/saki-run/saki/wire/link"
)

// fakeLog is a log of one member: what is proposed is applied at once.
type fakeLog struct {
	machine *engine.Machine
	index   uint64
}

var _ engine.Log = (*fakeLog)(nil)

func (l *fakeLog) Propose(_ context.Context, data []byte) (uint64, any, error) {
	l.index++
	return l.index, l.machine.Apply(l.index, data), nil
}

// leader is a Manager and an engine that lead.
type leader struct {
	*Manager
	engine *engine.Engine
	view   func() core.View
	resign context.CancelFunc
}

// lead makes a leader in term 7. It is for use in a synctest bubble, and has resigned when the test ends.
func lead(t *testing.T, grace time.Duration, wrap func(Engine) Engine) *leader {
	t.Helper()
	m := New(Config{Cluster: "test", Master: "m1", Grace: grace, Hub: &engine.Hub{}, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	machine := engine.NewMachine(func(err error) { t.Error(err) }, m.Applied)
	e := engine.New(engine.Config{Log: &fakeLog{machine: machine}, Machine: machine, Now: time.Now})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go e.Run(ctx)
	synctest.Wait()
	go m.Lead(ctx, 7, wrap(e), machine.View)
	synctest.Wait()
	return &leader{m, e, machine.View, cancel}
}

func plain(e Engine) Engine { return e }

// peer is an agent's end of a stream.
type peer struct {
	*wire.Conn
	served chan error
}

// dial opens a stream without saying anything on it.
func (l *leader) dial(t *testing.T) *peer {
	t.Helper()
	ours, theirs := net.Pipe()
	p := &peer{wire.NewConn(ours), make(chan error, 1)}
	t.Cleanup(func() { p.Close() })
	go func() { p.served <- l.Serve(t.Context(), theirs) }()
	return p
}

func hello() link.Hello {
	return link.Hello{Cluster: "test", Info: api.NodeInfo{ID: "n1", Name: "a1", Total: api.Resources{CPUs: 1000, Mem: api.GiB}, Runtimes: []api.Kind{api.Shell}}}
}

// greet says hello and gives the type of the answer.
func (p *peer) greet(t *testing.T, h link.Hello) wire.Type {
	t.Helper()
	if err := p.Send(link.TypeHello, h); err != nil {
		t.Fatal(err)
	}
	typ, _, err := p.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

// listen takes what the master sends, and gives a channel that is closed when the stream ends.
func (p *peer) listen() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, _, err := p.Recv(); err != nil {
				return
			}
		}
	}()
	return ended
}

// keep listens and pings until the stream ends.
func (p *peer) keep() {
	ended, tick := p.listen(), time.NewTicker(time.Second)
	defer tick.Stop()
	for p.Send(link.TypePing, struct{}{}) == nil {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
	}
}

func (l *leader) state(t *testing.T) api.NodeState {
	t.Helper()
	synctest.Wait()
	n := l.view().Node("n1")
	if n == nil {
		t.Fatal("the state has no node n1")
	}
	return n.State
}

func TestAnAgentThatStaysAwayIsLostAfterItsGraceAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lead(t, 20*time.Second, plain)
		p := l.dial(t)
		if typ := p.greet(t, hello()); typ != link.TypeWelcome {
			t.Fatalf("the answer is of type %d", typ)
		}
		go p.keep()
		time.Sleep(time.Minute)
		if got := l.state(t); got != api.NodeReady || !l.Available("n1") {
			t.Fatalf("with its stream up the agent is %s, available %v", got, l.Available("n1"))
		}
		p.Close()
		if got := l.state(t); got != api.NodeAway || l.Available("n1") {
			t.Fatalf("without its stream the agent is %s, available %v", got, l.Available("n1"))
		}
		time.Sleep(20*time.Second - time.Nanosecond)
		if got := l.state(t); got != api.NodeAway {
			t.Fatalf("before the end of its grace the agent is %s", got)
		}
		time.Sleep(time.Second)
		if got := l.state(t); got != api.NodeLost {
			t.Fatalf("after its grace the agent is %s", got)
		}
	})
}

func TestAnAgentThatComesBackInTimeIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lead(t, 20*time.Second, plain)
		p := l.dial(t)
		p.greet(t, hello())
		go p.keep()
		synctest.Wait()
		p.Close()
		time.Sleep(19 * time.Second)
		again := l.dial(t)
		again.greet(t, hello())
		go again.keep()
		time.Sleep(time.Minute)
		if got := l.state(t); got != api.NodeReady || !l.Available("n1") {
			t.Errorf("the agent is %s, available %v", got, l.Available("n1"))
		}
	})
}

func TestAnAgentThatFallsSilentIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lead(t, time.Hour, plain)
		p := l.dial(t)
		p.greet(t, hello())
		p.listen() // and it never says anything again
		time.Sleep(3*link.PingEvery*time.Second + time.Second)
		if got := l.state(t); got != api.NodeAway {
			t.Errorf("the agent is %s", got)
		}
	})
}

// slowUp holds up what a NodeUp is answered with, once it is committed.
type slowUp struct {
	Engine
	committed chan struct{}
	goOn      chan struct{}
}

func (s slowUp) Do(ctx context.Context, cmds ...core.Command) ([]core.Event, error) {
	ev, err := s.Engine.Do(ctx, cmds...)
	if _, up := cmds[0].(*core.NodeUp); up {
		s.committed <- struct{}{}
		<-s.goOn
	}
	return ev, err
}

// An old stream's end may be noticed while the new one is being admitted. It must not leave the agent away, with a stream that is up.
func TestTheEndOfAnOldStreamDoesNotOvertakeTheNewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := slowUp{committed: make(chan struct{}), goOn: make(chan struct{})}
		l := lead(t, 20*time.Second, func(e Engine) Engine { slow.Engine = e; return slow })
		old, fresh := l.dial(t), l.dial(t)
		if err := old.Send(link.TypeHello, hello()); err != nil {
			t.Fatal(err)
		}
		<-slow.committed
		slow.goOn <- struct{}{}
		go old.keep()
		synctest.Wait()
		if err := fresh.Send(link.TypeHello, hello()); err != nil {
			t.Fatal(err)
		}
		<-slow.committed
		old.Close()
		<-old.served
		synctest.Wait()
		slow.goOn <- struct{}{}
		go fresh.keep()
		time.Sleep(time.Minute)
		if got := l.state(t); got != api.NodeReady || !l.Available("n1") {
			t.Errorf("the agent is %s, available %v", got, l.Available("n1"))
		}
	})
}

func TestHellosThatAreTurnedAway(t *testing.T) {
	tests := map[string]func(*link.Hello){
		"of another cluster":           func(h *link.Hello) { h.Cluster = "other" },
		"that have seen a newer term":  func(h *link.Hello) { h.MaxTerm = 8 },
		"without an id":                func(h *link.Hello) { h.Info.ID = "" },
		"with a name that is no name":  func(h *link.Hello) { h.Info.Name = "../x" },
		"that offer less than nothing": func(h *link.Hello) { h.Info.Total.Mem = -1 },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lead(t, time.Second, plain)
				h := hello()
				change(&h)
				p := l.dial(t)
				if typ := p.greet(t, h); typ != link.TypeRefused {
					t.Errorf("the answer is of type %d", typ)
				}
				<-p.served
				if l.view().Node(h.Info.ID) != nil || l.Available(h.Info.ID) {
					t.Error("the node is part of the state")
				}
			})
		})
	}
}

func TestAStreamThatBeginsWithSomethingElseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lead(t, time.Second, plain)
		p := l.dial(t)
		if err := p.SendRaw(link.TypeReport, []byte("garbage")); err != nil {
			t.Fatal(err)
		}
		if err := <-p.served; err == nil {
			t.Error("it ended without an error")
		}
	})
}

func TestResigningEndsTheStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lead(t, time.Second, plain)
		p := l.dial(t)
		p.greet(t, hello())
		go p.keep()
		synctest.Wait()
		l.resign()
		<-p.served
		if l.Available("n1") {
			t.Error("the agent is available to a master that does not lead")
		}
		q := l.dial(t)
		if typ := q.greet(t, hello()); typ != link.TypeRefused {
			t.Errorf("the answer is of type %d", typ)
		}
	})
}
