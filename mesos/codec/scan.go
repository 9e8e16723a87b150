package codec

import (
	"encoding/json"
	"unicode/utf8"
)

// scanner walks over text that is known to be valid JSON, so it has nothing
// to report.
type scanner struct {
	b []byte
	i int
}

// peek skips white space and returns the byte that comes next.
func (s *scanner) peek() byte {
	for {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
}

// next skips white space and returns the byte that comes next, taking it.
func (s *scanner) next() byte {
	c := s.peek()
	s.i++
	return c
}

// take tells whether c comes next, and takes it if so.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.i++
	return true
}

// text takes a string.
func (s *scanner) text() string {
	s.peek()
	start := s.i
	plain := true
	for s.i++; s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			plain = false
			s.i++
		}
	}
	s.i++
	raw := s.b[start:s.i]
	if inner := raw[1 : len(raw)-1]; plain && utf8.Valid(inner) {
		return string(inner)
	}
	var out string
	if err := json.Unmarshal(raw, &out); err != nil {
		panic("codec: a string in valid JSON does not parse: " + err.Error())
	}
	return out
}

// literal takes a number, true, false or null.
func (s *scanner) literal() string {
	s.peek()
	start := s.i
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r', ',', ']', '}':
			return string(s.b[start:s.i])
		}
		s.i++
	}
	return string(s.b[start:])
}

// skip takes a whole value and returns how deeply it nests: 0 for a scalar.
func (s *scanner) skip() int {
	depth, deepest := 0, 0
	for {
		switch s.peek() {
		case '"':
			s.skipText()
		case '{', '[':
			s.i++
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			s.i++
			depth--
		case ',', ':':
			s.i++
			continue
		default:
			s.literal()
		}
		if depth == 0 {
			return deepest
		}
	}
}

func (s *scanner) skipText() {
	for s.i++; s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			s.i++
		}
	}
	s.i++
}
