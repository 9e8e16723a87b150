package validate

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/saki-run/saki/mesos"
	"github.com/saki-run/saki/mesos/resources"
)

func amounts(t *testing.T, text string) resources.Resources {
	t.Helper()
	r, err := resources.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r.Allocate("*")
}

func protos(t *testing.T, text string) []*mesos.Resource {
	return amounts(t, text).Proto(resources.RolePair)
}

func customExecutor(t *testing.T) *mesos.ExecutorInfo {
	return &mesos.ExecutorInfo{
		Type:       mesos.ExecutorInfo_CUSTOM.Enum(),
		ExecutorId: &mesos.ExecutorID{Value: new("default")},
		Command:    &mesos.CommandInfo{Value: new("./run")},
		Resources:  protos(t, "cpus:0.1;mem:32"),
	}
}

func commandTask(t *testing.T) *mesos.TaskInfo {
	return &mesos.TaskInfo{
		Name:      new("t"),
		TaskId:    &mesos.TaskID{Value: new("1")},
		AgentId:   &mesos.AgentID{Value: new("A")},
		Resources: protos(t, "cpus:1;mem:64"),
		Command:   &mesos.CommandInfo{Value: new("true")},
	}
}

func executorTask(t *testing.T) *mesos.TaskInfo {
	task := commandTask(t)
	task.Command, task.Executor = nil, customExecutor(t)
	return task
}

func launch(t *testing.T) Launch {
	return Launch{Framework: "F", Agent: "A", Available: amounts(t, "cpus:4;mem:4096;ports:[8000-8100]")}
}

func TestTaskTakesItsShare(t *testing.T) {
	for _, tc := range []struct {
		name string
		task *mesos.TaskInfo
		have *mesos.ExecutorInfo
		want string
	}{
		{"command", commandTask(t), nil, "cpus:1;mem:64"},
		{"new executor", executorTask(t), nil, "cpus:1.1;mem:96"},
		{"running executor", executorTask(t), customExecutor(t), "cpus:1;mem:64"},
	} {
		l := launch(t)
		l.Executor = func(id string) *mesos.ExecutorInfo {
			if id != "default" {
				t.Errorf("%s: asked for executor %q", tc.name, id)
			}
			return tc.have
		}
		got, err := Task(tc.task, l)
		if err != nil || !got.Equal(amounts(t, tc.want)) {
			t.Errorf("%s: got %v, %v; want %s", tc.name, got, err, tc.want)
		}
	}
}

// setup is what a test case spoils.
type setup struct {
	t *mesos.TaskInfo
	l Launch
}

func TestTaskRefusals(t *testing.T) {
	type change func(*setup)
	scalar := func(v float64) *mesos.Value_Scalar { return &mesos.Value_Scalar{Value: &v} }
	shares := func(v bool) *mesos.ContainerInfo {
		return &mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum(), LinuxInfo: &mesos.LinuxInfo{ShareCgroups: &v}}
	}
	environment := func(v *mesos.Environment_Variable) *mesos.CommandInfo {
		v.Name = new("K")
		return &mesos.CommandInfo{Environment: &mesos.Environment{Variables: []*mesos.Environment_Variable{v}}}
	}
	negative := &mesos.DurationInfo{Nanoseconds: proto.Int64(-1)}
	for _, tc := range []struct {
		want string // A prefix; "" for none.
		do   change
	}{
		{"", func(*setup) {}},
		{"ID must not be empty", func(c *setup) { c.t.TaskId.Value = new("") }},
		{"Task has duplicate ID: 1", func(c *setup) { c.l.TaskExists = func(id string) bool { return id == "1" } }},
		{"Task uses invalid agent B while agent A is expected", func(c *setup) { c.t.AgentId.Value = new("B") }},
		{"Task's 'kill_policy.grace_period' must be non-negative", func(c *setup) { c.t.KillPolicy = &mesos.KillPolicy{GracePeriod: negative} }},
		{"Task's `max_completion_time` must be non-negative", func(c *setup) { c.t.MaxCompletionTime = negative }},
		{"Task uses invalid check: CheckInfo must specify 'type'", func(c *setup) { c.t.Check = &mesos.CheckInfo{} }},
		{"Task uses invalid health check: HealthCheck must specify 'type'", func(c *setup) { c.t.HealthCheck = &mesos.HealthCheck{} }},
		{"Task uses no resources", func(c *setup) { c.t.Resources = nil }},
		{"Task uses invalid resources: Invalid resources: Resource 'cpus' is invalid: Invalid scalar resource: value < 0", func(c *setup) { c.t.Resources[0].Scalar = scalar(-1) }},
		{"Invalid task resources: The resources are not allocated to a role", func(c *setup) { c.t.Resources[0].AllocationInfo = nil }},
		{"Invalid task resources: The resources have multiple allocation roles ('*' and 'eng') but only one allocation role is allowed", func(c *setup) {
			c.t.Resources[0].AllocationInfo.Role = new("eng")
		}},
		{"Task mixes revocable and non-revocable resources: Cannot use both revocable and non-revocable 'cpus' at the same time", func(c *setup) {
			r := proto.CloneOf(c.t.Resources[0])
			r.Revocable = &mesos.Resource_RevocableInfo{}
			c.t.Resources = append(c.t.Resources, r)
		}},
		{"Task's `CommandInfo` is invalid: Environment variable 'K' of type 'VALUE' must have a value set", func(c *setup) { c.t.Command = environment(&mesos.Environment_Variable{}) }},
		{"Task's `CommandInfo` is invalid: Environment variable 'K' of type 'VALUE' must not have a secret set", func(c *setup) {
			c.t.Command = environment(&mesos.Environment_Variable{Value: new(""), Secret: &mesos.Secret{}})
		}},
		{"Task's `CommandInfo` is invalid: Environment variable 'K' of type 'VALUE' must not contain a null byte", func(c *setup) {
			c.t.Command = environment(&mesos.Environment_Variable{Value: new("a\x00b")})
		}},
		{"Task's `CommandInfo` is invalid: Environment variable 'K' of type 'SECRET' must have a secret set", func(c *setup) {
			c.t.Command = environment(&mesos.Environment_Variable{Type: mesos.Environment_Variable_SECRET.Enum()})
		}},
		{"Task's `CommandInfo` is invalid: Environment variable 'K' of type 'SECRET' must not have a value set", func(c *setup) {
			c.t.Command = environment(&mesos.Environment_Variable{Type: mesos.Environment_Variable_SECRET.Enum(), Value: new("")})
		}},
		{"Task's `CommandInfo` is invalid: Environment variable of type 'UNKNOWN' is not allowed", func(c *setup) {
			c.t.Command = environment(&mesos.Environment_Variable{Type: mesos.Environment_Variable_UNKNOWN.Enum()})
		}},
		{"Task's `ContainerInfo` is invalid: Invalid volume: Only one of them should be set: 'host_path', 'image' and 'source'", func(c *setup) {
			c.t.Container = &mesos.ContainerInfo{Volumes: []*mesos.Volume{{HostPath: new("/a"), Image: &mesos.Image{}}}}
		}},
		{"Only cpus and mem may be included in a task's resource limits", func(c *setup) { c.t.Limits = map[string]*mesos.Value_Scalar{"disk": scalar(1)} }},
		{"The cpu limit must be greater than or equal to the cpu request", func(c *setup) { c.t.Limits = map[string]*mesos.Value_Scalar{"cpus": scalar(0.5)} }},
		{"The memory limit must be greater than or equal to the memory request", func(c *setup) { c.t.Limits = map[string]*mesos.Value_Scalar{"mem": scalar(63)} }},
		{"When a memory limit is specified, a memory request must also be specified", func(c *setup) {
			c.t.Resources, c.t.Limits = c.t.Resources[:1], map[string]*mesos.Value_Scalar{"mem": scalar(63)}
		}},
		{"", func(c *setup) {
			c.t.Limits = map[string]*mesos.Value_Scalar{"cpus": scalar(1), "mem": scalar(math.Inf(1))}
		}},
		{"Task should have at least one (but not both) of CommandInfo or ExecutorInfo present", func(c *setup) { c.t.Command = nil }},
		{"Total resources cpus(allocated: *):1; mem(allocated: *):64 required by task and its executor is more than available cpus(allocated: *):0.5", func(c *setup) {
			half, _ := resources.Parse("cpus:0.5")
			c.l.Available = half.Allocate("*")
		}},
		{"Only tasks in a task group may have 'share_cgroups' set to 'false'", func(c *setup) { c.t.Container = shares(false) }},
		{"", func(c *setup) { c.t.Container = shares(true) }},
	} {
		c := &setup{commandTask(t), launch(t)}
		tc.do(c)
		_, err := Task(c.t, c.l)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want)) {
			t.Errorf("got  %v\nwant %s", err, tc.want)
		}
	}
}

func TestExecutorRefusals(t *testing.T) {
	for _, tc := range []struct {
		want string
		do   func(*setup)
	}{
		{"Task should have at least one (but not both)", func(c *setup) { c.t.Command = &mesos.CommandInfo{} }},
		{"ID must not be empty", func(c *setup) { c.t.Executor.ExecutorId.Value = new("") }},
		{"'ExecutorInfo.command' must be set for 'CUSTOM' executor", func(c *setup) { c.t.Executor.Command = nil }},
		{"'ExecutorInfo.command' must be set", func(c *setup) { c.t.Executor.Command, c.t.Executor.Type = nil, nil }},
		{"'ExecutorInfo.type' must be 'CUSTOM'", func(c *setup) {
			c.t.Executor.Command, c.t.Executor.Type = nil, mesos.ExecutorInfo_DEFAULT.Enum()
		}},
		{"ExecutorInfo's 'shutdown_grace_period' must be non-negative", func(c *setup) {
			c.t.Executor.ShutdownGracePeriod = &mesos.DurationInfo{Nanoseconds: proto.Int64(-1)}
		}},
		{"ExecutorInfo has an invalid FrameworkID (Actual: G vs Expected: F)", func(c *setup) {
			c.t.Executor.FrameworkId = &mesos.FrameworkID{Value: new("G")}
		}},
		{"Executor uses invalid resources: ", func(c *setup) { c.t.Executor.Resources[0].Name = nil }},
		{"Invalid executor resources: The resources are not allocated", func(c *setup) { c.t.Executor.Resources[0].AllocationInfo = nil }},
		{"There are overlapping resources in the task resources ports(allocated: *):[8000-8002] and executor resources ports(allocated: *):[8002-8003]", func(c *setup) {
			c.t.Resources, c.t.Executor.Resources = protos(t, "ports:[8000-8002]"), protos(t, "ports:[8002-8003]")
		}},
		{"Task and its executor mix revocable and non-revocable resources: Cannot use both revocable and non-revocable 'cpus'", func(c *setup) {
			c.t.Executor.Resources[0].Revocable = &mesos.Resource_RevocableInfo{}
		}},
		{"ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.", func(c *setup) {
			c.l.Executor = func(string) *mesos.ExecutorInfo {
				other := customExecutor(t)
				other.Command.Value = new("./other")
				return other
			}
		}},
		{"Total resources cpus(allocated: *):4.1; mem(allocated: *):96 required by task and its executor is more than available", func(c *setup) {
			c.t.Resources = protos(t, "cpus:4;mem:64")
		}},
	} {
		c := &setup{executorTask(t), launch(t)}
		tc.do(c)
		if _, err := Task(c.t, c.l); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("got  %v\nwant %s", err, tc.want)
		}
	}
}

func TestChecks(t *testing.T) {
	const health = "Task uses invalid health check: "
	const plain = "Task uses invalid check: "
	for _, tc := range []struct{ in, want string }{
		{`{"health_check":{"type":"COMMAND","command":{"value":"true"}}}`, ""},
		{`{"health_check":{"type":"HTTP","http":{"port":1,"scheme":"https","path":"/x"}}}`, ""},
		{`{"health_check":{"type":"TCP","tcp":{"port":1},"delay_seconds":0}}`, ""},
		{`{"health_check":{"type":"UNKNOWN"}}`, health + "'UNKNOWN' is not a valid health check type"},
		{`{"health_check":{"type":"COMMAND"}}`, health + "Expecting 'command' to be set for COMMAND health check"},
		{`{"health_check":{"type":"COMMAND","command":{}}}`, health + "Command health check must contain 'shell command'"},
		{`{"health_check":{"type":"COMMAND","command":{"shell":false}}}`, health + "Command health check must contain 'executable path'"},
		{`{"health_check":{"type":"COMMAND","command":{"value":"x","environment":{"variables":[{"name":"K"}]}}}}`, health + "Health check's `CommandInfo` is invalid: Environment variable 'K' of type 'VALUE' must have a value set"},
		{`{"health_check":{"type":"HTTP"}}`, health + "Expecting 'http' to be set for HTTP health check"},
		{`{"health_check":{"type":"HTTP","http":{"port":1,"scheme":"ftp"}}}`, health + "Unsupported HTTP health check scheme: 'ftp'"},
		{`{"health_check":{"type":"HTTP","http":{"port":1,"path":"x"}}}`, health + "The path 'x' of HTTP health check must start with '/'"},
		{`{"health_check":{"type":"TCP"}}`, health + "Expecting 'tcp' to be set for TCP health check"},
		{`{"health_check":{"type":"TCP","tcp":{"port":1},"interval_seconds":-1}}`, health + "Expecting 'interval_seconds' to be non-negative"},
		{`{"health_check":{"type":"TCP","tcp":{"port":1},"grace_period_seconds":"NaN"}}`, health + "Expecting 'grace_period_seconds' to be non-negative"},
		{`{"check":{"type":"COMMAND","command":{"command":{"value":"true"}}}}`, ""},
		{`{"check":{"type":"HTTP","http":{"port":1}}}`, ""},
		{`{"check":{"type":"TCP","tcp":{"port":1}}}`, ""},
		{`{"check":{"type":"UNKNOWN"}}`, plain + "'UNKNOWN' is not a valid check type"},
		{`{"check":{"type":"COMMAND"}}`, plain + "Expecting 'command' to be set for COMMAND check"},
		{`{"check":{"type":"COMMAND","command":{"command":{}}}}`, plain + "Command check must contain 'shell command'"},
		{`{"check":{"type":"HTTP"}}`, plain + "Expecting 'http' to be set for HTTP check"},
		{`{"check":{"type":"HTTP","http":{"port":1,"path":""}}}`, plain + "The path '' of HTTP check must start with '/'"},
		{`{"check":{"type":"TCP"}}`, plain + "Expecting 'tcp' to be set for TCP check"},
		{`{"check":{"type":"TCP","tcp":{"port":1},"timeout_seconds":-0.1}}`, plain + "Expecting 'timeout_seconds' to be non-negative"},
	} {
		task := commandTask(t)
		proto.Merge(task, read(t, tc.in, new(mesos.TaskInfo)))
		_, err := Task(task, launch(t))
		match(t, tc.in, err, tc.want)
	}
}

func TestTaskGroup(t *testing.T) {
	type group struct {
		e *mesos.ExecutorInfo
		g *mesos.TaskGroupInfo
		l Launch
	}
	second := func(g *group) *mesos.TaskInfo { return g.g.Tasks[1] }
	for _, tc := range []struct {
		want string
		do   func(*group)
	}{
		{"", func(*group) {}},
		{"Task group cannot be empty", func(g *group) { g.g.Tasks = nil }},
		{"Task '1' is invalid: Task has duplicate ID: 1", func(g *group) { second(g).TaskId.Value = new("1") }},
		{"Task '2' is invalid: 'TaskInfo.executor' must be set", func(g *group) { second(g).Executor = nil }},
		{"Task '2' is invalid: Task uses no resources", func(g *group) { second(g).Resources = nil }},
		{"Task '2' is invalid: Docker ContainerInfo is not supported on the task", func(g *group) {
			second(g).Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_DOCKER.Enum()}
		}},
		{"Task '2' is invalid: HTTP and TCP health checks are not supported", func(g *group) {
			second(g).HealthCheck = &mesos.HealthCheck{Type: mesos.HealthCheck_TCP.Enum(), Tcp: &mesos.HealthCheck_TCPCheckInfo{}}
			second(g).Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum(), NetworkInfos: []*mesos.NetworkInfo{{}}}
		}},
		{"Task '2' is invalid: Resource limits may only be set", func(g *group) {
			second(g).Limits = map[string]*mesos.Value_Scalar{"cpus": {Value: proto.Float64(9)}}
		}},
		{"", func(g *group) {
			second(g).Limits = map[string]*mesos.Value_Scalar{"cpus": {Value: proto.Float64(9)}}
			second(g).Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum(), LinuxInfo: &mesos.LinuxInfo{ShareCgroups: new(false)}}
		}},
		{"'ExecutorInfo.type' must be set", func(g *group) { g.e.Type = nil }},
		{"Unknown executor type", func(g *group) { g.e.Type = mesos.ExecutorInfo_UNKNOWN.Enum() }},
		{"'ExecutorInfo.command' must not be set for 'DEFAULT' executor", func(g *group) { g.e.Command = &mesos.CommandInfo{} }},
		{"'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor", func(g *group) {
			g.e.Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_DOCKER.Enum()}
		}},
		{"'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor", func(g *group) {
			g.e.Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_MESOS.Enum(), Mesos: &mesos.ContainerInfo_MesosInfo{Image: &mesos.Image{}}}
		}},
		{"Docker ContainerInfo is not supported on the executor", func(g *group) {
			g.e.Type, g.e.Command = mesos.ExecutorInfo_CUSTOM.Enum(), &mesos.CommandInfo{}
			g.e.Container = &mesos.ContainerInfo{Type: mesos.ContainerInfo_DOCKER.Enum()}
		}},
		{"The `ExecutorInfo` of task '2' is different from executor 'pod'", func(g *group) { second(g).Executor.Name = new("x") }},
		{"Executor 'pod' uses less CPUs () than the minimum required (0.01)", func(g *group) { same(g.e, g.g, protos(t, "mem:32;disk:1")) }},
		{"Executor 'pod' uses less memory (mem(allocated: *):31) than the minimum required (32MB)", func(g *group) { same(g.e, g.g, protos(t, "cpus:1;mem:31;disk:1")) }},
		{"Executor 'pod' uses no disk", func(g *group) { same(g.e, g.g, protos(t, "cpus:1;mem:32")) }},
		{"There are overlapping resources in the task group's", func(g *group) {
			for _, k := range g.g.Tasks {
				k.Resources = protos(t, "ports:[8000]")
			}
		}},
		{"Total resources ", func(g *group) { second(g).Resources = protos(t, "cpus:3") }},
		{"", func(g *group) { // The executor runs already, so what it needs is not counted.
			g.g.Tasks[0].Resources, second(g).Resources = protos(t, "cpus:1"), protos(t, "cpus:3")
			have := proto.CloneOf(g.e)
			g.l.Executor = func(string) *mesos.ExecutorInfo { return have }
		}},
	} {
		e := customExecutor(t)
		e.Type, e.Command = mesos.ExecutorInfo_DEFAULT.Enum(), nil
		e.ExecutorId.Value = new("pod")
		e.Resources = protos(t, "cpus:0.1;mem:32;disk:10")
		g := &group{e: e, g: &mesos.TaskGroupInfo{}, l: launch(t)}
		g.l.Available = g.l.Available.Add(amounts(t, "disk:100"))
		for _, id := range []string{"1", "2"} {
			k := commandTask(t)
			k.TaskId.Value, k.Executor = &id, proto.CloneOf(e)
			g.g.Tasks = append(g.g.Tasks, k)
		}
		tc.do(g)
		total, err := TaskGroup(g.e, g.g, g.l)
		if tc.want == "" && (err != nil || total.Milli("cpus") < 2000) || tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want)) {
			t.Errorf("got  %v\nwant %s", err, tc.want)
		}
	}
}

// same gives the executor of a group other resources everywhere.
func same(e *mesos.ExecutorInfo, g *mesos.TaskGroupInfo, rs []*mesos.Resource) {
	e.Resources = rs
	for _, t := range g.Tasks {
		t.Executor = proto.CloneOf(e)
	}
}
