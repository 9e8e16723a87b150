package replay

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
)

func stream(text string) *Stream {
	s := NewStream(10)
	for i := range len(text) { // in pieces
		_, _ = s.Write([]byte(text[i : i+1]))
	}
	return s
}

// of is a run that wrote stdout and used fuel.
func of(stdout string, fuel uint64) Run {
	o := &api.Outcome{State: api.Finished, Receipt: api.Receipt{StdoutBytes: int64(len(stdout)), Fuel: fuel}}
	return Run{Outcome: o, Stdout: stream(stdout), Stderr: stream("")}
}

func change(r Run, f func(*Run)) Run {
	o := *r.Outcome
	r.Outcome = &o
	f(&r)
	return r
}

func TestCompare(t *testing.T) {
	same := of("hello", 77)
	failed := change(same, func(r *Run) { r.Outcome.State, r.Outcome.Reason, r.Outcome.ExitCode = api.Failed, api.ReasonExit, 3 })
	trapped := func(msg string, fuel uint64) Run {
		return change(of("", fuel), func(r *Run) {
			r.Outcome.State, r.Outcome.Reason, r.Outcome.Message, r.Outcome.ExitCode = api.Failed, api.ReasonTrap, msg, 134
		})
	}
	late := func(fuel uint64) Run {
		return change(of("", fuel), func(r *Run) { r.Outcome.State, r.Outcome.Reason = api.Failed, api.ReasonDeadline })
	}
	forgotten := change(same, func(r *Run) { r.Stdout = nil })
	for name, c := range map[string]struct {
		was, now Run
		want     []Difference
		not      []string // compared
	}{
		"the same":                      {was: same, now: of("hello", 77)},
		"a reason that needs no words":  {was: change(same, func(r *Run) { r.Outcome.Reason = api.ReasonExit }), now: same},
		"the same exit code":            {was: failed, now: failed},
		"another end":                   {was: same, now: failed, want: []Difference{{"state", "finished", "failed"}, {"reason", "", "exit"}, {"exit_code", "0", "3"}}},
		"another trap":                  {was: trapped("unreachable", 9), now: trapped("out of bounds", 9), want: []Difference{{"message", "unreachable", "out of bounds"}}},
		"other fuel":                    {was: same, now: of("hello", 1234567), want: []Difference{{"fuel", "77", "1,234,567"}}},
		"no fuel":                       {was: of("hello", 0), now: same, not: []string{"fuel"}},
		"another stdout":                {was: same, now: of("help!", 77), want: []Difference{{"stdout", `5 bytes, at byte 3: "hello"`, `5 bytes, at byte 3: "help!"`}}},
		"more stdout":                   {was: same, now: of("hello!", 77), want: []Difference{{"stdout", `5 bytes, at byte 5: "hello"`, `6 bytes, at byte 5: "hello!"`}}},
		"more than is kept":             {was: of("0123456789", 77), now: of("0123456789abc", 77), want: []Difference{{"stdout", "10 bytes", "13 bytes"}}},
		"stdout that is gone":           {was: forgotten, now: same, not: []string{"stdout"}},
		"more stdout than what is gone": {was: forgotten, now: of("hello!", 77), want: []Difference{{"stdout", "5 bytes", "6 bytes"}}},
		"the deadline again":            {was: late(5), now: late(6), not: []string{"stdout", "stderr", "fuel"}},
		"no deadline this time":         {was: late(5), now: of("", 5), want: []Difference{{"state", "failed", "finished"}, {"reason", "deadline", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			v := Compare(&api.Task{ID: "x", Spec: &api.Spec{Wasm: &api.WasmSpec{Deterministic: true}}}, c.was, c.now)
			if d := cmp.Diff(c.want, v.Differences); d != "" {
				t.Errorf("differences (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.not, v.NotCompared); d != "" {
				t.Errorf("not compared (-want +got):\n%s", d)
			}
			if v.Same != (len(c.want) == 0) || v.Outcome != c.now.Outcome || v.FuelCompared == (len(c.not) > 0 && c.not[len(c.not)-1] == "fuel") {
				t.Errorf("got %+v", v)
			}
			if name != "the deadline again" && len(v.MayDiffer) > 0 {
				t.Errorf("of a deterministic task may differ: %v", v.MayDiffer)
			}
		})
	}
	if v := Compare(&api.Task{Spec: &api.Spec{Wasm: &api.WasmSpec{}}}, same, same); !v.Same || v.Deterministic || len(v.MayDiffer) != 1 {
		t.Errorf("of a task with real clocks: %+v", v)
	}
}

func TestADifferenceBeyondWhatCanBeShown(t *testing.T) {
	a, b := NewStream(api.MiB), NewStream(api.MiB)
	text := bytes.Repeat([]byte("x"), headSize)
	for s, end := range map[*Stream]string{a: "a", b: "b"} {
		_, _ = s.Write(append(text, end...))
	}
	was, now := of("", 1), of("", 1)
	was.Stdout, now.Stdout = a, b
	v := Compare(&api.Task{Spec: &api.Spec{}}, was, now)
	if v.Same || len(v.Differences) != 1 || !strings.HasPrefix(v.Differences[0].Was, "65,537 bytes, sha256 ") || v.Differences[0].Was == v.Differences[0].Now {
		t.Errorf("got %+v", v)
	}
}

func TestShort(t *testing.T) {
	for n, want := range map[int]bool{0: true, int(api.InlineOutput): true, int(api.InlineOutput) + 1: false} {
		s := NewStream(api.MiB)
		_, _ = s.Write(bytes.Repeat([]byte("x"), n))
		if b, ok := s.Short(); ok != want || ok && len(b) != n || s.Len() != int64(n) {
			t.Errorf("%d bytes: %d of them, %v", n, len(b), ok)
		}
	}
}

func TestWhatCannotBeReplayed(t *testing.T) {
	wasm := &api.Spec{Wasm: &api.WasmSpec{}}
	o := &api.Outcome{}
	for name, c := range map[string]struct {
		t    api.Task
		want api.Code
	}{
		"finished":       {api.Task{Spec: wasm, State: api.Finished, Outcome: o}, ""},
		"trapped":        {api.Task{Spec: wasm, State: api.Failed, Reason: api.ReasonTrap, Outcome: o}, ""},
		"shell":          {api.Task{Spec: &api.Spec{Shell: &api.ShellSpec{}}, State: api.Finished, Outcome: o}, api.CodeInvalidArgument},
		"running":        {api.Task{Spec: wasm, State: api.Running}, api.CodeConflict},
		"tried again":    {api.Task{Spec: wasm, State: api.Pending, Outcome: o}, api.CodeConflict},
		"killed":         {api.Task{Spec: wasm, State: api.Killed, Outcome: o}, api.CodeConflict},
		"lost":           {api.Task{Spec: wasm, State: api.Lost, Outcome: o}, api.CodeConflict},
		"without module": {api.Task{Spec: wasm, State: api.Failed, Reason: api.ReasonModuleNotFound, Outcome: o}, api.CodeConflict},
	} {
		err := Refuse(&c.t)
		if c.want == "" && err != nil || c.want != "" && (err == nil || api.AsError(err).Code != c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 8123456: "8,123,456"} {
		if got := Grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
