package wasm_test

import (
	"encoding/json"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/wasm"
	"github.com/saki-run/saki/wasm/build"
	"github.com/saki-run/saki/wasm/hostile"
)

func TestCheckRefusesHostileModules(t *testing.T) {
	seen := map[string]bool{}
	for _, tc := range hostile.Cases() {
		t.Run(tc.Name, func(t *testing.T) {
			if seen[tc.Name] {
				t.Fatal("two cases have this name")
			}
			seen[tc.Name] = true
			_, err := wasm.Check(tc.Module, wasm.Limits{})
			if tc.Want != hostile.Refused {
				if err != nil {
					t.Fatalf("refused a case that is well formed: %v", err)
				}
				return
			}
			e, ok := errors.AsType[*wasm.Error](err)
			if !ok {
				t.Fatalf("got error %v, want a *wasm.Error", err)
			}
			if e.Code != tc.Code {
				t.Errorf("got code %s (%v), want %s", e.Code, e, tc.Code)
			}
			if strings.ContainsFunc(e.Msg, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("the message has control characters: %q", e.Msg)
			}
		})
	}
}

func TestCheckStaysSmallOnHostileModules(t *testing.T) {
	for _, tc := range hostile.Cases() {
		if got := allocated(func() { _, _ = wasm.Check(tc.Module, wasm.Limits{}) }); got > 8<<20 {
			t.Errorf("%s: Check allocated %d bytes, want at most 8 MiB", tc.Name, got)
		}
	}
}

// allocated returns how many bytes f allocates, freed or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestCheckStaysSmallOnTheLargestModules takes modules that fill the limits of what Check keeps.
func TestCheckStaysSmallOnTheLargestModules(t *testing.T) {
	l := wasm.DefaultLimits()
	name := func(i int) string { return strings.Repeat("n", 90) + strconv.Itoa(i) }
	var m build.Module
	for range l.Types / 100 {
		m.Type(nil, nil)
	}
	for i := range l.Imports {
		m.ImportFunc("m", name(i), uint32(i%100))
	}
	for range l.Functions - l.Imports {
		m.Func(0, nil)
	}
	for range l.Globals / 10 {
		m.Global(build.I32, 1, build.I32Const(0))
	}
	for i := range l.Exports {
		m.Export(name(i), build.Func, uint32(i))
	}
	b := m.Bytes()
	var err error
	got := allocated(func() { _, err = wasm.Check(b, wasm.Limits{}) })
	if err != nil {
		t.Fatal(err)
	}
	if got > 8<<20 {
		t.Errorf("Check allocated %d bytes for a module of %d bytes, want at most 8 MiB", got, len(b))
	}
	t.Logf("Check allocated %d bytes for a module of %d bytes", got, len(b))
}

func TestCheckDescribesAModule(t *testing.T) {
	var m build.Module
	plain := m.Type(nil, nil)
	write := m.Type([]byte{build.I32, build.I32, build.I32, build.I32}, []byte{build.I32})
	m.ImportFunc(wasm.WASIModule, "fd_write", write)
	m.ImportGlobal("env", "base", build.I32, 0)
	start := m.Func(plain, nil, build.I32Const(1), []byte{0xc0, 0x1a}) // i32.extend8_s
	m.Table(3, 5)
	m.Memory(2, -1)
	m.Global(build.I64, 1, build.I64Const(1))
	m.Export("memory", build.Memory, 0)
	m.Export("_start", build.Func, start)
	m.Export("count", build.Global, 1)
	m.Data(0, []byte("abc"))
	m.Custom("producers", []byte("x"))
	m.Custom("name", []byte("\x00\x06\x05hello"))
	b := m.Bytes()

	got, err := wasm.Check(b, wasm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := &wasm.Info{
		Kind: wasm.KindCommand, Name: "hello", Size: len(b), Features: []string{"sign_extension"},
		Counts: wasm.Counts{Types: 2, Functions: 1, Globals: 1, DataSegments: 1, CodeBytes: 7, DataBytes: 3},
		Imports: []wasm.Import{
			{Module: wasm.WASIModule, Name: "fd_write", Kind: "func", Signature: "(i32, i32, i32, i32) -> i32"},
			{Module: "env", Name: "base", Kind: "global", Signature: "i32"},
		},
		Exports: []wasm.Export{
			{Name: "memory", Kind: "memory", Signature: "memory 2.. pages"},
			{Name: "_start", Kind: "func", Signature: "()"},
			{Name: "count", Kind: "global", Signature: "mut i64"},
		},
		Memories: []wasm.Memory{{Min: 2, Exports: []string{"memory"}}},
		Tables:   []wasm.Table{{Type: "funcref", Min: 3, Max: 5, HasMax: true, Exports: []string{}}},
		Custom:   []wasm.Custom{{Name: "producers", Size: 11}, {Name: "name", Size: 13}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Check (-want +got):\n%s", diff)
	}
}

func TestCheckRefusesEveryCutOfAModule(t *testing.T) {
	var m build.Module
	m.Memory(1, 2)
	m.Table(1, -1)
	m.Global(build.F64, 1, append([]byte{0x44}, make([]byte, 8)...))
	f := m.Func(m.Type([]byte{build.I32}, []byte{build.I64}), []byte{build.F32},
		[]byte{0x02, 0x40, 0x0b, 0x03, 0x40, 0x0b}, build.I64Const(-1<<40))
	m.Export("f", build.Func, f)
	m.Elem(0, f)
	b := m.Bytes()
	if _, err := wasm.Check(b, wasm.Limits{}); err != nil {
		t.Fatal(err)
	}
	const typesEnd = 16 // the header and the type section are a module by themselves
	for i := range b {
		if _, err := wasm.Check(b[:i], wasm.Limits{}); err == nil && i != 8 && i != typesEnd {
			t.Errorf("accepted the module cut at byte %d of %d", i, len(b))
		}
	}
}

func TestInfoIsStableJSON(t *testing.T) {
	var m build.Module
	m.ImportFunc("env", "f", m.Type([]byte{build.I64, build.F32}, []byte{build.F64, build.V128}))
	m.Memory(1, 2)
	m.Custom("odd\x1b[2J", nil)
	info, err := wasm.Check(m.Bytes(), wasm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"library","size":45,"has_start":false,"features":["multi_value","simd"],` +
		`"counts":{"types":1,"functions":0,"globals":0,"element_segments":0,"data_segments":0,"code_bytes":0,"data_bytes":0},` +
		`"imports":[{"module":"env","name":"f","kind":"func","signature":"(i64, f32) -\u003e (f64, v128)"}],"exports":[],` +
		`"memories":[{"min_pages":1,"max_pages":2,"has_max":true,"imported":false,"exports":[]}],"tables":[],` +
		`"custom_sections":[{"name":"odd\\x1b[2J","size":8}]}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

func TestCheckTellsKinds(t *testing.T) {
	for _, tc := range []struct {
		name, export, want string
		results            []byte
	}{
		{"a _start without parameters makes a command", "_start", wasm.KindCommand, nil},
		{"an _initialize makes a reactor", "_initialize", wasm.KindReactor, nil},
		{"anything else is a library", "run", wasm.KindLibrary, nil},
		{"a _start of another type is no entry point", "_start", wasm.KindLibrary, []byte{build.I32}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m build.Module
			m.Export(tc.export, build.Func, m.Func(m.Type(nil, tc.results), nil, []byte{0x00}))
			info, err := wasm.Check(m.Bytes(), wasm.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if info.Kind != tc.want {
				t.Errorf("got %s, want %s", info.Kind, tc.want)
			}
		})
	}
}

func TestCheckHoldsEachLimit(t *testing.T) {
	var m build.Module
	plain := m.Type([]byte{build.I32, build.I32}, nil)
	m.Type(nil, nil)
	m.ImportFunc("env", "abcdef", plain)
	m.ImportFunc("env", "g", plain)
	m.Func(plain, []byte{build.I32, build.I32}, []byte{0x02, 0x40, 0x02, 0x40, 0x41, 0, 0x0e, 2, 0, 0, 0, 0x0b, 0x0b})
	m.Func(plain, nil)
	m.Table(10, -1)
	m.Table(2, -1)
	m.Memory(2, 3)
	m.Global(build.I32, 0, build.I32Const(0))
	m.Global(build.I32, 0, build.I32Const(0))
	m.Export("uvwxyz", build.Func, 1)
	m.Export("b", build.Func, 1)
	m.Elem(0, 1, 1, 1)
	m.Elem(0, 1)
	m.Data(0, nil)
	m.Data(0, nil)
	m.Custom("a", nil)
	m.Custom("b", nil)
	b := m.Bytes()
	if _, err := wasm.Check(b, wasm.Limits{}); err != nil {
		t.Fatalf("the module must pass by default: %v", err)
	}
	for name, l := range map[string]wasm.Limits{
		"Size": {Size: len(b) - 1}, "Body": {Body: 10}, "Params": {Params: 1}, "Functions": {Functions: 3},
		"Exports": {Exports: 1}, "Globals": {Globals: 1}, "Locals": {Locals: 3}, "Nesting": {Nesting: 1}, "Branches": {Branches: 2}, "BrTable": {BrTable: 1}, "Types": {Types: 1}, "Imports": {Imports: 1},
		"Tables": {Tables: 1}, "TableEntries": {TableEntries: 9}, "MemoryPages": {MemoryPages: 1},
		"DataSegments": {DataSegments: 1}, "ElemSegments": {ElemSegments: 1}, "Name": {Name: 5}, "Names": {Names: 18},
		"CustomSections": {CustomSections: 1},
	} {
		want := wasm.CodeLimit
		if name == "Size" {
			want = wasm.CodeTooLarge
		}
		_, err := wasm.Check(b, l)
		if e, ok := errors.AsType[*wasm.Error](err); !ok || e.Code != want {
			t.Errorf("%s: got %v, want code %s", name, err, want)
		}
	}
}

func TestImportsAreListedAllAtOnce(t *testing.T) {
	var m build.Module
	plain := m.Type(nil, nil)
	m.ImportFunc("env", "nope", plain)
	m.ImportFunc(wasm.WASIModule, "fd_write", plain)
	m.ImportFunc(wasm.WASIModule, "sched_yield", m.Type(nil, []byte{build.I32}))
	m.ImportGlobal(wasm.WASIModule, "fd_read", build.I32, 0)
	m.ImportFunc("env", "neither", plain)
	info, err := wasm.Check(m.Bytes(), wasm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	offered := func(module, name string) (string, bool) {
		sig, ok := wasm.WASIPreview1(name)
		return sig, ok && module == wasm.WASIModule
	}
	var unknown, wrong []string
	for _, im := range wasm.UnknownImports(info, func(m, n string) bool { _, ok := offered(m, n); return ok }) {
		unknown = append(unknown, im.Name)
	}
	for _, im := range wasm.WrongSignatures(info, offered) {
		wrong = append(wrong, im.Name+" is "+im.Signature+", not "+im.Offered)
	}
	if diff := cmp.Diff([]string{"nope", "neither"}, unknown); diff != "" {
		t.Errorf("unknown imports (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"fd_write is (), not (i32, i32, i32, i32) -> i32", "fd_read is i32, not (i32, i32, i32, i32) -> i32",
	}, wrong); diff != "" {
		t.Errorf("wrong signatures (-want +got):\n%s", diff)
	}
}

func FuzzCheck(f *testing.F) {
	for _, tc := range hostile.Cases() {
		if len(tc.Module) < 4096 {
			f.Add(tc.Module)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var info *wasm.Info
		var err error
		if got := allocated(func() { info, err = wasm.Check(b, wasm.Limits{}) }); got > 8<<20 {
			t.Errorf("Check allocated %d bytes", got)
		}
		if err == nil && info.Size != len(b) {
			t.Error("accepted a module without describing it")
		}
		if _, ok := errors.AsType[*wasm.Error](err); err != nil && !ok {
			t.Errorf("error %v is no *wasm.Error", err)
		}
	})
}
