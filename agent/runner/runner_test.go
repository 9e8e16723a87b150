package runner_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
)

func TestADeterministicTaskIsNotToldWhatDiffersFromRunToRun(t *testing.T) {
	module := api.DigestOf([32]byte{1})
	task := &api.Task{
		ID: "7f3k", Index: 3, Attempt: 2, NodeName: "node-1",
		Spec: &api.Spec{Env: map[string]string{"A": "1", "SAKI_NODE": "mine"}, Wasm: &api.WasmSpec{Module: string(module)}},
	}
	want := map[string]string{"A": "1", "SAKI_NODE": "mine", "SAKI_TASK_ID": "7f3k", "SAKI_TASK_INDEX": "3", "SAKI_ATTEMPT": "2"}
	if d := cmp.Diff(want, runner.Env(task)); d != "" || runner.Program(task) != "7f3k" {
		t.Errorf("program %s, variables (-want +got):\n%s", runner.Program(task), d)
	}
	task.Spec.Wasm.Deterministic = true
	want = map[string]string{"A": "1", "SAKI_NODE": "mine", "SAKI_TASK_INDEX": "3"}
	if d := cmp.Diff(want, runner.Env(task)); d != "" || runner.Program(task) != module.Short() {
		t.Errorf("deterministic: program %s, variables (-want +got):\n%s", runner.Program(task), d)
	}
	if task.Spec.Name = "fib"; runner.Program(task) != "fib" {
		t.Errorf("with a name the program is %s", runner.Program(task))
	}
}
