package wasm

// editKind is what an edit does to a body.
type editKind uint8

const (
	editCharge editKind = iota // insert a charge of n
	editCheck                  // insert a charge of n and ask the host when the counter is below zero
	editLoop                   // editCheck at the head of a loop
	editBulk                   // insert a charge by the length on top of the operand stack, before the instruction
	editFunc                   // renumber the function that a call or ref.func names
)

// edit is a change to a body at one offset of the module. Edits are kept in the order of their offsets.
type edit struct {
	at   int
	kind editKind
	n    uint32
}

// frame is a block that is open. A point is the edit that pays for the instructions being read; -1 stands for code that
// cannot be reached, for which nobody pays.
type frame struct {
	code  uint16 // opBlock, opLoop, opIf, opElse; 0 for the function itself
	entry int    // point in force where the block begins
	head  int    // of a loop: the point at its head
	first bool   // of a loop: entering the function leads here without a call
	low   int    // the outermost frame that a branch inside targets
	hit   bool   // some branch that can be reached targets this frame
}

// costs decides what a body pays, and where. A point pays, when it is reached, for all the instructions that are then
// bound to run unless the guest traps, exits or never comes back from a loop or call: so code behind a block that
// nobody leaves early is paid where the block began. Its fields are used again for the next body.
type costs struct {
	b      []byte
	frames []frame
	edits  []edit
	cur    int  // point in force, or -1
	called bool // a call has been read
	bulk   bool // some edit is an editBulk
}

// plan reads the instructions from p to the end of the body and fills in edits. Functions numbered first and up are to
// be renumbered.
func (c *costs) plan(b []byte, p, locals int, first uint32) {
	*c = costs{b: b, frames: append(c.frames[:0], frame{}), edits: c.edits[:0]}
	c.point(p, editCheck)
	c.edits[0].n = 1 + uint32(locals)/8
	for len(c.frames) > 0 {
		in := decode(b, p)
		if !in.free {
			c.pay(1)
		}
		c.called = c.called || in.code == opCall || in.code == opCallIndir
		switch in.code {
		case opBlock, opLoop, opIf:
			c.open(in)
		case opElse:
			f := &c.frames[len(c.frames)-1]
			f.code = opElse
			f.hit = f.hit || c.cur >= 0
			c.resume(f.entry, in.next)
		case opEnd:
			c.close(in)
		case opBr, opBrIf:
			c.branch(int(in.arg))
			c.leave(in)
		case opBrTable:
			q := skipNumber(b, in.argAt)
			for range in.arg + 1 {
				var label uint32
				label, q = uleb32(b, q)
				c.branch(int(label))
			}
			c.leave(in)
		case opReturn:
			c.branch(len(c.frames) - 1)
			c.leave(in)
		case opUnreachable:
			c.cur = -1
		case opCall, opRefFunc:
			if in.arg >= first {
				c.edits = append(c.edits, edit{at: p, kind: editFunc, n: in.arg + 1})
			}
		case opMemoryInit, opMemoryCopy, opMemoryFill, opMemoryGrow, opTableInit, opTableCopy, opTableFill, opTableGrow:
			c.bulk = true
			c.edits = append(c.edits, edit{at: p, kind: editBulk})
		}
		p = in.next
	}
}

func (c *costs) pay(n uint32) {
	if c.cur >= 0 {
		c.edits[c.cur].n += n
	}
}

// point begins a new point at p.
func (c *costs) point(p int, kind editKind) {
	c.cur = len(c.edits)
	c.edits = append(c.edits, edit{at: p, kind: kind})
}

// resume begins a new point at p, unless the code there cannot be reached because entry could not.
func (c *costs) resume(entry, p int) {
	c.cur = -1
	if entry >= 0 {
		c.point(p, editCharge)
	}
}

func (c *costs) open(in instr) {
	f := frame{code: in.code, entry: c.cur, low: len(c.frames)}
	if in.code != opBlock {
		c.resume(c.cur, in.next)
	}
	if in.code == opLoop {
		f.head = c.cur
		// The loop instruction itself is paid at its head, once per turn.
		if c.cur >= 0 {
			c.edits[f.entry].n--
			c.pay(1)
			f.first = f.entry == 0 && !c.called
		}
	}
	c.frames = append(c.frames, f)
}

func (c *costs) close(in instr) {
	i := len(c.frames) - 1
	f := c.frames[i]
	c.frames = c.frames[:i]
	if i == 0 {
		return
	}
	out := &c.frames[i-1]
	out.low = min(out.low, f.low)
	if f.code == opLoop && f.hit {
		c.edits[f.head].kind = editLoop
		if f.first {
			c.edits[0].kind = editCharge // the loop looks at the counter soon enough
		}
	}
	reached := c.cur >= 0 || f.hit && f.code != opLoop || f.code == opIf
	switch {
	case f.entry < 0 || !reached:
		c.cur = -1
	case f.low < i:
		c.point(in.next, editCharge)
	default:
		c.cur = f.entry
	}
}

// branch notes a branch to a label.
func (c *costs) branch(label int) {
	if c.cur < 0 {
		return
	}
	in := len(c.frames) - 1
	c.frames[in-label].hit = true
	c.frames[in].low = min(c.frames[in].low, in-label)
}

// leave ends the point in force behind a branch.
func (c *costs) leave(in instr) {
	if in.code == opBrIf {
		c.resume(c.cur, in.next)
	} else {
		c.cur = -1
	}
}
