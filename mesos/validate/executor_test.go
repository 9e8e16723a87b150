package validate

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/saki-run/saki/mesos"
)

func TestSameExecutor(t *testing.T) {
	const base = `{"type":"CUSTOM","executor_id":{"value":"e"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"*"},{"name":"mem","type":"SCALAR","scalar":{"value":32}}],
		"command":{"value":"run","uris":[{"value":"a"},{"value":"b","executable":true}],"environment":{"variables":[{"name":"K","value":"1"},{"name":"L","value":"2"}]},"arguments":["x","y"]},
		"container":{"type":"DOCKER","docker":{"image":"i"},"volumes":[{"mode":"RW","container_path":"/a"},{"mode":"RO","container_path":"/b"}],"network_infos":[{"labels":{"labels":[{"key":"1"},{"key":"2"}]}}]}}`
	for _, tc := range []struct {
		name string
		want bool
		do   func(*mesos.ExecutorInfo)
	}{
		{"a copy", true, func(*mesos.ExecutorInfo) {}},
		{"the master filled in the framework", true, func(e *mesos.ExecutorInfo) { e.FrameworkId = &mesos.FrameworkID{Value: new("F")} }},
		{"resources in other order", true, func(e *mesos.ExecutorInfo) { slices.Reverse(e.Resources) }},
		{"resources of an offer", true, func(e *mesos.ExecutorInfo) {
			for _, r := range e.Resources {
				r.AllocationInfo = &mesos.Resource_AllocationInfo{Role: new("*")}
				r.Role = nil
			}
		}},
		{"one resource in two parts", true, func(e *mesos.ExecutorInfo) {
			e.Resources[0].Scalar.Value = new(0.5)
			e.Resources = append(e.Resources, proto.CloneOf(e.Resources[0]))
		}},
		{"URIs in other order", true, func(e *mesos.ExecutorInfo) { slices.Reverse(e.Command.Uris) }},
		{"variables in other order", true, func(e *mesos.ExecutorInfo) { slices.Reverse(e.Command.Environment.Variables) }},
		{"volumes in other order", true, func(e *mesos.ExecutorInfo) { slices.Reverse(e.Container.Volumes) }},
		{"labels inside in other order", true, func(e *mesos.ExecutorInfo) { slices.Reverse(e.Container.NetworkInfos[0].Labels.Labels) }},
		{"defaults spelled out", true, func(e *mesos.ExecutorInfo) {
			e.Command.Shell, e.Command.User, e.Name, e.Data = new(true), new(""), new(""), []byte{}
			e.Command.Uris[0].Extract, e.Command.Uris[0].Executable = new(true), new(false)
			e.Command.Environment.Variables[0].Type = mesos.Environment_Variable_VALUE.Enum()
			e.Container.Docker.Network, e.Container.LinuxInfo = mesos.ContainerInfo_DockerInfo_HOST.Enum(), &mesos.LinuxInfo{}
		}},
		{"no type, but a command", true, func(e *mesos.ExecutorInfo) { e.Type = nil }},
		{"other labels and grace", true, func(e *mesos.ExecutorInfo) {
			e.Labels = &mesos.Labels{Labels: []*mesos.Label{{Key: new("k")}}}
			e.ShutdownGracePeriod = &mesos.DurationInfo{Nanoseconds: proto.Int64(1)}
		}},
		{"fields nobody knows", true, func(e *mesos.ExecutorInfo) { e.ProtoReflect().SetUnknown([]byte{0xa0, 0x06, 1}) }},
		{"other id", false, func(e *mesos.ExecutorInfo) { e.ExecutorId.Value = new("f") }},
		{"other type", false, func(e *mesos.ExecutorInfo) { e.Type = mesos.ExecutorInfo_DEFAULT.Enum() }},
		{"other resources", false, func(e *mesos.ExecutorInfo) { e.Resources[0].Scalar.Value = proto.Float64(2) }},
		{"broken resources", false, func(e *mesos.ExecutorInfo) { e.Resources[0].Name = new("") }},
		{"other command", false, func(e *mesos.ExecutorInfo) { e.Command.Value = new("walk") }},
		{"arguments in other order", false, func(e *mesos.ExecutorInfo) { slices.Reverse(e.Command.Arguments) }},
		{"other variable", false, func(e *mesos.ExecutorInfo) { e.Command.Environment.Variables[0].Value = new("2") }},
		{"no shell", false, func(e *mesos.ExecutorInfo) { e.Command.Shell = new(false) }},
		{"other image", false, func(e *mesos.ExecutorInfo) { e.Container.Docker.Image = new("j") }},
		{"no container", false, func(e *mesos.ExecutorInfo) { e.Container = nil }},
		{"other data", false, func(e *mesos.ExecutorInfo) { e.Data = []byte("x") }},
		{"other name", false, func(e *mesos.ExecutorInfo) { e.Name = new("x") }},
	} {
		a, b := read(t, base, new(mesos.ExecutorInfo)), read(t, base, new(mesos.ExecutorInfo))
		tc.do(b)
		before := proto.CloneOf(b)
		if SameExecutor(a, b) != tc.want || SameExecutor(b, a) != tc.want {
			t.Errorf("%s: want %v", tc.name, tc.want)
		}
		if !proto.Equal(b, before) {
			t.Errorf("%s: the executor was changed", tc.name)
		}
	}
	one, two := customExecutor(t), customExecutor(t)
	one.FrameworkId, two.FrameworkId = &mesos.FrameworkID{Value: new("F")}, &mesos.FrameworkID{Value: new("G")}
	if SameExecutor(one, two) {
		t.Error("executors of two frameworks are the same")
	}
}
