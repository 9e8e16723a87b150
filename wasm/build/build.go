// Package build puts small WebAssembly modules together, byte by byte, for tests and for the hostile corpus. It checks
// nothing: what is asked for is what is written, valid or not.
package build

import "slices"

// Value types.
const (
	I32     = 0x7f
	I64     = 0x7e
	F32     = 0x7d
	F64     = 0x7c
	V128    = 0x7b
	FuncRef = 0x70
	Void    = 0x40 // block type of a block that yields nothing
)

// Kinds of imports and exports.
const (
	Func = iota
	Table
	Memory
	Global
)

// Header is what every module starts with.
const Header = "\x00asm\x01\x00\x00\x00"

// Module collects the parts of a module. The zero Module is empty and ready for use. Functions, tables, memories and
// globals are numbered in the order in which they are added, imported ones first, so add imports first.
type Module struct {
	types, imports, funcs, tables, memories, globals, exports, elems, codes, datas []byte
	start, after                                                                   []byte

	counts         [12]int
	funcN, globalN uint32
	dataCount      bool
}

// Type adds a function type and returns its index.
func (m *Module) Type(params, results []byte) uint32 {
	m.types = append(m.types, slices.Concat([]byte{0x60}, Vec(params), Vec(results))...)
	m.counts[1]++
	return uint32(m.counts[1] - 1)
}

// ImportFunc adds an imported function of the type and returns its index.
func (m *Module) ImportFunc(module, name string, typ uint32) uint32 {
	m.imports = append(m.imports, slices.Concat(Name(module), Name(name), []byte{Func}, U32(typ))...)
	m.counts[2]++
	m.funcN++
	return m.funcN - 1
}

// ImportGlobal adds an imported global and returns its index.
func (m *Module) ImportGlobal(module, name string, typ, mutable byte) uint32 {
	m.imports = append(m.imports, slices.Concat(Name(module), Name(name), []byte{Global, typ, mutable})...)
	m.counts[2]++
	m.globalN++
	return m.globalN - 1
}

// Func adds a function of the type and returns its index. Locals are the types of its locals beyond its parameters;
// code is its body without the final end.
func (m *Module) Func(typ uint32, locals []byte, code ...[]byte) uint32 {
	groups := U32(uint32(len(locals)))
	for _, l := range locals {
		groups = append(groups, 1, l)
	}
	return m.RawFunc(typ, slices.Concat(groups, slices.Concat(code...), []byte{0x0b}))
}

// RawFunc adds a function whose body, from the groups of its locals to its end, is given whole.
func (m *Module) RawFunc(typ uint32, body []byte) uint32 {
	m.funcs = append(m.funcs, U32(typ)...)
	m.codes = append(m.codes, Vec(body)...)
	m.counts[3]++
	m.counts[10]++
	m.funcN++
	return m.funcN - 1
}

// Table adds a table of function references; a negative hi is no maximum.
func (m *Module) Table(lo uint32, hi int64) {
	m.tables = append(m.tables, slices.Concat([]byte{FuncRef}, limits(lo, hi))...)
	m.counts[4]++
}

// Memory adds a memory; a negative hi is no maximum.
func (m *Module) Memory(lo uint32, hi int64) {
	m.memories = append(m.memories, limits(lo, hi)...)
	m.counts[5]++
}

// Global adds a global whose start value is the constant instruction init, and returns its index.
func (m *Module) Global(typ, mutable byte, init []byte) uint32 {
	m.globals = append(m.globals, slices.Concat([]byte{typ, mutable}, init, []byte{0x0b})...)
	m.counts[6]++
	m.globalN++
	return m.globalN - 1
}

// Export adds an export.
func (m *Module) Export(name string, kind byte, index uint32) {
	m.exports = append(m.exports, Name(name)...)
	m.exports = append(append(m.exports, kind), U32(index)...)
	m.counts[7]++
}

// Start sets the start function.
func (m *Module) Start(index uint32) { m.start = U32(index) }

// Elem adds an active element segment for table 0.
func (m *Module) Elem(offset int32, funcs ...uint32) {
	m.elems = append(m.elems, slices.Concat([]byte{0}, I32Const(offset), []byte{0x0b}, U32(uint32(len(funcs))))...)
	for _, f := range funcs {
		m.elems = append(m.elems, U32(f)...)
	}
	m.counts[9]++
}

// PassiveElem adds a passive element segment of functions.
func (m *Module) PassiveElem(funcs ...uint32) {
	m.elems = append(m.elems, slices.Concat([]byte{1, 0}, U32(uint32(len(funcs))))...)
	for _, f := range funcs {
		m.elems = append(m.elems, U32(f)...)
	}
	m.counts[9]++
}

// Data adds an active data segment for memory 0.
func (m *Module) Data(offset int32, data []byte) {
	m.datas = append(m.datas, slices.Concat([]byte{0}, I32Const(offset), []byte{0x0b}, Vec(data))...)
	m.counts[11]++
}

// PassiveData adds a passive data segment, and with it a data count section.
func (m *Module) PassiveData(data []byte) {
	m.datas = append(m.datas, slices.Concat([]byte{1}, Vec(data))...)
	m.counts[11]++
	m.dataCount = true
}

// Custom adds a custom section behind everything else.
func (m *Module) Custom(name string, content []byte) {
	m.after = append(m.after, Section(0, Name(name), content)...)
}

// Bytes returns the module.
func (m *Module) Bytes() []byte {
	out := []byte(Header)
	vec := func(id int, content []byte) {
		if m.counts[id] > 0 {
			out = append(out, Section(byte(id), U32(uint32(m.counts[id])), content)...)
		}
	}
	vec(1, m.types)
	vec(2, m.imports)
	vec(3, m.funcs)
	vec(4, m.tables)
	vec(5, m.memories)
	vec(6, m.globals)
	vec(7, m.exports)
	if m.start != nil {
		out = append(out, Section(8, m.start)...)
	}
	vec(9, m.elems)
	if m.dataCount {
		out = append(out, Section(12, U32(uint32(m.counts[11])))...)
	}
	vec(10, m.codes)
	vec(11, m.datas)
	return append(out, m.after...)
}

func limits(lo uint32, hi int64) []byte {
	if hi < 0 {
		return append([]byte{0}, U32(lo)...)
	}
	return slices.Concat([]byte{1}, U32(lo), U32(uint32(hi)))
}

// Section returns a whole section.
func Section(id byte, content ...[]byte) []byte {
	return append([]byte{id}, Vec(slices.Concat(content...))...)
}

// Vec returns bytes behind their length.
func Vec(b []byte) []byte { return append(U32(uint32(len(b))), b...) }

// Name returns a string behind its length.
func Name(s string) []byte { return Vec([]byte(s)) }

// U32 encodes an unsigned LEB128 number.
func U32(v uint32) []byte {
	var b []byte
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// S64 encodes a signed LEB128 number.
func S64(v int64) []byte {
	var b []byte
	for v < -0x40 || v >= 0x40 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}

// I32Const is the instruction i32.const.
func I32Const(v int32) []byte { return append([]byte{0x41}, S64(int64(v))...) }

// I64Const is the instruction i64.const.
func I64Const(v int64) []byte { return append([]byte{0x42}, S64(v)...) }

// Call is the instruction call.
func Call(f uint32) []byte { return append([]byte{0x10}, U32(f)...) }

// LocalGet is the instruction local.get.
func LocalGet(i uint32) []byte { return append([]byte{0x20}, U32(i)...) }
