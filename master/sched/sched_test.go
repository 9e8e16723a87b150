package sched

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
)

// cluster is a state under test.
type cluster struct {
	*core.State
	index uint64
}

func newCluster(nodes ...*core.NodeUp) *cluster {
	c := &cluster{State: core.New()}
	for _, n := range nodes {
		c.do(n)
	}
	return c
}

func (c *cluster) do(cmds ...core.Command) []core.Event {
	c.index++
	return c.Apply(c.index, core.Entry{Now: time.Unix(int64(c.index), 0), Commands: cmds})
}

// placeAll plans and commits, and gives the node of each placed task.
func (c *cluster) placeAll(p Policy) map[api.TaskID]string {
	placed, _ := Place(c.View(), p)
	got := map[api.TaskID]string{}
	for _, pl := range placed {
		for _, e := range c.do(pl) {
			if e.Type != api.EventTaskPlaced {
				panic(fmt.Sprintf("a plan that cannot be obeyed: %v", e.Err))
			}
			got[e.Task.ID] = e.Task.NodeName
		}
	}
	return got
}

func node(name string, cpus api.Milli, attrs ...string) *core.NodeUp {
	a := map[string]string{}
	for _, kv := range attrs {
		k, v, _ := strings.Cut(kv, "=")
		a[k] = v
	}
	return &core.NodeUp{Info: api.NodeInfo{
		ID: api.NodeID("id-" + name), Name: name, Runtimes: []api.Kind{api.Shell, api.Wasm}, Attributes: a,
		Total: api.Resources{CPUs: cpus, Mem: 8 * api.GiB, Disk: api.GiB, Ports: api.Ports{{First: 8000, Last: 8001}}},
	}}
}

func task(id string, change func(*api.Spec)) *core.Submit {
	s := api.Spec{Shell: &api.ShellSpec{Script: "true"}}
	if change != nil {
		change(&s)
	}
	s = s.WithDefaults()
	return &core.Submit{ID: api.TaskID(id), Spec: &s}
}

func cpus(n api.Milli) func(*api.Spec) { return func(s *api.Spec) { s.Resources.CPUs = n } }

func TestPackFillsOneNodeBeforeTheNext(t *testing.T) {
	c := newCluster(node("a", 1000), node("b", 1000))
	for i := range 10 {
		c.do(task(fmt.Sprint("t", i), nil))
	}
	on := map[string]int{}
	for _, n := range c.placeAll(Policy{}) {
		on[n]++
	}
	if len(on) != 1 {
		t.Errorf("ten tasks of 0.1 cpus went to %v, want one node of 1 cpu", on)
	}
}

func TestSpreadTakesTheEmptierNode(t *testing.T) {
	c := newCluster(node("a", 1000), node("b", 1000))
	for i := range 10 {
		c.do(task(fmt.Sprint("t", i), func(s *api.Spec) { s.Placement = api.Spread }))
	}
	on := map[string]int{}
	for _, n := range c.placeAll(Policy{}) {
		on[n]++
	}
	if on["a"] != 5 || on["b"] != 5 {
		t.Errorf("got %v, want five each", on)
	}
}

func TestATaskThatFitsNowhereDoesNotHoldUpOthers(t *testing.T) {
	c := newCluster(node("a", 1000))
	c.do(task("big", cpus(5000)), task("small", nil))
	got := c.placeAll(Policy{})
	if d := cmp.Diff(map[api.TaskID]string{"small": "a"}, got); d != "" {
		t.Error(d)
	}
	if _, waiting := Place(c.View(), Policy{}); waiting != 1 {
		t.Errorf("%d shapes wait, want 1", waiting)
	}
}

func TestOlderTasksGoFirstAcrossShapes(t *testing.T) {
	c := newCluster(node("a", 300))
	c.do(task("first", cpus(200)), task("second", cpus(150)), task("third", cpus(100)))
	got := c.placeAll(Policy{})
	if d := cmp.Diff(map[api.TaskID]string{"first": "a", "third": "a"}, got); d != "" {
		t.Error(d)
	}
}

func TestConstraints(t *testing.T) {
	c := newCluster(node("a", 1000, "zone=x"), node("b", 1000, "zone=y"), node("c", 1000))
	for id, text := range map[string]string{"eq": "zone=y", "name": "node=c", "in": "zone in x,z"} {
		con, err := api.ParseConstraint(text)
		if err != nil {
			t.Fatal(err)
		}
		c.do(task(id, func(s *api.Spec) { s.Constraints = []api.Constraint{con} }))
	}
	if d := cmp.Diff(map[api.TaskID]string{"eq": "b", "name": "c", "in": "a"}, c.placeAll(Policy{})); d != "" {
		t.Error(d)
	}
}

func TestPortsAreGivenOutOnceAndComeBack(t *testing.T) {
	c := newCluster(node("a", 10000))
	for i := range 3 {
		c.do(task(fmt.Sprint("t", i), func(s *api.Spec) { s.Resources.Ports = 1 }))
	}
	if got := c.placeAll(Policy{}); len(got) != 2 {
		t.Fatalf("placed %v on a node with two ports", got)
	}
	first := c.View().Task("t0")
	c.do(&core.Report{Task: "t0", Node: "id-a", Attempt: 1, Outcome: &api.Outcome{State: api.Finished}})
	c.placeAll(Policy{})
	if got := c.View().Task("t2"); got.State != api.Placed || got.Ports[0] != first.Ports[0] {
		t.Errorf("t2 is %s with ports %v, want the port that came back, %v", got.State, got.Ports, first.Ports)
	}
}

func TestANodeThatHoldsTheModuleIsPreferred(t *testing.T) {
	d := api.DigestOf([32]byte{7})
	c := newCluster(node("a", 1000), node("b", 1000), node("c", 1000))
	c.do(&core.PutModule{Module: api.Module{Digest: d}})
	for i := range 5 {
		c.do(task(fmt.Sprint("t", i), func(s *api.Spec) { s.Shell, s.Wasm = nil, &api.WasmSpec{Module: string(d)} }))
	}
	holds := func(n api.NodeID, x api.Digest) bool { return n == "id-b" && x == d }
	for id, n := range c.placeAll(Policy{Holds: holds}) {
		if n != "b" {
			t.Errorf("%s went to %s, want b, which holds the module", id, n)
		}
	}
}

func TestARetryAvoidsTheNodeWhereItWasLost(t *testing.T) {
	c := newCluster(node("a", 1000), node("b", 1000))
	c.do(task("x", nil))
	first := c.placeAll(Policy{})["x"]
	c.do(&core.Report{Task: "x", Node: api.NodeID("id-" + first), Attempt: 1, Outcome: &api.Outcome{State: api.Lost, Reason: api.ReasonExecutorLost}})
	c.index += 60
	c.do()
	if second := c.placeAll(Policy{})["x"]; second == first || second == "" {
		t.Errorf("first on %s, then on %q", first, second)
	}
}

func TestExplainNamesEachNodeAndWhatItLacks(t *testing.T) {
	c := newCluster(node("a", 1000, "zone=x"), node("b", 1000))
	c.do(&core.Drain{Node: "id-b", On: true})
	c.do(task("x", func(s *api.Spec) {
		s.Resources = api.Request{CPUs: 4000, Mem: 16 * api.GiB, Ports: 3}
		s.Constraints = []api.Constraint{{Key: "zone", Op: api.Equal, Values: []string{"y"}}}
	}))
	got := Explain(c.View(), c.View().Task("x"), Policy{})
	want := []api.NodeGaps{
		{Node: "a", Gaps: []api.Gap{
			{What: "constraint", Why: "zone=y, and it has zone=x"},
			{What: "cpus", Why: "free 1 < 4"},
			{What: "mem", Why: "free 8Gi < 16Gi"},
			{What: "ports", Why: "free 2 < 3"},
		}},
		{Node: "b", Gaps: []api.Gap{
			{What: "state", Why: "draining"},
			{What: "constraint", Why: "zone=y, and it has no zone"},
			{What: "cpus", Why: "free 1 < 4"},
			{What: "mem", Why: "free 8Gi < 16Gi"},
			{What: "ports", Why: "free 2 < 3"},
		}},
	}
	if d := cmp.Diff(want, got.Nodes); d != "" {
		t.Error(d)
	}
	if !strings.Contains(got.Summary, "none of 2 nodes fits") || !strings.Contains(got.Hint, "a comes nearest") {
		t.Errorf("summary %q, hint %q", got.Summary, got.Hint)
	}
}

// Whatever is submitted and ends, a plan can always be obeyed and leaves nothing unplaced that fits.
func TestPlansAreAlwaysObeyedAndLeaveNoRoomUnused(t *testing.T) {
	seeds := uint64(30)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 2))
		c := newCluster(node("a", 3000), node("b", 2000, "zone=x"), node("c", 1000))
		for i := range 200 {
			c.do(task(fmt.Sprint("t", i), func(s *api.Spec) {
				s.Resources = api.Request{CPUs: api.Milli(1 + r.IntN(1500)), Mem: api.Bytes(1+r.IntN(4096)) * api.MiB, Ports: r.IntN(6) / 5}
				if r.IntN(4) == 0 {
					s.Constraints = []api.Constraint{{Key: "zone", Op: api.NotEqual, Values: []string{"x"}}}
				}
				if r.IntN(2) == 0 {
					s.Placement = api.Spread
				}
			}))
			c.placeAll(Policy{})
			if err := c.Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			v := c.View()
			for x := range v.Tasks() {
				if x.State == api.Pending && !strings.Contains(Explain(v, x, Policy{}).Summary, "none of") {
					t.Fatalf("seed %d: %s fits but was left", seed, x.ID)
				}
				if x.Active() && r.IntN(4) == 0 {
					c.do(&core.Report{Task: x.ID, Node: x.Node, Attempt: x.Attempt, Outcome: &api.Outcome{State: api.Finished}})
				}
			}
		}
	}
}

func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n, " nodes"), func(b *testing.B) {
			c := newCluster()
			for i := range n {
				c.do(node(fmt.Sprint("n", i), 64000))
			}
			for i := range 64 {
				c.do(task(fmt.Sprint("t", i), nil))
			}
			v := c.View()
			b.ReportAllocs()
			for b.Loop() {
				if placed, _ := Place(v, Policy{}); len(placed) != 64 {
					b.Fatal(len(placed))
				}
			}
		})
	}
}
