package resources

import (
	"testing"

	"github.com/saki-run/saki/mesos"
	"github.com/saki-run/saki/mesos/scheduler"
)

func offers(t *testing.T) *scheduler.Event {
	all := parse(t, "cpus:1;cpus(eng):2;mem:64").Allocate("eng").Proto(ReservationStack)
	return &scheduler.Event{Offers: &scheduler.Event_Offers{Offers: []*mesos.Offer{{
		Resources: all, AllocationInfo: &mesos.Resource_AllocationInfo{Role: new("eng")},
	}}}}
}

func TestShape(t *testing.T) {
	const multi, stack = mesos.FrameworkInfo_Capability_MULTI_ROLE, mesos.FrameworkInfo_Capability_RESERVATION_REFINEMENT
	for _, tc := range []struct {
		name               string
		can                []mesos.FrameworkInfo_Capability_Type
		allocated, stacked bool
	}{
		{"plain", nil, false, false},
		{"several roles", []mesos.FrameworkInfo_Capability_Type{multi}, true, false},
		{"refining", []mesos.FrameworkInfo_Capability_Type{stack}, false, true},
		{"both", []mesos.FrameworkInfo_Capability_Type{multi, stack}, true, true},
	} {
		info := &mesos.FrameworkInfo{}
		for _, c := range tc.can {
			info.Capabilities = append(info.Capabilities, &mesos.FrameworkInfo_Capability{Type: &c})
		}
		e := offers(t)
		Shape(e, info)
		o := e.Offers.Offers[0]
		if got := o.AllocationInfo != nil; got != tc.allocated {
			t.Errorf("%s: the offer is allocated: %v", tc.name, got)
		}
		for _, r := range o.Resources {
			if got := r.AllocationInfo != nil; got != tc.allocated {
				t.Errorf("%s: %v is allocated: %v", tc.name, r, got)
			}
			if got := r.Role == nil; got != tc.stacked {
				t.Errorf("%s: %v has no role: %v", tc.name, r, got)
			}
		}
	}
}

func TestInjectReachesEveryResource(t *testing.T) {
	rs := func() []*mesos.Resource { return parse(t, "cpus:1").Proto(RolePair) }
	mine := parse(t, "cpus:1").Allocate("ops").Proto(RolePair)
	op := &mesos.Offer_Operation{
		Launch: &mesos.Offer_Operation_Launch{TaskInfos: []*mesos.TaskInfo{{
			Resources: append(rs(), mine...), Executor: &mesos.ExecutorInfo{Resources: rs()},
		}}},
		LaunchGroup: &mesos.Offer_Operation_LaunchGroup{
			Executor:  &mesos.ExecutorInfo{Resources: rs()},
			TaskGroup: &mesos.TaskGroupInfo{Tasks: []*mesos.TaskInfo{{Resources: rs()}}},
		},
		GrowVolume: &mesos.Offer_Operation_GrowVolume{Volume: rs()[0], Addition: rs()[0]},
	}
	Inject(op, "eng")
	got := map[string]int{}
	Each(op, func(r *mesos.Resource) { got[r.GetAllocationInfo().GetRole()]++ })
	if got["eng"] != 6 || got["ops"] != 1 || len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestEachVisitsMaps(t *testing.T) {
	n := 0
	Each(&mesos.TaskInfo{Limits: map[string]*mesos.Value_Scalar{"cpus": {}, "mem": {}}}, func(*mesos.Value_Scalar) { n++ })
	Each(nil, func(*mesos.Value_Scalar) { n++ })
	if n != 2 {
		t.Errorf("visited %d of 2", n)
	}
}

func TestAttributes(t *testing.T) {
	as, err := ParseAttributes("zone:a; rack : r1:top ;level:10;share:0.5;slots:[1-4,7];zone:b;;")
	if err != nil {
		t.Fatal(err)
	}
	var got string
	for _, a := range as {
		got += a.GetName() + "=" + a.GetType().String() + "=" + AttributeText(a) + " "
	}
	want := "zone=TEXT=a rack=TEXT=r1:top level=SCALAR=10 share=SCALAR=0.5 slots=RANGES=[1-4, 7-7] zone=TEXT=b "
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, in := range []string{"zone", ":a", "zone:", "tags:{a}", "slots:[x]"} {
		if as, err := ParseAttributes(in); err == nil {
			t.Errorf("%q: got %v", in, as)
		}
	}
	set := &mesos.Attribute{Type: mesos.Value_SET.Enum(), Set: &mesos.Value_Set{Item: []string{"a", "b"}}}
	if got := AttributeText(set); got != "{a, b}" {
		t.Errorf("got %s", got)
	}
	large := &mesos.Attribute{Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: new(1e30)}}
	if got := AttributeText(large); got != "1e+30" {
		t.Errorf("got %s", got)
	}
}
