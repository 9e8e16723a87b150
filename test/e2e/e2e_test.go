//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

// TestCluster hurts one cluster in many ways, one after another. Each way begins with the cluster whole and must leave it so.
func TestCluster(t *testing.T) {
	c := newCluster(t)
	for _, s := range []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"every master takes every kind of task", everyMasterTakesEveryKind},
		{"tasks go on when the leader is killed", leaderGoes("kill", (*machine).power)},
		{"tasks go on when the leader loses its network", leaderGoes("cut", (*machine).plug)},
		{"nothing is forgotten when all masters die", mastersAreKilled},
		{"tasks outlive the restart of their agent", agentIsRestarted},
		{"tasks of a dead agent run elsewhere", agentIsKilled},
		{"tasks of an agent without a network run elsewhere", agentIsCutOff},
	} {
		ok := t.Run(s.name, func(t *testing.T) {
			c.whole(t)
			s.run(t, c)
		})
		if !ok {
			t.FailNow() // the next ways would only tell that the cluster is not whole
		}
	}
	c.whole(t)
}

// guest is a shell or a container task that runs the guest.
func (c *cluster) guest(kind api.Kind, args ...string) *api.Spec {
	argv := append([]string{"/guest"}, args...)
	s := &api.Spec{Name: string(kind) + "-" + args[0]}
	if kind == api.Shell {
		s.Shell = &api.ShellSpec{Argv: argv}
	} else {
		s.Container = &api.ContainerSpec{Image: c.image, Command: argv, Network: "none"}
	}
	return s
}

func wasmTask(module string, args ...string) *api.Spec {
	return &api.Spec{Name: strings.Join(append([]string{"wasm"}, args...), "-"), Wasm: &api.WasmSpec{Module: module, Args: args}}
}

// on restricts a task to some agents.
func on(s *api.Spec, agents ...string) *api.Spec {
	s.Constraints = []api.Constraint{{Key: "node", Op: api.In, Values: agents}}
	return s
}

// everyMasterTakesEveryKind submits through each master alone, so that two of three forward to the leader.
func everyMasterTakesEveryKind(t *testing.T, c *cluster) {
	hello := push(t, c.client(t), "hello")
	for name := range c.masters {
		cl := c.client(t, name)
		want := map[api.TaskID]string{
			submit(t, cl, wasmTask(hello, name)):                 "hello " + name + "\n",
			submit(t, cl, c.guest(api.Shell, "print", name)):     name + "\n",
			submit(t, cl, c.guest(api.Container, "print", name)): name + "\n",
		}
		noop := &api.Spec{Name: "noop", Container: &api.ContainerSpec{Image: c.image, Command: []string{"/saki", "noop"}, Network: "none"}}
		want[submit(t, cl, noop)] = ""
		for id, out := range want {
			tk := ended(t, cl, id)
			if got := string(tk.Outcome.Stdout); got != out || tk.Attempt != 1 {
				t.Errorf("%s through %s: printed %q in attempt %d, want %q", tk.Spec.Name, name, got, tk.Attempt, out)
			}
		}
	}
}

// leaderGoes takes the leader away while clients submit tasks, each with a key of its own, and then gives it back.
func leaderGoes(how string, power func(leader *machine, on bool)) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) { theLeaderGoes(t, c, how, power) }
}

func theLeaderGoes(t *testing.T, c *cluster, how string, power func(leader *machine, on bool)) {
	const tasks, clients, goAfter = 200, 4, 60
	cl := c.client(t)
	noop := push(t, cl, "noop")
	leader := c.leader(t)
	before, err := cl.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spec := func(i int) *api.Spec {
		s := wasmTask(noop)
		s.Labels = map[string]string{"test": how, "n": fmt.Sprint(i)}
		return s
	}
	key := func(i int) string { return fmt.Sprintf("%s-%d", how, i) }

	var mu sync.Mutex // guards the next three
	acked := map[int]api.TaskID{}
	var times []time.Time
	var slowest time.Duration
	var next atomic.Int64
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			var cl *client.Client // half of them speak with the leader itself, the others through one that follows
			if n%2 == 0 {
				cl = c.clientFirst(t, leader.name)
			} else {
				cl = c.clientFirst(t, c.follower(leader))
			}
			for i := int(next.Add(1)) - 1; i < tasks; i = int(next.Add(1)) - 1 {
				begun := time.Now()
				got, err := cl.Submit(t.Context(), spec(i), client.SubmitOptions{Key: key(i)})
				if err != nil {
					t.Errorf("submit %d: %v", i, err)
					return
				}
				mu.Lock()
				acked[i] = got[0].ID
				times = append(times, time.Now())
				slowest = max(slowest, time.Since(begun))
				n := len(times)
				mu.Unlock()
				if n == goAfter {
					power(leader, false)
				}
			}
		})
	}
	wg.Wait()
	var gap time.Duration
	slices.SortFunc(times, time.Time.Compare)
	for i := 1; i <= len(times)-clients; i++ { // the last ones may be those that had hung at the old leader
		gap = max(gap, times[i].Sub(times[i-1]))
	}
	t.Logf("%d of %d tasks acknowledged by %d clients; after %s of %s there were no writes for %v, and the slowest submit took %v",
		len(acked), tasks, clients, how, leader.name, gap.Round(time.Millisecond), slowest.Round(time.Millisecond))
	if slowest > 14*time.Second {
		t.Error("a client waited for the old leader until its own limit")
	}

	for _, id := range acked {
		ended(t, cl, id)
	}
	// The same key gives the same task, also from the new leader; nothing ran twice.
	for i, id := range acked {
		if i%10 == 0 {
			again, err := cl.Submit(t.Context(), spec(i), client.SubmitOptions{Key: key(i)})
			if err != nil || len(again) != 1 || again[0].ID != id {
				t.Errorf("submit %d again: got %v, %v; want task %s", i, again, err, id)
			}
		}
	}
	all, err := cl.Tasks(t.Context(), client.TaskFilter{Labels: map[string]string{"test": how}, Limit: 10 * tasks})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, tk := range all {
		count[tk.Key]++
		if tk.State != api.Finished {
			t.Errorf("task %s of key %s: %s %s", tk.ID, tk.Key, tk.State, tk.Reason)
		}
	}
	for i := range tasks {
		if n := count[key(i)]; n != 1 {
			t.Errorf("%d tasks have the key %s, want 1", n, key(i))
		}
	}
	if len(all) != tasks {
		t.Errorf("there are %d tasks, want %d", len(all), tasks)
	}

	after, err := cl.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own := c.client(t, leader.name)
	begun := time.Now()
	power(leader, true)
	until(t, leader.name+" is back and has caught up", func(ctx context.Context) bool {
		s, err := own.Cluster(ctx)
		return err == nil && s.Index >= after.Index && s.Leader != nil
	})
	t.Logf("%s is back after %v: index %d, term %d; it went at index %d, term %d", leader.name, time.Since(begun).Round(time.Millisecond),
		after.Index, after.Term, before.Index, before.Term)
	if after.Term <= before.Term {
		t.Errorf("the term is %d, and was %d before the leader went", after.Term, before.Term)
	}
	for i, id := range acked {
		if i%20 == 0 {
			ended(t, own, id)
		}
	}
	for i := range 3 { // its own view of the group, and what is written through it
		ended(t, own, submit(t, own, spec(tasks+i)))
	}
}

// mastersAreKilled takes the masters away while a task runs: first two, so that the third must refuse what it cannot make
// durable, then all.
func mastersAreKilled(t *testing.T, c *cluster) {
	cl := c.client(t)
	sleep := push(t, cl, "sleep")
	old := submit(t, cl, wasmTask(sleep, "1"))
	ended(t, cl, old)
	long := submit(t, cl, wasmTask(sleep, "5000"))
	began := running(t, cl, long)

	last := "m1"
	for name, m := range c.masters {
		if name != last {
			m.power(false)
		}
	}
	hasty, err := client.New(client.Config{Addrs: []string{fmt.Sprintf("http://%s:5050", c.masters[last].ip)}, Patience: time.Second, ConnectPatience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if tasks, err := hasty.Submit(t.Context(), wasmTask(sleep, "1"), client.SubmitOptions{Key: "minority"}); err == nil {
		t.Errorf("one master of three accepted a task: %+v", tasks)
	} else {
		t.Logf("one master of three, after %v: %v", time.Since(begun).Round(time.Millisecond), err)
	}
	if tk, err := hasty.Task(t.Context(), string(old)); err != nil || tk.State != api.Finished {
		t.Errorf("one master of three does not answer reads: %v", err)
	}
	c.masters[last].power(false)
	for _, m := range c.masters {
		m.power(true)
	}
	c.whole(t)
	if tk := ended(t, cl, long); tk.Attempt != 1 || tk.Node != began.Node {
		t.Errorf("the task ended on %s in attempt %d; want %s and the first: %+v", tk.NodeName, tk.Attempt, began.NodeName, tk.History)
	}
	ended(t, cl, old)
	again, err := cl.Submit(t.Context(), wasmTask(sleep, "1"), client.SubmitOptions{Key: "minority"})
	if err != nil {
		t.Fatal(err)
	}
	ended(t, cl, again[0].ID)
}

// agentIsRestarted ends an agent politely, as an upgrade does, while tasks run.
func agentIsRestarted(t *testing.T, c *cluster) {
	cl := c.client(t)
	sleep := push(t, cl, "sleep")
	executor := c.executor(t, "a1")
	wasm := submit(t, cl, on(wasmTask(sleep, "9000"), "a1"))
	box := submit(t, cl, on(c.guest(api.Container, "sleep", "9s"), "a1"))
	running(t, cl, wasm)
	running(t, cl, box)
	begun := time.Now()
	c.agents["a1"].restart()
	n := c.state(t, cl, "a1", api.NodeReady)
	for _, id := range []api.TaskID{wasm, box} {
		if tk := ended(t, cl, id); tk.Attempt != 1 || tk.NodeName != "a1" {
			t.Errorf("%q ended on %s in attempt %d; want a1 and the first: %+v", tk.Spec.Name, tk.NodeName, tk.Attempt, tk.History)
		}
	}
	t.Logf("both tasks have ended %v after the restart", time.Since(begun).Round(time.Millisecond))
	if n.ID != c.ids["a1"] {
		t.Errorf("a1 is node %s now, and was %s", n.ID, c.ids["a1"])
	}
	if got := c.executor(t, "a1"); got != executor {
		t.Errorf("the executor's container is %.12s now, and was %.12s", got, executor)
	}
}

// agentIsKilled cuts the power of an agent that runs tasks; its executor, on another machine as it were, goes on.
func agentIsKilled(t *testing.T, c *cluster) {
	cl := c.client(t)
	sleep := push(t, cl, "sleep")
	// With a2 drained, the tasks can only begin on a1.
	if _, err := cl.Drain(t.Context(), "a2"); err != nil {
		t.Fatal(err)
	}
	wasm := submit(t, cl, on(wasmTask(sleep, "4000"), "a1", "a2"))
	shell := submit(t, cl, on(c.guest(api.Shell, "sleep", "4s"), "a1", "a2"))
	for _, id := range []api.TaskID{wasm, shell} {
		if tk := running(t, cl, id); tk.NodeName != "a1" {
			t.Fatalf("%q runs on %s, which is drained", tk.Spec.Name, tk.NodeName)
		}
	}
	if _, err := cl.Undrain(t.Context(), "a2"); err != nil {
		t.Fatal(err)
	}
	c.agents["a1"].power(false)
	c.state(t, cl, "a1", api.NodeLost)
	for _, id := range []api.TaskID{wasm, shell} {
		tk := ended(t, cl, id)
		if tk.NodeName != "a2" || tk.Attempt != 2 || len(tk.History) != 1 || tk.History[0].Reason != api.ReasonNodeLost {
			t.Errorf("%q ended on %s in attempt %d after %+v; want a2, the second, after %s", tk.Spec.Name, tk.NodeName, tk.Attempt, tk.History, api.ReasonNodeLost)
		}
	}
	c.agents["a1"].power(true)
	if n := c.state(t, cl, "a1", api.NodeReady); n.ID != c.ids["a1"] {
		t.Errorf("a1 is node %s now, and was %s", n.ID, c.ids["a1"])
	}
	ended(t, cl, submit(t, cl, on(wasmTask(sleep, "1"), "a1")))
	ended(t, cl, submit(t, cl, on(c.guest(api.Shell, "print", "hi"), "a1")))
}

// agentIsCutOff pulls the cable of an agent: nobody tells the masters, they have to notice.
func agentIsCutOff(t *testing.T, c *cluster) {
	cl := c.client(t)
	sleep := push(t, cl, "sleep")
	if _, err := cl.Drain(t.Context(), "a3"); err != nil {
		t.Fatal(err)
	}
	moves := submit(t, cl, on(wasmTask(sleep, "20000"), "a2", "a3"))
	short := submit(t, cl, on(wasmTask(sleep, "3000"), "a2")) // ends while nobody hears of it
	running(t, cl, moves)
	running(t, cl, short)
	if _, err := cl.Undrain(t.Context(), "a3"); err != nil {
		t.Fatal(err)
	}
	executor := c.executor(t, "a2")
	c.agents["a2"].plug(false)
	ended(t, cl, submit(t, cl, on(wasmTask(sleep, "1"), "a1", "a3"))) // the others do not mind
	c.state(t, cl, "a2", api.NodeLost)
	until(t, "the task runs on a3", func(ctx context.Context) bool {
		tk, err := cl.Task(ctx, string(moves))
		return err == nil && tk.NodeName == "a3" && tk.State == api.Running
	})
	c.agents["a2"].plug(true)
	if n := c.state(t, cl, "a2", api.NodeReady); n.ID != c.ids["a2"] {
		t.Errorf("a2 is node %s now, and was %s", n.ID, c.ids["a2"])
	}
	if tk := ended(t, cl, short); tk.NodeName != "a2" {
		t.Errorf("the task that only a2 may run ended on %s", tk.NodeName)
	}
	if got := c.executor(t, "a2"); got != executor {
		t.Errorf("the executor's container is %.12s now, and was %.12s", got, executor)
	}
	if _, err := cl.Kill(t.Context(), string(moves), true); err != nil {
		t.Fatal(err)
	}
	until(t, "the moved task is killed", func(ctx context.Context) bool {
		tk, err := cl.Task(ctx, string(moves))
		if err != nil || !tk.State.Terminal() {
			return false
		}
		if tk.State != api.Killed || tk.Attempt != 2 || tk.NodeName != "a3" {
			t.Errorf("the moved task: %s %s on %s in attempt %d, want killed on a3 in the second", tk.State, tk.Reason, tk.NodeName, tk.Attempt)
		}
		return true
	})
	ended(t, cl, submit(t, cl, on(wasmTask(sleep, "1"), "a2")))
}
