package wasm

// constExpr walks over a constant expression: one instruction that yields a value, then end.
func (c *checker) constExpr(what string) {
	at := c.p
	switch code := c.byte(what); code {
	case 0x41:
		c.skipLEB(32, what)
	case 0x42:
		c.skipLEB(64, what)
	case 0x43:
		c.bytes(4, what)
	case 0x44:
		c.bytes(8, what)
	case 0x23:
		if i := c.index("global", len(c.globals)); c.err == nil && c.globals[i].mutable {
			c.fail(CodeInvalid, at, "%s is not constant: it reads a global that can change", what)
		}
	case 0xd0:
		c.feat |= featRefTypes
		c.refType()
	case 0xd2:
		c.feat |= featRefTypes
		c.index("function", len(c.funcs))
	case 0xfd:
		c.feat |= featSIMD
		if c.u32(what) != 12 {
			c.fail(CodeInvalid, at, "%s is not constant", what)
		}
		c.bytes(16, what)
	default:
		c.fail(CodeInvalid, at, "%s is not constant", what)
	}
	at = c.p
	switch code := c.byte(what); code {
	case 0x0b:
	case 0x23, 0x41, 0x42, 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e:
		c.fail(CodeFeature, at, "%s is computed (extended constant expressions), which saki does not run", what)
	default:
		c.fail(CodeInvalid, at, "%s is not a single constant", what)
	}
}

func (c *checker) refType() {
	at := c.p
	if t := c.byte("a reference type"); c.err == nil && t != 0x70 && t != 0x6f {
		c.fail(CodeInvalid, at, "byte %#x is not a reference type", t)
	}
}

// elemSection decodes element segments, which come in eight forms: bit 0 passive or declarative, bit 1 a table index
// (or declarative), bit 2 entries as expressions.
func (c *checker) elemSection() {
	n := c.count("element segments", 3, c.lim.ElemSegments)
	for range n {
		at := c.p
		flags := c.u32("the kind of an element segment")
		if flags > 7 {
			c.fail(CodeInvalid, at, "an element segment has unknown kind %d", flags)
		}
		if flags != 0 {
			c.feat |= featBulk
		}
		if flags&1 == 0 {
			if flags&2 != 0 {
				c.index("table", len(c.info.Tables))
			} else if len(c.info.Tables) == 0 {
				c.fail(CodeInvalid, at, "unknown table 0: an element segment needs one, and the module has none")
			}
			c.constExpr("the offset of an element segment")
		}
		if flags&3 != 0 {
			if flags&4 != 0 {
				c.refType()
			} else if k := c.byte("the kind of an element segment"); k != 0 && c.err == nil {
				c.fail(CodeInvalid, c.p-1, "byte %#x is not a kind of elements", k)
			}
		}
		c.entries(flags&4 != 0)
		if c.err != nil {
			return
		}
	}
	c.info.Counts.ElemSegments = n
}

func (c *checker) entries(exprs bool) {
	size := 1
	if exprs {
		size = 3
	}
	at := c.p
	m := c.count("elements in a segment", size, c.lim.TableEntries)
	if c.elems += m; c.elems > c.lim.TableEntries {
		c.fail(CodeLimit, at, "the element segments hold more than %d entries", c.lim.TableEntries)
		return
	}
	for range m {
		if exprs {
			c.constExpr("an element")
		} else {
			c.index("function", len(c.funcs))
		}
		if c.err != nil {
			return
		}
	}
}

func (c *checker) dataSection() {
	n := c.count("data segments", 2, c.lim.DataSegments)
	for range n {
		at := c.p
		flags := c.u32("the kind of a data segment")
		switch flags {
		case 0, 2:
			if flags == 2 {
				c.feat |= featBulk
				c.index("memory", len(c.info.Memories))
			} else if len(c.info.Memories) == 0 {
				c.fail(CodeInvalid, at, "unknown memory 0: a data segment needs one, and the module has none")
			}
			c.constExpr("the offset of a data segment")
		case 1:
			c.feat |= featBulk
		default:
			c.fail(CodeInvalid, at, "a data segment has unknown kind %d", flags)
		}
		m := c.count("bytes in a data segment", 1, c.lim.Size)
		c.bytes(m, "a data segment")
		if c.err != nil {
			return
		}
		c.info.Counts.DataBytes += m
	}
	c.datas = n
	c.info.Counts.DataSegments = n
}

func (c *checker) codeSection() {
	n := c.count("function bodies", 3, c.lim.Functions)
	if declared := len(c.funcs) - c.imported; n != declared {
		c.fail(CodeInvalid, c.p, "the module declares %d functions but has %d function bodies", declared, n)
		return
	}
	c.info.Counts.CodeBytes = len(c.b) - c.p
	section := c.b
	for i := range n {
		at := c.p
		size := c.length("the size of a function body")
		switch {
		case c.err != nil:
			return
		case size > c.left():
			c.fail(CodeInvalid, at, "the body of function %d is declared %d bytes long but only %d are left", c.imported+i, size, c.left())
			return
		case size > c.lim.Body:
			c.fail(CodeLimit, at, "the body of function %d is %d bytes long; the limit is %d: split it, or build with less inlining",
				c.imported+i, size, c.lim.Body)
			return
		}
		c.b = section[:c.p+size]
		c.body(c.types[c.funcs[c.imported+i]])
		if c.err != nil {
			return
		}
		c.b = section
	}
	c.bodies = n
}
