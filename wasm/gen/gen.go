// Package gen turns arbitrary bytes into valid WebAssembly modules, for fuzzing: equal bytes give equal modules, and
// small changes to the bytes give similar ones. The modules use blocks, loops, all kinds of branches, direct and
// indirect calls, globals, memory, tables, passive segments and several results. They may trap, and they may run for very
// long: run them metered first.
package gen

import (
	"slices"
	"strconv"

	"github.com/saki-run/saki/wasm/build"
)

// Imports of every generated module, to be offered by a host module named "env".
const (
	ImportModule = "env"
	ImportFunc   = "mix" // (i32) -> i32
)

// MemoryPages is the maximum of every generated module's memory, which is exported as "memory".
const MemoryPages = 4

// Func is an exported function of a generated module. All parameters and results are i32 or i64.
type Func struct {
	Name   string
	Params int
}

// Module makes a module out of data. All its functions are exported, named f0, f1, ...; its globals as g0, g1, ...
func Module(data []byte) (module []byte, funcs []Func) {
	g := &generator{src: data}
	g.signatures()
	typ := g.m.Type([]byte{build.I32}, []byte{build.I32})
	g.m.ImportFunc(ImportModule, ImportFunc, typ)
	g.m.Table(8, int64(8+g.pick(20)))
	g.m.Memory(1, MemoryPages)
	for i := range 1 + g.pick(3) {
		t := g.valueType()
		init := build.I32Const(int32(g.pick(100)))
		if t == build.I64 {
			init = build.I64Const(int64(g.pick(100)))
		}
		g.globals = append(g.globals, t)
		g.m.Export("g"+strconv.Itoa(i), build.Global, g.m.Global(t, 1, init))
	}
	for i, s := range g.sigs {
		f := fn{generator: g, locals: slices.Clone(s.params), results: s.results}
		name := "f" + strconv.Itoa(i)
		funcs = append(funcs, Func{Name: name, Params: len(s.params)})
		g.m.Export(name, build.Func, g.m.RawFunc(s.typ, f.body(len(s.params))))
	}
	g.m.Export("memory", build.Memory, 0)
	g.m.Elem(0, slices.Repeat([]uint32{1, 0, uint32(len(g.sigs))}, 2)...)
	g.m.PassiveElem(0, 1, uint32(len(g.sigs)))
	if g.pick(4) == 1 {
		g.m.Start(g.plain())
	}
	g.m.PassiveData([]byte("some data to be copied"))
	return g.m.Bytes(), funcs
}

type signature struct {
	typ             uint32
	params, results []byte
}

type generator struct {
	src     []byte
	m       build.Module
	sigs    []signature // function i of the module, less the import
	globals []byte
	size    int // instructions so far, to keep modules small
}

// pick returns a number below n, and 0 once the bytes are used up.
func (g *generator) pick(n int) int {
	if len(g.src) == 0 || n <= 1 {
		return 0
	}
	b := g.src[0]
	g.src = g.src[1:]
	return int(b) % n
}

func (g *generator) valueType() byte { return []byte{build.I32, build.I64}[g.pick(2)] }

func (g *generator) signatures() {
	for range 2 + g.pick(4) {
		var s signature
		for range g.pick(3) {
			s.params = append(s.params, g.valueType())
		}
		for range g.pick(3) {
			s.results = append(s.results, g.valueType())
		}
		s.typ = g.m.Type(s.params, s.results)
		g.sigs = append(g.sigs, s)
	}
	g.sigs = append(g.sigs, signature{typ: g.m.Type(nil, nil)})
}

// plain returns the index of a function that takes and returns nothing.
func (g *generator) plain() uint32 { return uint32(len(g.sigs)) }

// fn generates one function.
type fn struct {
	*generator
	code    []byte
	locals  []byte
	results []byte
	labels  [][]byte // what a branch to each open label takes, innermost last; loops take nothing
	depth   int
}

func (f *fn) body(params int) []byte {
	for range 1 + f.pick(3) {
		f.locals = append(f.locals, f.valueType())
	}
	f.labels = [][]byte{f.results}
	f.statements()
	for _, t := range f.results {
		f.expr(t)
	}
	groups := build.U32(uint32(len(f.locals) - params))
	for _, t := range f.locals[params:] {
		groups = append(groups, 1, t)
	}
	return slices.Concat(groups, f.code, []byte{0x0b})
}

func (f *fn) op(b ...byte) { f.code = append(f.code, b...) }

// indexed emits an instruction with one index.
func (f *fn) indexed(op byte, i int) { f.code = append(append(f.code, op), build.U32(uint32(i))...) }

func (f *fn) statements() {
	for range f.pick(6) {
		f.statement()
	}
}
