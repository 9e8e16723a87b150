package wasm

import (
	"unicode"
)

func (c *checker) importSection() {
	n := c.count("imports", 4, c.lim.Imports)
	c.info.Imports = make([]Import, 0, n)
	for range n {
		module, name := c.extName("import"), c.extName("import")
		at := c.p
		kind := c.byte("the kind of an import")
		var text string
		switch kind {
		case extFunc:
			typ := c.typeIndex()
			if c.err != nil {
				return
			}
			c.funcs = append(c.funcs, typ)
			c.imported++
			text = c.signature(typ)
		case extTable:
			text = tableText(c.table(true))
		case extMemory:
			text = memoryText(c.memory(true))
		case extGlobal:
			g := c.globalType()
			c.globals = append(c.globals, g)
			text = g.text()
		case 4:
			c.fail(CodeFeature, at, "the module imports an exception tag, which saki does not run")
		default:
			c.fail(CodeInvalid, at, "an import has unknown kind %d", kind)
		}
		if c.err != nil {
			return
		}
		c.info.Imports = append(c.info.Imports, Import{
			Module: string(module), Name: string(name), Kind: extNames[kind], Signature: text,
		})
	}
	if len(c.funcs) > c.lim.Functions {
		c.fail(CodeLimit, c.p, "the module has %d functions; the limit is %d", len(c.funcs), c.lim.Functions)
	}
}

// extName reads the name of an import or export.
func (c *checker) extName(what string) []byte {
	at := c.p
	name := c.name(what)
	if c.err != nil {
		return nil
	}
	c.names += len(name)
	switch {
	case len(name) > c.lim.Name:
		c.fail(CodeLimit, at, "an %s name is %d bytes long; the limit is %d", what, len(name), c.lim.Name)
	case c.names > c.lim.Names:
		c.fail(CodeLimit, at, "the names of imports and exports take more than %d bytes", c.lim.Names)
	case !c.lim.ControlChars && hasControl(name):
		c.fail(CodeInvalid, at, "the %s name %s has a control character in it; saki refuses such names", what, quoted(name))
	}
	return name
}

func hasControl(name []byte) bool {
	for _, r := range string(name) {
		if unicode.IsControl(r) {
			return true
		}
	}
	return false
}

func (g globalType) text() string {
	if g.mutable {
		return "mut " + typeName(g.typ)
	}
	return typeName(g.typ)
}

func (c *checker) globalType() globalType {
	typ := c.valueType("the type of a global")
	at := c.p
	mut := c.byte("the mutability of a global")
	if mut > 1 {
		c.fail(CodeInvalid, at, "byte %#x is not a mutability of a global", mut)
	}
	if len(c.globals) >= c.lim.Globals {
		c.fail(CodeLimit, at, "the module has more than %d globals", c.lim.Globals)
	}
	return globalType{typ: typ, mutable: mut == 1}
}

func (c *checker) limits(what string) (lo, hi uint32, hasMax bool) {
	at := c.p
	flags := c.byte(what)
	switch {
	case flags <= 1:
	case flags <= 3:
		c.fail(CodeFeature, at, "the module has a shared %s (threads), which saki does not run", what)
	case flags <= 7:
		c.fail(CodeFeature, at, "the module has a 64-bit %s, which saki does not run", what)
	default:
		c.fail(CodeInvalid, at, "byte %#x is not a kind of limits of a %s", flags, what)
	}
	lo = c.u32(what)
	if flags == 1 {
		hi, hasMax = c.u32(what), true
		if c.err == nil && hi < lo {
			c.fail(CodeInvalid, at, "the maximum %d of a %s is below its minimum %d", hi, what, lo)
		}
	}
	return lo, hi, hasMax
}

func (c *checker) table(imported bool) Table {
	at := c.p
	typ := c.byte("the type of a table")
	switch typ {
	case 0x70:
	case 0x6f:
		c.feat |= featRefTypes
	case 0x40, 0x63, 0x64:
		c.fail(CodeFeature, at, "the module has a table of typed references, which saki does not run")
	default:
		c.fail(CodeInvalid, at, "byte %#x is not the type of a table", typ)
	}
	t := Table{Type: typeName(typ), Imported: imported, Exports: []string{}}
	t.Min, t.Max, t.HasMax = c.limits("table")
	if uint64(t.Min) > uint64(c.lim.TableEntries) {
		c.fail(CodeLimit, at, "a table starts with %d entries; the limit is %d", t.Min, c.lim.TableEntries)
	}
	if len(c.info.Tables) >= c.lim.Tables {
		c.fail(CodeLimit, at, "the module has more than %d tables", c.lim.Tables)
	}
	if c.info.Tables = append(c.info.Tables, t); len(c.info.Tables) == 2 {
		c.feat |= featRefTypes
	}
	return t
}

func (c *checker) memory(imported bool) Memory {
	at := c.p
	m := Memory{Imported: imported, Exports: []string{}}
	m.Min, m.Max, m.HasMax = c.limits("memory")
	switch {
	case m.Min > maxPages || m.Max > maxPages:
		c.fail(CodeInvalid, at, "a memory is declared %d pages large; WebAssembly allows %d (4 GiB)", max(m.Min, m.Max), maxPages)
	case int(m.Min) > c.lim.MemoryPages:
		c.fail(CodeLimit, at, "the module needs %d pages of memory (%d MiB); the limit is %d pages (%d MiB)",
			m.Min, m.Min/16, c.lim.MemoryPages, c.lim.MemoryPages/16)
	case len(c.info.Memories) > 0:
		c.fail(CodeFeature, at, "the module has more than one memory, which saki does not run")
	}
	c.info.Memories = append(c.info.Memories, m)
	return m
}

func (c *checker) exportSection() {
	n := c.count("exports", 3, c.lim.Exports)
	c.info.Exports = make([]Export, 0, n)
	seen := make(map[string]struct{}, n)
	for range n {
		at := c.p
		name := string(c.extName("export"))
		kind := c.byte("the kind of an export")
		e := Export{Name: name}
		switch kind {
		case extFunc:
			if fn := c.index("function", len(c.funcs)); c.err == nil {
				e.Signature = c.signature(c.funcs[fn])
				c.entry(name, fn)
			}
		case extTable:
			if i := c.index("table", len(c.info.Tables)); c.err == nil {
				t := &c.info.Tables[i]
				t.Exports = append(t.Exports, name)
				e.Signature = tableText(*t)
			}
		case extMemory:
			if i := c.index("memory", len(c.info.Memories)); c.err == nil {
				m := &c.info.Memories[i]
				m.Exports = append(m.Exports, name)
				e.Signature = memoryText(*m)
			}
		case extGlobal:
			if i := c.index("global", len(c.globals)); c.err == nil {
				e.Signature = c.globals[i].text()
			}
		case 4:
			c.fail(CodeFeature, at, "the module exports an exception tag, which saki does not run")
		default:
			c.fail(CodeInvalid, at, "an export has unknown kind %d", kind)
		}
		if c.err != nil {
			return
		}
		if _, dup := seen[name]; dup {
			c.fail(CodeInvalid, at, "duplicate export name %s", quoted([]byte(name)))
			return
		}
		seen[name] = struct{}{}
		e.Kind = extNames[kind]
		c.info.Exports = append(c.info.Exports, e)
	}
}

// entry notes the exports that decide how a module is run. A function of the wrong type is no entry point.
func (c *checker) entry(name string, fn uint32) {
	if name != "_start" && name != "_initialize" || !c.isPlain(fn) {
		return
	}
	if name == "_start" {
		c.info.Kind = KindCommand
	} else if c.info.Kind == KindLibrary {
		c.info.Kind = KindReactor
	}
}

func (c *checker) startSection() {
	at := c.p
	fn := c.index("function", len(c.funcs))
	if c.err == nil && !c.isPlain(fn) {
		c.fail(CodeInvalid, at, "the start function must take and return nothing; it is %s", c.signature(c.funcs[fn]))
	}
	c.info.Start = true
}
