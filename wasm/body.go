package wasm

// body walks over one function body: its local declarations, then every instruction up to the end that closes it. Block
// nesting must balance, and every index must exist.
func (c *checker) body(typ funcType) {
	locals := c.locals(int(typ.params))
	if c.err != nil {
		return
	}
	c.frames = append(c.frames[:0], 0)
	w := walker{checker: c, b: c.b, locals: uint32(locals), data: uint32(c.dataCount)}
	start := c.p
	c.p = w.walk(start)
	if c.err == nil && c.p != len(c.b) {
		c.fail(CodeInvalid, c.p, "a function body goes on after its end")
	}
	if w.branches > c.lim.Branches {
		c.fail(CodeLimit, start, "a function has %d blocks and branches; the limit is %d: split it, or build with less inlining",
			w.branches, c.lim.Branches)
	}
}

func (c *checker) locals(n int) int {
	for range c.count("groups of locals", 2, c.lim.Locals) {
		at := c.p
		more := c.length("a number of locals")
		if more > c.lim.Locals-n {
			c.fail(CodeLimit, at, "a function has %d locals or more; the limit is %d", more, c.lim.Locals)
		}
		n += more
		c.valueType("the type of a local")
		if c.err != nil {
			return 0
		}
	}
	return n
}

// walker is the inner loop of Check: it sees every byte of code, so it reads one-byte numbers in place and leaves
// everything rare to methods that are not inlined.
type walker struct {
	*checker
	b        []byte // the module up to the end of this body
	locals   uint32
	data     uint32
	targets  int // br_table targets seen so far
	branches int // instructions that open a block or branch seen so far
}

// walk returns the offset after the last instruction. On error it records it and returns any offset.
func (w *walker) walk(p int) int {
	b := w.b
	nfuncs, nglobals, nlocals := uint32(len(w.funcs)), uint32(len(w.globals)), w.locals
	for p < len(b) {
		o := &ops[b[p]]
		p++
		w.feat |= o.feat
		if o.imm == immNone {
			continue
		}
		if o.imm == immMisc || o.imm == immVec {
			if o, p = w.prefixed(o.imm, p); o == nil {
				return p
			}
		}
		switch o.imm {
		case immNone:
		case immLocal:
			v, q := w.short32(p)
			if v >= nlocals {
				return w.badIndex(p, q, "local", v, nlocals)
			}
			p = q
		case immGlobal:
			v, q := w.short32(p)
			if v >= nglobals {
				return w.badIndex(p, q, "global", v, nglobals)
			}
			p = q
		case immFunc:
			v, q := w.short32(p)
			if v >= nfuncs {
				return w.badIndex(p, q, "function", v, nfuncs)
			}
			p = q
		case immLabel:
			w.branches++
			v, q := w.short32(p)
			if n := uint32(len(w.frames)); v >= n {
				return w.badIndex(p, q, "label", v, n)
			}
			p = q
		case immI32:
			if p < len(b) && b[p] < 0x80 {
				p++
				continue
			}
			q := p
			if _, p = sleb(b, p, 32); p < 0 {
				return w.badNumber(q, "an i32 constant")
			}
		case immI64:
			if p < len(b) && b[p] < 0x80 {
				p++
				continue
			}
			q := p
			if _, p = sleb(b, p, 64); p < 0 {
				return w.badNumber(q, "an i64 constant")
			}
		case immMemArg:
			q := p
			if p = w.memArg(p, o); p < 0 {
				return q
			}
		case immBlock:
			q := p
			if p = w.open(p, b[p-1]); p < 0 {
				return q
			}
		case immElse:
			if w.frames[len(w.frames)-1] != 0x04 {
				return w.refuse(p-1, CodeInvalid, "else outside of an if")
			}
			w.frames[len(w.frames)-1] = 0x05
		case immEnd:
			if w.frames = w.frames[:len(w.frames)-1]; len(w.frames) == 0 {
				return p
			}
		default:
			q := p
			if p = w.rare(p, o); p < 0 {
				return q
			}
		}
	}
	w.p = p
	w.short("a function body")
	return p
}

// short32 reads a u32. When it is malformed it answers with the greatest value, which no index reaches, and next < 0.
func (w *walker) short32(p int) (v uint32, next int) {
	if p < len(w.b) && w.b[p] < 0x80 {
		return uint32(w.b[p]), p + 1
	}
	if v, next = uleb32(w.b, p); next < 0 {
		v = 1<<32 - 1
	}
	return v, next
}

func (w *walker) refuse(p int, code, msg string, args ...any) int {
	w.fail(code, p, msg, args...)
	return p
}

func (w *walker) badNumber(p int, what string) int {
	w.p = p
	w.badLEB(what)
	return p
}

func (w *walker) badIndex(p, next int, what string, v, n uint32) int {
	if next < 0 {
		return w.badNumber(p, what+" index")
	}
	return w.refuse(p, CodeInvalid, "unknown %s %d: there are %d", what, v, n)
}

// open enters a block. It returns a negative offset after recording an error; so do the methods below.
func (w *walker) open(p int, code byte) int {
	t, q := sleb(w.b, p, 33)
	switch {
	case q < 0:
		w.badNumber(p, "a block type")
		return -1
	case t >= 0:
		w.feat |= featMultiValue
		if int(t) >= len(w.types) {
			w.refuse(p, CodeInvalid, "unknown type %d of a block: there are %d", t, len(w.types))
			return -1
		}
	case q != p+1 || t != -64 && typeName(byte(t&0x7f)) == "":
		w.refuse(p, CodeInvalid, "a block has a malformed type")
		return -1
	}
	if len(w.frames) > w.lim.Nesting {
		w.refuse(p, CodeLimit, "a function nests its blocks more than %d deep", w.lim.Nesting)
		return -1
	}
	w.branches++
	w.frames = append(w.frames, code)
	return q
}

func (w *walker) memArg(p int, o *op) int {
	align, q := w.short32(p)
	if q >= 0 && align > uint32(o.arg) {
		if align&0x40 != 0 && align < 0x80 {
			w.refuse(p, CodeFeature, "the module has more than one memory, which saki does not run")
		} else {
			w.refuse(p, CodeInvalid, "a memory access claims an alignment larger than natural")
		}
		return -1
	}
	next := -1
	if q >= 0 {
		_, next = w.short32(q)
	}
	if next < 0 {
		w.badNumber(max(p, q), "the offset of a memory access")
		return -1
	}
	if len(w.info.Memories) == 0 {
		w.refuse(p, CodeInvalid, "unknown memory 0: the code uses one, and the module has none")
		return -1
	}
	return next
}

// prefixed reads the second part of a two-part opcode. It returns nil after recording an error.
func (w *walker) prefixed(prefix imm, p int) (*op, int) {
	v, q := w.short32(p)
	table := vecOps[:]
	if prefix == immMisc {
		table = miscOps[:]
	}
	switch {
	case q < 0:
		return nil, w.badNumber(p, "an opcode")
	case prefix == immVec && v >= 0x100 && v < 0x130:
		return nil, w.refuse(p-1, CodeFeature, "the module uses %s instructions, which saki does not run", proposals[propRelaxedSIMD])
	case int(v) >= len(table) || table[v].imm == immUnknown:
		return nil, w.refuse(p-1, CodeInvalid, "unknown instruction %#x %#x", w.b[p-1], v)
	}
	w.feat |= table[v].feat
	return &table[v], q
}

// rare reads the immediates that are too rare for the loop in walk.
func (w *walker) rare(p int, o *op) int {
	r := &w.reader
	r.p = p
	switch o.imm {
	case immUnknown:
		r.fail(CodeInvalid, p-1, "unknown instruction %#x", w.b[p-1])
	case immUnsupported:
		r.fail(CodeFeature, p-1, "the module uses %s (instruction %#x), which saki does not run", proposals[o.arg], w.b[p-1])
	case immTable:
		w.brTable()
	case immCallee:
		w.typeIndex()
		w.tableIndex()
	case immTableIdx:
		w.tableIndex()
	case immTabCopy:
		w.tableIndex()
		w.tableIndex()
	case immTabInit:
		w.index("element segment", w.info.Counts.ElemSegments)
		w.tableIndex()
	case immElem:
		w.index("element segment", w.info.Counts.ElemSegments)
	case immMemory:
		w.memoryByte()
	case immMemCopy:
		w.memoryByte()
		w.memoryByte()
	case immMemInit:
		w.dataIndex()
		w.memoryByte()
	case immData:
		w.dataIndex()
	case immF32:
		r.bytes(4, "an f32 constant")
	case immF64:
		r.bytes(8, "an f64 constant")
	case immV128:
		r.bytes(16, "a v128 constant")
	case immRefType:
		w.refType()
	case immSelect:
		if n := w.count("types of a select", 1, w.lim.Params); n != 1 {
			r.fail(CodeInvalid, p, "a select has %d types instead of one", n)
		}
		w.valueType("the type of a select")
	case immLane:
		w.lane(o.arg)
	case immShuffle:
		for range 16 {
			w.lane(o.arg)
		}
	case immMemLane:
		if r.p = w.memArg(p, o); r.p >= 0 {
			w.lane(o.lanes)
		}
	}
	if r.err != nil {
		return -1
	}
	return r.p
}

func (w *walker) brTable() {
	at := w.p
	w.branches++
	n := w.count("br_table targets", 1, w.lim.BrTable)
	if w.targets += n; w.targets > w.lim.BrTable {
		w.fail(CodeLimit, at, "a function has more than %d br_table targets", w.lim.BrTable)
		return
	}
	for range n + 1 {
		if w.index("label", len(w.frames)); w.err != nil {
			return
		}
	}
}

func (w *walker) tableIndex() { w.index("table", len(w.info.Tables)) }

func (w *walker) memoryByte() {
	at := w.p
	switch c := w.byte("a memory index"); {
	case c != 0:
		w.fail(CodeInvalid, at, "a memory index must be one zero byte; it is %#x", c)
	case len(w.info.Memories) == 0:
		w.fail(CodeInvalid, at, "unknown memory 0: the code uses one, and the module has none")
	}
}

func (w *walker) dataIndex() {
	if !w.hasCount {
		w.fail(CodeInvalid, w.p, "the code uses data segments, but the module has no data count section")
		return
	}
	w.index("data segment", int(w.data))
}

func (w *walker) lane(n uint8) {
	at := w.p
	if l := w.byte("a lane index"); w.err == nil && l >= n {
		w.fail(CodeInvalid, at, "lane index %d is out of range: there are %d lanes", l, n)
	}
}
