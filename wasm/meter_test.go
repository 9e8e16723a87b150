package wasm_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/wasm"
	"github.com/saki-run/saki/wasm/build"
	"github.com/saki-run/saki/wasm/gen"
	"github.com/saki-run/saki/wasm/hostile"
)

func meter(t *testing.T, b []byte) []byte {
	t.Helper()
	out, err := wasm.Meter(b, wasm.MeterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMeterKeepsWhatAModuleOffersAndNeeds(t *testing.T) {
	var m build.Module
	plain := m.Type(nil, nil)
	m.ImportFunc("env", "f", plain)
	m.ImportGlobal("env", "g", build.I32, 1)
	f := m.Func(plain, nil, build.Call(0), build.Call(1))
	m.Memory(1, 5)
	m.Table(4, -1)
	m.Export("run", build.Func, f)
	m.Export("again", build.Func, 0)
	m.Export("memory", build.Memory, 0)
	m.Start(f)
	m.Custom("name", slices.Concat([]byte{0, 3, 2, 'm', 'o'}, []byte{1, 7, 2, 0, 1, 'f', 1, 1, 'r'}))
	m.Custom(".debug_info", []byte("offsets"))
	b := m.Bytes()
	before, err := wasm.Check(b, wasm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	metered := meter(t, b)
	got, err := wasm.Check(metered, wasm.Limits{})
	if err != nil {
		t.Fatal(err)
	}

	want := *before
	want.Size, want.Counts = len(metered), got.Counts
	want.Imports = append(want.Imports, wasm.Import{Module: "saki", Name: "yield", Kind: "func", Signature: "()"})
	want.Exports = append(want.Exports, wasm.Export{Name: "saki_fuel", Kind: "global", Signature: "mut i64"})
	want.Tables = []wasm.Table{{Type: "funcref", Min: 4, Max: wasm.DefaultTableMax, HasMax: true, Exports: []string{}}}
	want.Custom = []wasm.Custom{{Name: "name", Size: got.Custom[0].Size}}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("metered module (-want +got):\n%s", diff)
	}
	if !bytes.Contains(metered, []byte("\x03\x00\x01f\x01\x0asaki.yield\x02\x01r")) {
		t.Errorf("the names of functions are not renumbered:\n%q", metered)
	}
	if again := meter(t, b); !bytes.Equal(again, metered) {
		t.Error("metering twice gives two modules")
	}
}

func TestMeterRefusesNamesThatAreTaken(t *testing.T) {
	var imports, exports build.Module
	imports.ImportFunc("saki", "yield", imports.Type(nil, nil))
	exports.Export("saki_fuel", build.Global, exports.Global(build.I64, 1, build.I64Const(0)))
	for name, b := range map[string][]byte{
		"imports the yield function": imports.Bytes(), "exports the counter": exports.Bytes(), "metered": meter(t, []byte(build.Header)),
	} {
		_, err := wasm.Meter(b, wasm.MeterOptions{})
		if e, ok := errors.AsType[*wasm.Error](err); !ok || e.Code != wasm.CodeUnmeterable {
			t.Errorf("%s: got %v, want code %s", name, err, wasm.CodeUnmeterable)
		}
	}
	if _, err := wasm.Meter(imports.Bytes(), wasm.MeterOptions{YieldName: "other"}); err != nil {
		t.Errorf("another name must do: %v", err)
	}
}

func TestMeterRefusesWhatCheckRefuses(t *testing.T) {
	for _, tc := range hostile.Cases() {
		_, checked := wasm.Check(tc.Module, wasm.Limits{})
		_, err := wasm.Meter(tc.Module, wasm.MeterOptions{})
		if (checked == nil) != (err == nil) {
			t.Errorf("%s: Check says %v, Meter says %v", tc.Name, checked, err)
		}
	}
}

func TestMeterExportsGlobalsOnDemand(t *testing.T) {
	var m build.Module
	m.ImportGlobal("env", "a", build.I32, 1)
	m.Global(build.I32, 0, build.I32Const(1))
	m.Global(build.F64, 1, append([]byte{0x44}, make([]byte, 8)...))
	metered, err := wasm.Meter(m.Bytes(), wasm.MeterOptions{ExportGlobals: true})
	if err != nil {
		t.Fatal(err)
	}
	info, err := wasm.Check(metered, wasm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := []wasm.Export{
		{Name: "saki_fuel", Kind: "global", Signature: "mut i64"},
		{Name: wasm.GlobalPrefix + "2", Kind: "global", Signature: "mut f64"},
	}
	if diff := cmp.Diff(want, info.Exports); diff != "" {
		t.Errorf("exports (-want +got):\n%s", diff)
	}
}

func TestStripKeepsOnlyASaneNameSection(t *testing.T) {
	var bare build.Module
	bare.Export("run", build.Func, bare.Func(bare.Type(nil, nil), nil))
	name := []byte{1, 6, 1, 0, 3, 'r', 'u', 'n'}
	custom := func(sections ...[]byte) []byte { return slices.Concat(bare.Bytes(), slices.Concat(sections...)) }
	section := func(name string, content []byte) []byte { return build.Section(0, build.Name(name), content) }
	for _, tc := range []struct {
		what    string
		in, out []byte
	}{
		{"a module without custom sections stays", custom(), custom()},
		{"debug sections go", custom(section(".debug_line", make([]byte, 100))), custom()},
		{"names stay", custom(section("name", name), section("producers", nil)), custom(section("name", name))},
		{"the first name section stays", custom(section("name", name), section("name", name)), custom(section("name", name))},
		{"malformed names go", custom(section("name", name[:6])), custom()},
		{"names that are not UTF-8 go", custom(section("name", []byte{1, 4, 1, 0, 1, 0xff})), custom()},
		{"a count bomb goes", custom(section("name", []byte{1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f})), custom()},
		{"an empty input stays", nil, []byte{}},
		{"what cannot be read stays", custom([]byte{0, 0x80}), custom([]byte{0, 0x80})},
	} {
		if got := wasm.Strip(tc.in); !bytes.Equal(got, tc.out) {
			t.Errorf("%s: got %q, want %q", tc.what, got, tc.out)
		}
	}
}

func FuzzMeter(f *testing.F) {
	f.Add([]byte("a few bytes of any kind"))
	f.Add(bytes.Repeat([]byte{5, 200, 13, 77, 4, 31}, 60))
	f.Fuzz(func(t *testing.T, seed []byte) {
		module, _ := gen.Module(seed)
		before, err := wasm.Check(module, wasm.Limits{})
		if err != nil {
			t.Fatalf("a generated module is refused: %v", err)
		}
		metered := meter(t, module)
		after, err := wasm.Check(metered, wasm.Limits{})
		if err != nil {
			t.Fatalf("a metered module is refused: %v", err)
		}
		if len(after.Exports) != len(before.Exports)+1 || len(after.Imports) != len(before.Imports)+1 {
			t.Errorf("metering changed more than one import and export")
		}
		if stripped := wasm.Strip(metered); len(stripped) > len(metered) {
			t.Errorf("stripping made the module larger")
		}
	})
}

// FuzzMeterBytes feeds Meter and Strip what is no module at all, or one that does not type-check.
func FuzzMeterBytes(f *testing.F) {
	for _, tc := range hostile.Cases() {
		if len(tc.Module) < 4096 {
			f.Add(tc.Module)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kept := slices.Clone(b)
		wasm.Strip(b)
		if metered, err := wasm.Meter(b, wasm.MeterOptions{}); err == nil {
			if _, err := wasm.Check(metered, wasm.Limits{Body: 16 << 20}); err != nil {
				t.Errorf("a metered module is refused: %v", err)
			}
		}
		if !bytes.Equal(b, kept) {
			t.Error("the input was changed")
		}
	})
}
