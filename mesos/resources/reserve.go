package resources

import (
	"google.golang.org/protobuf/proto"

	"github.com/saki-run/saki/mesos"
)

// Role is what the resource is reserved for: the role on top of the stack, or
// "*". Either reservation format will do.
func Role(r *mesos.Resource) string {
	if n := len(r.GetReservations()); n > 0 {
		return r.GetReservations()[n-1].GetRole()
	}
	if r.Role != nil {
		return r.GetRole()
	}
	return "*"
}

// Unreserved is what of r anybody may use.
func (r Resources) Unreserved() Resources {
	return r.Filter(func(s *mesos.Resource) bool { return Role(s) == "*" })
}

// Reserved is what of r is reserved for role itself.
func (r Resources) Reserved(role string) Resources {
	return r.Filter(func(s *mesos.Resource) bool { return role != "*" && Role(s) == role })
}

// Static is what of r is not reserved or was reserved when the agent started.
func (r Resources) Static() Resources {
	return r.Filter(func(s *mesos.Resource) bool {
		n := len(s.GetReservations())
		return n == 0 || s.GetReservations()[n-1].GetType() == mesos.Resource_ReservationInfo_STATIC
	})
}

// For is what of r may be allocated to role: what is not reserved, and what is
// reserved for it or for a role that it is within.
func (r Resources) For(role string) Resources {
	return r.Filter(func(s *mesos.Resource) bool {
		top := Role(s)
		return top == "*" || mesos.Within(role, top)
	})
}

// Revocable is what of r may be taken away at any time.
func (r Resources) Revocable() Resources {
	return r.Filter(func(s *mesos.Resource) bool { return s.Revocable != nil })
}

// Shared is what of r several tasks may use at once.
func (r Resources) Shared() Resources {
	return r.Filter(func(s *mesos.Resource) bool { return s.Shared != nil })
}

// Refined tells whether something in r is reserved more than once over, which
// only frameworks with RESERVATION_REFINEMENT can be offered.
func (r Resources) Refined() bool {
	return !r.Filter(func(s *mesos.Resource) bool { return len(s.GetReservations()) > 1 }).Empty()
}

// Reserve is r with one more reservation on top of each amount.
func (r Resources) Reserve(info *mesos.Resource_ReservationInfo) Resources {
	return r.change(func(s *mesos.Resource) {
		s.Reservations = append(s.Reservations, proto.CloneOf(info))
	})
}

// Unreserve is r without the topmost reservation of each amount.
func (r Resources) Unreserve() Resources {
	return r.change(func(s *mesos.Resource) {
		if n := len(s.Reservations); n > 0 {
			s.Reservations = s.Reservations[:n-1]
		}
	})
}

// Allocate is r as it stands in an offer to role.
func (r Resources) Allocate(role string) Resources {
	return r.change(func(s *mesos.Resource) {
		s.AllocationInfo = &mesos.Resource_AllocationInfo{Role: &role}
	})
}

// Unallocate is r as it stands on the agent, given to nobody.
func (r Resources) Unallocate() Resources {
	return r.change(func(s *mesos.Resource) { s.AllocationInfo = nil })
}

// Allocated is what of r is allocated to role.
func (r Resources) Allocated(role string) Resources {
	return r.Filter(func(s *mesos.Resource) bool {
		return s.AllocationInfo != nil && s.AllocationInfo.GetRole() == role
	})
}

// AllocatedRoles lists the roles that r is allocated to, in the order of their
// first amount. What is allocated to nobody counts as "".
func (r Resources) AllocatedRoles() []string {
	var roles []string
	seen := map[string]bool{}
	for _, it := range r.items {
		role := it.shape.GetAllocationInfo().GetRole()
		if !seen[role] {
			seen[role] = true
			roles = append(roles, role)
		}
	}
	return roles
}
