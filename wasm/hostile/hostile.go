// Package hostile builds modules that were made to hurt: they lie about their sizes, take an engine minutes to compile,
// or never stop. Tests feed them to Check and Meter, and a live run feeds them to a whole cluster.
package hostile

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/saki-run/saki/wasm/build"
)

// What is to become of a Case.
const (
	Refused = "refused" // Check refuses it; no engine may see it
	Stopped = "stopped" // passes Check, and would run for ever: fuel or a deadline must end it
	Trapped = "trapped" // passes Check, and ends by a trap or by an error when it is instantiated
	Bounded = "bounded" // passes Check, ends by itself, and must stay within memory limits while it does
	Slow    = "slow"    // passes Check, and takes an optimising compiler seconds or minutes: compiling needs a deadline
)

// Case is one hostile module.
type Case struct {
	Name   string // short, unique, fit for a file name
	What   string // what it does, in a sentence
	Module []byte
	Want   string // one of the constants above
	Code   string // when Refused: the code of the error
}

// Codes that Refused cases carry; they are those of package wasm, which this package does not import.
const (
	invalid   = "invalid_module"
	limit     = "limit_exceeded"
	component = "component_not_supported"
	feature   = "unsupported_feature"
)

// Cases returns the corpus. Building it takes a tenth of a second and 10 MB.
func Cases() []Case {
	return slices.Concat(damaged(), bombs(), heavy(), slow(), endless(), greedy())
}

// refused makes a case from loose sections.
func refused(name, code, what string, parts ...[]byte) Case {
	return Case{
		Name: name, What: what, Want: Refused, Code: code,
		Module: slices.Concat([]byte(build.Header), slices.Concat(parts...)),
	}
}

// huge is the number 2^32-1 in LEB128.
var huge = []byte{0xff, 0xff, 0xff, 0xff, 0x0f}

// One function type that takes and returns nothing, and one function of it.
var (
	plainType = build.Section(1, []byte{1, 0x60, 0, 0})
	plainFunc = build.Section(3, []byte{1, 0})
)

// damaged are modules no toolchain would write.
func damaged() []Case {
	whole := hello()
	export := func(name string) []byte {
		return slices.Concat(plainType, plainFunc, build.Section(7, []byte{1}, build.Name(name), []byte{0, 0}),
			build.Section(10, []byte{1, 2, 0, 0x0b}))
	}
	cases := []Case{
		{Name: "empty", What: "no byte at all", Want: Refused, Code: invalid},
		{Name: "magic", What: "an ELF header", Module: []byte("\x7fELF\x02\x01\x01\x00"), Want: Refused, Code: invalid},
		{Name: "version", What: "version 2", Module: []byte("\x00asm\x02\x00\x00\x00"), Want: Refused, Code: invalid},
		{Name: "component", What: "a component", Module: []byte("\x00asm\x0d\x00\x01\x00"), Want: Refused, Code: component},
		refused("seclen", invalid, "a section of 4 GiB", []byte{1}, huge),
		refused("order", invalid, "a function section before the type section", plainFunc, plainType),
		refused("twice", invalid, "two type sections", plainType, plainType),
		refused("leb", invalid, "a number of six bytes", []byte{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0}),
		refused("utf8", invalid, "an export name that is not UTF-8", export("\xff\xfe")),
		refused("nulname", invalid, "an export name with a NUL", export("a\x00b")),
		refused("escname", invalid, "an export name that clears the terminal", export("\x1b[2J")),
		refused("longname", limit, "an export name of 100 KB", export(string(bytes.Repeat([]byte("n"), 100_000)))),
		refused("dupexport", invalid, "two exports of one name", plainType, plainFunc,
			build.Section(7, []byte{2}, build.Name("f"), []byte{0, 0}, build.Name("f"), []byte{0, 0}),
			build.Section(10, []byte{1, 2, 0, 0x0b})),
		refused("noend", invalid, "a body without an end", plainType, plainFunc, build.Section(10, []byte{1, 2, 0, 1})),
		refused("badop", invalid, "an opcode nobody has assigned", plainType, plainFunc, build.Section(10, []byte{1, 3, 0, 0x27, 0x0b})),
		refused("badcall", invalid, "a call to a function that is not there", plainType, plainFunc,
			build.Section(10, []byte{1, 4, 0, 0x10, 9, 0x0b})),
		refused("stealfuel", invalid, "it sets global 0 without having one, hoping that metering adds one", plainType, plainFunc,
			build.Section(10, []byte{1, 6, 0, 0x42, 0, 0x24, 0, 0x0b})),
		refused("threads", feature, "a shared memory", build.Section(5, []byte{1, 3, 1, 1})),
		refused("memory64", feature, "a 64-bit memory", build.Section(5, []byte{1, 4, 1})),
		refused("trycatch", feature, "an exception handler", plainType, plainFunc, build.Section(10, []byte{1, 6, 0, 0x06, 0x40, 0x0b, 0x0b, 0x0b})),
	}
	const afterTypes = 16 // up to there, a cut may leave a module that is whole
	for i := afterTypes; i < len(whole); i += 3 {
		cases = append(cases, Case{
			Name: "cut" + strconv.Itoa(i), What: "a good module, cut before its code ends",
			Module: whole[:i], Want: Refused, Code: invalid,
		})
	}
	return cases
}

// hello is a small valid module whose code comes last, to be cut.
func hello() []byte {
	var m build.Module
	typ := m.Type(nil, []byte{build.I32})
	m.Memory(1, 2)
	m.Global(build.I32, 1, build.I32Const(1))
	f := m.Func(typ, nil, build.I32Const(42))
	m.Export("answer", build.Func, f)
	return m.Bytes()
}

// bombs declare counts they do not have; engines have allocated 300 GB for fifteen such bytes.
func bombs() []Case {
	table := build.Section(4, []byte{1, 0x70, 0, 1})
	return []Case{
		refused("typecount", invalid, "2^32-1 types", build.Section(1, huge)),
		refused("in_typeparams", invalid, "a type with 2^32-1 parameters", build.Section(1, []byte{1, 0x60}, huge)),
		refused("in_typeresults", invalid, "a type with 2^32-1 results", build.Section(1, []byte{1, 0x60, 0}, huge)),
		refused("importcount", invalid, "2^32-1 imports", build.Section(2, huge)),
		refused("funccount", invalid, "2^32-1 functions", plainType, build.Section(3, huge)),
		refused("tablecount", invalid, "2^32-1 tables", build.Section(4, huge)),
		refused("tablemin", limit, "a table of 2^32-1 entries", build.Section(4, []byte{1, 0x70, 0}, huge)),
		refused("memmin", invalid, "a memory of 2^32-1 pages", build.Section(5, []byte{1, 0}, huge)),
		refused("globcount", invalid, "2^32-1 globals", build.Section(6, huge)),
		refused("exportcount", invalid, "2^32-1 exports", build.Section(7, huge)),
		refused("elemcount", invalid, "2^32-1 element segments", table, build.Section(9, huge)),
		refused("in_elem", invalid, "an element segment of 2^32-1 entries", plainType, plainFunc, table,
			build.Section(9, []byte{1, 0, 0x41, 0, 0x0b}, huge), build.Section(10, []byte{1, 2, 0, 0x0b})),
		refused("in_elemexpr", invalid, "an element segment of 2^32-1 expressions", table,
			build.Section(9, []byte{1, 5, 0x70}, huge)),
		refused("codecount", invalid, "2^32-1 function bodies", plainType, plainFunc, build.Section(10, huge)),
		refused("bodysize", invalid, "a body of 4 GiB", plainType, plainFunc, build.Section(10, []byte{1}, huge)),
		refused("localgroups", invalid, "2^32-1 groups of locals", plainType, plainFunc,
			build.Section(10, []byte{1}, build.Vec(slices.Concat(huge, []byte{0x0b})))),
		refused("locals4g", limit, "2^32-1 locals in one group", plainType, plainFunc,
			build.Section(10, []byte{1}, build.Vec(slices.Concat([]byte{1}, huge, []byte{build.I64, 0x0b})))),
		refused("in_brtable", invalid, "a br_table of 2^32-1 targets", plainType, plainFunc,
			build.Section(10, []byte{1}, build.Vec(slices.Concat([]byte{0, 0x41, 0, 0x0e}, huge, []byte{0, 0x0b})))),
		refused("in_select", invalid, "a select of 2^32-1 types", plainType, plainFunc,
			build.Section(10, []byte{1}, build.Vec(slices.Concat([]byte{0, 0x1c}, huge, []byte{0x0b})))),
		refused("datacount", invalid, "2^32-1 data segments", build.Section(5, []byte{1, 0, 1}), build.Section(11, huge)),
		refused("datacountsec", limit, "2^32-1 data segments announced", build.Section(5, []byte{1, 0, 1}), build.Section(12, huge)),
		refused("in_data", invalid, "a data segment of 4 GiB", build.Section(5, []byte{1, 0, 1}),
			build.Section(11, []byte{1, 0, 0x41, 0, 0x0b}, huge)),
		refused("in_namesec", invalid, "a name section with 2^32-1 names",
			build.Section(0, build.Name("name"), []byte{1}, build.Vec(huge))),
		refused("in_localnames", invalid, "a name section with 2^32-1 names of locals",
			build.Section(0, build.Name("name"), []byte{2}, build.Vec(slices.Concat([]byte{1, 0}, huge)))),
		refused("customs", limit, "20,000 custom sections", bytes.Repeat([]byte{0, 1, 0}, 20_000)),
	}
}
