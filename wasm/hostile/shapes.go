package hostile

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/saki-run/saki/wasm/build"
)

// one returns a command whose _start is the code.
func one(locals []byte, code ...[]byte) []byte {
	var m build.Module
	m.Memory(1, -1)
	m.Table(1, -1)
	m.Export("_start", build.Func, m.Func(m.Type(nil, nil), locals, code...))
	m.Export("memory", build.Memory, 0)
	return m.Bytes()
}

func repeat(n int, code ...[]byte) []byte { return bytes.Repeat(slices.Concat(code...), n) }

// heavy are honest about their sizes; the sizes take an optimising compiler minutes and gigabytes.
func heavy() []Case {
	many := func(n int) []byte {
		count := build.U32(uint32(n))
		return slices.Concat([]byte(build.Header), plainType, build.Section(3, count, make([]byte, n)),
			build.Section(10, count, repeat(n, []byte{2, 0, 0x0b})))
	}
	exports := func(n int) []byte {
		var m build.Module
		f := m.Func(m.Type(nil, nil), nil)
		for i := range n {
			m.Export(strconv.Itoa(i), build.Func, f)
		}
		return m.Bytes()
	}
	add := slices.Concat(build.LocalGet(0), build.I32Const(7), []byte{0x6a, 0x21, 0})
	deep := func(n int, open ...[]byte) []byte { return one(nil, repeat(n, open...), repeat(n, []byte{0x0b})) }
	targets := slices.Concat([]byte{0x0e}, build.U32(500_000), make([]byte, 500_001))
	return []Case{
		{Name: "bigfn", What: "one function of 2.6 MB", Want: Refused, Code: limit, Module: one([]byte{build.I32}, repeat(2_600_000/len(add), add))},
		{Name: "brtable", What: "a br_table of 500,000 targets", Want: Refused, Code: limit, Module: one(nil, build.I32Const(0), targets)},
		{
			Name: "brtables", What: "20 br_tables of 50,000 targets", Want: Refused, Code: limit,
			Module: one(nil, repeat(20, build.I32Const(0), []byte{0x0e}, build.U32(50_000), make([]byte, 50_001))),
		},
		{Name: "mfunc", What: "a million empty functions", Want: Refused, Code: limit, Module: many(1_000_000)},
		{Name: "mexport", What: "100,000 exports", Want: Refused, Code: limit, Module: exports(100_000)},
		{Name: "deepblock", What: "100,000 blocks inside each other", Want: Refused, Code: limit, Module: deep(100_000, []byte{0x02, 0x40})},
		{
			Name: "deepif", What: "100,000 ifs inside each other", Want: Refused, Code: limit,
			Module: deep(100_000, build.I32Const(1), []byte{0x04, 0x40}),
		},
		{Name: "deeploop", What: "100,000 loops inside each other", Want: Refused, Code: limit, Module: deep(100_000, []byte{0x03, 0x40})},
		{
			Name: "manybranches", What: "20,001 branches to one label in 80 KB: 18 s to compile", Want: Refused, Code: limit,
			Module: one([]byte{build.I32}, []byte{0x02, 0x40}, repeat(20_001, []byte{0x20, 0, 0x0d, 0}), []byte{0x0b}),
		},
		{
			Name: "manyifs", What: "20,001 ifs in a row", Want: Refused, Code: limit,
			Module: one([]byte{build.I32}, repeat(20_001, []byte{0x20, 0, 0x04, 0x40, 0x0b})),
		},
		{
			Name: "manylocals", What: "60,000 locals", Want: Refused, Code: limit,
			Module: rawStart(slices.Concat([]byte{1}, build.U32(60_000), []byte{build.I64, 0x0b})),
		},
	}
}

// slow stay within every limit. What takes long is the product of locals and blocks, which real programs have too.
func slow() []Case {
	shuffle := func(locals, loops uint32) []byte {
		code := slices.Concat([]byte{1}, build.U32(locals), []byte{build.I32}, repeat(int(loops), []byte{0x03, 0x40}))
		for i := range locals {
			code = slices.Concat(code, build.LocalGet(i), []byte{0x21}, build.U32(locals-1-i))
		}
		code = append(code, repeat(int(loops), []byte{0x20, 0, 0x0d, 0, 0x0b})...)
		return rawStart(append(code, 0x0b))
	}
	nested := slices.Concat(repeat(9_000, []byte{0x20, 0, 0x04, 0x40}), repeat(9_000, []byte{0x0b}))
	return []Case{
		{Name: "phis", What: "1,000 locals shuffled in 500 loops inside each other, 9 KB: minutes to compile", Want: Slow, Module: shuffle(1_000, 500)},
		{Name: "fewphis", What: "1,000 locals shuffled in 100 loops inside each other, 6 KB: 3 s to compile", Want: Slow, Module: shuffle(1_000, 100)},
		{Name: "nestedifs", What: "9,000 ifs inside each other, 45 KB: 7 s to compile", Want: Slow, Module: one([]byte{build.I32}, nested)},
	}
}

func rawStart(body []byte) []byte {
	var m build.Module
	m.Export("_start", build.Func, m.RawFunc(m.Type(nil, nil), body))
	return m.Bytes()
}

// endless never stop by themselves.
func endless() []Case {
	loop := []byte{0x03, 0x40, 0x0c, 0, 0x0b}
	inStart := func() []byte {
		var m build.Module
		m.Start(m.Func(m.Type(nil, nil), nil, loop))
		m.Export("_start", build.Func, m.Func(m.Type(nil, nil), nil))
		return m.Bytes()
	}
	// fill writes 64 MiB, over and over, without a loop.
	fill := slices.Concat(build.I32Const(0), build.I32Const(1), build.I32Const(64<<20), []byte{0xfc, 11, 0})
	return []Case{
		{Name: "loop", What: "an endless loop", Want: Stopped, Module: one(nil, loop)},
		{Name: "startloop", What: "an endless loop in the start function", Want: Stopped, Module: inStart()},
		{
			Name: "brtableloop", What: "an endless loop by br_table", Want: Stopped,
			Module: one(nil, []byte{0x03, 0x40}, build.I32Const(0), []byte{0x0e, 1, 0, 0, 0x0b}),
		},
		{Name: "expcall", What: "a tree of 2^60 calls, no loop", Want: Stopped, Module: expcall(60)},
		{Name: "indirectcall", What: "a tree of 2^60 calls through a table", Want: Stopped, Module: indirect(60)},
		{
			Name: "fill", What: "3,000 memory.fills of 64 MiB in a row, again and again", Want: Stopped,
			Module: filler(slices.Concat([]byte{0x03, 0x40}, repeat(3_000, fill), []byte{0x0c, 0, 0x0b})),
		},
		{
			Name: "copy", What: "memory.copy of 64 MiB, for ever", Want: Stopped,
			Module: filler(slices.Concat([]byte{0x03, 0x40}, build.I32Const(0), build.I32Const(0), build.I32Const(64<<20), []byte{0xfc, 10, 0, 0, 0x0c, 0, 0x0b})),
		},
		{
			Name: "tablefill", What: "table.fill of 100,000 entries, for ever", Want: Stopped,
			Module: tabled(slices.Concat([]byte{0x03, 0x40}, build.I32Const(0), []byte{0xd0, 0x70}, build.I32Const(100_000), []byte{0xfc, 17, 0, 0x0c, 0, 0x0b})),
		},
		{
			Name: "grow0", What: "memory.grow by nothing, for ever", Want: Stopped,
			Module: one(nil, []byte{0x03, 0x40}, build.I32Const(0), []byte{0x40, 0, 0x1a, 0x0c, 0, 0x0b}),
		},
	}
}

// expcall is a chain of functions that each call the next one twice.
func expcall(depth uint32) []byte {
	var m build.Module
	typ := m.Type(nil, nil)
	for i := range depth {
		m.Func(typ, nil, build.Call(i+1), build.Call(i+1))
	}
	m.Func(typ, nil)
	m.Export("_start", build.Func, 0)
	return m.Bytes()
}

// indirect is expcall through a table.
func indirect(depth uint32) []byte {
	var m build.Module
	typ := m.Type(nil, nil)
	m.Table(depth+1, -1)
	for i := range depth {
		call := slices.Concat(build.I32Const(int32(i)+1), []byte{0x11}, build.U32(typ), []byte{0})
		m.Func(typ, nil, call, call)
	}
	m.Func(typ, nil)
	funcs := make([]uint32, depth+1)
	for i := range funcs {
		funcs[i] = uint32(i)
	}
	m.Elem(0, funcs...)
	m.Export("_start", build.Func, 0)
	return m.Bytes()
}

func filler(code []byte) []byte {
	var m build.Module
	m.Memory(1024, 1024)
	m.Export("_start", build.Func, m.Func(m.Type(nil, nil), nil, code))
	return m.Bytes()
}

func tabled(code []byte) []byte {
	var m build.Module
	m.Table(100_000, 100_000)
	m.Export("_start", build.Func, m.Func(m.Type(nil, nil), nil, code))
	return m.Bytes()
}

// greedy take memory, or stack, or fail at run time.
func greedy() []Case {
	recurse := func() []byte {
		var m build.Module
		typ := m.Type(nil, nil)
		f := m.Func(typ, nil, build.Call(0))
		m.Export("_start", build.Func, f)
		return m.Bytes()
	}
	oob := func() []byte {
		var m build.Module
		m.Memory(1, 1)
		m.Export("_start", build.Func, m.Func(m.Type(nil, nil), nil))
		m.Data(65_530, []byte("over the edge"))
		return m.Bytes()
	}
	trap := func() []byte {
		var m build.Module
		m.Start(m.Func(m.Type(nil, nil), nil, []byte{0x00}))
		m.Export("_start", build.Func, m.Func(m.Type(nil, nil), nil))
		return m.Bytes()
	}
	unknown := func() []byte {
		var m build.Module
		typ := m.Type(nil, nil)
		m.ImportFunc("env", "nope", typ)
		m.ImportFunc("env", "neither", typ)
		m.Export("_start", build.Func, m.Func(typ, nil, build.Call(0)))
		return m.Bytes()
	}
	// Loops that grow by 1 until growing fails.
	memgrow := []byte{0x03, 0x40, 0x41, 1, 0x40, 0, 0x41, 0x7f, 0x47, 0x0d, 0, 0x0b}
	tablegrow := slices.Concat([]byte{0x03, 0x40, 0xd0, 0x70}, build.I32Const(100_000), []byte{0xfc, 15, 0, 0x41, 0x7f, 0x47, 0x0d, 0, 0x0b})
	return []Case{
		{Name: "recursion", What: "a function that calls itself", Want: Trapped, Module: recurse()},
		{Name: "memgrow", What: "memory.grow until it fails", Want: Bounded, Module: one(nil, memgrow)},
		{Name: "tablegrow", What: "table.grow until it fails", Want: Bounded, Module: one(nil, tablegrow)},
		{Name: "memmax", What: "a memory of 4 GiB from the start", Want: Bounded, Module: func() []byte {
			var m build.Module
			m.Memory(65_536, -1)
			m.Export("_start", build.Func, m.Func(m.Type(nil, nil), nil))
			return m.Bytes()
		}()},
		{Name: "oob", What: "a data segment that does not fit", Want: Trapped, Module: oob()},
		{Name: "starttrap", What: "a start function that traps", Want: Trapped, Module: trap()},
		{Name: "unknownimport", What: "imports that nobody offers", Want: Trapped, Module: unknown()},
		{Name: "unreachable", What: "it traps at once", Want: Trapped, Module: one(nil, []byte{0x00})},
	}
}
