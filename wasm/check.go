package wasm

import (
	"bytes"
	"strconv"
	"strings"
)

const (
	pageSize = 1 << 16
	maxPages = 1 << 16
)

// Section ids.
const (
	secCustom = iota
	secType
	secImport
	secFunc
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElem
	secCode
	secData
	secDataCount
	secTag
)

// sectionRank is where a section must stand among the others; sectionName is what messages call it.
var (
	sectionRank = [...]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 10}
	sectionName = [...]string{
		"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code",
		"data", "data count",
	}
)

// External kinds, as imports and exports number them.
const (
	extFunc = iota
	extTable
	extMemory
	extGlobal
)

var extNames = [...]string{"func", "table", "memory", "global"}

// checker holds what the later sections of a module need to know of the earlier ones.
type checker struct {
	reader
	lim  Limits
	info *Info
	feat feature

	types    []funcType
	texts    map[uint32]string // signatures already spelled out, by type index
	funcs    []uint32          // type index of each function, imported ones first
	imported int               // how many of funcs are imported
	globals  []globalType
	names    int // bytes of import and export names so far
	elems    int // entries of element segments so far

	bodies    int  // entries of the code section
	dataCount int  // entries promised by the data count section
	hasCount  bool // there is a data count section
	datas     int  // entries of the data section
	frames    []byte
}

// funcType is where a function type stands: off is the offset of its parameter vector.
type funcType struct {
	off    uint32
	params uint16
}

type globalType struct {
	typ     byte
	mutable bool
}

// Check decodes a module and returns what it is made of, or an *Error that says why it is refused. Its time is linear
// in len(b), and what it allocates is bounded by l, not by what the module claims (DESIGN.md has the figures).
//
// Every section, count, index, name and instruction is decoded. Operand types are not: a module that passes may still
// be refused by the validator of an engine.
func Check(b []byte, l Limits) (*Info, error) {
	c, err := check(b, l)
	if err != nil {
		return nil, err
	}
	return c.info, nil
}

func check(b []byte, l Limits) (*checker, error) {
	c := &checker{reader: reader{b: b}, lim: l.filled(), texts: map[uint32]string{}}
	c.info = &Info{
		Kind: KindLibrary, Size: len(b), Imports: []Import{}, Exports: []Export{}, Memories: []Memory{},
		Tables: []Table{}, Custom: []Custom{},
	}
	if c.preamble(); c.err != nil {
		return nil, c.err
	}
	if c.sections(); c.err != nil {
		return nil, c.err
	}
	c.info.Features = featureList(c.feat)
	return c, nil
}

func (c *checker) preamble() {
	switch {
	case len(c.b) > c.lim.Size:
		c.fail(CodeTooLarge, 0, "the module is %d bytes long; the limit is %d", len(c.b), c.lim.Size)
	case len(c.b) < 4 || string(c.b[:4]) != "\x00asm":
		c.fail(CodeInvalid, 0, "this is not a WebAssembly module: it does not start with \\0asm%s", notWasm(c.b))
	case len(c.b) < 8:
		c.short("the header")
	case string(c.b[4:8]) == "\x0d\x00\x01\x00":
		c.fail(CodeComponent, 4, "this is a WebAssembly component; saki runs core modules (WASI preview 1)")
	case string(c.b[4:8]) != "\x01\x00\x00\x00":
		c.fail(CodeInvalid, 4, "the module has WebAssembly version %#x; only version 1 exists", c.b[4:8])
	}
	c.p = 8
}

// notWasm guesses what somebody took for a module.
func notWasm(b []byte) string {
	switch {
	case len(b) == 0:
		return " (it is empty)"
	case bytes.HasPrefix(b, []byte("(module")):
		return " (it looks like WebAssembly text; convert it with wat2wasm)"
	case bytes.HasPrefix(b, []byte("\x7fELF")), bytes.HasPrefix(b, []byte("MZ")), bytes.HasPrefix(b, []byte("\xcf\xfa\xed\xfe")):
		return " (it looks like a native program; build it for wasm32-wasip1)"
	case bytes.HasPrefix(b, []byte("\x1f\x8b")), bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		return " (it looks compressed; unpack it first)"
	}
	return ""
}

// sections walks over the sections, each inside its own bounds.
func (c *checker) sections() {
	whole, last, customs := c.b, 0, 0
	for c.err == nil && c.p < len(whole) {
		at := c.p
		id := int(c.byte("a section id"))
		size := c.length("the size of a section")
		if c.err != nil {
			return
		}
		if id == secTag {
			c.fail(CodeFeature, at, "the module uses exception handling (a tag section), which saki does not run")
			return
		}
		if id >= len(sectionRank) {
			c.fail(CodeInvalid, at, "the module has a section of unknown kind %d", id)
			return
		}
		if size > c.left() {
			c.fail(CodeInvalid, at, "the %s section is declared %d bytes long but only %d are left",
				sectionName[id], size, c.left())
			return
		}
		if id == secCustom {
			customs++
		} else if rank := sectionRank[id]; rank <= last {
			c.fail(CodeInvalid, at, "the %s section is there twice or out of order", sectionName[id])
		} else {
			last = rank
		}
		if customs > c.lim.CustomSections {
			c.fail(CodeLimit, at, "the module has more than %d custom sections", c.lim.CustomSections)
		}
		c.b = whole[:c.p+size]
		c.section(id)
		if c.err == nil && c.p != len(c.b) {
			c.fail(CodeInvalid, c.p, "the %s section is longer than its content", sectionName[id])
		}
		c.b = whole
	}
	if n := len(c.funcs) - c.imported; n != c.bodies {
		c.fail(CodeInvalid, len(whole), "the module declares %d functions but has %d function bodies", n, c.bodies)
	}
	if c.hasCount && c.dataCount != c.datas {
		c.fail(CodeInvalid, len(whole), "the module announces %d data segments but has %d", c.dataCount, c.datas)
	}
}

func (c *checker) section(id int) {
	switch id {
	case secCustom:
		c.custom()
	case secType:
		c.typeSection()
	case secImport:
		c.importSection()
	case secFunc:
		c.funcSection()
	case secTable:
		for range c.count("tables", 2, c.lim.Tables) {
			c.table(false)
		}
	case secMemory:
		for n := c.count("memories", 2, c.lim.Size); n > 0 && c.err == nil; n-- {
			c.memory(false)
		}
	case secGlobal:
		n := c.count("globals", 3, c.lim.Globals)
		for range n {
			if c.err != nil {
				return
			}
			c.globals = append(c.globals, c.globalType())
			c.constExpr("the start value of a global")
		}
		c.info.Counts.Globals = n
	case secExport:
		c.exportSection()
	case secStart:
		c.startSection()
	case secElem:
		c.elemSection()
	case secCode:
		c.codeSection()
	case secData:
		c.dataSection()
	case secDataCount:
		c.dataCount, c.hasCount = c.length("the data count"), true
		c.feat |= featBulk
		if c.dataCount > c.lim.DataSegments {
			c.fail(CodeLimit, c.p, "the module announces %d data segments; the limit is %d", c.dataCount, c.lim.DataSegments)
		}
	}
}

func (c *checker) custom() {
	at := c.p
	name := c.name("the name of a custom section")
	if c.err != nil {
		return
	}
	short := name[:min(len(name), 64)]
	c.info.Custom = append(c.info.Custom, Custom{Name: Escape(string(short)), Size: len(c.b) - at})
	if string(name) == "name" {
		names := scanNames(c.b, c.p)
		if names.bomb {
			c.fail(CodeInvalid, names.at, "the name section declares more names than it has room for")
		}
		if names.ok && c.info.Name == "" && len(names.module) <= c.lim.Name {
			c.info.Name = Escape(string(names.module))
		}
	}
	c.p = len(c.b)
}

func (c *checker) typeSection() {
	n := c.count("function types", 3, c.lim.Types)
	c.types = make([]funcType, 0, n)
	for range n {
		at := c.p
		switch form := c.byte("a function type"); form {
		case 0x60:
		case 0x5f, 0x5e, 0x50, 0x4f, 0x4e:
			c.fail(CodeFeature, at, "the module uses garbage-collected types, which saki does not run")
		default:
			c.fail(CodeInvalid, at, "a function type starts with byte %#x instead of 0x60", form)
		}
		off := c.p
		params := c.valueTypes("parameters")
		if c.valueTypes("results") > 1 {
			c.feat |= featMultiValue
		}
		if c.err != nil {
			return
		}
		c.types = append(c.types, funcType{off: uint32(off), params: uint16(params)})
	}
	c.info.Counts.Types = n
}

func (c *checker) valueTypes(what string) int {
	n := c.count(what, 1, min(c.lim.Params, 1<<16-1))
	for range n {
		c.valueType(what)
	}
	return n
}

func (c *checker) valueType(what string) byte {
	at := c.p
	t := c.byte(what)
	switch t {
	case 0x7f, 0x7e, 0x7d, 0x7c:
	case 0x7b:
		c.feat |= featSIMD
	case 0x70, 0x6f:
		c.feat |= featRefTypes
	case 0x63, 0x64, 0x6e, 0x6d, 0x6c, 0x6b, 0x6a, 0x71, 0x72, 0x73, 0x69:
		c.fail(CodeFeature, at, "the module uses typed references or garbage collection, which saki does not run")
	default:
		c.fail(CodeInvalid, at, "byte %#x is not a value type (%s)", t, what)
	}
	return t
}

func (c *checker) funcSection() {
	at := c.p
	n := c.count("functions", 1, c.lim.Functions)
	if len(c.funcs)+n > c.lim.Functions {
		c.fail(CodeLimit, at, "the module has %d functions; the limit is %d", len(c.funcs)+n, c.lim.Functions)
		return
	}
	funcs := make([]uint32, len(c.funcs), len(c.funcs)+n)
	copy(funcs, c.funcs)
	for range n {
		funcs = append(funcs, c.typeIndex())
	}
	c.funcs = funcs
	c.info.Counts.Functions = n
}

func (c *checker) typeIndex() uint32 {
	return c.index("type", len(c.types))
}

// index reads an index and checks it against the size of its space.
func (c *checker) index(what string, n int) uint32 {
	at := c.p
	i := c.u32(what)
	if c.err == nil && uint64(i) >= uint64(n) {
		c.fail(CodeInvalid, at, "unknown %s %d: the module has %d", what, i, n)
	}
	return i
}

// signature spells out a function type, the way WASIPreview1 spells its own. Very long ones are cut.
func (c *checker) signature(typ uint32) string {
	if s, ok := c.texts[typ]; ok {
		return s
	}
	r := reader{b: c.b, p: int(c.types[typ].off)}
	var s strings.Builder
	s.WriteString(typeList(&r, true))
	if r.p < len(r.b) && r.b[r.p] != 0 {
		s.WriteString(" -> ")
		s.WriteString(typeList(&r, false))
	}
	c.texts[typ] = s.String()
	return s.String()
}

// typeList spells out a vector of value types; a single one stands without parentheses unless parens is set.
func typeList(r *reader, parens bool) string {
	const most = 32
	types := r.bytes(int(r.u32("types")), "types")
	var names []string
	for i, t := range types {
		if i == most {
			names = append(names, strconv.Itoa(len(types)-most)+" more")
			break
		}
		names = append(names, typeName(t))
	}
	if len(types) == 1 && !parens {
		return names[0]
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// isPlain reports whether a function takes and returns nothing.
func (c *checker) isPlain(fn uint32) bool {
	off := c.types[c.funcs[fn]].off
	return c.b[off] == 0 && c.b[off+1] == 0
}
