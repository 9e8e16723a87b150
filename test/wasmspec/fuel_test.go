package wasmspec

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/saki-run/saki/wasm"
	"github.com/saki-run/saki/wasm/build"
)

// TestFuelIsWhatTheCostModelSays pins the cost model: changing any of these numbers changes everybody's bills, so it
// needs a new wasm.MeterVersion.
func TestFuelIsWhatTheCostModelSays(t *testing.T) {
	i32 := []byte{build.I32}
	c := build.I32Const
	for _, tc := range []struct {
		name   string
		locals []byte
		code   [][]byte
		want   int64
		trap   string
	}{
		{name: "an empty function costs its call", want: 1},
		{name: "each instruction costs one, drop and end nothing", code: [][]byte{c(1), {0x1a}, c(1), {0x1a}}, want: 3},
		{name: "eight locals cost one", locals: slices.Repeat(i32, 17), want: 3},
		{name: "block, nop and return are free", code: [][]byte{{0x02, 0x40, 0x01, 0x0b, 0x0f}}, want: 1},
		{name: "only the arm that runs is paid", code: [][]byte{c(1), {0x04, 0x40}, c(1), {0x1a, 0x05}, c(1), {0x1a}, c(1), {0x1a, 0x0b}}, want: 4},
		{name: "the else arm likewise", code: [][]byte{c(0), {0x04, 0x40}, c(1), {0x1a, 0x05}, c(1), {0x1a}, c(1), {0x1a, 0x0b}}, want: 5},
		{name: "what a branch skips is not paid", code: [][]byte{{0x02, 0x40}, c(1), {0x0d, 0}, c(9), {0x1a}, c(9), {0x1a, 0x0b}, c(1), {0x1a}}, want: 4},
		{name: "what returning skips is not paid", code: [][]byte{{0x02, 0x40}, c(1), {0x0d, 1}, {0x0b}, c(1), {0x1a}, c(1), {0x1a}}, want: 3},
		// Per turn: loop, local.get, i32.const, i32.add, local.tee, i32.const, i32.lt_s, br_if.
		{name: "a loop is paid per turn", locals: i32, code: [][]byte{{0x03, 0x40, 0x20, 0}, c(1), {0x6a, 0x22, 0}, c(10), {0x48, 0x0d, 0, 0x0b}}, want: 1 + 10*8},
		{name: "memory.fill costs one per eight bytes", code: [][]byte{c(0), c(0), c(800), {0xfc, 11, 0}}, want: 1 + 4 + 100},
		{name: "memory.copy costs one per eight bytes", code: [][]byte{c(0), c(0), c(807), {0xfc, 10, 0, 0}}, want: 1 + 4 + 100},
		{name: "memory.grow costs 8,192 per page", code: [][]byte{c(2), {0x40, 0, 0x1a}}, want: 1 + 2 + 2*8192},
		{name: "a memory.grow that cannot succeed costs no length", code: [][]byte{c(-1), {0x40, 0, 0x1a}}, want: 3},
		{name: "nor does one just beyond the maximum", code: [][]byte{c(4), {0x40, 0, 0x1a}}, want: 3},
		{name: "table.grow costs one per entry", code: [][]byte{{0xd0, 0x70}, c(5), {0xfc, 15, 0, 0x1a}}, want: 1 + 3 + 5},
		{name: "a table.grow that cannot succeed costs no length", code: [][]byte{{0xd0, 0x70}, c(-2), {0xfc, 15, 0, 0x1a}}, want: 4},
		{name: "table.fill costs one per entry", code: [][]byte{c(0), {0xd0, 0x70}, c(3), {0xfc, 17, 0}}, want: 1 + 4 + 3},
		{
			name: "a trap leaves its block paid", code: [][]byte{c(1), c(0), {0x6d, 0x1a}, c(1), {0x1a}}, want: 5,
			trap: "wasm error: integer divide by zero",
		},
		{
			name: "a fill that traps is paid", code: [][]byte{c(0), c(0), c(1 << 20), {0xfc, 11, 0}}, want: 1 + 4 + 1<<17,
			trap: "wasm error: out of bounds memory access",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m build.Module
			m.Memory(1, 4)
			m.Table(4, 10)
			m.Export("run", build.Func, m.Func(m.Type(nil, nil), tc.locals, tc.code...))
			w := newWorld(t, api.CoreFeaturesV2, true)
			inst, err := w.load(t.Context(), m.Bytes(), "")
			if err != nil {
				t.Fatal(err)
			}
			_, err = inst.ExportedFunction("run").Call(t.Context())
			if tc.trap != "" && trapText(err) != tc.trap || tc.trap == "" && err != nil {
				t.Errorf("got error %v, want %q", err, tc.trap)
			}
			if got := w.consumed(inst); got != tc.want {
				t.Errorf("got %d fuel, want %d", got, tc.want)
			}
		})
	}
}

// consumed is what the contract says about reading the fuel at the end.
func (w *world) consumed(m api.Module) int64 {
	return w.granted - int64(m.ExportedGlobal(wasm.DefaultFuelGlobal).Get())
}

func TestFuelCanBeReadAfterAnExit(t *testing.T) {
	var m build.Module
	exit := m.ImportFunc(wasm.WASIModule, "proc_exit", m.Type([]byte{build.I32}, nil))
	m.Memory(1, 1)
	m.Export("memory", build.Memory, 0)
	m.Export("_start", build.Func, m.Func(m.Type(nil, nil), nil, build.I32Const(7), build.Call(exit), build.I32Const(1), []byte{0x1a}))
	w := newWorld(t, api.CoreFeaturesV2, true)
	if _, err := wasi_snapshot_preview1.Instantiate(t.Context(), w.rt); err != nil {
		t.Fatal(err)
	}
	inst, err := w.load(t.Context(), m.Bytes(), "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = inst.ExportedFunction("_start").Call(t.Context())
	if e, ok := errors.AsType[*sys.ExitError](err); !ok || e.ExitCode() != 7 {
		t.Fatalf("got error %v, want exit code 7", err)
	}
	if got := w.consumed(inst); got != 4 {
		t.Errorf("got %d fuel, want 4", got)
	}
}

func TestStackTracesKeepTheirNames(t *testing.T) {
	var m build.Module
	typ := m.Type(nil, nil)
	m.ImportFunc("env", "mix", typ)
	m.Func(typ, nil, []byte{0x00})
	m.Export("run", build.Func, m.Func(typ, nil, build.Call(1)))
	m.Custom("name", slices.Concat([]byte{1, 14, 2, 1, 4}, []byte("deep"), []byte{2, 5}, []byte("outer")))
	var traces [2]string
	for i, meter := range []bool{false, true} {
		w := newWorld(t, api.CoreFeaturesV2, meter)
		if _, err := w.rt.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(func() {}).Export("mix").Instantiate(t.Context()); err != nil {
			t.Fatal(err)
		}
		inst, err := w.load(t.Context(), m.Bytes(), "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = inst.ExportedFunction("run").Call(t.Context())
		traces[i] = err.Error()
	}
	if traces[0] != traces[1] || !strings.Contains(traces[0], ".deep()") {
		t.Errorf("plain traces\n%s\nmetered traces\n%s", traces[0], traces[1])
	}
}

// TestRealProgramsDoTheSame runs a Go program both ways, and metered twice.
func TestRealProgramsDoTheSame(t *testing.T) {
	module := goProgram(t, workSource)
	var out [3]string
	var fuel [3]int64
	for i := range out {
		w := newWorld(t, api.CoreFeaturesV2, i > 0)
		if _, err := wasi_snapshot_preview1.Instantiate(t.Context(), w.rt); err != nil {
			t.Fatal(err)
		}
		b := module
		if w.meter {
			var err error
			if b, err = wasm.Meter(module, wasm.MeterOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		var stdout strings.Builder
		cfg := wazero.NewModuleConfig().WithName("").WithStartFunctions().WithStdout(&stdout)
		inst, err := w.rt.InstantiateModule(t.Context(), w.compiled(t, b), cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, err = inst.ExportedFunction("_start").Call(t.Context())
		if e, ok := errors.AsType[*sys.ExitError](err); err != nil && (!ok || e.ExitCode() != 0) {
			t.Fatal(err)
		}
		if out[i] = stdout.String(); w.meter {
			fuel[i] = w.consumed(inst)
		}
	}
	if out[0] != out[1] || !strings.HasPrefix(out[0], "3000 ") {
		t.Errorf("plain says %q, metered %q", out[0], out[1])
	}
	if fuel[1] != fuel[2] || fuel[1] < 1_000_000 {
		t.Errorf("the runs consumed %d and %d fuel, want the same", fuel[1], fuel[2])
	}
	t.Logf("a Go program that sorts, hashes and parses JSON consumed %d fuel", fuel[1])
}

// TestMeteredLoopsLetTheCollectorRun would never end if the loop did not come back to the host: the collector has to
// stop every goroutine, and compiled code cannot be stopped from outside.
func TestMeteredLoopsLetTheCollectorRun(t *testing.T) {
	var m build.Module
	m.Export("run", build.Func, m.Func(m.Type(nil, nil), nil, []byte{0x03, 0x40, 0x0c, 0, 0x0b}))
	w := newWorld(t, api.CoreFeaturesV2, true)
	inst, err := w.load(t.Context(), m.Bytes(), "")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := inst.ExportedFunction("run").Call(context.Background())
		ended <- err
	}()
	for range 3 {
		before := w.yields.Load()
		for w.yields.Load() == before {
			runtime.Gosched()
		}
		runtime.GC()
	}
	w.stop.Store(true)
	if err := <-ended; !strings.Contains(trapText(err), errNoFuel.Error()) {
		t.Errorf("got error %v, want it to be out of fuel", err)
	}
}
