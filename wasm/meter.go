package wasm

import (
	"strconv"
	"strings"
)

// Names that a metered module shares with its host, unless MeterOptions has others.
const (
	DefaultYieldModule = "saki"
	DefaultYieldName   = "yield"
	DefaultFuelGlobal  = "saki_fuel"
)

// MeterVersion changes whenever Meter starts to write other bytes for the same module. Put it into cache keys.
const MeterVersion = 1

// Bounds for MeterOptions.TableMax.
const (
	DefaultTableMax = 1_000_000 // 8 MB of references
	NoTableMax      = 1<<32 - 1 // tables keep the limits they have
)

// MeterOptions are the choices of Meter. The zero value stands for the defaults.
type MeterOptions struct {
	Limits      Limits // what Meter accepts; it checks the module before rewriting it
	YieldModule string // module name of the imported yield function; DefaultYieldModule
	YieldName   string // name of the imported yield function, of type () -> (); DefaultYieldName
	FuelGlobal  string // name under which the counter is exported; DefaultFuelGlobal
	TableMax    uint32 // maximum given to defined tables that have none or a larger one; DefaultTableMax

	// ExportGlobals also exports every mutable global that the module defines, the counter aside, as GlobalPrefix and
	// its index, so that a host can put an instance back into an earlier state.
	ExportGlobals bool
}

// GlobalPrefix is how the exports that MeterOptions.ExportGlobals adds begin.
const GlobalPrefix = "saki_global_"

// Meter rewrites a module so that it counts what it executes. The result:
//
//   - exports a mutable i64 global, FuelGlobal, that starts at 0 and goes down by the cost of what runs (DESIGN.md has
//     the cost model; the counts are the same on every machine and in every run);
//   - imports a function without parameters or results, YieldModule.YieldName, and calls it at the head of every function
//     and every repeating loop, and before every bulk operation, when the counter is below zero. The host adds fuel to
//     the global, or ends the guest by a trap of its own. As the counter starts at 0, the very first thing a module does
//     is to ask, even in its start function;
//   - has a maximum of at most TableMax for every table it defines;
//   - keeps no custom sections but the names of its functions;
//   - otherwise behaves as before: exports, traps and the order of side effects are the same.
//
// What has been consumed, at any time and also after a trap or an exit, is the fuel added so far less the counter.
//
// The error is what Check says, or one with CodeUnmeterable when the module already uses a name that Meter needs.
func Meter(b []byte, o MeterOptions) ([]byte, error) {
	if o.YieldModule == "" {
		o.YieldModule = DefaultYieldModule
	}
	if o.YieldName == "" {
		o.YieldName = DefaultYieldName
	}
	if o.FuelGlobal == "" {
		o.FuelGlobal = DefaultFuelGlobal
	}
	if o.TableMax == 0 {
		o.TableMax = DefaultTableMax
	}
	c, err := check(b, o.Limits)
	if err != nil {
		return nil, err
	}
	for _, im := range c.info.Imports {
		if im.Module == o.YieldModule && im.Name == o.YieldName {
			return nil, unmeterable("the module already imports %s.%s: is it metered already?", Escape(im.Module), Escape(im.Name))
		}
	}
	for _, ex := range c.info.Exports {
		if ex.Name == o.FuelGlobal || o.ExportGlobals && strings.HasPrefix(ex.Name, GlobalPrefix) {
			return nil, unmeterable("the module already exports %s: is it metered already?", Escape(ex.Name))
		}
	}
	m := &meter{
		checker: c, opt: o, yield: uint32(c.imported), fuel: uint32(len(c.globals)), yieldType: plainTypeIndex(c),
		out: make([]byte, 0, len(b)+len(b)/2),
	}
	m.module()
	return m.out, nil
}

func unmeterable(format string, args ...any) error {
	var r reader
	r.fail(CodeUnmeterable, 0, format, args...)
	return r.err
}

// plainTypeIndex returns the index of the type () -> (), which is that of the next type when there is none yet.
func plainTypeIndex(c *checker) uint32 {
	for i, t := range c.types {
		if c.b[t.off] == 0 && c.b[t.off+1] == 0 {
			return uint32(i)
		}
	}
	return uint32(len(c.types))
}

// meter writes the metered module. Every function that the module defines moves up by one, because imported functions
// come first; types and globals keep their numbers, because new ones come last.
type meter struct {
	*checker
	opt       MeterOptions
	yield     uint32 // index of the yield function; old indices from here on move up by one
	yieldType uint32
	fuel      uint32 // index of the counter
	out       []byte
	costs     costs
	body      []byte // the function body being written
}

// module writes all sections in their order.
func (m *meter) module() {
	m.out = append(m.out, m.b[:8]...)
	var at [secTag]reader
	for r := (reader{b: m.b, p: 8}); r.p < len(r.b); {
		id := r.byte("")
		size := int(r.u32(""))
		if id == secCustom {
			m.custom(r.p, size, &at[secCustom])
		} else {
			at[id] = reader{b: m.b[:r.p+size], p: r.p}
		}
		r.p += size
	}
	for _, id := range []byte{
		secType, secImport, secFunc, secTable, secMemory, secGlobal, secExport, secStart, secElem, secDataCount, secCode,
		secData,
	} {
		r := &at[id]
		switch {
		case id == secType && int(m.yieldType) == len(m.types):
			m.extended(id, r, [][]byte{{0x60, 0, 0}}, nil)
		case id == secImport:
			m.extended(id, r, [][]byte{m.yieldImport()}, nil)
		case id == secGlobal:
			m.extended(id, r, [][]byte{{0x7e, 1, opI64Const, 0, opEnd}}, m.global)
		case id == secExport:
			m.extended(id, r, m.newExports(), m.export)
		case r.b == nil:
		case id == secTable:
			m.rewritten(id, r, m.tableEntry)
		case id == secElem:
			m.rewritten(id, r, m.elem)
		case id == secCode:
			i := m.imported
			m.rewritten(id, r, func(r *reader) { m.code(r, i); i++ })
		case id == secStart:
			m.section(id, func() { m.function(r) })
		default:
			m.section(id, func() { m.out = append(m.out, r.b[r.p:]...) })
		}
	}
	if r := at[secCustom]; r.b != nil {
		m.names(&r)
	}
}

// section writes a section whose content is written by f. The length goes before the content, and takes five bytes so
// that the content need not move.
func (m *meter) section(id byte, f func()) {
	m.out = append(m.out, id, 0x80, 0x80, 0x80, 0x80, 0)
	at := len(m.out)
	f()
	n := uint32(len(m.out) - at)
	for i := range 5 {
		m.out[at-5+i] |= byte(n>>(7*i)) & 0x7f
	}
}

// rewritten writes a vector, each entry of which is written by f.
func (m *meter) rewritten(id byte, r *reader, f func(*reader)) {
	m.section(id, func() {
		n := r.u32("")
		m.out = appendU32(m.out, n)
		for range n {
			f(r)
		}
	})
}

// extended writes a vector with more entries at its end. A nil f copies the old entries as they are.
func (m *meter) extended(id byte, r *reader, more [][]byte, f func(*reader)) {
	m.section(id, func() {
		var n uint32
		if r.b != nil {
			n = r.u32("")
		}
		m.out = appendU32(m.out, n+uint32(len(more)))
		if f == nil {
			m.out = append(m.out, r.b[r.p:]...)
		} else {
			for range n {
				f(r)
			}
		}
		for _, entry := range more {
			m.out = append(m.out, entry...)
		}
	})
}

func (m *meter) newExports() [][]byte {
	export := func(name string, global uint32) []byte {
		b := append(appendU32(nil, uint32(len(name))), name...)
		return appendU32(append(b, extGlobal), global)
	}
	all := [][]byte{export(m.opt.FuelGlobal, m.fuel)}
	for i := len(m.globals) - m.info.Counts.Globals; m.opt.ExportGlobals && i < len(m.globals); i++ {
		if m.globals[i].mutable {
			all = append(all, export(GlobalPrefix+strconv.Itoa(i), uint32(i)))
		}
	}
	return all
}

func (m *meter) yieldImport() []byte {
	var b []byte
	for _, s := range []string{m.opt.YieldModule, m.opt.YieldName} {
		b = append(appendU32(b, uint32(len(s))), s...)
	}
	return appendU32(append(b, extFunc), m.yieldType)
}

// copyFrom copies what r has read since from.
func (m *meter) copyFrom(r *reader, from int) { m.out = append(m.out, r.b[from:r.p]...) }

// function copies a function index, renumbered.
func (m *meter) function(r *reader) { m.out = appendU32(m.out, m.renumber(r.u32(""))) }

func (m *meter) renumber(fn uint32) uint32 {
	if fn >= m.yield {
		return fn + 1
	}
	return fn
}

// expr copies a constant expression.
func (m *meter) expr(r *reader) {
	if r.b[r.p] == opRefFunc {
		r.p++
		m.out = append(m.out, opRefFunc)
		m.function(r)
		r.p++
		m.out = append(m.out, opEnd)
		return
	}
	in := decode(r.b, r.p)
	from := r.p
	r.p = in.next + 1
	m.copyFrom(r, from)
}

func (m *meter) global(r *reader) {
	m.copyN(r, 2)
	m.expr(r)
}

func (m *meter) copyN(r *reader, n int) {
	r.p += n
	m.copyFrom(r, r.p-n)
}

func (m *meter) export(r *reader) {
	from := r.p
	r.bytes(int(r.u32("")), "")
	kind := r.byte("")
	m.copyFrom(r, from)
	if kind == extFunc {
		m.function(r)
	} else {
		m.out = appendU32(m.out, r.u32(""))
	}
}

// tableEntry gives a table the maximum that the options demand.
func (m *meter) tableEntry(r *reader) {
	m.copyN(r, 1)
	from := r.p
	hasMax := r.byte("") == 1
	lo, hi := r.u32(""), uint32(1<<32-1)
	if hasMax {
		hi = r.u32("")
	}
	if m.opt.TableMax == NoTableMax {
		m.copyFrom(r, from)
		return
	}
	m.out = append(m.out, 1)
	m.out = appendU32(m.out, lo)
	m.out = appendU32(m.out, min(hi, max(lo, m.opt.TableMax)))
}

// elem copies an element segment; elemSection has its forms.
func (m *meter) elem(r *reader) {
	flags := r.u32("")
	m.out = appendU32(m.out, flags)
	if flags&1 == 0 {
		if flags&2 != 0 {
			m.out = appendU32(m.out, r.u32(""))
		}
		m.expr(r)
	}
	if flags&3 != 0 {
		m.copyN(r, 1)
	}
	n := r.u32("")
	m.out = appendU32(m.out, n)
	for range n {
		if flags&4 != 0 {
			m.expr(r)
		} else {
			m.function(r)
		}
	}
}
