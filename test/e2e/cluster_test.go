//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
	"github.com/saki-run/saki/internal/guests"
)

// grace is how long an agent may be away in these tests before its tasks run elsewhere.
const grace = 5 * time.Second

// cluster is three masters and three agents, each on a machine of its own.
type cluster struct {
	*lab
	masters map[string]*machine
	agents  map[string]*machine
	ids     map[string]api.NodeID // of the agents, as they first registered
}

// newCluster starts the machines. It does not wait for them.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{lab: newLab(t), masters: map[string]*machine{}, agents: map[string]*machine{}, ids: map[string]api.NodeID{}}
	t.Cleanup(func() {
		if t.Failed() {
			c.tell()
		}
	})
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	var join []string
	for i := range 3 {
		join = append(join, fmt.Sprintf("%s:7946", c.ip(11+i)))
	}
	common := []string{"--cluster", c.run, "--gossip-key", base64.StdEncoding.EncodeToString(key), "--join", strings.Join(join, ",")}
	for i := range 3 {
		name, ip := fmt.Sprintf("m%d", i+1), c.ip(11+i)
		data := c.volume(name)
		c.masters[name] = c.start(name, ip, []mount.Mount{data}, append([]string{
			"master", "--name", name, "--data-dir", data.Target, "--addr", fmt.Sprintf("%s:5050", ip), "--raft", fmt.Sprintf("%s:5049", ip),
			"--gossip", fmt.Sprintf("%s:7946", ip), "--bootstrap-expect", "3", "--node-grace", grace.String(),
		}, common...)...)
	}
	socket := mount.Mount{Type: mount.TypeBind, Source: "/var/run/docker.sock", Target: "/var/run/docker.sock"}
	for i := range 3 {
		name, ip := fmt.Sprintf("a%d", i+1), c.ip(21+i)
		data := c.volume(name)
		c.agents[name] = c.start(name, ip, []mount.Mount{data, socket}, append([]string{
			"agent", "--name", name, "--data-dir", data.Target, "--addr", fmt.Sprintf("%s:5051", ip), "--gossip", fmt.Sprintf("%s:7946", ip),
			"--resources", "cpus:8;mem:4096;disk:10240", "--attributes", "zone:z" + name[1:], "--executor", "docker",
		}, common...)...)
	}
	return c
}

// tell writes down what the machines said, for a test that failed.
func (c *cluster) tell() {
	for _, group := range []map[string]*machine{c.masters, c.agents} {
		for name, m := range group {
			c.t.Logf("the last words of %s:\n%s", name, m.logs(40))
		}
	}
}

// client makes a client of these masters; of all when none is named.
func (c *cluster) client(t *testing.T, names ...string) *client.Client {
	t.Helper()
	var addrs []string
	for name, m := range c.masters {
		if len(names) == 0 || slices.Contains(names, name) {
			addrs = append(addrs, fmt.Sprintf("http://%s:5050", m.ip))
		}
	}
	slices.Sort(addrs)
	return newClient(t, addrs)
}

// clientFirst makes a client of all masters that speaks with this one for as long as it answers.
func (c *cluster) clientFirst(t *testing.T, first string) *client.Client {
	t.Helper()
	addrs := []string{fmt.Sprintf("http://%s:5050", c.masters[first].ip)}
	for name, m := range c.masters {
		if name != first {
			addrs = append(addrs, fmt.Sprintf("http://%s:5050", m.ip))
		}
	}
	return newClient(t, addrs)
}

func newClient(t *testing.T, addrs []string) *client.Client {
	t.Helper()
	cl, err := client.New(client.Config{Addrs: addrs, ConnectPatience: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// follower gives the name of a master other than the leader.
func (c *cluster) follower(leader *machine) string {
	names := slices.Sorted(maps.Keys(c.masters))
	return names[(slices.Index(names, leader.name)+1)%len(names)]
}

// until asks again and again until cond holds, for at most half a minute, and gives how long it took.
func until(t *testing.T, what string, cond func(ctx context.Context) bool) time.Duration {
	t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !cond(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		}
	}
	return time.Since(begun)
}

// whole waits until all masters and agents are there, and notes the agents' ids.
func (c *cluster) whole(t *testing.T) {
	t.Helper()
	cl := c.client(t)
	var seen string
	took := until(t, "three masters and three agents are up", func(ctx context.Context) bool {
		s, err := cl.Cluster(ctx)
		if err != nil {
			seen = err.Error()
			return false
		}
		alive := 0
		for _, m := range s.Masters {
			if m.Alive {
				alive++
			}
		}
		nodes, err := cl.Nodes(ctx)
		if err != nil || s.Leader == nil {
			return false
		}
		ready := 0
		for _, n := range nodes {
			if n.State == api.NodeReady && n.Runs(api.Wasm) && n.Runs(api.Shell) && n.Runs(api.Container) && strings.Contains(n.Executor, "compiler") {
				ready++
				if c.ids[n.Name] == "" {
					c.ids[n.Name] = n.ID
				}
			}
		}
		if now := fmt.Sprintf("%d masters alive, %d agents ready", alive, ready); now != seen {
			seen = now
			t.Log(now)
		}
		return alive == 3 && len(s.Masters) == 3 && ready == 3
	})
	t.Logf("whole after %v", took.Round(time.Millisecond))
}

// leader gives the machine of the master that leads.
func (c *cluster) leader(t *testing.T) *machine {
	t.Helper()
	var m *machine
	cl := c.client(t)
	until(t, "a master leads", func(ctx context.Context) bool {
		s, err := cl.Cluster(ctx)
		if err == nil && s.Leader != nil {
			m = c.masters[s.Leader.Name]
		}
		return m != nil
	})
	return m
}

// push gives the cluster a guest and returns its digest.
func push(t *testing.T, cl *client.Client, guest string) string {
	t.Helper()
	b, err := guests.Module(guest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := cl.PushModule(t.Context(), client.Bytes(b), "")
	if err != nil {
		t.Fatalf("push %s: %v", guest, err)
	}
	return string(m.Digest)
}

// submit submits one task.
func submit(t *testing.T, cl *client.Client, s *api.Spec) api.TaskID {
	t.Helper()
	tasks, err := cl.Submit(t.Context(), s, client.SubmitOptions{})
	if err != nil {
		t.Fatalf("submit %s: %v", s.Name, err)
	}
	return tasks[0].ID
}

// ended waits for the end of a task and checks that it was a good one.
func ended(t *testing.T, cl *client.Client, id api.TaskID) *api.Task {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tk, err := cl.Wait(ctx, string(id))
	if err != nil {
		t.Fatalf("wait for %s: %v", id, err)
	}
	if tk.State != api.Finished {
		t.Fatalf("task %s %q on %s, attempt %d: %s %s %s", id, tk.Spec.Name, tk.NodeName, tk.Attempt, tk.State, tk.Reason, tk.Message)
	}
	return tk
}

// running waits until a task runs and gives it.
func running(t *testing.T, cl *client.Client, id api.TaskID) (tk *api.Task) {
	t.Helper()
	until(t, fmt.Sprintf("task %s runs", id), func(ctx context.Context) bool {
		var err error
		if tk, err = cl.Task(ctx, string(id)); err != nil {
			return false
		}
		if tk.State.Terminal() {
			t.Fatalf("task %s %q has ended: %s %s %s", id, tk.Spec.Name, tk.State, tk.Reason, tk.Message)
		}
		return tk.State == api.Running
	})
	return tk
}

// state waits until an agent is in one of these states.
func (c *cluster) state(t *testing.T, cl *client.Client, agent string, want ...api.NodeState) *api.Node {
	t.Helper()
	var n *api.Node
	took := until(t, fmt.Sprintf("%s is %v", agent, want), func(ctx context.Context) bool {
		var err error
		n, err = cl.Node(ctx, agent)
		return err == nil && slices.Contains(want, n.State)
	})
	t.Logf("%s is %s after %v", agent, n.State, took.Round(time.Millisecond))
	return n
}

// executor gives the id of the container that an agent keeps its executor in.
func (c *cluster) executor(t *testing.T, agent string) string {
	t.Helper()
	name := agent + "-" + string(c.ids[agent])[:8]
	list := c.containers(t.Context(), "saki.cluster="+c.run, "saki.agent="+name, "saki.role=executor")
	if len(list) != 1 || list[0].State != "running" {
		t.Fatalf("executors of %s: %+v; want one that runs", name, list)
	}
	return list[0].ID
}
