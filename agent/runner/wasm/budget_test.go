package wasm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/engine"
	"github.com/saki-run/saki/executor/protocol"
)

func TestATaskHasAsMuchFuelAsItsSpecSays(t *testing.T) {
	b := newBench(t)
	var used []uint64
	for range 2 {
		task := b.task("spin")
		task.Spec.Wasm.Fuel = 1_000_000
		out := b.run(task)
		if out.State != api.Failed || out.Reason != api.ReasonFuelExhausted || out.ExitCode != api.ExitLimit {
			t.Fatalf("got %+v", out)
		}
		used = append(used, out.Receipt.Fuel)
	}
	if used[0] != used[1] || used[0] <= 1_000_000 || used[0] > 1_001_000 {
		t.Errorf("it used %d", used)
	}
}

func TestADeterministicTaskIsTheSameWhereverItRuns(t *testing.T) {
	b := newBench(t)
	var outs []api.Outcome
	for i, engine := range []string{"", "", api.EngineInterpreter} {
		task := b.task("clock-random")
		task.Attempt = uint32(i + 1)
		task.Spec.Wasm.Deterministic, task.Spec.Wasm.Engine = true, engine
		out := b.run(task)
		if out.State != api.Finished || !out.Receipt.Deterministic {
			t.Fatalf("got %+v", out)
		}
		outs = append(outs, out)
	}
	for _, o := range outs[1:] {
		if !bytes.Equal(o.Stdout, outs[0].Stdout) || o.Receipt.Fuel != outs[0].Receipt.Fuel {
			t.Errorf("%q with fuel %d, and %q with %d", outs[0].Stdout, outs[0].Receipt.Fuel, o.Stdout, o.Receipt.Fuel)
		}
	}
	if out := b.run(b.task("clock-random")); bytes.Equal(out.Stdout, outs[0].Stdout) || out.Receipt.Deterministic {
		t.Errorf("in the real world: %+v", out)
	}
	task := b.task("env")
	task.Spec.Wasm.Memo, task.Spec.Env = true, map[string]string{"A": "b"}
	if out := b.run(task); string(out.Stdout) != "A=b\nSAKI_TASK_INDEX=0\n" {
		t.Errorf("a deterministic task sees %q", out.Stdout)
	}
}

func TestATaskHasAsMuchDiskAsItsSpecSays(t *testing.T) {
	b := newBench(t)
	task := b.task("write", "/out")
	task.Spec.Stdin = []byte("some text that is longer than ten bytes")
	task.Spec.Resources.Disk = 10
	if out := b.run(task); out.State != api.Failed || out.Reason != api.ReasonExit || !strings.Contains(out.Message, "more disk than its limit") {
		t.Errorf("got %+v", out)
	}
	task.Attempt, task.Spec.Resources.Disk = 2, 100
	if out := b.run(task); out.State != api.Finished {
		t.Errorf("with enough: %+v", out)
	}
}

func TestATaskLeavesARecordWhenItIsAskedTo(t *testing.T) {
	b := newBench(t)
	task := b.task("clock-random")
	task.Spec.Wasm.Record = true
	x := b.io(task)
	out, err := b.Run(t.Context(), task, x.IO)
	if err != nil || out.State != api.Finished {
		t.Fatalf("got %+v, %v", out, err)
	}
	tape, err := os.Open(filepath.Join(x.Dir, protocol.Record))
	if err != nil {
		t.Fatal(err)
	}
	defer tape.Close()
	play, err := engine.NewReplayer(tape)
	if err != nil {
		t.Fatal(err)
	}
	sec, nsec := play.Walltime()
	var random [8]byte
	_, _ = play.Read(random[:])
	if said := fmt.Sprintf("%d %x\n", sec*1e9+int64(nsec), random); play.Err() != nil || said != string(out.Stdout) {
		t.Errorf("the record says %q, %v; the guest said %q", said, play.Err(), out.Stdout)
	}
}
