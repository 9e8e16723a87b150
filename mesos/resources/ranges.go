package resources

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Range is a run of whole numbers; both ends belong to it.
type Range struct{ Begin, End uint64 }

// Ranges is a set of whole numbers as pieces that neither overlap nor touch.
// The pieces keep the order in which they came: what is given back stands
// after what was there. Two Ranges that hold the same numbers are Equal in
// whatever order. Methods do not change their receiver.
type Ranges []Range

// NewRanges makes Ranges of pieces that may overlap. A piece that ends before
// it begins is dropped.
func NewRanges(pieces ...Range) Ranges { return Ranges(nil).Add(pieces) }

// Add is the union of r and o. A piece that touches others is joined to the
// first of them.
func (r Ranges) Add(o Ranges) Ranges {
	type piece struct {
		Range
		at int // Where it stood: r first, then o.
	}
	ps := make([]piece, 0, len(r)+len(o))
	for _, x := range [2]Ranges{r, o} {
		for _, p := range x {
			if p.Begin <= p.End {
				ps = append(ps, piece{p, len(ps)})
			}
		}
	}
	slices.SortFunc(ps, func(a, b piece) int { return cmp.Compare(a.Begin, b.Begin) })
	joined := ps[:0]
	for _, p := range ps {
		if n := len(joined) - 1; n >= 0 && (joined[n].End == math.MaxUint64 || p.Begin <= joined[n].End+1) {
			joined[n].End = max(joined[n].End, p.End)
			joined[n].at = min(joined[n].at, p.at)
			continue
		}
		joined = append(joined, p)
	}
	slices.SortFunc(joined, func(a, b piece) int { return cmp.Compare(a.at, b.at) })
	out := make(Ranges, len(joined))
	for i, p := range joined {
		out[i] = p.Range
	}
	return out
}

// Sub is r without the numbers in o. What is left of a piece stays in its
// place.
func (r Ranges) Sub(o Ranges) Ranges {
	holes := o.Sorted()
	out := make(Ranges, 0, len(r))
	for _, p := range NewRanges(r...) {
		i, _ := slices.BinarySearchFunc(holes, p.Begin, func(h Range, n uint64) int { return cmp.Compare(h.End, n) })
		rest := true
		for _, h := range holes[i:] {
			if h.Begin > p.End {
				break
			}
			if h.Begin > p.Begin {
				out = append(out, Range{p.Begin, h.Begin - 1})
			}
			if rest = h.End < p.End; !rest {
				break
			}
			p.Begin = h.End + 1
		}
		if rest {
			out = append(out, p)
		}
	}
	return out
}

// Contains tells whether r holds every number of o.
func (r Ranges) Contains(o Ranges) bool { return len(o.Sub(r)) == 0 }

// Overlaps tells whether r and o have a number in common.
func (r Ranges) Overlaps(o Ranges) bool { return len(r) > 0 && !r.Equal(r.Sub(o)) }

// Equal tells whether r and o hold the same numbers.
func (r Ranges) Equal(o Ranges) bool { return slices.Equal(r.Sorted(), o.Sorted()) }

// Sorted is the one form that all equal Ranges share: the pieces in rising
// order.
func (r Ranges) Sorted() Ranges {
	out := NewRanges(r...)
	slices.SortFunc(out, func(a, b Range) int { return cmp.Compare(a.Begin, b.Begin) })
	return out
}

// Count is how many numbers r holds; the largest uint64 if they are more.
func (r Ranges) Count() uint64 {
	var n uint64
	for _, p := range NewRanges(r...) {
		size := p.End - p.Begin
		if size == math.MaxUint64 || n > math.MaxUint64-size-1 {
			return math.MaxUint64
		}
		n += size + 1
	}
	return n
}

// String is the text that Mesos prints, such as "[8006-8100, 8003-8003]".
func (r Ranges) String() string { return "[" + r.Join(", ") + "]" }

// Join is the pieces in their order with sep between them, such as
// "8006-8100,8003-8003".
func (r Ranges) Join(sep string) string {
	var b strings.Builder
	for i, p := range r {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(strconv.FormatUint(p.Begin, 10))
		b.WriteByte('-')
		b.WriteString(strconv.FormatUint(p.End, 10))
	}
	return b.String()
}
