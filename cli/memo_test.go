package cli

import (
	"testing"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client/clienttest"
)

func TestMemo(t *testing.T) {
	var asked []api.Spec
	m := &clienttest.Master{
		Submit: func(s []api.Spec, _ string, _ time.Duration) ([]api.Task, error) {
			asked = append(asked, s...)
			task := endedWith("8g4m", 3, "832040\n", "")
			task.Spec, task.Attempt, task.NodeName = &s[0], 0, ""
			task.Outcome.Receipt = api.Receipt{Warm: true, Memo: true, MemoOf: "7f3k", Fuel: 8.1e6}
			return []api.Task{task}, nil
		},
		ForgetMemo: func() (*api.MemoForgotten, error) { return &api.MemoForgotten{Forgotten: 1}, nil },
	}
	golden(t, "memo.txt", newTerminal(t, m).session(
		"run --memo --stats fib:1.2 -- 30", "run --memo --shell true", "module memo clear", "module memo clear -o json", "module memo cler"))
	if len(asked) != 1 || !asked[0].Wasm.Memo {
		t.Errorf("asked for %+v", asked)
	}
}
