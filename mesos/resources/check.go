package resources

import (
	"fmt"
	"slices"
	"strings"

	"github.com/saki-run/saki/mesos"
)

// Check says what is wrong with r, in the words of Mesos.
func Check(r *mesos.Resource) error {
	if r.GetName() == "" {
		return refuse("Empty resource name")
	}
	why := checkValue(r)
	if why == "" {
		why = checkReservations(r)
	}
	switch {
	case why != "":
	case r.Disk != nil && r.GetName() != "disk":
		why = "DiskInfo should not be set for " + r.GetName() + " resource"
	case r.Shared != nil && r.GetDisk().GetPersistence() == nil:
		why = "Only persistent volumes can be shared"
	default:
		return nil
	}
	return refuse("Resource '%s' is invalid: %s", r.GetName(), why)
}

// refusal is an answer in the words of Mesos, which start with a capital.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

func checkValue(r *mesos.Resource) string {
	switch r.GetType() {
	case mesos.Value_SCALAR:
		if r.Scalar == nil || r.Ranges != nil || r.Set != nil {
			return "Invalid scalar resource"
		}
		if m, ok := Milli(r.Scalar.GetValue()); !ok {
			return "Invalid scalar resource: value is not finite or too large"
		} else if m < 0 {
			return "Invalid scalar resource: value < 0"
		}
	case mesos.Value_RANGES:
		if r.Scalar != nil || r.Ranges == nil || r.Set != nil {
			return "Invalid ranges resource"
		}
		for _, x := range r.Ranges.GetRange() {
			if x.GetBegin() > x.GetEnd() {
				return "Invalid ranges resource: begin > end"
			}
		}
	case mesos.Value_SET:
		if r.Scalar != nil || r.Ranges != nil || r.Set == nil {
			return "Invalid set resource"
		}
		items := slices.Sorted(slices.Values(r.Set.GetItem()))
		if len(slices.Compact(items)) != len(r.Set.GetItem()) {
			return "Invalid set resource: duplicated elements"
		}
	default:
		return "Unsupported resource type"
	}
	return ""
}

func checkReservations(r *mesos.Resource) string {
	if len(r.Reservations) == 0 {
		switch {
		case r.Role != nil && mesos.CheckRole(r.GetRole()) != nil:
			return "Invalid reservation: " + mesos.CheckRole(r.GetRole()).Error()
		case r.Reservation == nil:
			return ""
		case Role(r) == "*":
			return "Invalid reservation: role \"*\" cannot be dynamically reserved"
		case r.Reservation.Type != nil:
			return "'Resource.ReservationInfo.type' must not be set for the 'Resource.reservation' field"
		case r.Reservation.Role != nil:
			return "'Resource.ReservationInfo.role' must not be set for the 'Resource.reservation' field"
		}
		return ""
	}
	switch {
	case r.Role != nil:
		return "'Resource.role' must not be set if 'Resource.reservations' is set"
	case r.Reservation != nil:
		return "'Resource.reservation' must not be set if 'Resource.reservations' is set"
	}
	for i, info := range r.Reservations {
		switch {
		case info.Role == nil:
			return "Invalid reservation: 'role' must be set"
		case info.GetRole() == "*":
			return "Invalid reservation: role \"*\" cannot be reserved"
		case mesos.CheckRole(info.GetRole()) != nil:
			return "Invalid reservation: " + mesos.CheckRole(info.GetRole()).Error()
		case info.GetType() != mesos.Resource_ReservationInfo_STATIC && info.GetType() != mesos.Resource_ReservationInfo_DYNAMIC:
			return "Invalid reservation: 'type' must be set"
		case i > 0 && info.GetType() == mesos.Resource_ReservationInfo_STATIC:
			return "Invalid refined reservation: a refined reservation cannot be STATIC"
		case i > 0 && !strings.HasPrefix(info.GetRole(), r.Reservations[i-1].GetRole()+"/"):
			return fmt.Sprintf("Invalid refined reservation: role '%s' is not refined by '%s'", r.Reservations[i-1].GetRole(), info.GetRole())
		}
	}
	return ""
}
