// Package resources counts what agents have and tasks take.
//
// Scalars are whole thousandths, so that sums are exact: Mesos keeps three
// decimals. Every amount knows what it is reserved, allocated and bound to, and
// only like amounts add up.
package resources

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/saki-run/saki/mesos"
)

// Resources is a collection of amounts, in the order in which they came. The
// zero value is empty. It is never changed once made, so it may be shared;
// methods return a new one.
type Resources struct{ items []item }

// item is one amount. Items with equal keys differ in amount only.
type item struct {
	key   string          // Everything but the amount, as text.
	shape *mesos.Resource // Everything but the amount, reservations as a stack. Never changed.
	whole bool            // A volume or a device: taken entirely or not at all.

	milli  int64
	ranges Ranges
	set    []string // Without duplicates.
}

func (it item) empty() bool {
	return it.milli == 0 && len(it.ranges) == 0 && len(it.set) == 0
}

func (it item) equal(o item) bool {
	return it.key == o.key && it.milli == o.milli && it.ranges.Equal(o.ranges) && sameSet(it.set, o.set)
}

func (it item) add(o item) item {
	it.milli += o.milli
	it.ranges = it.ranges.Add(o.ranges)
	it.set = append(slices.Clone(it.set), without(o.set, it.set)...)
	return it
}

func (it item) contains(o item) bool {
	return it.milli >= o.milli && it.ranges.Contains(o.ranges) && len(without(o.set, it.set)) == 0
}

func (it item) sub(o item) item {
	it.milli -= o.milli
	it.ranges = it.ranges.Sub(o.ranges)
	it.set = without(it.set, o.set)
	return it
}

// without is what of a is not in b, in the order of a.
func without(a, b []string) []string {
	in := make(map[string]bool, len(b))
	for _, s := range b {
		in[s] = true
	}
	var out []string
	for _, s := range a {
		if !in[s] {
			out = append(out, s)
		}
	}
	return out
}

func sameSet(a, b []string) bool { return len(a) == len(b) && len(without(a, b)) == 0 }

// find is the index of the item that takes or gives o: the one with its key,
// and for what is taken whole the one that equals it. It is -1 if there is none.
func (r Resources) find(o item) int {
	return slices.IndexFunc(r.items, func(it item) bool {
		return it.key == o.key && (!o.whole || it.equal(o))
	})
}

// Empty tells whether there is nothing in r.
func (r Resources) Empty() bool { return len(r.items) == 0 }

// Add is r and o together. Numbers and names that both hold are held once.
func (r Resources) Add(o Resources) Resources {
	out := Resources{slices.Clone(r.items)}
	for _, it := range o.items {
		out.push(it)
	}
	return out
}

// push adds it in place.
func (r *Resources) push(it item) {
	if it.empty() {
		return
	}
	if i := r.find(it); i >= 0 && !it.whole {
		r.items[i] = r.items[i].add(it)
		return
	}
	r.items = append(r.items, it)
}

// Sub is r without o. It is false, and r unchanged, if r does not contain o.
func (r Resources) Sub(o Resources) (Resources, bool) {
	out := Resources{slices.Clone(r.items)}
	for _, it := range o.items {
		i := out.find(it)
		if i < 0 || !out.items[i].contains(it) {
			return r, false
		}
		if out.items[i] = out.items[i].sub(it); it.whole || out.items[i].empty() {
			out.items = slices.Delete(out.items, i, i+1)
		}
	}
	return out, true
}

// Contains tells whether o can be taken from r.
func (r Resources) Contains(o Resources) bool {
	_, ok := r.Sub(o)
	return ok
}

// Equal tells whether r and o hold the same, in whatever order.
func (r Resources) Equal(o Resources) bool {
	if len(r.items) != len(o.items) {
		return false
	}
	rest, ok := r.Sub(o)
	return ok && rest.Empty()
}

// Overlaps tells whether r and o hold a number or a name in common that they
// cannot both have, such as one port.
func (r Resources) Overlaps(o Resources) bool {
	for _, it := range o.items {
		i := r.find(it)
		if i < 0 || it.whole {
			continue
		}
		if r.items[i].ranges.Overlaps(it.ranges) || len(without(it.set, r.items[i].set)) < len(it.set) {
			return true
		}
	}
	return false
}

// Filter is what of r keep says yes to. It is shown everything but the amount,
// with reservations as a stack, and must not change it.
func (r Resources) Filter(keep func(*mesos.Resource) bool) Resources {
	var out Resources
	for _, it := range r.items {
		if keep(it.shape) {
			out.items = append(out.items, it)
		}
	}
	return out
}

// change is r with the description of each amount changed by f, which gets a
// copy. What becomes alike adds up.
func (r Resources) change(f func(*mesos.Resource)) Resources {
	var out Resources
	for _, it := range r.items {
		it.shape = proto.CloneOf(it.shape)
		f(it.shape)
		it.key = key(it.shape)
		out.push(it)
	}
	return out
}

// Names lists the kinds of resources in r, such as "cpus", sorted.
func (r Resources) Names() []string {
	var names []string
	for _, it := range r.items {
		names = append(names, it.shape.GetName())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Named is what of r has the name.
func (r Resources) Named(name string) Resources {
	return r.Filter(func(s *mesos.Resource) bool { return s.GetName() == name })
}

// Milli is how much of a scalar r holds in thousandths, whatever it is
// reserved for: 500 is half a CPU, 1000 one megabyte of "mem" or "disk".
func (r Resources) Milli(name string) int64 {
	var n int64
	for _, it := range r.items {
		if it.shape.GetName() == name {
			n += it.milli
		}
	}
	return n
}

// Ranges is the numbers that r holds under name, such as "ports", in their
// order.
func (r Resources) Ranges(name string) Ranges {
	var out Ranges
	for _, it := range r.items {
		if it.shape.GetName() == name {
			out = out.Add(it.ranges)
		}
	}
	return out
}

// Items is the names that r holds in the set called name, sorted.
func (r Resources) Items(name string) []string {
	var out []string
	for _, it := range r.items {
		if it.shape.GetName() == name {
			out = append(out, it.set...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Quantity is how much there is of one kind of resource.
type Quantity struct {
	Name  string
	Milli int64 // Thousandths; numbers and names count 1000 each.
}

// Quantities sums r up by name, sorted by it, without regard to reservations.
// It is what shares and quotas are reckoned in.
func (r Resources) Quantities() []Quantity {
	var out []Quantity
	for _, it := range r.items {
		n := it.milli + 1000*int64(min(it.ranges.Count(), maxCount)+uint64(len(it.set)))
		i, found := slices.BinarySearchFunc(out, it.shape.GetName(), func(q Quantity, name string) int { return cmp.Compare(q.Name, name) })
		if !found {
			out = slices.Insert(out, i, Quantity{Name: it.shape.GetName()})
		}
		out[i].Milli += n
	}
	return out
}

// maxCount keeps the count of a range of all uint64 within an int64 of
// thousandths.
const maxCount = 1 << 50
