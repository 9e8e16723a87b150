package core

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

var memoModule = api.DigestOf([32]byte{7})

// memoSpec is a memo task of [memoModule].
func memoSpec(change func(*api.Spec)) *api.Spec {
	s := api.Spec{Wasm: &api.WasmSpec{Module: string(memoModule), Memo: true}}
	if change != nil {
		change(&s)
	}
	s = s.WithDefaults()
	return &s
}

// memoMachine has a node, the module and a blob.
func memoMachine(t *testing.T) *machine {
	m := newMachine(t)
	m.do(node("a", 100_000), &PutModule{Module: api.Module{Digest: memoModule}}, &PutBlob{api.BlobInfo{Digest: blobOf("in")}})
	return m
}

func blobOf(s string) api.Digest { return api.DigestOf(sha256.Sum256([]byte(s))) }

// run submits a task and, unless it is answered at once, ends it with o. It reports whether it had to run.
func (m *machine) run(id api.TaskID, s *api.Spec, o *api.Outcome) bool {
	m.t.Helper()
	m.do(&Submit{ID: id, Spec: s})
	if m.task(id).State.Terminal() {
		return false
	}
	m.do(&Place{Task: id, Node: "id-a"})
	m.do(&Report{Task: id, Node: "id-a", Attempt: 1, Outcome: o})
	return true
}

func TestAnEqualMemoTaskIsAnsweredAtOnce(t *testing.T) {
	m := memoMachine(t)
	first := &api.Outcome{
		State: api.Finished, Inline: true, Stdout: []byte("42\n"),
		Receipt: api.Receipt{Deterministic: true, RunNS: 5, Fuel: 1234, PeakMem: 64 * api.KiB, StdoutBytes: 3},
	}
	m.run("x", memoSpec(nil), first)
	if x := m.task("x"); x.Outcome.Receipt.Memo || x.Outcome.Receipt.RunNS != 5 {
		t.Errorf("the task that ran has the receipt %+v", x.Outcome.Receipt)
	}
	ev := m.do(&Submit{ID: "y", Spec: memoSpec(nil)}, &Place{Task: "y", Node: "id-a"})
	if d := cmp.Diff([]string{api.EventTaskSubmitted, api.EventTaskEnded, Ignored}, types(ev)); d != "" {
		t.Fatal(d)
	}
	if ev[0].Task.State != api.Pending {
		t.Errorf("it was submitted as %s", ev[0].Task.State)
	}
	y := m.task("y")
	want := *first
	want.Receipt = api.Receipt{Warm: true, Deterministic: true, Memo: true, MemoOf: "x", Fuel: 1234, PeakMem: 64 * api.KiB, StdoutBytes: 3}
	if d := cmp.Diff(&want, y.Outcome); d != "" || y.State != api.Finished || y.Attempt != 0 || y.Node != "" || y.EndedAt.IsZero() {
		t.Errorf("got %+v (-want +got):\n%s", y, d)
	}
	m.do(&Forget{Tasks: []api.TaskID{"x"}})
	if m.run("z", memoSpec(nil), first) || m.task("z").Outcome.Receipt.MemoOf != "x" {
		t.Error("the result went with the task that was forgotten")
	}
	if n := m.s.View().Node("id-a"); n.Tasks != 0 {
		t.Errorf("the node has %d tasks", n.Tasks)
	}
}

func TestWhatMakesMemoTasksDifferent(t *testing.T) {
	base := func(s *api.Spec) {
		s.Wasm.Args, s.Stdin, s.Env = []string{"a", "b"}, []byte("in"), map[string]string{"A": "1", "B": "2"}
		s.Files = []api.File{{Path: "data/in", Blob: blobOf("in"), Mode: 0o644}}
	}
	m := memoMachine(t)
	m.do(&PutModule{Module: api.Module{Digest: api.DigestOf([32]byte{8})}}, &PutBlob{api.BlobInfo{Digest: blobOf("other")}}, &PutBlob{api.BlobInfo{Digest: blobOf("third")}})
	m.run("x", memoSpec(base), outcome(api.Finished, ""))
	n := 0
	try := func(name string, same bool, change func(*api.Spec)) {
		n++
		ran := m.run(api.TaskID(fmt.Sprint("t", n)), memoSpec(func(s *api.Spec) { base(s); change(s) }), outcome(api.Finished, ""))
		if ran == same {
			t.Errorf("%s: ran is %v", name, ran)
		}
	}
	for name, change := range map[string]func(*api.Spec){
		"nothing":          func(*api.Spec) {},
		"a label":          func(s *api.Spec) { s.Labels = map[string]string{"a": "b"} },
		"the timeout":      func(s *api.Spec) { s.Timeout = 5 },
		"where it may run": func(s *api.Spec) { s.Placement = api.Spread },
		"stdin's way":      func(s *api.Spec) { s.Stdin, s.StdinBlob = nil, blobOf("in") },
	} {
		try(name, true, change)
	}
	for name, change := range map[string]func(*api.Spec){
		"the module":       func(s *api.Spec) { s.Wasm.Module = string(api.DigestOf([32]byte{8})) },
		"the function":     func(s *api.Spec) { s.Wasm.Func = "main" },
		"the arguments":    func(s *api.Spec) { s.Wasm.Args = []string{"ab"} },
		"an argument less": func(s *api.Spec) { s.Wasm.Args = []string{"a"} },
		"the name":         func(s *api.Spec) { s.Name = "other" },
		"the namespace":    func(s *api.Spec) { s.Namespace = "other" },
		"a variable":       func(s *api.Spec) { s.Env["A"] = "2" },
		"a variable less":  func(s *api.Spec) { delete(s.Env, "B") },
		"stdin":            func(s *api.Spec) { s.Stdin = []byte("other") },
		"stdin's blob":     func(s *api.Spec) { s.Stdin, s.StdinBlob = nil, blobOf("third") },
		"no stdin":         func(s *api.Spec) { s.Stdin = nil },
		"a file's content": func(s *api.Spec) { s.Files[0].Blob = blobOf("other") },
		"a file's path":    func(s *api.Spec) { s.Files[0].Path = "in" },
		"a file's mode":    func(s *api.Spec) { s.Files[0].Mode = 0o755 },
		"no file":          func(s *api.Spec) { s.Files = nil },
		"fuel":             func(s *api.Spec) { s.Wasm.Fuel = 1 },
		"memory":           func(s *api.Spec) { s.Resources.Mem = api.MiB },
		"disk":             func(s *api.Spec) { s.Resources.Disk = api.MiB },
		"the output kept":  func(s *api.Spec) { s.MaxOutput = api.MiB },
		"no memo":          func(s *api.Spec) { s.Wasm.Memo = false },
	} {
		try(name, false, change)
	}
}

func TestTheCopiesOfAMemoArrayAreRememberedByTheirIndex(t *testing.T) {
	m := memoMachine(t)
	three := memoSpec(func(s *api.Spec) { s.Count = 3 })
	m.do(&Submit{ID: "x", Spec: three})
	for i := range 2 { // the third one is still running
		id := api.TaskID("x").Member(i)
		o := outcome(api.Finished, "")
		o.Stdout = []byte(fmt.Sprint(i))
		m.do(&Place{Task: id, Node: "id-a"}, &Report{Task: id, Node: "id-a", Attempt: 1, Outcome: o})
	}
	m.do(&Submit{ID: "y", Spec: three})
	for i, want := range []api.State{api.Finished, api.Finished, api.Pending} {
		y := m.task(api.TaskID("y").Member(i))
		if y.State != want || want == api.Finished && string(y.Outcome.Stdout) != fmt.Sprint(i) {
			t.Errorf("copy %d: %s, %+v", i, y.State, y.Outcome)
		}
	}
}

func TestOnlyResultsThatAreSureAreRemembered(t *testing.T) {
	long := outcome(api.Finished, "")
	long.Inline = false
	touched := outcome(api.Finished, "")
	touched.Receipt.Deterministic = false
	huge := outcome(api.Failed, api.ReasonExit)
	huge.Message = strings.Repeat("x", maxMemoSize)
	m := memoMachine(t)
	for i, c := range []struct {
		name string
		o    *api.Outcome
		want bool
	}{
		{"finished", outcome(api.Finished, ""), true},
		{"an exit code", outcome(api.Failed, api.ReasonExit), true},
		{"a deadline", outcome(api.Failed, api.ReasonDeadline), false},
		{"a trap", outcome(api.Failed, api.ReasonTrap), false},
		{"killed", outcome(api.Killed, api.ReasonUserKill), false},
		{"output that is elsewhere", long, false},
		{"the machine's part in it", touched, false},
		{"a long message", huge, false},
	} {
		s := memoSpec(func(s *api.Spec) { s.Wasm.Args = []string{c.name} })
		m.run(api.TaskID(fmt.Sprint("a", i)), s, c.o)
		if ran := m.run(api.TaskID(fmt.Sprint("b", i)), s, c.o); ran == c.want {
			t.Errorf("%s: the second one ran is %v", c.name, ran)
		}
	}
}

func TestForgettingWhatIsRemembered(t *testing.T) {
	m := memoMachine(t)
	for i := range 3 {
		m.run(api.TaskID(fmt.Sprint("x", i)), memoSpec(func(s *api.Spec) { s.Wasm.Args = []string{fmt.Sprint(i)} }), outcome(api.Finished, ""))
	}
	before := m.s.View()
	if ev := m.do(&ForgetMemo{}); len(ev) != 1 || ev[0].Count != 3 {
		t.Errorf("got %+v", ev)
	}
	if got := m.s.View().MemoCount(); got != 0 || before.MemoCount() != 3 {
		t.Errorf("%d are left, and %d in the view of before", got, before.MemoCount())
	}
	if !m.run("y", memoSpec(func(s *api.Spec) { s.Wasm.Args = []string{"0"} }), outcome(api.Finished, "")) {
		t.Error("the result is still remembered")
	}
}

func TestTheOldestResultsGoFirst(t *testing.T) {
	for name, c := range map[string]struct{ size, kept int }{
		"by number": {1, maxMemos},
		"by size":   {12 << 10, maxMemoBytes / (13 << 10)},
	} {
		t.Run(name, func(t *testing.T) {
			s := New()
			a := &applying{State: s}
			spec := func(i int) *api.Spec {
				return memoSpec(func(s *api.Spec) { s.Wasm.Args = []string{fmt.Sprint(i)} })
			}
			for i := range maxMemos + 5 {
				o := outcome(api.Finished, "")
				o.Stdout = bytes.Repeat([]byte("x"), c.size)
				a.remember(&api.Task{ID: api.TaskID(fmt.Sprint("t", i)), Spec: spec(i), Outcome: o})
			}
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
			n := s.memoCount
			if n < c.kept || n > maxMemos {
				t.Errorf("%d results are kept, want at least %d", n, c.kept)
			}
			for i, want := range map[int]bool{0: false, maxMemos + 5 - n - 1: false, maxMemos + 5 - n: true, maxMemos + 4: true} {
				if _, got := s.memos.Get(memoKey(spec(i), 0)); got != want {
					t.Errorf("of %d kept, result %d is there: %v", n, i, got)
				}
			}
		})
	}
}

func TestASnapshotWithADamagedMemoIsRefused(t *testing.T) {
	o, err := wire.Marshal(&api.Outcome{State: api.Finished, Inline: true, Receipt: api.Receipt{Memo: true}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		m  memo
		ok bool
	}{
		"whole":       {memo{make([]byte, 32), "x", o, 1}, true},
		"a short key": {memo{make([]byte, 31), "x", o, 1}, false},
		"no outcome":  {memo{make([]byte, 32), "x", nil, 1}, false},
		"half of one": {memo{make([]byte, 32), "x", o[:len(o)/2], 1}, false},
	} {
		s := New()
		s.addMemo(&c.m)
		if _, err := Load(bytes.NewReader(save(t, s))); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
