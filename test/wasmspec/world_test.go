package wasmspec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/saki-run/saki/wasm"
	"github.com/saki-run/saki/wasm/build"
)

// How much fuel hosts grant at a time: a usual amount, and one so small that nearly every checking point yields, which
// is what finds values that do not survive a yield.
const (
	usualSlice = 100_000
	tinySlice  = 3
)

var errNoFuel = errors.New("out of fuel")

// world is a runtime and the modules that a script has instantiated in it.
type world struct {
	rt      wazero.Runtime
	meter   bool
	slice   int64
	budget  int64 // fuel that may be granted before errNoFuel; 0 is no bound
	granted int64
	yields  atomic.Int64
	stop    atomic.Bool           // asks the guest to end at its next yield
	modules map[string]api.Module // by the name in the script; "" is the latest
}

func newWorld(t testing.TB, features api.CoreFeatures, meter bool) *world {
	t.Helper()
	return newWorldWith(t, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features), meter)
}

func newWorldWith(t testing.TB, cfg wazero.RuntimeConfig, meter bool) *world {
	t.Helper()
	w := &world{meter: meter, slice: usualSlice, modules: map[string]api.Module{}}
	w.rt = wazero.NewRuntimeWithConfig(t.Context(), cfg)
	t.Cleanup(func() { _ = w.rt.Close(context.Background()) })
	_, err := w.rt.NewHostModuleBuilder(wasm.DefaultYieldModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(w.yield), nil, nil).Export(wasm.DefaultYieldName).Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// yield is the host's half of the metering contract: top the counter up, or stop the guest.
func (w *world) yield(_ context.Context, m api.Module, _ []uint64) {
	if w.stop.Load() {
		panic(errNoFuel)
	}
	w.yields.Add(1)
	fuel := m.ExportedGlobal(wasm.DefaultFuelGlobal).(api.MutableGlobal)
	more := max(w.slice, w.slice-int64(fuel.Get()))
	if w.budget > 0 && w.granted+more > w.budget {
		panic(errNoFuel)
	}
	w.granted += more
	fuel.Set(uint64(int64(fuel.Get()) + more))
}

// load instantiates a module. It goes through Check, and through Meter in a metered world.
func (w *world) load(ctx context.Context, b []byte, name string) (api.Module, error) {
	if _, err := wasm.Check(b, specLimits); err != nil {
		return nil, err
	}
	if w.meter {
		metered, err := wasm.Meter(b, specOptions)
		if err != nil {
			return nil, err
		}
		if _, err := wasm.Check(metered, specLimits); err != nil {
			return nil, fmt.Errorf("the metered module does not pass: %w", err)
		}
		b = metered
	}
	return w.loadRaw(ctx, b, name)
}

func (w *world) loadRaw(ctx context.Context, b []byte, name string) (api.Module, error) {
	c, err := w.rt.CompileModule(ctx, b)
	if err != nil {
		return nil, err
	}
	return w.rt.InstantiateModule(ctx, c, wazero.NewModuleConfig().WithName(name).WithStartFunctions())
}

// The suite has names of every kind, and tells a table without a maximum from one with.
var (
	specLimits  = wasm.Limits{ControlChars: true}
	specOptions = wasm.MeterOptions{Limits: specLimits, TableMax: wasm.NoTableMax}
)

// spectest is the module that the suite imports from.
func spectest() []byte {
	var m build.Module
	for _, params := range [][]byte{nil, {build.I32}, {build.I64}, {build.F32}, {build.F64}, {build.I32, build.F32}, {build.F64, build.F64}} {
		m.Func(m.Type(params, nil), nil)
	}
	for i, name := range []string{"print", "print_i32", "print_i64", "print_f32", "print_f64", "print_i32_f32", "print_f64_f64"} {
		m.Export(name, build.Func, uint32(i))
	}
	m.Global(build.I32, 0, build.I32Const(666))
	m.Global(build.I64, 0, build.I64Const(666))
	m.Global(build.F32, 0, []byte{0x43, 0x66, 0xa6, 0x26, 0x44})
	m.Global(build.F64, 0, []byte{0x44, 0xcd, 0xcc, 0xcc, 0xcc, 0xcc, 0xd4, 0x84, 0x40})
	for i, name := range []string{"global_i32", "global_i64", "global_f32", "global_f64"} {
		m.Export(name, build.Global, uint32(i))
	}
	m.Table(10, 20)
	m.Export("table", build.Table, 0)
	m.Memory(1, 2)
	m.Export("memory", build.Memory, 0)
	return m.Bytes()
}

// do runs an action and returns its results.
func (w *world) do(ctx context.Context, a action) ([]uint64, error) {
	m := w.modules[a.Module]
	if m == nil {
		return nil, fmt.Errorf("no module %q", a.Module)
	}
	if a.Type == "get" {
		return []uint64{m.ExportedGlobal(a.Field).Get()}, nil
	}
	f := m.ExportedFunction(a.Field)
	if f == nil {
		return nil, fmt.Errorf("no function %q", a.Field)
	}
	var args []uint64
	for _, v := range a.Args {
		words, err := v.bits()
		if err != nil {
			return nil, err
		}
		args = append(args, words...)
	}
	got, err := f.Call(ctx, args...)
	return slices.Clone(got), err
}

// trapText is the first line of an error: what went wrong, without the stack.
func trapText(err error) string {
	if err == nil {
		return "no error"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
