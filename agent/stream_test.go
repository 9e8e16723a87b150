package agent

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/blob"
	"github.com/saki-run/saki/wire"
	"github.com/saki-run/saki/wire/link"
)

// atOnce runs tasks that end at once.
type atOnce struct{}

var _ runner.Runner = atOnce{}

func (atOnce) Probe(context.Context) runner.Capability {
	return runner.Capability{Kind: api.Shell, OK: true}
}

func (atOnce) Run(context.Context, *api.Task, runner.IO) (api.Outcome, error) {
	return api.Outcome{State: api.Finished, Reason: api.ReasonExit, Inline: true}, nil
}

// fakeMaster hands the streams that agents open to the test.
type fakeMaster struct {
	*httptest.Server
	streams chan *wire.Conn
}

func startMaster(t *testing.T) *fakeMaster {
	t.Helper()
	m := &fakeMaster{streams: make(chan *wire.Conn, 16)}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != link.Path || r.Header.Get("Upgrade") != link.Protocol {
			t.Errorf("asked for %s, upgrade %q", r.URL, r.Header.Get("Upgrade"))
		}
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = nc.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + link.Protocol + "\r\n\r\n"))
		m.streams <- wire.NewConn(nc)
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *fakeMaster) addr() string { return m.Listener.Addr().String() }

// accept takes the agent's next stream and its hello.
func (m *fakeMaster) accept(t *testing.T) (*wire.Conn, link.Hello) {
	t.Helper()
	select {
	case c := <-m.streams:
		t.Cleanup(func() { c.Close() })
		return c, next[link.Hello](t, c, link.TypeHello)
	case <-time.After(20 * time.Second):
		t.Fatal("no agent came")
		return nil, link.Hello{}
	}
}

// next gives the next message of a type, passing over others.
func next[T any](t *testing.T, c *wire.Conn, want wire.Type) (v T) {
	t.Helper()
	for {
		typ, body, err := c.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if typ == want {
			if err := wire.Unmarshal(body, &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
}

func send(t *testing.T, c *wire.Conn, typ wire.Type, v any) {
	t.Helper()
	if err := c.Send(typ, v); err != nil {
		t.Fatal(err)
	}
}

// startAgent runs an agent that knows these masters until the test ends.
func startAgent(t *testing.T, masters ...string) {
	t.Helper()
	home, err := OpenHome(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.Open(filepath.Join(home.Dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{
		Home: home, Name: "a1", Addr: "127.0.0.1:1", Total: api.Resources{CPUs: 1000}, Blobs: blobs,
		Runners: map[api.Kind]runner.Runner{api.Shell: atOnce{}}, Masters: func() []string { return masters },
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the agent ended: %v", err)
		}
		_, _ = blobs.Close(), home.Close()
	})
}

func welcome(term uint64) link.Welcome {
	return link.Welcome{Cluster: "test", Term: term, Master: "m1"}
}

func TestAnOutcomeIsToldUntilItIsAcknowledged(t *testing.T) {
	m := startMaster(t)
	startAgent(t, m.addr())
	task := &api.Task{ID: "t1", Attempt: 1, Spec: &api.Spec{Namespace: "default", Shell: &api.ShellSpec{Script: "true"}}}
	at := link.Attempt{Task: "t1", Number: 1}

	c, h := m.accept(t)
	if h.Cluster != "" || h.Info.Name != "a1" || len(h.Active)+len(h.Ended) != 0 {
		t.Errorf("a new agent says %+v", h)
	}
	send(t, c, link.TypeWelcome, welcome(3))
	send(t, c, link.TypeDesire, link.Desire{Whole: true, Run: []*api.Task{task}})
	if rep := next[link.Report](t, c, link.TypeReport); len(rep.Ended) != 1 || rep.Ended[0].Attempt != at {
		t.Fatalf("the report is %+v", rep)
	}
	c.Close() // before it is acknowledged

	c, h = m.accept(t)
	if h.Cluster != "test" || h.MaxTerm != 3 || len(h.Ended) != 1 || h.Ended[0].Attempt != at {
		t.Fatalf("after the stream broke the agent says %+v", h)
	}
	send(t, c, link.TypeWelcome, welcome(4))
	send(t, c, link.TypeDesire, link.Desire{Whole: true, Acks: []link.Attempt{at}})
	send(t, c, link.TypeDesire, link.Desire{Run: []*api.Task{{ID: "t2", Attempt: 1, Spec: task.Spec}}})
	next[link.Report](t, c, link.TypeReport) // so the acknowledgement before is taken in
	c.Close()

	_, h = m.accept(t)
	if len(h.Ended) != 1 || h.Ended[0].Task != "t2" {
		t.Errorf("after the acknowledgement the agent says %+v", h)
	}
}

func TestAMasterOfAnOlderTermIsNotObeyed(t *testing.T) {
	m := startMaster(t)
	startAgent(t, m.addr())
	c, _ := m.accept(t)
	send(t, c, link.TypeWelcome, welcome(9))
	c.Close()
	c, _ = m.accept(t)
	send(t, c, link.TypeWelcome, welcome(8))
	if _, _, err := c.Recv(); err == nil {
		t.Error("the agent stays with a master of an older term")
	}
}

func TestAnAgentGoesToTheLeaderThatItIsTold(t *testing.T) {
	leader := startMaster(t)
	follower := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Saki-Leader", leader.addr())
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"error":{"code":"no_leader","message":"master m1 leads"}}`))
	}))
	defer follower.Close()
	startAgent(t, follower.Listener.Addr().String()) // gossip does not know the leader yet
	c, _ := leader.accept(t)
	send(t, c, link.TypeWelcome, welcome(1))
}
