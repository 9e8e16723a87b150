package resources

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRangesKeepTheirOrder(t *testing.T) {
	ports := NewRanges(Range{8000, 8100}, Range{9000, 9010})
	for _, step := range []struct {
		name string
		do   func(Ranges) Ranges
		want string
	}{
		{"all there", func(r Ranges) Ranges { return r }, "8000-8100,9000-9010"},
		{"one from the middle", func(r Ranges) Ranges { return r.Sub(NewRanges(Range{8005, 8005})) }, "8000-8004,8006-8100,9000-9010"},
		{"the first ones", func(r Ranges) Ranges { return r.Sub(NewRanges(Range{8000, 8004})) }, "8006-8100,9000-9010"},
		{"one of them back", func(r Ranges) Ranges { return r.Add(NewRanges(Range{8003, 8003})) }, "8006-8100,9000-9010,8003-8003"},
		{"its neighbour back", func(r Ranges) Ranges { return r.Add(NewRanges(Range{8004, 8004})) }, "8006-8100,9000-9010,8003-8004"},
		{"the gap closes", func(r Ranges) Ranges { return r.Add(NewRanges(Range{8005, 8005})) }, "8003-8100,9000-9010"},
		{"a piece goes", func(r Ranges) Ranges { return r.Sub(NewRanges(Range{8003, 8100})) }, "9000-9010"},
		{"and comes back", func(r Ranges) Ranges { return r.Add(NewRanges(Range{8000, 8100})) }, "9000-9010,8000-8100"},
		{"nothing left", func(r Ranges) Ranges { return r.Sub(NewRanges(Range{0, math.MaxUint64})) }, ""},
	} {
		ports = step.do(ports)
		if got := ports.Join(","); got != step.want {
			t.Errorf("%s: got %s, want %s", step.name, got, step.want)
		}
	}
	if got, want := NewRanges(Range{8006, 8100}, Range{8003, 8003}).String(), "[8006-8100, 8003-8003]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRangesAtTheEndsOfUint64(t *testing.T) {
	all := Range{0, math.MaxUint64}
	if got := NewRanges(Range{0, 5}, Range{6, math.MaxUint64}); !slices.Equal(got, Ranges{all}) {
		t.Errorf("got %v", got)
	}
	if got := NewRanges(all, Range{3, math.MaxUint64}, Range{7, 7}); !slices.Equal(got, Ranges{all}) {
		t.Errorf("got %v", got)
	}
	if got := NewRanges(all).Count(); got != math.MaxUint64 {
		t.Errorf("count is %d", got)
	}
	if got := NewRanges(Range{0, 0}, Range{2, math.MaxUint64}).Count(); got != math.MaxUint64 {
		t.Errorf("count is %d", got)
	}
	got := NewRanges(all).Sub(NewRanges(Range{0, 0}, Range{math.MaxUint64, math.MaxUint64}, Range{5, 5}))
	if want := "1-4,6-18446744073709551614"; got.Join(",") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if got := NewRanges(Range{5, 4}); len(got) != 0 {
		t.Errorf("a piece that ends before it begins became %v", got)
	}
}

// bits is the slow and plain twin of Ranges.
type bits [64]bool

func (b *bits) set(r Ranges, v bool) {
	for _, p := range r {
		for n := p.Begin; n <= p.End; n++ {
			b[n] = v
		}
	}
}

func someRanges(r *rand.Rand) Ranges {
	var out []Range
	for range r.IntN(6) {
		begin := r.Uint64N(60)
		out = append(out, Range{begin, begin + r.Uint64N(4)})
	}
	return NewRanges(out...)
}

func TestRangesAreSets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		a, b := someRanges(r), someRanges(r)
		var sum, diff, ba, bb bits
		sum.set(a, true)
		sum.set(b, true)
		diff.set(a, true)
		diff.set(b, false)
		ba.set(a, true)
		bb.set(b, true)
		var gotSum, gotDiff bits
		gotSum.set(a.Add(b), true)
		gotDiff.set(a.Sub(b), true)
		if gotSum != sum || gotDiff != diff {
			t.Fatalf("%v and %v: sum %v, difference %v", a, b, a.Add(b), a.Sub(b))
		}
		var common, missing bool
		var count uint64
		for i := range ba {
			common = common || ba[i] && bb[i]
			missing = missing || bb[i] && !ba[i]
			if ba[i] {
				count++
			}
		}
		if a.Overlaps(b) != common || a.Contains(b) == missing || a.Count() != count || a.Equal(b) != (ba == bb) {
			t.Fatalf("%v and %v: overlap %v, contain %v, count %d, equal %v", a, b, a.Overlaps(b), a.Contains(b), a.Count(), a.Equal(b))
		}
		if !common && !a.Add(b).Sub(b).Equal(a) {
			t.Fatalf("(%v + %v) - %v = %v", a, b, b, a.Add(b).Sub(b))
		}
		for _, x := range []Ranges{a.Add(b), a.Sub(b)} {
			for i, p := range x.Sorted() {
				if p.Begin > p.End || i > 0 && x.Sorted()[i-1].End+1 >= p.Begin {
					t.Fatalf("%v has pieces that touch", x)
				}
			}
		}
	}
}

func TestManyRangesTakeLittleTime(t *testing.T) {
	var odd []Range
	for n := range uint64(20_000) {
		odd = append(odd, Range{4 * n, 4 * n})
	}
	r := NewRanges(odd...)
	if got := r.Add(r).Sub(r); len(got) != 0 {
		t.Errorf("%d pieces are left", len(got))
	}
}
