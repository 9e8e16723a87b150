package wasm

import "unicode/utf8"

// nameInfo is what a name section says.
type nameInfo struct {
	ok     bool   // well formed, and its names are UTF-8
	bomb   bool   // some count claims more than the section has room for
	at     int    // offset of the bomb
	module []byte // name of the module
	funcs  []byte // content of the function name subsection
}

// scanNames reads the content of a name section, b[p:]. WebAssembly says that a malformed one has no effect, so that is
// no error here; a count bomb is told apart because engines have died of it.
func scanNames(b []byte, p int) nameInfo {
	n := nameInfo{ok: true}
	r := reader{b: b, p: p}
	last := -1
	for r.err == nil && r.p < len(b) {
		id := int(r.byte("a subsection"))
		size := r.length("a subsection")
		if size > r.left() {
			n.ok = false
			return n
		}
		if r.b = b[:r.p+size]; id <= last {
			n.ok = false
		}
		last = id
		start := r.p
		switch id {
		case 0:
			n.module = r.name("a module name")
		case 1:
			n.names(&r)
			n.funcs = b[start:len(r.b)]
		case 2, 3:
			last := int64(-1)
			for range n.count(&r) {
				i := int64(r.u32("an index"))
				n.ok = n.ok && i > last
				last = i
				n.names(&r)
			}
		case 4, 5, 6, 7, 8, 9, 10, 11:
			n.names(&r)
		default:
			r.p = len(r.b)
		}
		if n.ok = n.ok && r.err == nil && r.p == len(r.b); !n.ok {
			return n
		}
		r.b = b
	}
	n.ok = n.ok && r.err == nil
	return n
}

// count reads the length of a vector of entries of two bytes or more.
func (n *nameInfo) count(r *reader) int {
	at := r.p
	m := r.length("a count")
	if m > r.left()/2 && r.err == nil {
		n.bomb, n.ok, n.at = true, false, at
		r.short("names")
		return 0
	}
	return m
}

func (n *nameInfo) names(r *reader) {
	last := int64(-1)
	for range n.count(r) {
		i := int64(r.u32("an index"))
		name := r.bytes(r.length("a length"), "a name")
		if r.err != nil || i <= last || !utf8.Valid(name) {
			n.ok = false
			return
		}
		last = i
	}
}
