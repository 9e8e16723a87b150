package validate

import (
	"math"
	"slices"

	"github.com/saki-run/saki/mesos"
	"github.com/saki-run/saki/mesos/resources"
)

// Launch is where a task is to run and what is there already.
type Launch struct {
	Framework string // Its id.
	Agent     string // Its id.

	// Available is what the accepted offers hold and earlier tasks left,
	// allocated to the role of the offers.
	Available resources.Resources

	// Executor returns the executor of the framework that has the id and runs on
	// the agent, or is about to for an earlier task; nil if there is none.
	Executor func(id string) *mesos.ExecutorInfo

	// TaskExists tells whether the framework has a task with the id that has not
	// ended. Nil means that it has none.
	TaskExists func(id string) bool
}

func (l Launch) executor(id string) *mesos.ExecutorInfo {
	if l.Executor == nil {
		return nil
	}
	return l.Executor(id)
}

// Task says why a task of a LAUNCH ends at once in TASK_ERROR with
// REASON_TASK_INVALID, its message being the text. A task that passes takes the
// resources that are returned: its own, and those of its executor if that is
// new. Resources must have been allocated to the role of the offers before; see
// resources.Inject.
func Task(t *mesos.TaskInfo, l Launch) (resources.Resources, error) {
	own, err := task(t, l)
	if err != nil {
		return resources.Resources{}, err
	}
	if (t.Executor != nil) == (t.Command != nil) {
		return resources.Resources{}, refuse("Task should have at least one (but not both) of CommandInfo or ExecutorInfo present")
	}
	total := own
	if e := t.Executor; e != nil {
		theirs, err := joinable(e, l)
		switch {
		case err != nil:
			return resources.Resources{}, err
		case e.Type != nil && e.GetType() != mesos.ExecutorInfo_CUSTOM:
			return resources.Resources{}, refuse("'ExecutorInfo.type' must be 'CUSTOM'")
		case e.Command == nil:
			return resources.Resources{}, refuse("'ExecutorInfo.command' must be set")
		case !theirs.Shared().Empty():
			return resources.Resources{}, refuse("Executor resources %s should not contain any shared resources", theirs)
		case own.Overlaps(theirs):
			return resources.Resources{}, refuse("There are overlapping resources in the task resources %s and executor resources %s", own, theirs)
		}
		if err := mixed(own.Add(theirs)); err != nil {
			return resources.Resources{}, prefixed("Task and its executor mix revocable and non-revocable resources", err)
		}
		if l.executor(e.GetExecutorId().GetValue()) == nil {
			total = total.Add(theirs)
		}
	}
	if !l.Available.Contains(total) {
		return resources.Resources{}, refuse("Total resources %s required by task and its executor is more than available %s", total, l.Available)
	}
	if info := t.GetContainer().GetLinuxInfo(); info != nil && info.ShareCgroups != nil && !info.GetShareCgroups() {
		return resources.Resources{}, refuse("Only tasks in a task group may have 'share_cgroups' set to 'false'")
	}
	return total, nil
}

// task checks what LAUNCH and LAUNCH_GROUP have in common, and returns the
// resources of the task itself.
func task(t *mesos.TaskInfo, l Launch) (resources.Resources, error) {
	id := t.GetTaskId().GetValue()
	if err := ID(id); err != nil {
		return resources.Resources{}, err
	}
	if l.TaskExists != nil && l.TaskExists(id) {
		return resources.Resources{}, refuse("Task has duplicate ID: %s", id)
	}
	if err := simple(t, l); err != nil {
		return resources.Resources{}, err
	}
	if len(t.GetResources()) == 0 {
		return resources.Resources{}, refuse("Task uses no resources")
	}
	rs, err := resources.From(t.GetResources())
	if err != nil {
		return resources.Resources{}, prefixed("Task uses invalid resources: Invalid resources", err)
	}
	if err := oneRole(rs); err != nil {
		return resources.Resources{}, prefixed("Invalid task resources", err)
	}
	if err := mixed(rs); err != nil {
		return resources.Resources{}, prefixed("Task mixes revocable and non-revocable resources", err)
	}
	return rs, limits(t, rs)
}

// simple checks the fields that do not depend on each other.
func simple(t *mesos.TaskInfo, l Launch) error {
	switch {
	case t.GetAgentId().GetValue() != l.Agent:
		return refuse("Task uses invalid agent %s while agent %s is expected", t.GetAgentId().GetValue(), l.Agent)
	case t.GetKillPolicy().GetGracePeriod().GetNanoseconds() < 0:
		return refuse("Task's 'kill_policy.grace_period' must be non-negative")
	case t.GetMaxCompletionTime().GetNanoseconds() < 0:
		return refuse("Task's `max_completion_time` must be non-negative")
	}
	if t.Check != nil {
		if err := check(t.Check); err != nil {
			return prefixed("Task uses invalid check", err)
		}
	}
	if t.HealthCheck != nil {
		if err := healthCheck(t.HealthCheck); err != nil {
			return prefixed("Task uses invalid health check", err)
		}
	}
	if err := command(t.Command); err != nil {
		return prefixed("Task's `CommandInfo` is invalid", err)
	}
	return prefixed("Task's `ContainerInfo` is invalid", container(t.Container))
}

// joinable checks an executor and that one with its id which runs already is
// the same, and returns the resources of the executor.
func joinable(e *mesos.ExecutorInfo, l Launch) (resources.Resources, error) {
	if err := executorInfo(e); err != nil {
		return resources.Resources{}, err
	}
	if f := e.FrameworkId; f != nil && f.GetValue() != l.Framework {
		return resources.Resources{}, refuse("ExecutorInfo has an invalid FrameworkID (Actual: %s vs Expected: %s)", f.GetValue(), l.Framework)
	}
	rs, err := resources.From(e.GetResources())
	if err != nil {
		return resources.Resources{}, prefixed("Executor uses invalid resources: Invalid resources", err)
	}
	if err := oneRole(rs); err != nil {
		return resources.Resources{}, prefixed("Invalid executor resources", err)
	}
	if err := mixed(rs); err != nil {
		return resources.Resources{}, prefixed("Executor mixes revocable and non-revocable resources", err)
	}
	if have := l.executor(e.GetExecutorId().GetValue()); have != nil && !SameExecutor(have, e) {
		return resources.Resources{}, refuse("ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\nExisting ExecutorInfo: %s\nExecutorInfo: %s", have, e)
	}
	return rs, nil
}

func oneRole(rs resources.Resources) error {
	roles := rs.AllocatedRoles()
	if slices.Contains(roles, "") {
		return refuse("The resources are not allocated to a role")
	}
	if len(roles) > 1 {
		return refuse("The resources have multiple allocation roles ('%s' and '%s') but only one allocation role is allowed", roles[1], roles[0])
	}
	return nil
}

func mixed(rs resources.Resources) error {
	revocable := rs.Revocable()
	for _, name := range revocable.Names() {
		if !rs.Named(name).Equal(revocable.Named(name)) {
			return refuse("Cannot use both revocable and non-revocable '%s' at the same time", name)
		}
	}
	return nil
}

// limits checks that limits are on cpus and mem only and no lower than what
// the task asks for. A limit may be infinite.
func limits(t *mesos.TaskInfo, rs resources.Resources) error {
	for name := range t.GetLimits() {
		if name != "cpus" && name != "mem" {
			return refuse("Only cpus and mem may be included in a task's resource limits")
		}
	}
	for _, kind := range []struct{ name, upper, word string }{{"cpus", "CPU", "cpu"}, {"mem", "memory", "memory"}} {
		limit, ok := t.GetLimits()[kind.name]
		if !ok {
			continue
		}
		asked := rs.Milli(kind.name)
		if asked == 0 {
			return refuse("When a %s limit is specified, a %s request must also be specified", kind.upper, kind.upper)
		}
		v := limit.GetValue()
		if milli, ok := resources.Milli(v); !math.IsInf(v, 1) && (!ok || milli < asked) {
			return refuse("The %s limit must be greater than or equal to the %s request", kind.word, kind.word)
		}
	}
	return nil
}
