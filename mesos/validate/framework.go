package validate

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/saki-run/saki/mesos"
	"github.com/saki-run/saki/mesos/scheduler"
)

// Framework says why a framework may not subscribe. The answer is no 400 but
// an ERROR event with this text, after which the stream ends.
func Framework(f *mesos.FrameworkInfo) error {
	multi := f.Can(mesos.FrameworkInfo_Capability_MULTI_ROLE)
	if multi {
		if f.Role != nil {
			return refuse("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable")
		}
	} else if len(f.GetRoles()) > 0 {
		return refuse("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable")
	}
	seen, twice := map[string]bool{}, map[string]bool{}
	for _, role := range f.AllRoles() {
		if seen[role] {
			twice[role] = true
		}
		seen[role] = true
	}
	if len(twice) > 0 {
		return refuse("'FrameworkInfo.roles' contains duplicate items: %s", set(twice))
	}
	for _, role := range f.AllRoles() {
		err := mesos.CheckRole(role)
		switch {
		case err != nil && multi:
			return refuse("'FrameworkInfo.roles' contains invalid role: %s", err)
		case err != nil:
			return refuse("'FrameworkInfo.role' is not a valid role: %s", err)
		}
	}
	if id := f.GetId().GetValue(); id != "" {
		if err := ID(id); err != nil {
			return err
		}
	}
	// A time that nanoseconds cannot hold is none.
	if t := f.GetFailoverTimeout(); !(math.Abs(t)*1e9 < math.MaxInt64) {
		return refuse("The framework failover_timeout (%v) is invalid", t)
	}
	return nil
}

// set prints names as Mesos prints a set.
func set(names map[string]bool) string {
	return "{ " + strings.Join(slices.Sorted(maps.Keys(names)), ", ") + " }"
}

// Principal says why a framework that authenticated as principal may not
// SUBSCRIBE with c, which names another one; its text is the body of the 400.
func Principal(c *scheduler.Call, principal string) error {
	f := c.GetSubscribe().GetFrameworkInfo()
	if f == nil || f.Principal == nil || f.GetPrincipal() == principal {
		return nil
	}
	return refuse("Failed to validate scheduler::Call: Authenticated principal '%s' does not match principal '%s' set in `FrameworkInfo`", principal, f.GetPrincipal())
}

// Suppressed says what is wrong with the suppressed roles of a SUBSCRIBE or an
// UPDATE_FRAMEWORK: they must be among the roles of the framework.
func Suppressed(f *mesos.FrameworkInfo, suppressed []string) error {
	wrong := map[string]bool{}
	for _, role := range suppressed {
		if !slices.Contains(f.AllRoles(), role) {
			wrong[role] = true
		}
	}
	if len(wrong) > 0 {
		return refuse("Suppressed roles %s are not contained in the set of roles", set(wrong))
	}
	return nil
}

// Constrained says what is wrong with the roles that offer constraints are
// for: they must be among the roles of the framework.
func Constrained(f *mesos.FrameworkInfo, c *scheduler.OfferConstraints) error {
	for _, role := range slices.Sorted(maps.Keys(c.GetRoleConstraints())) {
		if !slices.Contains(f.AllRoles(), role) {
			return refuse("Offer constraints specify `role_constraints` for a role '%s' not contained in the set of roles", role)
		}
	}
	return nil
}

// FrameworkUpdate says why a framework that subscribed as old may not become
// next by UPDATE_FRAMEWORK: its principal, user and checkpointing are settled
// for ever. The principal of another framework is not told.
func FrameworkUpdate(old, next *mesos.FrameworkInfo) error {
	const text = "Updating 'FrameworkInfo.%s' is unsupported; attempted to update from '%v' to '%v'"
	switch {
	case (old.Principal == nil) != (next.Principal == nil), old.GetPrincipal() != next.GetPrincipal():
		return refuse("Changing framework's principal is not allowed.")
	case old.GetUser() != next.GetUser():
		return refuse(text, "user", old.GetUser(), next.GetUser())
	case old.GetCheckpoint() != next.GetCheckpoint():
		return refuse(text, "checkpoint", old.GetCheckpoint(), next.GetCheckpoint())
	}
	return Framework(next)
}

// Settle gives next, with which a framework subscribes again, the user and the
// checkpointing of old, in place: a new SUBSCRIBE cannot change them, and is
// not refused for trying. The principal is for FrameworkUpdate to check.
func Settle(old, next *mesos.FrameworkInfo) {
	next.User, next.Checkpoint = old.User, old.Checkpoint
}
