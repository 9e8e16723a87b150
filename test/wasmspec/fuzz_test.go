package wasmspec

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/saki-run/saki/wasm"
	"github.com/saki-run/saki/wasm/gen"
)

// outcome is all that can be seen of a generated module.
type outcome struct {
	start   string     // how instantiating it ended
	calls   []string   // how each call ended
	results [][]uint64 // what each call returned
	globals []uint64
	memory  []byte
	fuel    int64 // consumed; metered only
	stopped bool  // out of fuel somewhere
}

const fuelBudget = 2_000_000

// observe runs every function of a generated module once.
func observe(t *testing.T, module []byte, funcs []gen.Func, meter bool, slice int64) outcome {
	t.Helper()
	w := newWorld(t, api.CoreFeaturesV2, meter)
	if w.slice = slice; slice == tinySlice {
		w.budget = fuelBudget // what ends within it needs no bound the second time
	}
	_, err := w.rt.NewHostModuleBuilder(gen.ImportModule).NewFunctionBuilder().
		WithFunc(func(_ context.Context, x uint32) uint32 { return x*2654435761 + 1 }).Export(gen.ImportFunc).Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.rt.CompileModule(t.Context(), module); err != nil {
		t.Fatalf("a generated module is not valid: %v", err)
	}
	var o outcome
	m, err := w.load(t.Context(), module, "")
	o.start = startIndex.ReplaceAllString(trapText(err), "function")
	if err != nil {
		o.stopped = bytes.Contains([]byte(o.start), []byte(errNoFuel.Error()))
		return o
	}
	for _, f := range funcs {
		args := make([]uint64, f.Params)
		for i := range args {
			args[i] = uint64(i + 3)
		}
		res, err := m.ExportedFunction(f.Name).Call(t.Context(), args...)
		o.calls = append(o.calls, trapText(err))
		o.results = append(o.results, slices.Clone(res))
		o.stopped = o.stopped || bytes.Contains([]byte(trapText(err)), []byte(errNoFuel.Error()))
	}
	for i := 0; m.ExportedGlobal("g"+strconv.Itoa(i)) != nil; i++ {
		o.globals = append(o.globals, m.ExportedGlobal("g"+strconv.Itoa(i)).Get())
	}
	o.memory, _ = m.Memory().Read(0, m.Memory().Size())
	o.memory = slices.Clone(o.memory)
	if meter {
		o.fuel = w.granted - int64(m.ExportedGlobal(wasm.DefaultFuelGlobal).Get())
	}
	return o
}

// sameBothWays demands that a generated module does the same plain and metered, and costs the same twice. It reports
// whether the module came to an end.
func sameBothWays(t *testing.T, seed []byte) bool {
	t.Helper()
	module, funcs := gen.Module(seed)
	metered := observe(t, module, funcs, true, tinySlice)
	if metered.stopped { // the plain one might run for ever
		return false
	}
	if again := observe(t, module, funcs, true, usualSlice); metered.fuel != again.fuel {
		t.Errorf("one run consumed %d fuel, another, with other slices, %d", metered.fuel, again.fuel)
	}
	plain := observe(t, module, funcs, false, 0)
	if plain.start != metered.start || !slices.Equal(plain.calls, metered.calls) {
		t.Errorf("plain ends in %s %q, metered in %s %q", plain.start, plain.calls, metered.start, metered.calls)
	}
	if !slices.EqualFunc(plain.results, metered.results, slices.Equal) || !slices.Equal(plain.globals, metered.globals) {
		t.Errorf("plain answers %v %v, metered %v %v", plain.results, plain.globals, metered.results, metered.globals)
	}
	if !bytes.Equal(plain.memory, metered.memory) {
		t.Error("plain and metered leave different bytes in memory")
	}
	return true
}

func FuzzMeteredModulesDoTheSame(f *testing.F) {
	f.Add([]byte("a few bytes of any kind"))
	f.Fuzz(func(t *testing.T, seed []byte) { sameBothWays(t, seed) })
}

func TestGeneratedModulesDoTheSameMetered(t *testing.T) {
	ended, modules := 0, 200
	for i := range modules {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		seed := make([]byte, 50+r.IntN(1500))
		for j := range seed {
			seed[j] = byte(r.Uint32())
		}
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			if sameBothWays(t, seed) {
				ended++
			}
		})
	}
	t.Logf("%d generated modules, %d came to an end", modules, ended)
	if ended < modules/2 {
		t.Errorf("only %d of %d modules came to an end: the generator makes too many endless ones", ended, modules)
	}
}
