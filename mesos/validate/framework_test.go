package validate

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/saki-run/saki/mesos"
)

func TestFramework(t *testing.T) {
	const multi = `"capabilities":[{"type":"MULTI_ROLE"}]`
	for _, tc := range []struct{ in, want string }{
		{`{"user":"u","name":"n"}`, ""},
		{`{"user":"u","name":"n","role":"*","id":{"value":""}}`, ""},
		{`{"user":"u","name":"n","role":"eng/web","id":{"value":"F"}}`, ""},
		{`{"user":"u","name":"n","roles":["*","eng"],` + multi + `}`, ""},
		{`{"user":"u","name":"n",` + multi + `}`, ""},
		{`{"user":"u","name":"n","role":"*",` + multi + `}`, "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"},
		{`{"user":"u","name":"n","roles":["eng"]}`, "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"},
		{`{"user":"u","name":"n","roles":["a","b","a"],` + multi + `}`, "'FrameworkInfo.roles' must not contain duplicate items: a"},
		{`{"user":"u","name":"n","role":"-a"}`, `'FrameworkInfo.roles' contains an invalid role: role "-a" has a part that starts with '-'`},
		{`{"user":"u","name":"n","failover_timeout":-1}`, "The framework failover_timeout (-1) is invalid: it must not be negative"},
		{`{"user":"u","name":"n","failover_timeout":"NaN"}`, "The framework failover_timeout (NaN) is invalid: it must not be negative"},
		{`{"user":"u","name":"n","id":{"value":"a/b"}}`, "'FrameworkInfo.id' is invalid: 'a/b' contains invalid characters"},
	} {
		match(t, tc.in, Framework(read(t, tc.in, new(mesos.FrameworkInfo))), tc.want)
	}
	if err := Framework(&mesos.FrameworkInfo{FailoverTimeout: proto.Float64(math.Inf(1))}); err != nil {
		t.Errorf("for ever: %v", err)
	}
}

func TestSuppressedRolesAreRolesOfTheFramework(t *testing.T) {
	f := &mesos.FrameworkInfo{Role: proto.String("eng")}
	match(t, "eng", Suppressed(f, []string{"eng"}), "")
	match(t, "ops", Suppressed(f, []string{"eng", "ops"}), "Suppressed role 'ops' is not contained in the list of roles")
}

func TestFrameworkUpdate(t *testing.T) {
	old := &mesos.FrameworkInfo{User: proto.String("u"), Name: proto.String("n"), Principal: proto.String("p")}
	for _, tc := range []struct {
		want   string
		change func(*mesos.FrameworkInfo)
	}{
		{"", func(f *mesos.FrameworkInfo) { f.Name, f.FailoverTimeout = proto.String("new"), proto.Float64(60) }},
		{"", func(f *mesos.FrameworkInfo) { f.Checkpoint = proto.Bool(false) }},
		{"Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from 'false' to 'true'", func(f *mesos.FrameworkInfo) { f.Checkpoint = proto.Bool(true) }},
		{"Updating 'FrameworkInfo.user' is unsupported; attempted to update from 'u' to 'v'", func(f *mesos.FrameworkInfo) { f.User = proto.String("v") }},
		{"Updating 'FrameworkInfo.principal' is unsupported; attempted to update from 'p' to ''", func(f *mesos.FrameworkInfo) { f.Principal = nil }},
		{"'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable", func(f *mesos.FrameworkInfo) { f.Roles = []string{"a"} }},
	} {
		next := proto.CloneOf(old)
		tc.change(next)
		match(t, next.String(), FrameworkUpdate(old, next), tc.want)
	}
}
