package mesos

// Terminal tells whether a task in state s has ended and gives its resources
// back. TASK_UNREACHABLE and TASK_UNKNOWN are not: the task may come back.
func (s TaskState) Terminal() bool {
	switch s {
	case TaskState_TASK_FINISHED, TaskState_TASK_FAILED, TaskState_TASK_KILLED, TaskState_TASK_ERROR,
		TaskState_TASK_LOST, TaskState_TASK_DROPPED, TaskState_TASK_GONE, TaskState_TASK_GONE_BY_OPERATOR:
		return true
	}
	return false
}

// For is the state to report in place of s to a framework that has the
// PARTITION_AWARE capability or lacks it: without it, the five states that
// came with it are all TASK_LOST.
func (s TaskState) For(partitionAware bool) TaskState {
	switch s {
	case TaskState_TASK_DROPPED, TaskState_TASK_UNREACHABLE, TaskState_TASK_GONE,
		TaskState_TASK_GONE_BY_OPERATOR, TaskState_TASK_UNKNOWN:
		if !partitionAware {
			return TaskState_TASK_LOST
		}
	}
	return s
}

// Terminal tells whether an operation in state s will not change any more.
func (s OperationState) Terminal() bool {
	switch s {
	case OperationState_OPERATION_FINISHED, OperationState_OPERATION_FAILED, OperationState_OPERATION_ERROR,
		OperationState_OPERATION_DROPPED, OperationState_OPERATION_GONE_BY_OPERATOR:
		return true
	}
	return false
}

// Can tells whether the framework announced capability c.
func (x *FrameworkInfo) Can(c FrameworkInfo_Capability_Type) bool {
	for _, have := range x.GetCapabilities() {
		if have.GetType() == c && c != FrameworkInfo_Capability_UNKNOWN {
			return true
		}
	}
	return false
}

// AllRoles lists the roles that the framework wants offers for: roles if it is
// MULTI_ROLE, else its one role, which is "*" when it names none.
func (x *FrameworkInfo) AllRoles() []string {
	if x.Can(FrameworkInfo_Capability_MULTI_ROLE) {
		return x.GetRoles()
	}
	if x.Role == nil {
		return []string{"*"}
	}
	return []string{x.GetRole()}
}
