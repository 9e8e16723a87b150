package mesos

import (
	"slices"
	"testing"
)

func TestTaskStates(t *testing.T) {
	lost := TaskState_TASK_LOST
	for _, tc := range []struct {
		state    TaskState
		terminal bool
		unaware  TaskState
	}{
		{TaskState_TASK_STAGING, false, TaskState_TASK_STAGING},
		{TaskState_TASK_STARTING, false, TaskState_TASK_STARTING},
		{TaskState_TASK_RUNNING, false, TaskState_TASK_RUNNING},
		{TaskState_TASK_KILLING, false, TaskState_TASK_KILLING},
		{TaskState_TASK_FINISHED, true, TaskState_TASK_FINISHED},
		{TaskState_TASK_FAILED, true, TaskState_TASK_FAILED},
		{TaskState_TASK_KILLED, true, TaskState_TASK_KILLED},
		{TaskState_TASK_ERROR, true, TaskState_TASK_ERROR},
		{TaskState_TASK_LOST, true, lost},
		{TaskState_TASK_DROPPED, true, lost},
		{TaskState_TASK_UNREACHABLE, false, lost},
		{TaskState_TASK_GONE, true, lost},
		{TaskState_TASK_GONE_BY_OPERATOR, true, lost},
		{TaskState_TASK_UNKNOWN, false, lost},
	} {
		if got := tc.state.Terminal(); got != tc.terminal {
			t.Errorf("%v: terminal is %v, want %v", tc.state, got, tc.terminal)
		}
		if got := tc.state.For(false); got != tc.unaware {
			t.Errorf("%v: unaware frameworks get %v, want %v", tc.state, got, tc.unaware)
		}
		if got := tc.state.For(true); got != tc.state {
			t.Errorf("%v: aware frameworks get %v", tc.state, got)
		}
	}
	if n := len(TaskState_name); n != 14 {
		t.Errorf("%d states exist, the table covers 14", n)
	}
}

func TestOperationStates(t *testing.T) {
	var got []string
	for n := range int32(len(OperationState_name)) {
		if s := OperationState(n); s.Terminal() {
			got = append(got, s.String())
		}
	}
	want := []string{"OPERATION_FINISHED", "OPERATION_FAILED", "OPERATION_ERROR", "OPERATION_DROPPED", "OPERATION_GONE_BY_OPERATOR"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRolesOfAFramework(t *testing.T) {
	multi := []*FrameworkInfo_Capability{{}, {Type: FrameworkInfo_Capability_MULTI_ROLE.Enum()}}
	for _, tc := range []struct {
		name string
		in   *FrameworkInfo
		want []string
	}{
		{"none", &FrameworkInfo{}, []string{"*"}},
		{"one", &FrameworkInfo{Role: new("eng")}, []string{"eng"}},
		{"several", &FrameworkInfo{Capabilities: multi, Roles: []string{"a", "b"}}, []string{"a", "b"}},
		{"several, none named", &FrameworkInfo{Capabilities: multi}, nil},
		{"roles without the capability", &FrameworkInfo{Roles: []string{"a"}}, []string{"*"}},
	} {
		if got := tc.in.AllRoles(); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
	if (&FrameworkInfo{Capabilities: multi}).Can(FrameworkInfo_Capability_UNKNOWN) {
		t.Error("nobody can do the unknown")
	}
}

func TestCheckRole(t *testing.T) {
	for _, role := range []string{"*", "eng", "eng/web", "a-b", "ä"} {
		if err := CheckRole(role); err != nil {
			t.Errorf("%q: %v", role, err)
		}
	}
	for _, role := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/..", "-a", "a/-b", "a b", "a\n", "a/*", "a\x00"} {
		if CheckRole(role) == nil {
			t.Errorf("%q was taken", role)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, tc := range []struct {
		role, top string
		want      bool
	}{{"eng", "eng", true}, {"eng/web", "eng", true}, {"engine", "eng", false}, {"eng", "eng/web", false}, {"eng", "*", false}} {
		if got := Within(tc.role, tc.top); got != tc.want {
			t.Errorf("Within(%q, %q) = %v", tc.role, tc.top, got)
		}
	}
}
