package cluster

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

// wasmCounter is a runner of wasm tasks that runs no wasm: each run writes its number, so that a remembered result can be
// told from a new one. A task with the argument "fail" ends with the code 3.
type wasmCounter struct{ runs atomic.Int32 }

var _ runner.Runner = (*wasmCounter)(nil)

func (*wasmCounter) Probe(context.Context) runner.Capability {
	return runner.Capability{Kind: api.Wasm, OK: true}
}

func (w *wasmCounter) Run(_ context.Context, t *api.Task, _ runner.IO) (api.Outcome, error) {
	o := api.Outcome{
		State: api.Finished, Inline: true, Stdout: fmt.Appendf(nil, "run %d\n", w.runs.Add(1)),
		Receipt: api.Receipt{Deterministic: t.Spec.Wasm.Deterministic, RunNS: 1000, Fuel: 77},
	}
	if args := t.Spec.Wasm.Args; len(args) > 0 && args[0] == "fail" {
		o.State, o.Reason, o.ExitCode = api.Failed, api.ReasonExit, 3
	}
	return o, nil
}

func readLogs(t *testing.T, cl *client.Client, id api.TaskID) string {
	t.Helper()
	var b strings.Builder
	if err := cl.FollowLogs(t.Context(), string(id), client.LogOptions{}, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAMemoTaskRunsOnceAndItsResultOutlivesTheLeader(t *testing.T) {
	c := Start(t, Config{Masters: 3})
	w := new(wasmCounter)
	c.AddAgent("a1", "", map[api.Kind]runner.Runner{api.Wasm: w}, nil)
	cl := connect(t, c)
	c.Leader()
	if _, err := cl.PushModule(t.Context(), client.Bytes(guest(t, "hello")), "hello"); err != nil {
		t.Fatal(err)
	}
	spec := &api.Spec{Wasm: &api.WasmSpec{Module: "hello", Memo: true, Args: []string{"fail"}}}
	run := func() *api.Task {
		t.Helper()
		task, err := cl.Run(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if o := task.Outcome; task.State != api.Failed || o.ExitCode != 3 || o.Receipt.Fuel != 77 || !task.Spec.Wasm.Deterministic {
			t.Errorf("got %s, %+v", task.State, o)
		}
		return task
	}
	first := run()
	if first.Outcome.Receipt.Memo || string(first.Outcome.Stdout) != "run 1\n" {
		t.Errorf("the first: %+v", first.Outcome)
	}
	again := func(when string) {
		t.Helper()
		task := run()
		if r := task.Outcome.Receipt; !r.Memo || r.MemoOf != first.ID || r.RunNS != 0 || task.Node != "" || task.Attempt != 0 {
			t.Errorf("%s: got %+v", when, task)
		}
		if got := readLogs(t, cl, task.ID); got != "run 1\n" {
			t.Errorf("%s: the log is %q", when, got)
		}
	}
	again("at once")
	old := c.Leader()
	c.Stop(old)
	c.Leader()
	again("under the next leader")
	c.Restart(old)
	if n, err := cl.ForgetMemo(t.Context()); err != nil || n.Forgotten != 1 {
		t.Errorf("forgot %+v, %v", n, err)
	}
	if last := run(); last.Outcome.Receipt.Memo || string(last.Outcome.Stdout) != "run 2\n" {
		t.Errorf("afterwards: %+v", last.Outcome)
	}
	if n := w.runs.Load(); n != 2 {
		t.Errorf("there were %d runs, want 2", n)
	}
}

func TestATaskThatDoesNotAskForMemoRuns(t *testing.T) {
	c := Start(t, Config{})
	w := new(wasmCounter)
	c.AddAgent("a1", "", map[api.Kind]runner.Runner{api.Wasm: w}, nil)
	cl := connect(t, c)
	if _, err := cl.PushModule(t.Context(), client.Bytes(guest(t, "hello")), "hello"); err != nil {
		t.Fatal(err)
	}
	for i, memo := range []bool{true, false} {
		task, err := cl.Run(t.Context(), &api.Spec{Wasm: &api.WasmSpec{Module: "hello", Memo: memo, Deterministic: true}})
		if err != nil || task.Outcome.Receipt.Memo || w.runs.Load() != int32(i+1) {
			t.Errorf("memo %v: %+v, %v", memo, task, err)
		}
	}
}
