// Package validate says which calls and tasks are refused, in the words that
// Mesos uses.
package validate

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/saki-run/saki/mesos"
	"github.com/saki-run/saki/mesos/agent"
	"github.com/saki-run/saki/mesos/codec"
	"github.com/saki-run/saki/mesos/executor"
	"github.com/saki-run/saki/mesos/master"
	"github.com/saki-run/saki/mesos/scheduler"
)

// refusal is an answer in the words of Mesos, which start with a capital.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// prefixed puts the name of the check before err, if there is one.
func prefixed(prefix string, err error) error {
	if err == nil {
		return nil
	}
	return refuse("%s: %s", prefix, err)
}

// Scheduler says what is wrong with a call to the scheduler API; its text is
// the body of the 400. A call of type UNKNOWN passes: it is for the caller to
// answer it with 501.
func Scheduler(c *scheduler.Call) error {
	return prefixed("Failed to validate scheduler::Call", schedulerCall(c))
}

func schedulerCall(c *scheduler.Call) error {
	if err := complete(c); err != nil {
		return err
	}
	if c.GetType() == scheduler.Call_SUBSCRIBE {
		if err := body(c); err != nil {
			return err
		}
		if c.GetFrameworkId().GetValue() != c.GetSubscribe().GetFrameworkInfo().GetId().GetValue() {
			return refuse("'framework_id' differs from 'subscribe.framework_info.id'")
		}
		return nil
	}
	if c.FrameworkId == nil {
		return refuse("Expecting 'framework_id' to be present")
	}
	if err := body(c, scheduler.Call_REVIVE.Number(), scheduler.Call_SUPPRESS.Number()); err != nil {
		return err
	}
	switch c.GetType() {
	case scheduler.Call_ACKNOWLEDGE:
		return uuid(c.GetAcknowledge().GetUuid())
	case scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS:
		if err := uuid(c.GetAcknowledgeOperationStatus().GetUuid()); err != nil {
			return err
		}
		if c.GetAcknowledgeOperationStatus().AgentId == nil {
			return refuse("Expecting 'agent_id' to be present")
		}
	case scheduler.Call_UPDATE_FRAMEWORK:
		if c.GetFrameworkId().GetValue() != c.GetUpdateFramework().GetFrameworkInfo().GetId().GetValue() {
			return refuse("'framework_id' differs from 'update_framework.framework_info.id'")
		}
	}
	return nil
}

// Executor says what is wrong with a call to the executor API; its text is the
// body of the 400. A call of type UNKNOWN passes, as with Scheduler.
func Executor(c *executor.Call) error {
	return prefixed("Failed to validate Executor::Call", executorCall(c))
}

func executorCall(c *executor.Call) error {
	if err := complete(c); err != nil {
		return err
	}
	if err := body(c); err != nil || c.GetType() != executor.Call_UPDATE {
		return err
	}
	status := c.GetUpdate().GetStatus()
	id, framework := c.GetExecutorId().GetValue(), c.GetFrameworkId().GetValue()
	switch {
	case status.Uuid == nil:
		return refuse("Expecting 'uuid' to be present")
	case uuid(status.GetUuid()) != nil:
		return uuid(status.GetUuid())
	case status.ExecutorId != nil && status.GetExecutorId().GetValue() != id:
		return refuse("ExecutorID in Call: %s does not match ExecutorID in TaskStatus: %s", id, status.GetExecutorId().GetValue())
	case status.GetSource() != mesos.TaskStatus_SOURCE_EXECUTOR:
		return refuse("Received Call from executor %s of framework %s with invalid source, expecting 'SOURCE_EXECUTOR'", id, framework)
	case status.GetState() == mesos.TaskState_TASK_STAGING:
		return refuse("Received TASK_STAGING from executor %s of framework %s which is not allowed", id, framework)
	}
	return nil
}

// Master says what is wrong with a call to the master's operator API; its text
// is the body of the 400. A call of type UNKNOWN passes, as with Scheduler.
func Master(c *master.Call) error {
	err := complete(c)
	if err == nil {
		err = body(c)
	}
	return prefixed("Failed to validate master::Call", err)
}

// Agent says what is wrong with a call to the agent's operator API; its text is
// the body of the 400. A call of type UNKNOWN passes, as with Scheduler.
func Agent(c *agent.Call) error {
	return prefixed("Failed to validate agent::Call", agentCall(c))
}

func agentCall(c *agent.Call) error {
	if err := complete(c); err != nil {
		return err
	}
	if err := body(c, agent.Call_GET_CONTAINERS.Number(), agent.Call_PRUNE_IMAGES.Number()); err != nil {
		return err
	}
	name := strings.ToLower(c.GetType().String())
	if in := c.AttachContainerInput; c.GetType() == agent.Call_ATTACH_CONTAINER_INPUT {
		switch {
		case !named(in.ProtoReflect(), "type"):
			return refuse("Expecting 'attach_container_input.type' to be present")
		case in.GetType() == agent.Call_AttachContainerInput_CONTAINER_ID && in.ContainerId == nil:
			return refuse("Expecting 'attach_container_input.container_id' to be present")
		case in.GetType() == agent.Call_AttachContainerInput_PROCESS_IO && in.ProcessIo == nil:
			return refuse("Expecting 'attach_container_input.process_io' to be present")
		case in.ContainerId == nil:
			return nil
		}
	}
	b, ok := call(c, name).(interface{ GetContainerId() *mesos.ContainerID })
	if !ok {
		return nil
	}
	if err := containerID(b.GetContainerId()); err != nil {
		return refuse("'%s.container_id' is invalid: %s", name, err)
	}
	if strings.Contains(name, "nested") && b.GetContainerId().Parent == nil {
		return refuse("Expecting '%s.container_id.parent' to be present", name)
	}
	return nil
}

// call is the body of c called name, or nil.
func call(c proto.Message, name string) any {
	m := c.ProtoReflect()
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	if fd == nil || !m.Has(fd) {
		return nil
	}
	return m.Get(fd).Message().Interface()
}

// complete checks the required fields of a call and that it has a type we
// know. A number that is no name counts as absent, as it does in Mesos.
func complete(c proto.Message) error {
	if missing := codec.Missing(c); len(missing) > 0 {
		return refuse("Not initialized: %s", strings.Join(missing, ", "))
	}
	if !named(c.ProtoReflect(), "type") {
		return refuse("Expecting 'type' to be present")
	}
	return nil
}

// named tells whether the enum called field is set to a value with a name.
func named(m protoreflect.Message, field protoreflect.Name) bool {
	fd := m.Descriptor().Fields().ByName(field)
	return m.Has(fd) && fd.Enum().Values().ByNumber(m.Get(fd).Enum()) != nil
}

// body checks that the field that belongs to the type of c is there: the one
// with its name in lower case. Some types have no field, and those in optional
// may leave it out.
func body(c proto.Message, optional ...protoreflect.EnumNumber) error {
	m := c.ProtoReflect()
	td := m.Descriptor().Fields().ByName("type")
	typ := m.Get(td).Enum()
	if slices.Contains(optional, typ) {
		return nil
	}
	name := strings.ToLower(string(td.Enum().Values().ByNumber(typ).Name()))
	if fd := m.Descriptor().Fields().ByName(protoreflect.Name(name)); fd != nil && !m.Has(fd) {
		return refuse("Expecting '%s' to be present", name)
	}
	return nil
}

func uuid(b []byte) error {
	if len(b) != 16 {
		return refuse("Not a valid UUID")
	}
	return nil
}
