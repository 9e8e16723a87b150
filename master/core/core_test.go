package core

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// machine applies commands one entry at a time and checks the invariants after each.
type machine struct {
	t     *testing.T
	s     *State
	index uint64
	now   time.Time
	log   [][]byte

	recalled int // tasks that were answered from what is remembered
}

func newMachine(t *testing.T) *machine { return &machine{t: t, s: New(), now: t0} }

func (m *machine) do(cmds ...Command) []Event {
	m.t.Helper()
	m.index++
	m.now = m.now.Add(time.Millisecond)
	b, err := Entry{Now: m.now, Commands: cmds}.Encode()
	if err != nil {
		m.t.Fatal(err)
	}
	m.log = append(m.log, b)
	e, err := DecodeEntry(b)
	if err != nil {
		m.t.Fatal(err)
	}
	ev := m.s.Apply(m.index, e)
	for _, e := range ev {
		if e.Type == api.EventTaskEnded && e.Task.Outcome.Receipt.Memo {
			m.recalled++
		}
	}
	if err := m.s.Check(); err != nil {
		m.t.Fatalf("after entry %d: %v", m.index, err)
	}
	return ev
}

func (m *machine) task(id api.TaskID) *api.Task {
	m.t.Helper()
	t := m.s.View().Task(id)
	if t == nil {
		m.t.Fatalf("no task %s", id)
	}
	return t
}

func shell(change func(*api.Spec)) *api.Spec {
	s := api.Spec{Shell: &api.ShellSpec{Script: "true"}}
	if change != nil {
		change(&s)
	}
	s = s.WithDefaults()
	return &s
}

func node(name string, cpus api.Milli) *NodeUp {
	return &NodeUp{api.NodeInfo{
		ID: api.NodeID("id-" + name), Name: name, Runtimes: []api.Kind{api.Shell, api.Wasm},
		Total: api.Resources{CPUs: cpus, Mem: 4 * api.GiB, Disk: api.GiB, Ports: api.Ports{{First: 8000, Last: 8003}}},
	}}
}

func outcome(s api.State, r api.Reason) *api.Outcome {
	return &api.Outcome{State: s, Reason: r, Inline: true, Receipt: api.Receipt{Deterministic: true}}
}

func types(ev []Event) []string {
	var out []string
	for _, e := range ev {
		out = append(out, e.Type)
	}
	return out
}

func TestATaskGoesFromSubmitToItsEnd(t *testing.T) {
	m := newMachine(t)
	m.do(node("a", 2000))
	ev := m.do(&Submit{ID: "x", Spec: shell(func(s *api.Spec) { s.Resources.Ports = 1 })}, &Place{Task: "x", Node: "id-a", Ports: []uint16{8001}})
	if d := cmp.Diff([]string{api.EventTaskSubmitted, api.EventTaskPlaced}, types(ev)); d != "" {
		t.Fatal(d)
	}
	n := m.s.View().Node("id-a")
	if n.Used.CPUs != 100 || n.Tasks != 1 || n.Used.Ports.String() != "[8001-8001]" {
		t.Errorf("while it runs the node uses %v", n.Used)
	}
	m.do(&Report{Task: "x", Node: "id-a", Attempt: 1})
	if got := m.task("x").State; got != api.Running {
		t.Errorf("state is %s, want running", got)
	}
	m.do(&Report{Task: "x", Node: "id-a", Attempt: 1, Outcome: outcome(api.Finished, api.ReasonExit)})
	x := m.task("x")
	if x.State != api.Finished || x.Outcome.Receipt.Node != "a" {
		t.Errorf("got %s on %q", x.State, x.Outcome.Receipt.Node)
	}
	if n := m.s.View().Node("id-a"); n.Used.CPUs != 0 || n.Tasks != 0 || len(n.Used.Ports) != 0 {
		t.Errorf("after its end the node uses %v", n.Used)
	}
	if ev := m.do(&Report{Task: "x", Node: "id-a", Attempt: 1, Outcome: outcome(api.Failed, api.ReasonExit)}); ev[0].Type != Ignored {
		t.Errorf("a second end gave %v", types(ev))
	}
}

func TestAReportOfAnOlderAttemptChangesNothing(t *testing.T) {
	m := newMachine(t)
	m.do(node("a", 2000), node("b", 2000))
	m.do(&Submit{ID: "x", Spec: shell(nil)}, &Place{Task: "x", Node: "id-a"})
	m.do(&NodeLost{Node: "id-a"})
	if x := m.task("x"); x.State != api.Pending || len(x.History) != 1 || x.History[0].Reason != api.ReasonNodeLost || x.Losses != 0 {
		t.Fatalf("after the loss of its node: %+v", x)
	}
	m.do(&Place{Task: "x", Node: "id-b"})
	if ev := m.do(&Report{Task: "x", Node: "id-a", Attempt: 1, Outcome: outcome(api.Finished, "")}); ev[0].Type != Ignored {
		t.Errorf("the old attempt's report gave %v", types(ev))
	}
	if ev := m.do(&Report{Task: "x", Node: "id-a", Attempt: 2, Outcome: outcome(api.Finished, "")}); ev[0].Type != Ignored {
		t.Errorf("a report of the agent that was not given the attempt gave %v", types(ev))
	}
	if x := m.task("x"); x.State != api.Placed || x.Attempt != 2 {
		t.Errorf("got %s, attempt %d", x.State, x.Attempt)
	}
}

func TestAFailedTaskIsRetriedAfterADoublingWait(t *testing.T) {
	m := newMachine(t)
	m.do(node("a", 2000))
	m.do(&Submit{ID: "x", Spec: shell(func(s *api.Spec) { s.Retries = 2 })})
	for i, wait := range []time.Duration{time.Second, 2 * time.Second} {
		m.do(&Place{Task: "x", Node: "id-a"})
		ev := m.do(&Report{Task: "x", Node: "id-a", Attempt: uint32(i + 1), Outcome: outcome(api.Failed, api.ReasonExit)})
		if ev[0].Type != api.EventTaskRetry {
			t.Fatalf("attempt %d: %v", i+1, types(ev))
		}
		if got := m.task("x").NotBefore.Sub(m.now); got != wait {
			t.Errorf("attempt %d waits %v, want %v", i+1, got, wait)
		}
		if got := len(m.s.View().Queues()); got != 0 {
			t.Errorf("while it waits %d queues have tasks", got)
		}
		if got := m.s.View().NextWake(); !got.Equal(m.now.Add(wait)) {
			t.Errorf("next wake is %v", got)
		}
		m.now = m.now.Add(wait)
		m.do()
		if got := len(m.s.View().Queues()); got != 1 {
			t.Errorf("after the wait %d queues have tasks", got)
		}
	}
	m.do(&Place{Task: "x", Node: "id-a"})
	m.do(&Report{Task: "x", Node: "id-a", Attempt: 3, Outcome: outcome(api.Failed, api.ReasonExit)})
	if x := m.task("x"); x.State != api.Failed || len(x.History) != 2 {
		t.Errorf("got %s with %d earlier attempts", x.State, len(x.History))
	}
}

func TestARefusedModuleIsNotRetried(t *testing.T) {
	m := newMachine(t)
	m.do(node("a", 2000), &Submit{ID: "x", Spec: shell(func(s *api.Spec) { s.Retries = 2 })}, &Place{Task: "x", Node: "id-a"})
	m.do(&Report{Task: "x", Node: "id-a", Attempt: 1, Outcome: outcome(api.Failed, api.ReasonModuleRefused)})
	if x := m.task("x"); x.State != api.Failed {
		t.Errorf("got %s", x.State)
	}
}

func TestATaskWhoseWorkersKeepDyingIsLostInTheEnd(t *testing.T) {
	m := newMachine(t)
	m.do(node("a", 2000), &Submit{ID: "x", Spec: shell(nil)})
	for i := range api.MaxLosses + 1 {
		m.now = m.now.Add(time.Minute)
		m.do()
		m.do(&Place{Task: "x", Node: "id-a"})
		m.do(&Report{Task: "x", Node: "id-a", Attempt: uint32(i + 1), Outcome: outcome(api.Lost, api.ReasonWorkerLost)})
	}
	if x := m.task("x"); x.State != api.Lost || x.Attempt != api.MaxLosses+1 {
		t.Errorf("got %s after %d attempts", x.State, x.Attempt)
	}
}

func TestKill(t *testing.T) {
	m := newMachine(t)
	m.do(node("a", 2000))
	m.do(&Submit{ID: "waits", Spec: shell(nil)}, &Submit{ID: "runs", Spec: shell(func(s *api.Spec) { s.Retries = 5 })}, &Place{Task: "runs", Node: "id-a"})
	ev := m.do(&Kill{Task: "waits", Reason: api.ReasonUserKill}, &Kill{Task: "runs", Reason: api.ReasonUserKill}, &Kill{Task: "none"})
	if d := cmp.Diff([]string{api.EventTaskEnded, api.EventTaskKill, Rejected}, types(ev)); d != "" {
		t.Fatal(d)
	}
	if x := m.task("waits"); x.State != api.Killed {
		t.Errorf("the pending one is %s", x.State)
	}
	m.do(&Report{Task: "runs", Node: "id-a", Attempt: 1, Outcome: outcome(api.Failed, api.ReasonSignal)})
	if x := m.task("runs"); x.State != api.Killed || x.Outcome.State != api.Killed {
		t.Errorf("the running one, which failed after the kill, is %s", x.State)
	}
}

func TestAnIdempotencyKeyGivesTheSameTask(t *testing.T) {
	m := newMachine(t)
	m.do(&Submit{ID: "x", Spec: shell(func(s *api.Spec) { s.Count = 12 }), Key: "k", Hash: "h"})
	ev := m.do(&Submit{ID: "y", Spec: shell(nil), Key: "k", Hash: "h"}, &Submit{ID: "z", Spec: shell(nil), Key: "k", Hash: "other"})
	if len(ev) != 13 || ev[11].Type != Same || ev[11].Task.ID != "x-11" || ev[12].Err.Code != api.CodeConflict {
		t.Fatalf("got %v", types(ev))
	}
	for _, x := range m.s.View().Members("x") {
		m.do(&Kill{Task: x.ID})
		m.do(&Forget{Tasks: []api.TaskID{x.ID}})
	}
	if ev := m.do(&Submit{ID: "y", Spec: shell(nil), Key: "k", Hash: "new"}); ev[0].Type != api.EventTaskSubmitted {
		t.Errorf("the key of a forgotten array still stands: %v", types(ev))
	}
}

func TestPlaceRefusesWhatANodeDoesNotHave(t *testing.T) {
	m := newMachine(t)
	m.do(node("a", 150))
	m.do(&Submit{ID: "x", Spec: shell(nil)}, &Submit{ID: "y", Spec: shell(nil)}, &Place{Task: "x", Node: "id-a", Ports: []uint16{8000}})
	for name, p := range map[string]*Place{
		"no room":          {Task: "y", Node: "id-a"},
		"a port in use":    {Task: "y", Node: "id-a", Ports: []uint16{8000}},
		"a port it lacks":  {Task: "y", Node: "id-a", Ports: []uint16{9000}},
		"an unknown node":  {Task: "y", Node: "id-b"},
		"a task in no use": {Task: "x", Node: "id-a"},
	} {
		if ev := m.do(p); ev[0].Type != Rejected && ev[0].Type != Ignored {
			t.Errorf("%s: %v", name, types(ev))
		}
	}
}

func TestModulesAndTags(t *testing.T) {
	m := newMachine(t)
	one, two := api.DigestOf([32]byte{1}), api.DigestOf([32]byte{2})
	m.do(&PutModule{api.Module{Digest: one}, "app:latest"}, &PutModule{api.Module{Digest: one}, "app:v1"})
	m.do(&PutModule{api.Module{Digest: two}, "app:latest"})
	find := func(s string) api.Digest {
		ref, err := api.ParseModuleRef(s)
		if err != nil {
			t.Fatal(err)
		}
		mod, err := m.s.View().FindModule(ref)
		if err != nil {
			return ""
		}
		return mod.Digest
	}
	if find("app") != two || find("app:v1") != one {
		t.Error("the tag did not move")
	}
	spec := shell(func(s *api.Spec) { s.Shell, s.Wasm = nil, &api.WasmSpec{Module: string(two)} })
	m.do(&Submit{ID: "x", Spec: spec})
	if ev := m.do(&RemoveModule{Ref: string(two)}); ev[0].Type != Rejected || ev[0].Err.Code != api.CodeInUse {
		t.Errorf("removing a module in use: %v", types(ev))
	}
	m.do(&Kill{Task: "x"})
	m.do(&RemoveModule{Ref: "app"})
	if find("app") != "" || find(string(two)) != "" || find("app:v1") != one {
		t.Error("removal by the last tag did not take the module, or took too much")
	}
	if ev := m.do(&Submit{ID: "y", Spec: spec}); ev[0].Type != Rejected || ev[0].Err.Code != api.CodeModuleNotFound {
		t.Errorf("submit with a module that is gone: %v", types(ev))
	}
}

func TestANodeKeepsItsIdentityAndALostNameMovesOn(t *testing.T) {
	m := newMachine(t)
	m.do(node("a", 2000))
	other := node("a", 2000)
	other.Info.ID = "id-new"
	if ev := m.do(other); ev[0].Type != Rejected {
		t.Fatalf("a second live claimant of the name: %v", types(ev))
	}
	m.do(&NodeLost{Node: "id-a"})
	m.do(other)
	if n := m.s.View().Node("id-a"); n != nil {
		t.Error("the lost node still stands under the name")
	}
}

// randomCommand makes a command that is plausible for the state, or nonsense now and then.
func randomCommand(r *rand.Rand, v View, n int) Command {
	ids := []api.TaskID{"nonsense"}
	for t := range v.Tasks() {
		ids = append(ids, t.ID)
	}
	id := ids[r.IntN(len(ids))]
	nodes := []string{"a", "b", "c"}
	name := nodes[r.IntN(len(nodes))]
	attempt, on := uint32(1), api.NodeID("id-a")
	if t := v.Task(id); t != nil {
		attempt = t.Attempt - uint32(r.IntN(2)*r.IntN(2))
		on = t.Node
	}
	states := []api.State{api.Finished, api.Failed, api.Killed, api.Lost}
	switch r.IntN(13) {
	case 12:
		if r.IntN(20) == 0 {
			return &ForgetMemo{}
		}
		return &Submit{ID: api.TaskID(fmt.Sprint("m", n)), Spec: memoSpec(func(s *api.Spec) {
			s.Count, s.Wasm.Args = 1+r.IntN(3), []string{fmt.Sprint(r.IntN(4))}
		})}
	case 0, 1:
		key := ""
		if r.IntN(3) == 0 {
			key = fmt.Sprint("key", r.IntN(5))
		}
		return &Submit{ID: api.TaskID(fmt.Sprint("t", n)), Key: key, Hash: fmt.Sprint(r.IntN(2)), Spec: shell(func(s *api.Spec) {
			s.Count, s.Retries, s.Resources.Ports = 1+r.IntN(3), r.IntN(3), r.IntN(2)
			s.Resources.CPUs = api.Milli(100 + r.IntN(2000))
		})}
	case 2, 3, 4:
		p := &Place{Task: id, Node: api.NodeID("id-" + name)}
		if t := v.Task(id); t != nil && t.Spec.Resources.Ports > 0 {
			p.Ports = []uint16{uint16(8000 + r.IntN(5))}
		}
		return p
	case 5:
		return &Report{Task: id, Node: on, Attempt: attempt}
	case 6, 7, 8:
		return &Report{Task: id, Node: on, Attempt: attempt, Outcome: outcome(states[r.IntN(len(states))], api.ReasonExit)}
	case 9:
		return &Kill{Task: id, Reason: api.ReasonUserKill, Force: r.IntN(2) == 0}
	case 10:
		return &Forget{Tasks: []api.TaskID{id}}
	default:
		switch r.IntN(4) {
		case 0:
			return &NodeLost{Node: api.NodeID("id-" + name)}
		case 1:
			return &NodeAway{Node: api.NodeID("id-" + name)}
		case 2:
			return &Drain{Node: api.NodeID("id-" + name), On: r.IntN(2) == 0}
		}
		return node(name, 4000)
	}
}

func TestEqualLogsMakeEqualStatesThroughSnapshotsToo(t *testing.T) {
	recalled := 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := newMachine(t)
		m.do(&PutModule{Module: api.Module{Digest: memoModule}})
		snapAt := 50 + r.IntN(200)
		var snap bytes.Buffer
		for i := range 300 {
			if i == snapAt {
				if err := m.s.Save(&snap); err != nil {
					t.Fatal(err)
				}
			}
			if r.IntN(10) == 0 {
				m.now = m.now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
			}
			m.do(randomCommand(r, m.s.View(), 2*i), randomCommand(r, m.s.View(), 2*i+1))
		}
		replayed := New()
		restored, err := Load(bytes.NewReader(snap.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range m.log {
			e, _ := DecodeEntry(b)
			replayed.Apply(uint64(i+1), e)
			if i > snapAt { // the module's entry is the first
				restored.Apply(uint64(i+1), e)
			}
		}
		want := save(t, m.s)
		recalled += m.recalled
		if !bytes.Equal(save(t, replayed), want) {
			t.Fatalf("seed %d: the replayed log gave another state", seed)
		}
		if !bytes.Equal(save(t, restored), want) {
			t.Fatalf("seed %d: snapshot and the rest of the log gave another state", seed)
		}
	}
	if recalled < 20 {
		t.Errorf("only %d tasks were answered from what is remembered", recalled)
	}
}

func save(t *testing.T, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAViewDoesNotChangeAndAForkDoesNotTouchIt(t *testing.T) {
	m := newMachine(t)
	m.do(node("a", 2000), &Submit{ID: "x", Spec: shell(nil)})
	v := m.s.View()
	fork := v.Fork()
	fork.Apply(99, Entry{Now: m.now, Commands: []Command{&Place{Task: "x", Node: "id-a"}}})
	m.do(&Kill{Task: "x"})
	if got := v.Task("x").State; got != api.Pending {
		t.Errorf("the view now says %s", got)
	}
	if got := fork.View().Task("x").State; got != api.Placed {
		t.Errorf("the fork says %s", got)
	}
}

func TestASnapshotThatIsCutShortIsRefused(t *testing.T) {
	m := newMachine(t)
	m.do(node("a", 2000), &Submit{ID: "x", Spec: shell(nil)})
	whole := save(t, m.s)
	for n := range whole {
		if _, err := Load(bytes.NewReader(whole[:n])); err == nil {
			t.Fatalf("a snapshot cut to %d of %d bytes was taken", n, len(whole))
		}
	}
}

func TestWhatIsForgotten(t *testing.T) {
	m := newMachine(t)
	for i := range 10 {
		id := api.TaskID(fmt.Sprint("t", i))
		key := ""
		switch i {
		case 0:
			key = "k"
		case 1:
			key = api.AutoKeyPrefix + "x"
		}
		m.do(&Submit{ID: id, Spec: shell(nil), Key: key}, &Kill{Task: id})
	}
	k := Keeping{Tasks: 7, For: time.Hour, Keyed: 24 * time.Hour}
	if d := cmp.Diff([]api.TaskID{"t1", "t2", "t3"}, m.s.View().Expired(k, m.now)); d != "" {
		t.Errorf("over the number: %s", d)
	}
	if got := len(m.s.View().Expired(k, m.now.Add(2*time.Hour))); got != 9 {
		t.Errorf("over the time %d go, want all but the one with a key", got)
	}
	if got := len(m.s.View().Expired(k, m.now.Add(25*time.Hour))); got != 10 {
		t.Errorf("after a day %d go, want 10", got)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	b, _ := Entry{Now: t0, Commands: []Command{node("a", 1), &Submit{ID: "x", Spec: shell(nil)}, &Place{Task: "x", Node: "id-a"}}}.Encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEntry(b)
		if err != nil {
			return
		}
		if _, err := e.Encode(); err != nil {
			t.Errorf("what was decoded cannot be encoded: %v", err)
		}
	})
}

func FuzzLoad(f *testing.F) {
	s := New()
	s.Apply(1, Entry{Now: t0, Commands: []Command{node("a", 1000), &Submit{ID: "x", Spec: shell(nil)}}})
	var b bytes.Buffer
	_ = s.Save(&b)
	f.Add(b.Bytes())
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = Load(bytes.NewReader(b)) })
}

func BenchmarkTaskThroughTheStateMachine(b *testing.B) {
	s := New()
	s.Apply(1, Entry{Now: t0, Commands: []Command{node("a", 1_000_000)}})
	spec := shell(nil)
	index, now := uint64(1), t0
	b.ReportAllocs()
	for b.Loop() {
		index++
		now = now.Add(time.Microsecond)
		id := api.NewTaskID(index * 0x9e3779b97f4a7c15)
		s.Apply(index, Entry{now, []Command{&Submit{ID: id, Spec: spec}, &Place{Task: id, Node: "id-a"}}})
		s.Apply(index, Entry{now, []Command{&Report{Task: id, Node: "id-a", Attempt: 1, Outcome: outcome(api.Finished, "")}}})
		s.View()
		if s.done.CommitOnly().Len() > 10000 {
			s.Apply(index, Entry{now, []Command{&Forget{Tasks: s.View().Expired(Keeping{Tasks: 9000}, now)}}})
		}
	}
}

func TestAMissingModuleIsToldHowToPushIt(t *testing.T) {
	m := newMachine(t)
	ref, err := api.ParseModuleRef("hello:1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.s.View().FindModule(ref)
	if e := api.AsError(err); e == nil || e.Code != api.CodeModuleNotFound || e.Hint != "push it with: saki module push FILE hello:1" {
		t.Errorf("got %+v", e)
	}
}
