package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client/clienttest"
)

func newClient(t *testing.T, addrs ...string) *Client {
	t.Helper()
	c, err := New(Config{Addrs: addrs})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// closedAddr is an address that nobody listens on.
func closedAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func ended(id api.TaskID) api.Task {
	return api.Task{ID: id, Spec: &api.Spec{}, State: api.Finished, Attempt: 1, Outcome: &api.Outcome{State: api.Finished, Inline: true}}
}

func TestParseAddrs(t *testing.T) {
	for in, want := range map[string][]string{
		"":                               {DefaultAddr},
		"10.0.0.1:5050":                  {"http://10.0.0.1:5050"},
		"m1, http://m2:80/,https://m3/x": {"http://m1:5050", "http://m2:80", "https://m3/x"},
		"[::1]":                          {"http://[::1]:5050"},
	} {
		got, err := ParseAddrs(in)
		if err != nil {
			t.Errorf("ParseAddrs(%q): %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ParseAddrs(%q) (-want +got):\n%s", in, diff)
		}
	}
	for _, in := range []string{"ftp://m1", "http://", "http://a b", "http://u:p@m1", "m1:5050?x=1", "http://m1:port"} {
		if got, err := ParseAddrs(in); err == nil {
			t.Errorf("ParseAddrs(%q) = %q, want an error", in, got)
		}
	}
}

func FuzzParseAddrs(f *testing.F) {
	f.Add("m1, http://m2:80/,https://m3/x")
	f.Add("[::1]:5050")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseAddrs(s)
		if err != nil {
			return
		}
		again, err := ParseAddrs(strings.Join(got, ","))
		if err != nil || !cmp.Equal(got, again) {
			t.Errorf("ParseAddrs(%q) = %q, which reads as %q, %v", s, got, again, err)
		}
	})
}

func TestUnreachableNamesEveryAddress(t *testing.T) {
	a, b := closedAddr(t), closedAddr(t)
	_, err := newClient(t, a, b).Nodes(t.Context())
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Code != api.CodeUnreachable || e.Hint == "" {
		t.Fatalf("got %v, want code unreachable with a hint", err)
	}
	for _, want := range []string{a + ": connection refused", b + ": connection refused"} {
		if !strings.Contains(e.Message, want) {
			t.Errorf("message %q lacks %q", e.Message, want)
		}
	}
}

func TestNextMasterIsTried(t *testing.T) {
	m := &clienttest.Master{Nodes: func() ([]api.Node, error) { return []api.Node{{State: api.NodeReady}}, nil }}
	c := newClient(t, closedAddr(t), m.Start(t))
	for range 2 {
		if nodes, err := c.Nodes(t.Context()); err != nil || len(nodes) != 1 {
			t.Fatalf("got %v, %v; want one node", nodes, err)
		}
	}
	if got := c.current.Load(); got != 1 {
		t.Errorf("the next request begins with master %d, want the one that answered", got)
	}
}

func TestSubmitIsRepeatedWithItsKey(t *testing.T) {
	var keys []string
	m := &clienttest.Master{Submit: func(_ []api.Spec, key string, _ time.Duration) ([]api.Task, error) {
		switch keys = append(keys, key); len(keys) {
		case 1:
			return nil, api.Errorf(api.CodeNoLeader, "no leader")
		case 2:
			return nil, api.Errorf(api.CodeUnknownOutcome, "the leader went away")
		}
		return []api.Task{ended("t1")}, nil
	}}
	task, err := newClient(t, m.Start(t)).Run(t.Context(), &api.Spec{Shell: &api.ShellSpec{Script: "true"}})
	if err != nil || task.ID != "t1" {
		t.Fatalf("got %v, %v; want task t1", task, err)
	}
	if len(keys) != 3 || keys[0] == "" || keys[0] != keys[1] || keys[1] != keys[2] {
		t.Errorf("keys were %q, want the same three times", keys)
	}
}

func TestFinalErrorsAreNotRepeated(t *testing.T) {
	var n int
	m := &clienttest.Master{Submit: func([]api.Spec, string, time.Duration) ([]api.Task, error) {
		n++
		return nil, api.Errorf(api.CodeInvalidSpec, "no").WithHint("fix it")
	}}
	_, err := newClient(t, m.Start(t)).Submit(t.Context(), &api.Spec{}, SubmitOptions{})
	want := api.Errorf(api.CodeInvalidSpec, "no").WithHint("fix it")
	if diff := cmp.Diff(error(want), err); diff != "" || n != 1 {
		t.Errorf("%d requests, error (-want +got):\n%s", n, diff)
	}
}

func TestNoLeaderIsToldWhenPatienceEnds(t *testing.T) {
	m := &clienttest.Master{Nodes: func() ([]api.Node, error) { return nil, api.Errorf(api.CodeNoLeader, "no leader") }}
	c, _ := New(Config{Addrs: []string{m.Start(t)}, Patience: 30 * time.Millisecond})
	if _, err := c.Nodes(t.Context()); !errors.Is(err, api.Errorf(api.CodeNoLeader, "")) {
		t.Errorf("got %v, want no_leader", err)
	}
}

func TestForeignServer(t *testing.T) {
	srv := &http.Server{Handler: http.NotFoundHandler()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	_, err = newClient(t, l.Addr().String()).Nodes(t.Context())
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeUnreachable || !strings.Contains(e.Message, "404") {
		t.Errorf("got %v, want unreachable with the status", err)
	}
}

func TestSlowMasterIsLeft(t *testing.T) {
	hang := make(chan struct{})
	slow := &clienttest.Master{Nodes: func() ([]api.Node, error) { <-hang; return nil, nil }}
	good := &clienttest.Master{Nodes: func() ([]api.Node, error) { return []api.Node{{}}, nil }}
	c, _ := New(Config{Addrs: []string{slow.Start(t), good.Start(t)}, AnswerTimeout: 20 * time.Millisecond})
	nodes, err := c.Nodes(t.Context())
	close(hang)
	if err != nil || len(nodes) != 1 {
		t.Errorf("got %v, %v; want the second master's answer", nodes, err)
	}
}

func TestWaitOutlivesMasters(t *testing.T) {
	var polls atomic.Int32
	first := &clienttest.Master{Task: func(string, time.Duration) (*api.Task, error) {
		panic(http.ErrAbortHandler) // the connection breaks in the middle
	}}
	second := &clienttest.Master{Task: func(id string, wait time.Duration) (*api.Task, error) {
		switch polls.Add(1) {
		case 1:
			if wait != MaxWait {
				t.Errorf("waits %s at a time, want %s", wait, MaxWait)
			}
			return &api.Task{ID: "full", State: api.Running}, nil
		case 2:
			return nil, api.Errorf(api.CodeNoLeader, "election")
		}
		task := ended(api.TaskID(id))
		return &task, nil
	}}
	task, err := newClient(t, first.Start(t), second.Start(t)).Wait(t.Context(), "last")
	if err != nil || task.ID != "full" {
		t.Errorf("got %v, %v; want the task that last meant at first", task, err)
	}
}

func TestCancelledContextGivesItsCause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	m := &clienttest.Master{Nodes: func() ([]api.Node, error) { cancel(why); return nil, api.Errorf(api.CodeNoLeader, "x") }}
	if _, err := newClient(t, m.Start(t)).Nodes(ctx); !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestFollowLogsGoesOnAfterBreaksAndRetries(t *testing.T) {
	var mu sync.Mutex
	logs := map[string]string{"1": "one two three\n", "2": "again\n"}
	breaks, reads := 1, map[string]int{}
	m := &clienttest.Master{
		Task: func(string, time.Duration) (*api.Task, error) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case reads["2"] > 0:
				task := ended("t1")
				task.Attempt = 2
				return &task, nil
			case reads["1"] > 1:
				return &api.Task{ID: "t1", State: api.Running, Attempt: 2}, nil
			}
			return &api.Task{ID: "t1", State: api.Running, Attempt: 1}, nil
		},
		Logs: func(_ string, q url.Values, w io.Writer) error {
			mu.Lock()
			defer mu.Unlock()
			a := q.Get("attempt")
			reads[a]++
			text := logs[a]
			if q.Get("offset") != "" {
				text = text[min(len(text), atoi(q.Get("offset"))):]
			}
			if breaks > 0 {
				breaks--
				_, _ = io.WriteString(w, text[:4])
				return io.ErrUnexpectedEOF
			}
			_, err := io.WriteString(w, text)
			return err
		},
	}
	var out bytes.Buffer
	if err := newClient(t, m.Start(t)).FollowLogs(t.Context(), "t1", LogOptions{}, &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "one two three\nagain\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFollowLogsGoesOnWhenTheOutputOfAnAttemptIsLost(t *testing.T) {
	for _, code := range []api.Code{api.CodeLogsGone, api.CodeUnreachable} {
		var lost atomic.Bool
		m := &clienttest.Master{
			Task: func(string, time.Duration) (*api.Task, error) {
				if lost.Load() {
					task := ended("t1")
					task.Attempt = 2
					return &task, nil
				}
				return &api.Task{ID: "t1", State: api.Running, Attempt: 1}, nil
			},
			Logs: func(_ string, q url.Values, w io.Writer) error {
				if q.Get("attempt") == "1" {
					lost.Store(true)
					return api.Errorf(code, "the node is gone")
				}
				_, err := io.WriteString(w, "again\n")
				return err
			},
		}
		var out bytes.Buffer
		if err := newClient(t, m.Start(t)).FollowLogs(t.Context(), "t1", LogOptions{}, &out); err != nil || out.String() != "again\n" {
			t.Errorf("%s: got %q, %v", code, out.String(), err)
		}
	}
}

// A master that was stopped takes connections and answers nothing. The next one is asked long before a waiting request ends.
func TestAMasterThatHangsIsGivenUpForTheNext(t *testing.T) {
	hangs, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hangs.Close()
	m := &clienttest.Master{Task: func(string, time.Duration) (*api.Task, error) {
		task := ended("t1")
		return &task, nil
	}}
	c, err := New(Config{Addrs: []string{hangs.Addr().String(), m.Start(t)}, AnswerTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c.lookEvery = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if got, err := c.Wait(ctx, "t1"); err != nil || got.ID != "t1" {
		t.Errorf("got %v, %v", got, err)
	}
}

// One that is busy answers the question whether it lives, and is waited for.
func TestAMasterThatTakesLongIsWaitedFor(t *testing.T) {
	var looks, others atomic.Int32
	enough := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			if looks.Add(1) == 3 {
				close(enough)
			}
			return
		}
		<-enough
		_ = json.NewEncoder(w).Encode(ended("t1"))
	}))
	defer slow.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		others.Add(1)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer other.Close()
	c, err := New(Config{Addrs: []string{slow.URL, other.URL}})
	if err != nil {
		t.Fatal(err)
	}
	c.lookEvery = 100 * time.Millisecond
	if got, err := c.Task(t.Context(), "t1"); err != nil || got.ID != "t1" || others.Load() != 0 {
		t.Errorf("got %v, %v; the other was asked %d times", got, err, others.Load())
	}
}

func atoi(s string) int {
	n := 0
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

func TestEventsGoOnWhereTheyBroke(t *testing.T) {
	var conn atomic.Int32
	m := &clienttest.Master{Events: func(q url.Values, send func(api.Event)) error {
		if conn.Add(1) == 1 {
			send(api.Event{Index: 7})
			return io.EOF // ends the connection
		}
		if got := q.Get("since"); got != "7" {
			t.Errorf("goes on since %q, want 7", got)
		}
		send(api.Event{Index: 8})
		return nil
	}}
	stop := errors.New("stop")
	var got []uint64
	err := newClient(t, m.Start(t)).Events(t.Context(), 5, true, func(e api.Event) error {
		if got = append(got, e.Index); e.Index == 8 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || !cmp.Equal(got, []uint64{7, 8}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestWaitAllToldByEvents(t *testing.T) {
	tasks := []api.Task{ended("j-0"), {ID: "j-1", State: api.Placed}, {ID: "j-2", State: api.Pending}}
	m := &clienttest.Master{
		Events: func(q url.Values, send func(api.Event)) error {
			if q.Get("since") != "41" {
				t.Errorf("follows since %q, want 41", q.Get("since"))
			}
			send(api.Event{Index: 42, Type: api.EventTaskRunning, Task: "j-1"})
			send(api.Event{Index: 43, Type: api.EventTaskEnded, Task: "j-2"})
			send(api.Event{Index: 44, Type: api.EventTaskEnded, Task: "other"})
			send(api.Event{Index: 45, Type: api.EventTaskEnded, Task: "j-1"})
			return nil
		},
		Task: func(id string, _ time.Duration) (*api.Task, error) {
			task := ended(api.TaskID(id))
			if id == "j-2" {
				task.State = api.Failed
			}
			return &task, nil
		},
	}
	seen := map[api.TaskID]int{}
	var last Progress
	err := newClient(t, m.Start(t)).WaitAll(t.Context(), tasks, 41, Watch{
		Ended:   func(task api.Task) { seen[task.ID]++ },
		Changed: func(p Progress) { last = p },
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := (map[api.TaskID]int{"j-0": 1, "j-1": 1, "j-2": 1}); !cmp.Equal(seen, want) {
		t.Errorf("told of %v, want each once", seen)
	}
	if want := (Progress{Total: 3, Done: 3, Failed: 1}); last != want {
		t.Errorf("progress at the end %+v, want %+v", last, want)
	}
}

func TestWaitAllEndsWithAnErrorOfTheMaster(t *testing.T) {
	m := &clienttest.Master{
		Events: func(url.Values, func(api.Event)) error { return nil },
		Task: func(string, time.Duration) (*api.Task, error) {
			return nil, api.Errorf(api.CodeNotFound, "no such task")
		},
	}
	err := newClient(t, m.Start(t)).WaitAll(t.Context(), []api.Task{{ID: "x", State: api.Placed}}, 0, Watch{})
	if !errors.Is(err, api.Errorf(api.CodeNotFound, "")) {
		t.Errorf("got %v, want not_found", err)
	}
}

func TestUploads(t *testing.T) {
	var first atomic.Bool
	m := &clienttest.Master{
		PushModule: func(b []byte, tag string) (*api.Module, error) {
			if first.CompareAndSwap(false, true) {
				return nil, api.Errorf(api.CodeNoLeader, "not yet")
			}
			return &api.Module{Digest: "sha256:x", Size: api.Bytes(len(b)), Tags: []string{tag}}, nil
		},
		Module: func(ref string) (*api.Module, error) {
			if ref == "here:latest" {
				return &api.Module{Entry: "command"}, nil
			}
			return nil, api.Errorf(api.CodeModuleNotFound, "no module %s", ref)
		},
		PushBlob: func(b []byte) (*api.BlobInfo, error) { return &api.BlobInfo{Size: api.Bytes(len(b))}, nil },
	}
	c := newClient(t, m.Start(t))
	mod, err := c.PushModule(t.Context(), Bytes([]byte("abc")), "x:1")
	if err != nil || mod.Size != 3 || mod.Tags[0] != "x:1" {
		t.Errorf("PushModule gives %+v, %v", mod, err)
	}
	if ok, err := c.HasModule(t.Context(), "here:latest"); !ok || err != nil {
		t.Errorf("HasModule(here) = %v, %v", ok, err)
	}
	if ok, err := c.HasModule(t.Context(), "gone:latest"); ok || err != nil {
		t.Errorf("HasModule(gone) = %v, %v", ok, err)
	}
	blob, err := c.PushBlob(t.Context(), Stream(strings.NewReader("hello")))
	if err != nil || blob.Size != 5 {
		t.Errorf("PushBlob gives %+v, %v", blob, err)
	}
}

func TestHammerOneClient(t *testing.T) {
	m := &clienttest.Master{Task: func(id string, _ time.Duration) (*api.Task, error) {
		task := ended(api.TaskID(id))
		return &task, nil
	}}
	c := newClient(t, closedAddr(t), m.Start(t))
	var wg sync.WaitGroup
	for i := range 16 {
		id := strings.Repeat("x", i+1)
		wg.Go(func() {
			for range 20 {
				if task, err := c.Task(t.Context(), id); err != nil || string(task.ID) != id {
					t.Errorf("got %v, %v; want task %s", task, err, id)
					return
				}
			}
		})
	}
	wg.Wait()
}
