package resources

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/saki-run/saki/mesos"
)

func parse(t testing.TB, text string) Resources {
	t.Helper()
	r, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseAndPrint(t *testing.T) {
	for in, want := range map[string]string{
		"":            "",
		" ; ;":        "",
		"cpus:4":      "cpus(*):4",
		"cpus(*):0.5": "cpus(*):0.5",
		"cpus:4;mem:4096;disk:10000;ports:[8000-8100,9000-9010];tags(role):{a,b}": "cpus(*):4; mem(*):4096; disk(*):10000; ports(*):[8000-8100, 9000-9010]; tags(role):{a, b}",
		"ports:[8000-8100]":                  "ports(*):[8000-8100]",
		"ports : [ 8006 - 8100 , 8003 ]":     "ports(*):[8006-8100, 8003-8003]",
		"ports:[1-2,2-5,7-9,6-6]":            "ports(*):[1-9]",
		"cpus:1;cpus:2.0005":                 "cpus(*):3.001",
		"cpus:1;cpus(eng/web):2":             "cpus(*):1; cpus(eng/web):2",
		"cpus:0;ports:[];tags:{}":            "",
		"mem:1e3":                            "mem(*):1000",
		"ports:[18446744073709551615]":       "ports(*):[18446744073709551615-18446744073709551615]",
		"cpus:0.0004;mem:0.0006;disk:99.999": "mem(*):0.001; disk(*):99.999",
	} {
		r, err := Parse(in)
		if err != nil || r.String() != want {
			t.Errorf("%q: got %q, %v; want %q", in, r, err, want)
		}
		if again, err := Parse(r.String()); err != nil || !again.Equal(r) {
			t.Errorf("%q: what is printed does not read back: %v", r, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"cpus":                           "there is no ':'",
		":4":                             `"" is no name`,
		"a b:4":                          `"a b" is no name`,
		"cpus:":                          "the value is empty",
		"cpus:four":                      "neither a number",
		"cpus:NaN":                       "neither a number",
		"cpus:0x10":                      "neither a number",
		"cpus:-1":                        "value < 0",
		"cpus:1e30":                      "too large",
		"cpus(eng:4":                     "not closed by ')'",
		"cpus():4":                       "role name is empty",
		"cpus(-a):4":                     "starts with '-'",
		"ports:[1-2":                     "not closed by ']'",
		"ports:[2-1]":                    `"2-1" is no range`,
		"ports:[a]":                      `"a" is no range`,
		"ports:[1-b]":                    `"1-b" is no range`,
		"ports:[-1]":                     `"-1" is no range`,
		"tags:{a":                        "not closed by '}'",
		"tags:{a,a}":                     "duplicated elements",
		"ports:[1-99999999999999999999]": "is no range",
	} {
		if r, err := Parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want %q", in, r, err, want)
		}
	}
}

func TestSumsAndDifferences(t *testing.T) {
	for _, tc := range []struct{ a, b, sum, diff string }{
		{"cpus:4;mem:100", "cpus:0.1", "cpus:4.1;mem:100", "cpus:3.9;mem:100"},
		{"cpus:4", "cpus:4", "cpus:8", ""},
		{"cpus:4", "cpus(eng):1", "cpus:4;cpus(eng):1", "no"},
		{"cpus:1", "cpus:1.001", "cpus:2.001", "no"},
		{"cpus:1", "mem:1", "cpus:1;mem:1", "no"},
		{"cpus:1", "", "cpus:1", "cpus:1"},
		{"ports:[8000-8100]", "ports:[8005]", "ports:[8000-8100]", "ports:[8000-8004,8006-8100]"},
		{"ports:[8006-8100]", "ports:[8003]", "ports:[8006-8100,8003]", "no"},
		{"tags:{a,b,c}", "tags:{b}", "tags:{a,b,c}", "tags:{a,c}"},
		{"tags:{a}", "tags:{b}", "tags:{a,b}", "no"},
	} {
		a, b := parse(t, tc.a), parse(t, tc.b)
		if got := a.Add(b); got.String() != parse(t, tc.sum).String() {
			t.Errorf("%s + %s = %s, want %s", a, b, got, tc.sum)
		}
		got, ok := a.Sub(b)
		switch {
		case tc.diff == "no":
			if ok || !got.Equal(a) || a.Contains(b) {
				t.Errorf("%s - %s = %s, %v; want no", a, b, got, ok)
			}
		case !ok || got.String() != parse(t, tc.diff).String() || !a.Contains(b):
			t.Errorf("%s - %s = %s, %v; want %s", a, b, got, ok, tc.diff)
		}
	}
}

// some is random resources whose numbers and names come from side, so that two
// sides have none in common.
func some(r *rand.Rand, side uint64) Resources {
	var out Resources
	for range r.IntN(6) {
		role := []string{"", "(eng)", "(eng/web)"}[r.IntN(3)]
		var text string
		switch r.IntN(4) {
		case 0:
			text = "cpus" + role + ":" + formatMilli(r.Int64N(10_000))
		case 1:
			text = "mem" + role + ":" + formatMilli(r.Int64N(10_000_000))
		case 2:
			begin := side*10_000 + r.Uint64N(5_000)
			text = "ports" + role + ":" + Ranges{{begin, begin + r.Uint64N(100)}}.String()
		case 3:
			text = "tags" + role + ":{" + string(rune('a'+side*13+r.Uint64N(13))) + "}"
		}
		one, err := Parse(text)
		if err != nil {
			panic(err)
		}
		out = out.Add(one)
	}
	return out
}

func TestAlgebra(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		a, b, c := some(r, 0), some(r, 1), some(r, 0)
		before := a.String() + b.String()
		sum := a.Add(b)
		if got, ok := sum.Sub(b); !ok || !got.Equal(a) {
			t.Fatalf("(a+b)-b is not a: a %v, b %v, got %v, %v", a, b, got, ok)
		}
		if !sum.Equal(b.Add(a)) || !sum.Contains(a) || !sum.Contains(b) || a.Overlaps(b) {
			t.Fatalf("a %v, b %v", a, b)
		}
		if !a.Add(c).Add(b).Equal(a.Add(c.Add(b))) {
			t.Fatalf("a %v, b %v, c %v: the order of sums counts", a, b, c)
		}
		if rest, ok := a.Sub(c); ok && !rest.Add(c).Equal(a) {
			t.Fatalf("(a-c)+c is not a: a %v, c %v", a, c)
		}
		for _, f := range []Format{RolePair, ReservationStack} {
			if got, err := From(sum.Proto(f)); err != nil || !got.Equal(sum) || got.String() != sum.String() {
				t.Fatalf("%v became %v, %v", sum, got, err)
			}
		}
		if got, err := Parse(sum.String()); err != nil || !got.Equal(sum) {
			t.Fatalf("%v printed and read is %v, %v", sum, got, err)
		}
		if got := sum.Allocate("eng").Unallocate(); !got.Equal(sum) {
			t.Fatalf("%v allocated and back is %v", sum, got)
		}
		if before != a.String()+b.String() {
			t.Fatal("an operand changed")
		}
	}
}

func TestParts(t *testing.T) {
	r := parse(t, "cpus:4;cpus(eng):2;cpus(eng/web):1;cpus(ops):8;ports:[1-3];ports(ops):[7];tags:{b,a}")
	for _, tc := range []struct {
		name string
		got  Resources
		want string
	}{
		{"free", r.Unreserved(), "cpus:4;ports:[1-3];tags:{b,a}"},
		{"reserved for eng", r.Reserved("eng"), "cpus(eng):2"},
		{"reserved for *", r.Reserved("*"), ""},
		{"for eng", r.For("eng"), "cpus:4;cpus(eng):2;ports:[1-3];tags:{b,a}"},
		{"for eng/web", r.For("eng/web"), "cpus:4;cpus(eng):2;cpus(eng/web):1;ports:[1-3];tags:{b,a}"},
		{"for *", r.For("*"), "cpus:4;ports:[1-3];tags:{b,a}"},
		{"named", r.Named("ports"), "ports:[1-3];ports(ops):[7]"},
		{"static", r.Static(), r.String()},
		{"revocable", r.Revocable(), ""},
		{"shared", r.Shared(), ""},
	} {
		if got := tc.got.String(); got != parse(t, tc.want).String() {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
	if got := r.Milli("cpus"); got != 15_000 {
		t.Errorf("cpus: got %d", got)
	}
	if got := r.Ranges("ports").Join(","); got != "1-3,7-7" {
		t.Errorf("ports: got %s", got)
	}
	if got := r.Items("tags"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("tags: got %v", got)
	}
	if got := r.Names(); !slices.Equal(got, []string{"cpus", "ports", "tags"}) {
		t.Errorf("names: got %v", got)
	}
	want := []Quantity{{"cpus", 15_000}, {"ports", 4_000}, {"tags", 2_000}}
	if got := r.Quantities(); !slices.Equal(got, want) {
		t.Errorf("quantities: got %v, want %v", got, want)
	}
	if got := parse(t, "n:[0-18446744073709551615]").Quantities()[0].Milli; got <= 0 {
		t.Errorf("the count of all numbers is %d", got)
	}
}

func TestReservationsStack(t *testing.T) {
	free := parse(t, "cpus:4")
	dynamic := mesos.Resource_ReservationInfo_DYNAMIC.Enum()
	eng := free.Reserve(&mesos.Resource_ReservationInfo{Type: dynamic, Role: new("eng"), Principal: new("p")})
	web := eng.Reserve(&mesos.Resource_ReservationInfo{Type: dynamic, Role: new("eng/web")})
	for _, tc := range []struct{ got, want string }{
		{eng.String(), "cpus(reservations: [(DYNAMIC,eng,p)]):4"},
		{web.String(), "cpus(reservations: [(DYNAMIC,eng,p),(DYNAMIC,eng/web)]):4"},
		{web.Unreserve().String(), eng.String()},
		{web.Unreserve().Unreserve().String(), free.String()},
		{free.Unreserve().String(), free.String()},
		{eng.Static().String(), ""},
		{eng.Allocate("eng").String(), "cpus(allocated: eng)(reservations: [(DYNAMIC,eng,p)]):4"},
		{free.Allocate("eng").Allocated("eng").String(), "cpus(allocated: eng):4"},
		{free.Allocate("eng").Allocated("ops").String(), ""},
		{strings.Join(free.Allocate("a").Add(free).AllocatedRoles(), ","), "a,"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %s, want %s", tc.got, tc.want)
		}
	}
	if eng.Refined() || !web.Refined() {
		t.Error("Refined is wrong")
	}
	pair := eng.Proto(RolePair)[0]
	if pair.GetRole() != "eng" || pair.Reservation.GetPrincipal() != "p" || pair.Reservation.Type != nil || len(pair.Reservations) != 0 {
		t.Errorf("as a pair: %v", pair)
	}
	if r := free.Proto(RolePair)[0]; r.GetRole() != "*" || r.Role == nil {
		t.Errorf("free as a pair: %v", r)
	}
	if r := free.Proto(ReservationStack)[0]; r.Role != nil || len(r.Reservations) != 0 {
		t.Errorf("free as a stack: %v", r)
	}
	if r := web.Proto(RolePair)[0]; r.Role != nil || len(r.Reservations) != 2 {
		t.Errorf("refined as a pair: %v", r)
	}
	if back, err := From(append(eng.Proto(RolePair), web.Proto(RolePair)...)); err != nil || !back.Equal(eng.Add(web)) {
		t.Errorf("got %v, %v", back, err)
	}
}

func volume(id string, mb float64, shared bool) *mesos.Resource {
	r := &mesos.Resource{
		Name: new("disk"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &mb}, Role: new("eng"),
		Disk: &mesos.Resource_DiskInfo{
			Persistence: &mesos.Resource_DiskInfo_Persistence{Id: &id},
			Volume:      &mesos.Volume{Mode: mesos.Volume_RW.Enum(), ContainerPath: new("data")},
		},
	}
	if shared {
		r.Shared = &mesos.Resource_SharedInfo{}
	}
	return r
}

func TestVolumesAreTakenWhole(t *testing.T) {
	all, err := From([]*mesos.Resource{volume("a", 10, false), volume("b", 10, false), volume("c", 5, true)})
	if err != nil {
		t.Fatal(err)
	}
	if want := "disk(eng)[a:data]:10; disk(eng)[b:data]:10; disk(eng)[c:data]<SHARED>:5"; all.String() != want {
		t.Errorf("got %s, want %s", all, want)
	}
	part, _ := From([]*mesos.Resource{volume("a", 4, false)})
	if all.Contains(part) {
		t.Error("a part of a volume was given")
	}
	a, _ := From([]*mesos.Resource{volume("a", 10, false)})
	if rest, ok := all.Sub(a); !ok || rest.Contains(a) || rest.Milli("disk") != 15_000 {
		t.Errorf("got %v, %v", rest, ok)
	}
	if all.Overlaps(a) || all.Shared().Milli("disk") != 5_000 {
		t.Error("volumes are no ranges")
	}
}

func TestDevices(t *testing.T) {
	disk := func(typ mesos.Resource_DiskInfo_Source_Type, id *string, mb float64) Resources {
		r, err := From([]*mesos.Resource{{
			Name: new("disk"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &mb},
			Disk: &mesos.Resource_DiskInfo{Source: &mesos.Resource_DiskInfo_Source{Type: &typ, Id: id}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, tc := range []struct {
		typ   mesos.Resource_DiskInfo_Source_Type
		id    *string
		parts bool
	}{
		{mesos.Resource_DiskInfo_Source_PATH, nil, true},
		{mesos.Resource_DiskInfo_Source_RAW, nil, true},
		{mesos.Resource_DiskInfo_Source_RAW, new("x"), false},
		{mesos.Resource_DiskInfo_Source_MOUNT, nil, false},
		{mesos.Resource_DiskInfo_Source_BLOCK, nil, false},
	} {
		if got := disk(tc.typ, tc.id, 10).Contains(disk(tc.typ, tc.id, 4)); got != tc.parts {
			t.Errorf("%v: parts can be taken: %v, want %v", tc.typ, got, tc.parts)
		}
	}
}

func TestUnknownFieldsTellResourcesApart(t *testing.T) {
	one := parse(t, "cpus:1").Proto(ReservationStack)[0]
	two := proto.CloneOf(one)
	two.ProtoReflect().SetUnknown([]byte{0xa0, 0x06, 1})
	r, err := From([]*mesos.Resource{one, two})
	if err != nil || len(r.Proto(RolePair)) != 2 {
		t.Fatalf("got %v, %v", r, err)
	}
	if got := r.Proto(RolePair)[1].ProtoReflect().GetUnknown(); len(got) != 3 {
		t.Errorf("the unknown field got lost: %v", got)
	}
}

func TestFromRefuses(t *testing.T) {
	scalar := func(f func(*mesos.Resource)) *mesos.Resource {
		r := &mesos.Resource{Name: new("cpus"), Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: proto.Float64(1)}}
		f(r)
		return r
	}
	info := func(kind mesos.Resource_ReservationInfo_Type, role string) *mesos.Resource_ReservationInfo {
		return &mesos.Resource_ReservationInfo{Type: &kind, Role: &role}
	}
	const static, dynamic = mesos.Resource_ReservationInfo_STATIC, mesos.Resource_ReservationInfo_DYNAMIC
	for want, f := range map[string]func(*mesos.Resource){
		"Empty resource name":     func(r *mesos.Resource) { r.Name = nil },
		"Invalid scalar resource": func(r *mesos.Resource) { r.Set = &mesos.Value_Set{} },
		"not finite":              func(r *mesos.Resource) { r.Scalar.Value = new(math.NaN()) },
		"too large":               func(r *mesos.Resource) { r.Scalar.Value = new(math.Inf(1)) },
		"Invalid ranges resource": func(r *mesos.Resource) { r.Type = mesos.Value_RANGES.Enum() },
		"begin > end": func(r *mesos.Resource) {
			r.Type, r.Scalar = mesos.Value_RANGES.Enum(), nil
			r.Ranges = &mesos.Value_Ranges{Range: []*mesos.Value_Range{{Begin: proto.Uint64(2), End: proto.Uint64(1)}}}
		},
		"Invalid set resource":                    func(r *mesos.Resource) { r.Type = mesos.Value_SET.Enum() },
		"Unsupported resource type":               func(r *mesos.Resource) { r.Type = mesos.Value_TEXT.Enum() },
		"role name is empty":                      func(r *mesos.Resource) { r.Role = new("") },
		`role "*" cannot be dynamically reserved`: func(r *mesos.Resource) { r.Reservation = &mesos.Resource_ReservationInfo{} },
		"'Resource.ReservationInfo.type' must not": func(r *mesos.Resource) {
			r.Role, r.Reservation = new("a"), &mesos.Resource_ReservationInfo{Type: dynamic.Enum()}
		},
		"'Resource.ReservationInfo.role' must not": func(r *mesos.Resource) {
			r.Role, r.Reservation = new("a"), &mesos.Resource_ReservationInfo{Role: new("a")}
		},
		"'Resource.role' must not be set": func(r *mesos.Resource) {
			r.Role, r.Reservations = new("a"), []*mesos.Resource_ReservationInfo{info(static, "a")}
		},
		"'Resource.reservation' must not be set": func(r *mesos.Resource) {
			r.Reservation, r.Reservations = &mesos.Resource_ReservationInfo{}, []*mesos.Resource_ReservationInfo{info(static, "a")}
		},
		"'role' must be set": func(r *mesos.Resource) { r.Reservations = []*mesos.Resource_ReservationInfo{{Type: static.Enum()}} },
		"cannot be reserved": func(r *mesos.Resource) { r.Reservations = []*mesos.Resource_ReservationInfo{info(static, "*")} },
		"empty part":         func(r *mesos.Resource) { r.Reservations = []*mesos.Resource_ReservationInfo{info(static, "a//b")} },
		"'type' must be set": func(r *mesos.Resource) { r.Reservations = []*mesos.Resource_ReservationInfo{{Role: new("a")}} },
		"cannot be STATIC": func(r *mesos.Resource) {
			r.Reservations = []*mesos.Resource_ReservationInfo{info(static, "a"), info(static, "a/b")}
		},
		"'a' is not refined by 'b'": func(r *mesos.Resource) {
			r.Reservations = []*mesos.Resource_ReservationInfo{info(static, "a"), info(dynamic, "b")}
		},
		"DiskInfo should not be set for cpus": func(r *mesos.Resource) { r.Disk = &mesos.Resource_DiskInfo{} },
		"Only persistent volumes":             func(r *mesos.Resource) { r.Shared = &mesos.Resource_SharedInfo{} },
	} {
		if _, err := From([]*mesos.Resource{scalar(f)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := From(make([]*mesos.Resource, maxAmounts+1)); err == nil {
		t.Error("any number of resources is taken")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"cpus:4;mem:4096;disk:10000;ports:[8000-8100,9000-9010];tags(role):{a,b}", "ports:[8006-8100,8003-8003]", "x(a(b)):1", "a:{b:c}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r, err := Parse(in)
		if err != nil {
			return
		}
		again, err := Parse(r.String())
		if err != nil || !again.Equal(r) || again.String() != r.String() {
			t.Fatalf("%q printed as %q reads as %q, %v", in, r, again, err)
		}
		if !r.Contains(r) || !r.Equal(r) {
			t.Fatalf("%q does not hold itself", r)
		}
		if got, err := From(r.Proto(RolePair)); err != nil || !got.Equal(r) {
			t.Fatalf("%q became %q, %v", r, got, err)
		}
	})
}

func BenchmarkAccept(b *testing.B) {
	offer := parse(b, "cpus:4;mem:4096;disk:10000;ports:[8000-8100,9000-9010]").Allocate("*")
	task := parse(b, "cpus:0.5;mem:64;ports:[8005]").Allocate("*").Proto(RolePair)
	b.ReportAllocs()
	for b.Loop() {
		need, err := From(task)
		if err != nil {
			b.Fatal(err)
		}
		if _, ok := offer.Sub(need); !ok {
			b.Fatal("the offer is too small")
		}
	}
}
