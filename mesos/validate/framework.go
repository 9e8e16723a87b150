package validate

import (
	"github.com/saki-run/saki/mesos"
)

// Framework says why a framework may not subscribe. The answer is no 400 but
// an ERROR event with this text, after which the stream ends.
func Framework(f *mesos.FrameworkInfo) error {
	if f.Can(mesos.FrameworkInfo_Capability_MULTI_ROLE) {
		if f.Role != nil {
			return refuse("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable")
		}
	} else if len(f.GetRoles()) > 0 {
		return refuse("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable")
	}
	seen := map[string]bool{}
	for _, role := range f.AllRoles() {
		if err := mesos.CheckRole(role); err != nil {
			return refuse("'FrameworkInfo.roles' contains an invalid role: %s", err)
		}
		if seen[role] {
			return refuse("'FrameworkInfo.roles' must not contain duplicate items: %s", role)
		}
		seen[role] = true
	}
	if t := f.GetFailoverTimeout(); !(t >= 0) {
		return refuse("The framework failover_timeout (%v) is invalid: it must not be negative", t)
	}
	if id := f.GetId().GetValue(); id != "" {
		return prefixed("'FrameworkInfo.id' is invalid", ID(id))
	}
	return nil
}

// Suppressed says what is wrong with the suppressed roles of a SUBSCRIBE or an
// UPDATE_FRAMEWORK: they must be among the roles of the framework.
func Suppressed(f *mesos.FrameworkInfo, suppressed []string) error {
	have := map[string]bool{}
	for _, role := range f.AllRoles() {
		have[role] = true
	}
	for _, role := range suppressed {
		if !have[role] {
			return refuse("Suppressed role '%s' is not contained in the list of roles", role)
		}
	}
	return nil
}

// FrameworkUpdate says why a framework that subscribed as old may not become
// next: its user, principal and checkpointing are settled for ever.
func FrameworkUpdate(old, next *mesos.FrameworkInfo) error {
	const text = "Updating 'FrameworkInfo.%s' is unsupported; attempted to update from '%v' to '%v'"
	switch {
	case old.GetPrincipal() != next.GetPrincipal():
		return refuse(text, "principal", old.GetPrincipal(), next.GetPrincipal())
	case old.GetUser() != next.GetUser():
		return refuse(text, "user", old.GetUser(), next.GetUser())
	case old.GetCheckpoint() != next.GetCheckpoint():
		return refuse(text, "checkpoint", old.GetCheckpoint(), next.GetCheckpoint())
	}
	return Framework(next)
}
