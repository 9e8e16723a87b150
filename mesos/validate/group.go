package validate

import (
	"github.com/saki-run/saki/mesos"
	"github.com/saki-run/saki/mesos/resources"
)

// The least that the executor of a task group must have, in thousandths.
const (
	minCPUs = 10
	minMem  = 32_000
)

// TaskGroup says why all tasks of a LAUNCH_GROUP end at once in TASK_ERROR with
// REASON_TASK_GROUP_INVALID, their message being the text. A group that passes
// takes the resources that are returned. The master is to put e into tasks
// without an executor before. See Task.
func TaskGroup(e *mesos.ExecutorInfo, g *mesos.TaskGroupInfo, l Launch) (resources.Resources, error) {
	if len(g.GetTasks()) == 0 {
		return resources.Resources{}, refuse("Task group cannot be empty")
	}
	var tasks resources.Resources
	overlap := false
	ids := map[string]bool{}
	for _, t := range g.GetTasks() {
		id := t.GetTaskId().GetValue()
		own, err := grouped(t, l)
		if err == nil && ids[id] {
			err = refuse("Task has duplicate ID: %s", id)
		}
		if err != nil {
			return resources.Resources{}, refuse("Task '%s' is invalid: %s", id, err)
		}
		ids[id] = true
		overlap = overlap || tasks.Overlaps(own)
		tasks = tasks.Add(own)
	}
	theirs, err := groupExecutor(e, g, l)
	if err != nil {
		return resources.Resources{}, err
	}
	if err := mixed(tasks.Add(theirs)); err != nil {
		return resources.Resources{}, prefixed("Task group and executor mix revocable and non-revocable resources", err)
	}
	if overlap || tasks.Overlaps(theirs) {
		return resources.Resources{}, refuse("There are overlapping resources in the task group's task resources %s and/or executor resources %s", tasks, theirs)
	}
	total := tasks
	if l.executor(e.GetExecutorId().GetValue()) == nil {
		total = total.Add(theirs)
	}
	if !l.Available.Contains(total) {
		return resources.Resources{}, refuse("Total resources %s required by task group and its executor are more than available %s", total, l.Available)
	}
	return total, nil
}

// grouped checks one task of a group.
func grouped(t *mesos.TaskInfo, l Launch) (resources.Resources, error) {
	own, err := task(t, l)
	if err != nil {
		return own, err
	}
	probe := t.GetHealthCheck().GetType()
	switch {
	case t.Executor == nil:
		err = refuse("'TaskInfo.executor' must be set")
	case len(t.GetContainer().GetNetworkInfos()) > 0 && (probe == mesos.HealthCheck_HTTP || probe == mesos.HealthCheck_TCP):
		err = refuse("HTTP and TCP health checks are not supported for nested containers not joining parent's network")
	case t.Container != nil && t.Container.GetType() == mesos.ContainerInfo_DOCKER:
		err = refuse("Docker ContainerInfo is not supported on the task")
	case len(t.GetLimits()) > 0 && (t.GetContainer().GetLinuxInfo() == nil || t.GetContainer().GetLinuxInfo().GetShareCgroups()):
		err = refuse("Resource limits may only be set for tasks within a task group when the 'share_cgroups' field is set to 'false'.")
	}
	return own, err
}

// groupExecutor checks the executor of a group, and returns its resources.
func groupExecutor(e *mesos.ExecutorInfo, g *mesos.TaskGroupInfo, l Launch) (resources.Resources, error) {
	rs, err := joinable(e, l)
	if err != nil {
		return rs, err
	}
	id := e.GetExecutorId().GetValue()
	switch {
	case e.Type == nil:
		return rs, refuse("'ExecutorInfo.type' must be set")
	case e.GetType() != mesos.ExecutorInfo_DEFAULT && e.GetType() != mesos.ExecutorInfo_CUSTOM:
		return rs, refuse("Unknown executor type")
	case e.Container != nil && e.Container.GetType() == mesos.ContainerInfo_DOCKER:
		return rs, refuse("Docker ContainerInfo is not supported on the executor")
	}
	for _, t := range g.GetTasks() {
		if !SameExecutor(e, t.Executor) {
			return rs, refuse("The `ExecutorInfo` of task '%s' is different from executor '%s'", t.GetTaskId().GetValue(), id)
		}
	}
	const less = "Executor '%s' uses less %s (%s) than the minimum required (%s)"
	switch {
	case rs.Milli("cpus") < minCPUs:
		return rs, refuse(less, id, "CPUs", rs.Named("cpus"), "0.01")
	case rs.Milli("mem") < minMem:
		return rs, refuse(less, id, "memory", rs.Named("mem"), "32MB")
	case rs.Milli("disk") == 0:
		return rs, refuse("Executor '%s' uses no disk", id)
	}
	return rs, nil
}
