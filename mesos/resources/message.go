package resources

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/saki-run/saki/mesos"
)

// Each calls f with every T inside m, and with m itself if it is one: every
// *mesos.Resource of an operation, say. f may change what it is given.
func Each[T proto.Message](m proto.Message, f func(T)) {
	if m != nil {
		each(m.ProtoReflect(), f)
	}
}

func each[T proto.Message](m protoreflect.Message, f func(T)) {
	if t, ok := m.Interface().(T); ok {
		f(t)
	}
	for fd, v := range m.Range {
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				for _, e := range v.Map().Range {
					each(e.Message(), f)
				}
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				each(v.List().Get(i).Message(), f)
			}
		default:
			each(v.Message(), f)
		}
	}
}

// Inject allocates every resource in m that is allocated to nobody to role, in
// place. The master does so with the operations of an ACCEPT, whose sender may
// know nothing of allocation.
func Inject(m proto.Message, role string) {
	Each(m, func(r *mesos.Resource) {
		if r.GetAllocationInfo().GetRole() == "" {
			r.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &role}
		}
	})
}

// Shape writes every resource and offer in m as the framework wants it, in
// place: allocations only if it is MULTI_ROLE, reservations as a stack only if
// it has RESERVATION_REFINEMENT.
func Shape(m proto.Message, to *mesos.FrameworkInfo) {
	multi := to.Can(mesos.FrameworkInfo_Capability_MULTI_ROLE)
	stack := to.Can(mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT)
	if !multi {
		Each(m, func(o *mesos.Offer) { o.AllocationInfo = nil })
	}
	Each(m, func(r *mesos.Resource) {
		if !multi {
			r.AllocationInfo = nil
		}
		if stack {
			Stack(r)
		} else {
			Unstack(r)
		}
	})
}
