package resources

import (
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/saki-run/saki/mesos"
)

// From counts rs, which may be in either reservation format. Amounts of
// nothing are left out. The errors are worded as Mesos words them. Nothing of
// rs is kept.
func From(rs []*mesos.Resource) (Resources, error) {
	if len(rs) > maxAmounts {
		return Resources{}, refuse("%d resources, at most %d", len(rs), maxAmounts)
	}
	var out Resources
	for _, r := range rs {
		it, err := newItem(r)
		if err != nil {
			return Resources{}, err
		}
		out.push(it)
	}
	return out, nil
}

// maxAmounts bounds one collection. Looking an amount up is linear.
const maxAmounts = 4096

func newItem(r *mesos.Resource) (item, error) {
	if err := Check(r); err != nil {
		return item{}, err
	}
	it := item{whole: takenWhole(r)}
	switch r.GetType() {
	case mesos.Value_SCALAR:
		it.milli, _ = Milli(r.GetScalar().GetValue())
	case mesos.Value_RANGES:
		for _, x := range r.GetRanges().GetRange() {
			it.ranges = append(it.ranges, Range{x.GetBegin(), x.GetEnd()})
		}
		it.ranges = NewRanges(it.ranges...)
	case mesos.Value_SET:
		it.set = slices.Clone(r.GetSet().GetItem())
	}
	s := proto.CloneOf(r)
	s.Scalar, s.Ranges, s.Set = nil, nil, nil
	Stack(s)
	it.shape, it.key = s, key(s)
	return it, nil
}

// takenWhole tells whether r is a volume or a device that cannot be divided.
func takenWhole(r *mesos.Resource) bool {
	switch {
	case r.GetDisk().GetPersistence() != nil, r.Shared != nil:
		return true
	case r.GetDisk().GetSource() == nil:
		return false
	}
	switch src := r.GetDisk().GetSource(); src.GetType() {
	case mesos.Resource_DiskInfo_Source_PATH:
		return false
	case mesos.Resource_DiskInfo_Source_RAW:
		return src.Id != nil
	}
	return true
}

func key(shape *mesos.Resource) string {
	b, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(shape)
	if err != nil {
		panic("resources: a resource does not encode: " + err.Error())
	}
	return string(b)
}

// maxMilli bounds one scalar, so that thousands of them add up without
// overflow.
const maxMilli = 1 << 52

// Milli rounds a scalar to thousandths. It is false for what is not a number,
// infinite, or beyond all use.
func Milli(value float64) (int64, bool) {
	m := math.Round(value * 1000)
	if math.IsNaN(m) || math.Abs(m) > maxMilli {
		return 0, false
	}
	return int64(m), true
}

// Float is the number of a scalar of so many thousandths.
func Float(milli int64) float64 { return float64(milli) / 1000 }

// Format is how reservations are written down.
type Format uint8

const (
	// RolePair writes role, and reservation where it is dynamic: for frameworks
	// without RESERVATION_REFINEMENT. What is reserved more than once over
	// cannot be written so and is written as a stack; see Resources.Refined.
	RolePair Format = iota
	// ReservationStack writes reservations, and nothing for what is free.
	ReservationStack
)

// Proto writes r down. Numbers and names keep their order.
func (r Resources) Proto(f Format) []*mesos.Resource {
	out := make([]*mesos.Resource, len(r.items))
	for i, it := range r.items {
		m := proto.CloneOf(it.shape)
		switch m.GetType() {
		case mesos.Value_SCALAR:
			m.Scalar = &mesos.Value_Scalar{Value: new(Float(it.milli))}
		case mesos.Value_RANGES:
			m.Ranges = &mesos.Value_Ranges{}
			for _, p := range it.ranges {
				m.Ranges.Range = append(m.Ranges.Range, &mesos.Value_Range{Begin: new(p.Begin), End: new(p.End)})
			}
		case mesos.Value_SET:
			m.Set = &mesos.Value_Set{Item: slices.Clone(it.set)}
		}
		if f == RolePair {
			Unstack(m)
		}
		out[i] = m
	}
	return out
}

// Stack writes the reservation of r as a stack, in place.
func Stack(r *mesos.Resource) {
	if len(r.Reservations) == 0 && Role(r) != "*" {
		info := &mesos.Resource_ReservationInfo{}
		kind := mesos.Resource_ReservationInfo_STATIC
		if r.Reservation != nil {
			info = r.Reservation
			kind = mesos.Resource_ReservationInfo_DYNAMIC
		}
		info.Role, info.Type = r.Role, &kind
		r.Reservations = []*mesos.Resource_ReservationInfo{info}
	}
	r.Role, r.Reservation = nil, nil
}

// Unstack writes the reservation of r as role and reservation, in place, if it
// is not reserved more than once over.
func Unstack(r *mesos.Resource) {
	switch len(r.Reservations) {
	case 0:
		if r.Role == nil {
			r.Role = new("*")
		}
	case 1:
		info := r.Reservations[0]
		r.Role, r.Reservations = info.Role, nil
		if info.GetType() == mesos.Resource_ReservationInfo_DYNAMIC {
			info.Role, info.Type = nil, nil
			r.Reservation = info
		}
	}
}
