package wasm

// maxNames is the size of the largest name section that Strip and Meter keep.
const maxNames = 16 << 20

// Strip returns the module without its custom sections, except for a name section that is well formed and at most 16 MiB
// large: stack traces need it. Engines only lose time, memory and debug information by it. Bytes that are not a module
// come back as they are; the result never shares memory with b.
func Strip(b []byte) []byte {
	out := make([]byte, 0, len(b))
	if len(b) < 8 {
		return append(out, b...)
	}
	out = append(out, b[:8]...)
	named := false
	for r := (reader{b: b, p: 8}); r.p < len(b); {
		from := r.p
		id := r.byte("")
		size := r.length("")
		content := r.p
		if r.bytes(size, ""); r.err != nil {
			return append(out, b[from:]...)
		}
		if id == secCustom {
			if _, ok := namesAt(b, content, size); !ok || named {
				continue
			}
			named = true
		}
		out = append(out, b[from:r.p]...)
	}
	return out
}

// namesAt reads a custom section, b[p:p+size], and reports whether it is a name section worth keeping.
func namesAt(b []byte, p, size int) (nameInfo, bool) {
	r := reader{b: b[:p+size], p: p}
	if size > maxNames || string(r.bytes(r.length(""), "")) != "name" {
		return nameInfo{}, false
	}
	n := scanNames(r.b, r.p)
	return n, n.ok && r.err == nil
}

// custom notes where the first name section worth keeping is.
func (m *meter) custom(p, size int, at *reader) {
	if _, ok := namesAt(m.b, p, size); ok && at.b == nil {
		*at = reader{b: m.b[:p+size], p: p}
	}
}

// names writes a name section with the name of the module and of its functions, renumbered. The names of locals and the
// like are for debuggers, whose offsets no longer hold.
func (m *meter) names(r *reader) {
	n, _ := namesAt(m.b, r.p, len(r.b)-r.p)
	m.section(secCustom, func() {
		m.out = append(m.out, "\x04name"...)
		if n.module != nil {
			m.section(0, func() { m.out = append(appendU32(m.out, uint32(len(n.module))), n.module...) })
		}
		if n.funcs != nil {
			m.section(1, func() { m.funcNames(reader{b: n.funcs}) })
		}
	})
}

func (m *meter) funcNames(r reader) {
	n := r.u32("")
	m.out = appendU32(m.out, n+1)
	named := false
	yield := func() {
		s := m.opt.YieldModule + "." + m.opt.YieldName
		m.out = append(appendU32(appendU32(m.out, m.yield), uint32(len(s))), s...)
		named = true
	}
	for range n {
		if fn := r.u32(""); fn >= m.yield {
			if !named {
				yield()
			}
			m.out = appendU32(m.out, fn+1)
		} else {
			m.out = appendU32(m.out, fn)
		}
		from := r.p
		r.bytes(r.length(""), "")
		m.copyFrom(&r, from)
	}
	if !named {
		yield()
	}
}
