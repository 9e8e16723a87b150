package gen

import (
	"slices"

	"github.com/saki-run/saki/wasm/build"
)

const (
	deepest = 6   // how deep statements and expressions nest
	largest = 600 // instructions of a whole module, about
)

// enough reports that only the smallest code may follow.
func (f *fn) enough() bool {
	f.size++
	return f.depth >= deepest || f.size > largest || len(f.src) == 0
}

// local returns a local of the type, or -1.
func (f *fn) local(typ byte) int {
	n := f.pick(len(f.locals))
	for i := range f.locals {
		if j := (i + n) % len(f.locals); f.locals[j] == typ {
			return j
		}
	}
	return -1
}

// statement emits code that leaves the stack as it is.
func (f *fn) statement() {
	if f.enough() {
		f.op(0x01)
		return
	}
	f.depth++
	defer func() { f.depth-- }()
	switch f.pick(16) {
	case 0, 1:
		i := f.pick(len(f.locals))
		f.expr(f.locals[i])
		f.indexed(0x21, i)
	case 2:
		i := f.pick(len(f.globals))
		f.expr(f.globals[i])
		f.indexed(0x24, i)
	case 3:
		f.address()
		f.expr(build.I64)
		f.op(0x37, 3, 8) // i64.store
	case 4:
		f.block(0x02, nil)
	case 5:
		f.loop()
	case 6:
		f.expr(build.I32)
		f.block(0x04, nil)
	case 7:
		f.branch()
	case 8:
		f.branchTable()
	case 9:
		f.call(f.pick(len(f.sigs)))
	case 10:
		f.indirect()
	case 11:
		f.bulk()
	case 12:
		f.expr(f.valueType())
		f.op(0x1a) // drop
	case 13:
		f.leave(f.pick(12))
	case 14:
		f.block(0x02, []byte{f.valueType()})
		f.op(0x1a)
	case 15:
		f.expr(build.I32)
		f.op(0x40, 0, 0x1a) // memory.grow, drop
	}
}

// block emits a block or, behind a condition, an if with both arms, yielding the results.
func (f *fn) block(op byte, results []byte) {
	typ := byte(build.Void)
	if len(results) == 1 {
		typ = results[0]
	}
	f.op(op, typ)
	arm := func() {
		f.labels = append(f.labels, results)
		f.statements()
		for _, t := range results {
			f.expr(t)
		}
		f.labels = f.labels[:len(f.labels)-1]
	}
	arm()
	if op == 0x04 && (len(results) > 0 || f.pick(2) == 1) {
		f.op(0x05)
		arm()
	}
	f.op(0x0b)
}

// loop emits a loop that a local usually ends.
func (f *fn) loop() {
	i := f.local(build.I32)
	if i < 0 {
		f.op(0x01)
		return
	}
	f.code = append(f.code, build.I32Const(int32(f.pick(10)))...)
	f.indexed(0x21, i)
	f.op(0x03, build.Void)
	f.labels = append(f.labels, nil)
	f.statements()
	f.labels = f.labels[:len(f.labels)-1]
	f.indexed(0x20, i)
	f.op(0x41, 1, 0x6b)
	f.indexed(0x22, i)
	f.op(0x41, 0, 0x4a, 0x0d, 0, 0x0b) // while it is above 0
}

// label returns a label that takes nothing, or -1.
func (f *fn) label() int {
	n := f.pick(len(f.labels))
	for i := range f.labels {
		if l := (i + n) % len(f.labels); len(f.labels[len(f.labels)-1-l]) == 0 {
			return l
		}
	}
	return -1
}

// branch emits a br_if, with the values its label takes left on the stack and dropped behind it.
func (f *fn) branch() {
	l := f.pick(len(f.labels))
	takes := f.labels[len(f.labels)-1-l]
	for _, t := range takes {
		f.expr(t)
	}
	f.expr(build.I32)
	f.indexed(0x0d, l)
	for range takes {
		f.op(0x1a)
	}
}

func (f *fn) branchTable() {
	l := f.label()
	if l < 0 {
		f.op(0x01)
		return
	}
	f.op(0x02, build.Void)
	f.labels = append(f.labels, nil)
	f.expr(build.I32)
	f.labels = f.labels[:len(f.labels)-1]
	f.op(0x0e, 2, 0)
	f.code = append(f.code, build.U32(uint32(l)+1)...)
	f.op(0, 0x0b)
}

// leave emits, inside an if, an instruction behind which nothing is reached.
func (f *fn) leave(how int) {
	f.expr(build.I32)
	f.op(0x04, build.Void)
	f.labels = append(f.labels, nil)
	switch {
	case how == 0:
		f.op(0x00) // unreachable
	case how < 6:
		for _, t := range f.results {
			f.expr(t)
		}
		f.op(0x0f)
		f.op(0x02, build.Void, 0x03, build.Void, 0x0c, 1, 0x0b, 0x0b) // never reached
	default:
		if l := f.label(); l >= 0 {
			f.indexed(0x0c, l)
		}
	}
	f.labels = f.labels[:len(f.labels)-1]
	f.op(0x0b)
}

// call emits a call and drops what it returns.
func (f *fn) call(i int) {
	s := f.sigs[i]
	for _, t := range s.params {
		f.expr(t)
	}
	f.indexed(0x10, i+1)
	for range s.results {
		f.op(0x1a)
	}
}

func (f *fn) indirect() {
	f.expr(build.I32)
	f.op(0x41, 7, 0x71, 0x11) // the table has eight entries, some of them empty or of another type
	f.code = append(f.code, build.U32(f.sigs[len(f.sigs)-1].typ)...)
	f.op(0)
}

// address emits an i32 that is nearly always inside the memory.
func (f *fn) address() {
	f.expr(build.I32)
	f.code = append(f.code, build.I32Const(0x7fff)...)
	f.op(0x71)
}

// bulk emits one of the instructions that work by length.
func (f *fn) bulk() {
	small := func() {
		f.expr(build.I32)
		f.code = append(f.code, build.I32Const(int32(1+f.pick(1<<12)))...)
		f.op(0x70) // i32.rem_u
	}
	switch f.pick(9) {
	case 0:
		f.address()
		f.expr(build.I32)
		small()
		f.op(0xfc, 11, 0)
	case 1:
		f.address()
		f.address()
		small()
		f.op(0xfc, 10, 0, 0)
	case 2:
		f.address()
		f.op(0x41, byte(f.pick(20)), 0x41, byte(f.pick(8)), 0xfc, 8, 0, 0)
	case 3:
		f.op(0xfc, 9, 0)
	case 4:
		f.op(0x41, byte(f.pick(9)), 0xd0, 0x70, 0x41, byte(f.pick(9)), 0xfc, 17, 0)
	case 5:
		f.op(0x41, byte(f.pick(9)), 0x41, byte(f.pick(9)), 0x41, byte(f.pick(9)), 0xfc, 14, 0, 0)
	case 6:
		f.op(0x41, byte(f.pick(9)), 0x41, byte(f.pick(3)), 0x41, byte(f.pick(4)), 0xfc, 12, 1, 0)
	case 7:
		f.op(0xd0, 0x70, 0x41, byte(f.pick(9)), 0xfc, 15, 0, 0x1a)
	case 8:
		f.op(0xfc, 13, 1)
	}
}

// expr emits code that leaves one value of the type.
func (f *fn) expr(typ byte) {
	if f.enough() {
		f.constant(typ)
		return
	}
	f.depth++
	defer func() { f.depth-- }()
	switch f.pick(9) {
	case 0:
		f.constant(typ)
	case 1, 2:
		if i := f.local(typ); i >= 0 {
			f.indexed(0x20, i)
		} else {
			f.constant(typ)
		}
	case 3:
		i := slices.Index(f.globals, typ)
		if i < 0 {
			f.constant(typ)
			return
		}
		f.indexed(0x23, i)
	case 4, 5:
		f.expr(typ)
		f.expr(typ)
		if typ == build.I32 {
			f.op([]byte{0x6a, 0x6b, 0x6c, 0x6d, 0x70, 0x71, 0x73, 0x74, 0x46, 0x48, 0x4f}[f.pick(11)])
		} else {
			f.op([]byte{0x7c, 0x7d, 0x7e, 0x7f, 0x82, 0x83, 0x85, 0x86}[f.pick(8)])
		}
	case 6:
		f.block(0x02, []byte{typ})
	case 7:
		f.expr(build.I32)
		f.block(0x04, []byte{typ})
	case 8:
		f.special(typ)
	}
}

func (f *fn) special(typ byte) {
	switch {
	case typ == build.I64 && f.pick(2) == 0:
		f.address()
		f.op(0x29, 3, 0) // i64.load
	case typ == build.I64:
		f.expr(build.I32)
		f.op([]byte{0xac, 0xad}[f.pick(2)])
	case f.pick(3) == 0:
		f.op(0x3f, 0) // memory.size
	case f.pick(2) == 0:
		f.expr(build.I32)
		f.op(0x10, 0) // env.mix
	default:
		f.expr(build.I64)
		f.op([]byte{0xa7, 0x50}[f.pick(2)])
	}
}

func (f *fn) constant(typ byte) {
	if typ == build.I32 {
		f.code = append(f.code, build.I32Const(int32(f.pick(256)-100))...)
	} else {
		f.code = append(f.code, build.I64Const(int64(f.pick(256)-100))...)
	}
}
