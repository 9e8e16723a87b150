package wasm

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// reader walks over a module. It keeps the first error and from then on reads zeros, so that callers check once per
// loop. Its slice always starts at the first byte of the module: p is the offset that errors carry.
type reader struct {
	b   []byte // the module, cut at the end of the section being read
	p   int
	err *Error
}

// fail records an error at offset p, unless there is one already.
func (r *reader) fail(code string, p int, format string, args ...any) {
	if r.err == nil {
		r.err = &Error{Code: code, Msg: fmt.Sprintf(format, args...), Offset: p}
	}
}

func (r *reader) short(what string) {
	r.fail(CodeInvalid, r.p, "the module is cut short or damaged: it ends in the middle (%s)", what)
}

// left returns how many bytes remain, none after an error.
func (r *reader) left() int {
	if r.err != nil {
		return 0
	}
	return len(r.b) - r.p
}

func (r *reader) byte(what string) byte {
	if r.left() < 1 {
		r.short(what)
		return 0
	}
	r.p++
	return r.b[r.p-1]
}

// bytes returns the next n bytes, still part of the module.
func (r *reader) bytes(n int, what string) []byte {
	if n < 0 || r.left() < n {
		r.short(what)
		return nil
	}
	r.p += n
	return r.b[r.p-n : r.p]
}

func (r *reader) u32(what string) uint32 {
	if r.err != nil {
		return 0
	}
	if r.p < len(r.b) && r.b[r.p] < 0x80 {
		r.p++
		return uint32(r.b[r.p-1])
	}
	v, p := uleb32(r.b, r.p)
	if p < 0 {
		r.badLEB(what)
		return 0
	}
	r.p = p
	return v
}

// length reads a u32 that sizes something. Where an int has 32 bits it is cut to one that is still too large for anything.
func (r *reader) length(what string) int {
	return int(min(uint64(r.u32(what)), uint64(math.MaxInt)))
}

// skipLEB steps over a signed LEB128 number of at most the given bits.
func (r *reader) skipLEB(bits int, what string) {
	if r.err != nil {
		return
	}
	_, p := sleb(r.b, r.p, bits)
	if p < 0 {
		r.badLEB(what)
		return
	}
	r.p = p
}

func (r *reader) badLEB(what string) {
	for i := r.p; i < len(r.b); i++ {
		if r.b[i] < 0x80 || i-r.p >= 9 {
			r.fail(CodeInvalid, r.p, "malformed number (LEB128) in %s", what)
			return
		}
	}
	r.short(what)
}

// count reads the length of a vector whose entries take at least size bytes each, and refuses it when the rest of the
// section cannot hold that many or when it exceeds limit. Whatever comes back may be used to size a slice.
func (r *reader) count(what string, size, limit int) int {
	at := r.p
	n := r.length(what)
	if r.err != nil {
		return 0
	}
	if n > r.left()/size {
		r.fail(CodeInvalid, at, "the module declares %d %s but has only %d bytes left for them", n, what, r.left())
		return 0
	}
	if n > limit {
		r.fail(CodeLimit, at, "the module has %d %s; the limit is %d", n, what, limit)
		return 0
	}
	return n
}

// name reads a UTF-8 string, still part of the module.
func (r *reader) name(what string) []byte {
	at := r.p
	n := r.length(what)
	if r.err == nil && n > r.left() {
		r.fail(CodeInvalid, at, "%s is declared %d bytes long but only %d are left", what, n, r.left())
	}
	s := r.bytes(n, what)
	if !utf8.Valid(s) {
		r.fail(CodeInvalid, at, "%s is not valid UTF-8: %s", what, quoted(s))
		return nil
	}
	return s
}

// uleb32 decodes an unsigned 32-bit LEB128 number at b[p:]. next is negative when it is malformed or cut short.
func uleb32(b []byte, p int) (v uint32, next int) {
	for i := range 5 {
		if p+i >= len(b) {
			return 0, -1
		}
		c := b[p+i]
		if i == 4 && c > 0x0f {
			return 0, -1
		}
		v |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, p + i + 1
		}
	}
	return 0, -1
}

// sleb decodes a signed LEB128 number of at most bits (32, 33 or 64) bits. next is negative when it is malformed, does
// not extend its sign properly, or is cut short.
func sleb(b []byte, p, bits int) (v int64, next int) {
	most := (bits + 6) / 7
	for i := range most {
		if p+i >= len(b) {
			return 0, -1
		}
		c := b[p+i]
		if i == most-1 {
			// Only some bits of the last byte belong to the number; the rest must repeat its sign bit.
			sign := byte(0x7f) << (bits - 7*i - 1) & 0x7f
			if c >= 0x80 || c&sign != 0 && c&sign != sign {
				return 0, -1
			}
		}
		v |= int64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if s := 7 * (i + 1); s < 64 && c&0x40 != 0 {
				v |= -1 << s
			}
			return v, p + i + 1
		}
	}
	return 0, -1
}
