package validate

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/saki-run/saki/mesos/agent"
	"github.com/saki-run/saki/mesos/codec"
	"github.com/saki-run/saki/mesos/executor"
	"github.com/saki-run/saki/mesos/master"
	"github.com/saki-run/saki/mesos/scheduler"
)

// read makes a message of JSON that may lack required fields.
func read[T proto.Message](t *testing.T, text string, m T) T {
	t.Helper()
	if err := codec.JSON.Unmarshal([]byte(text), m); err != nil && !strings.Contains(err.Error(), "Missing required") {
		t.Fatal(err)
	}
	return m
}

func match(t *testing.T, in string, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("%s\ngot  %s\nwant %s", in, got, want)
	}
}

func TestSchedulerCalls(t *testing.T) {
	const pre = "Failed to validate scheduler::Call: "
	const id = `"AAECAwQFBgcICQoLDA0ODw=="`
	for _, tc := range []struct{ in, want string }{
		{`{}`, pre + "Expecting 'type' to be present"},
		{`{"type":"NEW","framework_id":{"value":"F"}}`, pre + "Expecting 'type' to be present"},
		{`{"type":"UNKNOWN","framework_id":{"value":"F"}}`, ""},
		{`{"type":"KILL","kill":{}}`, pre + "Not initialized: kill.task_id"},
		{`{"type":"SUBSCRIBE"}`, pre + "Expecting 'subscribe' to be present"},
		{`{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}`, ""},
		{`{"type":"SUBSCRIBE","framework_id":{"value":""},"subscribe":{"framework_info":{"user":"u","name":"n"}}}`, ""},
		{`{"type":"SUBSCRIBE","framework_id":{"value":""},"subscribe":{"framework_info":{"user":"u","name":"n","id":{"value":""}}}}`, ""},
		{`{"type":"SUBSCRIBE","framework_id":{"value":"F"},"subscribe":{"framework_info":{"user":"u","name":"n","id":{"value":"F"}}}}`, ""},
		{`{"type":"SUBSCRIBE","framework_id":{"value":"F"},"subscribe":{"framework_info":{"user":"u","name":"n"}}}`, pre + "'framework_id' differs from 'subscribe.framework_info.id'"},
		{`{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","id":{"value":"F"}}}}`, pre + "'framework_id' differs from 'subscribe.framework_info.id'"},
		{`{"type":"TEARDOWN"}`, pre + "Expecting 'framework_id' to be present"},
		{`{"type":"TEARDOWN","framework_id":{"value":"F"}}`, ""},
		{`{"type":"REVIVE","framework_id":{"value":"F"}}`, ""},
		{`{"type":"SUPPRESS","framework_id":{"value":"F"}}`, ""},
		{`{"type":"DECLINE","framework_id":{"value":"F"},"decline":{}}`, ""},
		{`{"type":"ACKNOWLEDGE","framework_id":{"value":"F"},"acknowledge":{"agent_id":{"value":"A"},"task_id":{"value":"t"},"uuid":` + id + `}}`, ""},
		{`{"type":"ACKNOWLEDGE","framework_id":{"value":"F"},"acknowledge":{"agent_id":{"value":"A"},"task_id":{"value":"t"},"uuid":"AAEC"}}`, pre + "Not a valid UUID"},
		{`{"type":"ACKNOWLEDGE_OPERATION_STATUS","framework_id":{"value":"F"},"acknowledge_operation_status":{"operation_id":{"value":"o"},"uuid":""}}`, pre + "Not a valid UUID"},
		{`{"type":"ACKNOWLEDGE_OPERATION_STATUS","framework_id":{"value":"F"},"acknowledge_operation_status":{"operation_id":{"value":"o"},"uuid":` + id + `}}`, pre + "Expecting 'agent_id' to be present"},
		{`{"type":"ACKNOWLEDGE_OPERATION_STATUS","framework_id":{"value":"F"},"acknowledge_operation_status":{"operation_id":{"value":"o"},"agent_id":{"value":"A"},"uuid":` + id + `}}`, ""},
		{`{"type":"UPDATE_FRAMEWORK","framework_id":{"value":"F"},"update_framework":{"framework_info":{"user":"u","name":"n"}}}`, pre + "'framework_id' differs from 'update_framework.framework_info.id'"},
		{`{"type":"UPDATE_FRAMEWORK","framework_id":{"value":"F"},"update_framework":{"framework_info":{"user":"u","name":"n","id":{"value":"F"}}}}`, ""},
	} {
		match(t, tc.in, Scheduler(read(t, tc.in, new(scheduler.Call))), tc.want)
	}
	match(t, "type 99", Scheduler(&scheduler.Call{Type: scheduler.Call_Type(99).Enum()}), pre+"Expecting 'type' to be present")
}

func TestSchedulerCallsNeedTheirBody(t *testing.T) {
	for name := range strings.FieldsSeq("accept decline accept_inverse_offers decline_inverse_offers kill shutdown acknowledge acknowledge_operation_status reconcile reconcile_operations message request update_framework") {
		in := `{"framework_id":{"value":"F"},"type":"` + strings.ToUpper(name) + `"}`
		match(t, in, Scheduler(read(t, in, new(scheduler.Call))), "Failed to validate scheduler::Call: Expecting '"+name+"' to be present")
	}
}

func TestExecutorCalls(t *testing.T) {
	const pre = "Failed to validate Executor::Call: "
	update := func(status string) string {
		return `{"executor_id":{"value":"e"},"framework_id":{"value":"F"},"type":"UPDATE","update":{"status":{"task_id":{"value":"t"},` + status + `}}}`
	}
	const id = `,"uuid":"AAECAwQFBgcICQoLDA0ODw=="`
	const running = `"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR"`
	for _, tc := range []struct{ in, want string }{
		{`{}`, pre + "Not initialized: executor_id, framework_id"},
		{`{"executor_id":{"value":"e"},"framework_id":{"value":"F"}}`, pre + "Expecting 'type' to be present"},
		{`{"executor_id":{"value":"e"},"framework_id":{"value":"F"},"type":"SUBSCRIBE"}`, pre + "Expecting 'subscribe' to be present"},
		{`{"executor_id":{"value":"e"},"framework_id":{"value":"F"},"type":"SUBSCRIBE","subscribe":{}}`, ""},
		{`{"executor_id":{"value":"e"},"framework_id":{"value":"F"},"type":"MESSAGE"}`, pre + "Expecting 'message' to be present"},
		{`{"executor_id":{"value":"e"},"framework_id":{"value":"F"},"type":"UPDATE"}`, pre + "Expecting 'update' to be present"},
		{`{"executor_id":{"value":"e"},"framework_id":{"value":"F"},"type":"HEARTBEAT"}`, ""},
		{`{"executor_id":{"value":"e"},"framework_id":{"value":"F"},"type":"UNKNOWN"}`, ""},
		{update(running + id), ""},
		{update(running + id + `,"executor_id":{"value":"e"}`), ""},
		{update(running), pre + "Expecting 'uuid' to be present"},
		{update(running + `,"uuid":"AA=="`), pre + "Not a valid UUID"},
		{update(running + id + `,"executor_id":{"value":"x"}`), pre + "ExecutorID in Call: e does not match ExecutorID in TaskStatus: x"},
		{update(`"state":"TASK_RUNNING"` + id), pre + "Received Call from executor e of framework F with invalid source, expecting 'SOURCE_EXECUTOR'"},
		{update(`"state":"TASK_STAGING","source":"SOURCE_EXECUTOR"` + id), pre + "Received TASK_STAGING from executor e of framework F which is not allowed"},
	} {
		match(t, tc.in, Executor(read(t, tc.in, new(executor.Call))), tc.want)
	}
}

func TestMasterCalls(t *testing.T) {
	const pre = "Failed to validate master::Call: "
	for _, tc := range []struct{ in, want string }{
		{`{}`, pre + "Expecting 'type' to be present"},
		{`{"type":"GET_STATE"}`, ""},
		{`{"type":"SUBSCRIBE"}`, ""},
		{`{"type":"UNKNOWN"}`, ""},
		{`{"type":"READ_FILE","read_file":{"path":"/"}}`, pre + "Not initialized: read_file.offset"},
		{`{"type":"TEARDOWN","teardown":{"framework_id":{"value":"F"}}}`, ""},
	} {
		match(t, tc.in, Master(read(t, tc.in, new(master.Call))), tc.want)
	}
	bodies := 0
	fields := new(master.Call).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); fd.Message() != nil {
			in := `{"type":"` + strings.ToUpper(string(fd.Name())) + `"}`
			match(t, in, Master(read(t, in, new(master.Call))), pre+"Expecting '"+string(fd.Name())+"' to be present")
			bodies++
		}
	}
	if bodies != 22 {
		t.Errorf("%d calls of the master have a body, want 22", bodies)
	}
}

func TestEveryBodyHasAType(t *testing.T) {
	for _, m := range []proto.Message{new(scheduler.Call), new(executor.Call), new(master.Call), new(agent.Call)} {
		fields := m.ProtoReflect().Descriptor().Fields()
		types := fields.ByName("type").Enum().Values()
		for i := range fields.Len() {
			name := string(fields.Get(i).Name())
			if strings.HasSuffix(name, "_id") || name == "type" {
				continue
			}
			if types.ByName(protoreflect.Name(strings.ToUpper(name))) == nil {
				t.Errorf("%s: no type needs %s", m.ProtoReflect().Descriptor().FullName(), name)
			}
		}
	}
}

func TestAgentCalls(t *testing.T) {
	const pre = "Failed to validate agent::Call: "
	long := strings.Repeat("x", 130)
	for _, tc := range []struct{ in, want string }{
		{`{}`, pre + "Expecting 'type' to be present"},
		{`{"type":"GET_CONTAINERS"}`, ""},
		{`{"type":"PRUNE_IMAGES"}`, ""},
		{`{"type":"LIST_FILES"}`, pre + "Expecting 'list_files' to be present"},
		{`{"type":"WAIT_CONTAINER"}`, pre + "Expecting 'wait_container' to be present"},
		{`{"type":"WAIT_CONTAINER","wait_container":{"container_id":{"value":"c"}}}`, ""},
		{`{"type":"WAIT_CONTAINER","wait_container":{"container_id":{"value":""}}}`, pre + "'wait_container.container_id' is invalid: ID must not be empty"},
		{`{"type":"KILL_CONTAINER","kill_container":{"container_id":{"value":"a.b"}}}`, pre + "'kill_container.container_id' is invalid: 'a.b' contains invalid characters"},
		{`{"type":"KILL_CONTAINER","kill_container":{"container_id":{"value":"a","parent":{"value":"../b"}}}}`, pre + "'kill_container.container_id' is invalid: '../b' contains invalid characters"},
		{`{"type":"KILL_CONTAINER","kill_container":{"container_id":{"value":"` + long + `","parent":{"value":"` + long + `"}}}}`, pre + "'kill_container.container_id' is invalid: Container ID must not be greater than 242 characters"},
		{`{"type":"LAUNCH_NESTED_CONTAINER_SESSION","launch_nested_container_session":{"container_id":{"value":"c"}}}`, pre + "Expecting 'launch_nested_container_session.container_id.parent' to be present"},
		{`{"type":"LAUNCH_NESTED_CONTAINER_SESSION","launch_nested_container_session":{"container_id":{"value":"c","parent":{"value":"p"}}}}`, ""},
		{`{"type":"ATTACH_CONTAINER_INPUT"}`, pre + "Expecting 'attach_container_input' to be present"},
		{`{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{}}`, pre + "Expecting 'attach_container_input.type' to be present"},
		{`{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{"type":"CONTAINER_ID"}}`, pre + "Expecting 'attach_container_input.container_id' to be present"},
		{`{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{"type":"CONTAINER_ID","container_id":{"value":"/"}}}`, pre + "'attach_container_input.container_id' is invalid: '/' contains invalid characters"},
		{`{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{"type":"PROCESS_IO"}}`, pre + "Expecting 'attach_container_input.process_io' to be present"},
		{`{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{"type":"PROCESS_IO","process_io":{"type":"DATA"}}}`, ""},
	} {
		match(t, tc.in, Agent(read(t, tc.in, new(agent.Call))), tc.want)
	}
}

func TestID(t *testing.T) {
	for _, id := range []string{"1", "a-b_c.d", "...", "naïve task", strings.Repeat("x", 255)} {
		if err := ID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for id, want := range map[string]string{
		"":                       "ID must not be empty",
		".":                      "'.' is disallowed",
		"..":                     "'..' is disallowed",
		"a/b":                    "'a/b' contains invalid characters",
		`a\b`:                    `'a\b' contains invalid characters`,
		"a\nb":                   "'a\nb' contains invalid characters",
		"a\x7f":                  "'a\x7f' contains invalid characters",
		strings.Repeat("x", 256): "ID must not be greater than 255 characters",
	} {
		match(t, id, ID(id), want)
	}
}
