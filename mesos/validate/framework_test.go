package validate

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/saki-run/saki/mesos"
	"github.com/saki-run/saki/mesos/scheduler"
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
		{`{"user":"u","name":"n","roles":["b","a","b","a","c"],` + multi + `}`, "'FrameworkInfo.roles' contains duplicate items: { a, b }"},
		{`{"user":"u","name":"n","role":"-a"}`, `'FrameworkInfo.role' is not a valid role: role "-a" has a part that starts with '-'`},
		{`{"user":"u","name":"n","roles":["a","b//c"],` + multi + `}`, `'FrameworkInfo.roles' contains invalid role: role "b//c" has an empty part`},
		{`{"user":"u","name":"n","failover_timeout":-1}`, ""},
		{`{"user":"u","name":"n","failover_timeout":9e9}`, ""},
		{`{"user":"u","name":"n","failover_timeout":1e10}`, "The framework failover_timeout (1e+10) is invalid"},
		{`{"user":"u","name":"n","failover_timeout":"Infinity"}`, "The framework failover_timeout (+Inf) is invalid"},
		{`{"user":"u","name":"n","failover_timeout":"NaN"}`, "The framework failover_timeout (NaN) is invalid"},
		{`{"user":"u","name":"n","id":{"value":"a/b"}}`, "'a/b' contains invalid characters"},
	} {
		match(t, tc.in, Framework(read(t, tc.in, new(mesos.FrameworkInfo))), tc.want)
	}
}

func TestSuppressedRolesAreRolesOfTheFramework(t *testing.T) {
	f := &mesos.FrameworkInfo{Role: new("eng")}
	match(t, "eng", Suppressed(f, []string{"eng"}), "")
	match(t, "ops", Suppressed(f, []string{"eng", "ops"}), "Suppressed roles { ops } are not contained in the set of roles")
	c := &scheduler.OfferConstraints{RoleConstraints: map[string]*scheduler.OfferConstraints_RoleConstraints{"eng": {}}}
	match(t, "constraints on eng", Constrained(f, c), "")
	c.RoleConstraints["ops"] = nil
	match(t, "constraints on ops", Constrained(f, c), "Offer constraints specify `role_constraints` for a role 'ops' not contained in the set of roles")
}

func TestFrameworkUpdate(t *testing.T) {
	old := &mesos.FrameworkInfo{User: new("u"), Name: new("n"), Principal: new("p")}
	for _, tc := range []struct {
		want   string
		change func(*mesos.FrameworkInfo)
	}{
		{"", func(f *mesos.FrameworkInfo) { f.Name, f.FailoverTimeout = new("new"), proto.Float64(60) }},
		{"", func(f *mesos.FrameworkInfo) { f.Checkpoint = new(false) }},
		{"Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from 'false' to 'true'", func(f *mesos.FrameworkInfo) { f.Checkpoint = new(true) }},
		{"Updating 'FrameworkInfo.user' is unsupported; attempted to update from 'u' to 'v'", func(f *mesos.FrameworkInfo) { f.User = new("v") }},
		{"Changing framework's principal is not allowed.", func(f *mesos.FrameworkInfo) { f.Principal = nil }},
		{"'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable", func(f *mesos.FrameworkInfo) { f.Roles = []string{"a"} }},
	} {
		next := proto.CloneOf(old)
		tc.change(next)
		match(t, next.String(), FrameworkUpdate(old, next), tc.want)
	}
}

func TestSettle(t *testing.T) {
	old := &mesos.FrameworkInfo{User: new("u"), Name: new("n"), Checkpoint: new(true)}
	next := &mesos.FrameworkInfo{User: new("v"), Name: new("m")}
	Settle(old, next)
	if next.GetUser() != "u" || !next.GetCheckpoint() || next.GetName() != "m" {
		t.Errorf("got %v", next)
	}
	match(t, "settled", FrameworkUpdate(old, next), "")
}

func TestPrincipal(t *testing.T) {
	c := &scheduler.Call{Subscribe: &scheduler.Call_Subscribe{FrameworkInfo: &mesos.FrameworkInfo{}}}
	match(t, "none named", Principal(c, "p"), "")
	c.Subscribe.FrameworkInfo.Principal = new("p")
	match(t, "the same", Principal(c, "p"), "")
	match(t, "another", Principal(c, "q"), "Failed to validate scheduler::Call: Authenticated principal 'q' does not match principal 'p' set in `FrameworkInfo`")
	match(t, "no SUBSCRIBE", Principal(&scheduler.Call{}, "q"), "")
}
