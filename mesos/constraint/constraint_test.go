package constraint

import (
	"strings"
	"testing"

	"github.com/saki-run/saki/mesos"
	"github.com/saki-run/saki/mesos/codec"
	"github.com/saki-run/saki/mesos/resources"
	"github.com/saki-run/saki/mesos/scheduler"
)

func read(t testing.TB, text string) *scheduler.OfferConstraints {
	t.Helper()
	var c scheduler.OfferConstraints
	if err := codec.JSON.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return &c
}

func agent(t testing.TB, host, attributes, domain string) *mesos.AgentInfo {
	t.Helper()
	as, err := resources.ParseAttributes(attributes)
	if err != nil {
		t.Fatal(err)
	}
	a := &mesos.AgentInfo{Hostname: &host, Attributes: as}
	if region, zone, ok := strings.Cut(domain, "/"); ok {
		a.Domain = &mesos.DomainInfo{FaultDomain: &mesos.DomainInfo_FaultDomain{
			Region: &mesos.DomainInfo_FaultDomain_RegionInfo{Name: &region}, Zone: &mesos.DomainInfo_FaultDomain_ZoneInfo{Name: &zone},
		}}
	}
	return a
}

const (
	host   = `{"pseudoattribute_type":"HOSTNAME"}`
	region = `{"pseudoattribute_type":"REGION"}`
	zone   = `{"pseudoattribute_type":"ZONE"}`
	rack   = `{"attribute_name":"rack"}`
)

func one(selector, predicate string) string {
	return `{"selector":` + selector + `,"predicate":` + predicate + `}`
}

func groups(gs ...string) string {
	for i, g := range gs {
		gs[i] = `{"attribute_constraints":[` + g + `]}`
	}
	return `{"role_constraints":{"eng":{"groups":[` + strings.Join(gs, ",") + `]}}}`
}

func TestPredicates(t *testing.T) {
	agents := []*mesos.AgentInfo{
		agent(t, "a1", "rack:r1;rack:r2", "eu/x"), // The first rack counts.
		agent(t, "a2", "rack:r2", ""),
		agent(t, "a3", "rack:7", "us/y"), // A number.
		agent(t, "b1", "", "eu/"),
	}
	for _, tc := range []struct{ selector, predicate, want string }{
		{rack, `{"exists":{}}`, "a1 a2 a3"},
		{rack, `{"not_exists":{}}`, "b1"},
		{rack, `{"text_equals":{"value":"r1"}}`, "a1 a3"},
		{rack, `{"text_not_equals":{"value":"r1"}}`, "a2 a3 b1"},
		{rack, `{"text_matches":{"regex":"r[2-9]"}}`, "a2 a3"},
		{rack, `{"text_not_matches":{"regex":"r[2-9]"}}`, "a1 a3 b1"},
		{host, `{"exists":{}}`, "a1 a2 a3 b1"},
		{host, `{"text_equals":{"value":"a2"}}`, "a2"},
		{host, `{"text_matches":{"regex":"a"}}`, ""},
		{host, `{"text_matches":{"regex":"a|a1"}}`, "a1"},
		{host, `{"text_matches":{"regex":"a.|b.*"}}`, "a1 a2 a3 b1"},
		{host, `{"text_matches":{"regex":"(?i)A\\Q1"}}`, "a1"},
		{region, `{"exists":{}}`, "a1 a3 b1"},
		{region, `{"text_equals":{"value":"eu"}}`, "a1 b1"},
		{zone, `{"not_exists":{}}`, "a2"},
		{zone, `{"text_not_equals":{"value":"x"}}`, "a2 a3 b1"},
	} {
		f, err := New(read(t, groups(one(tc.selector, tc.predicate))))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range agents {
			if f.Pass("eng", a) {
				got = append(got, a.GetHostname())
			}
			if !f.Pass("ops", a) {
				t.Errorf("a role without constraints is kept from %s", a.GetHostname())
			}
		}
		if g := strings.Join(got, " "); g != tc.want {
			t.Errorf("%s %s: got %q, want %q", tc.selector, tc.predicate, g, tc.want)
		}
	}
}

func TestOneGroupMustHoldEntirely(t *testing.T) {
	f, err := New(read(t, groups(
		one(host, `{"text_equals":{"value":"a1"}}`),
		one(rack, `{"text_not_equals":{"value":"r1"}}`)+","+one(rack, `{"text_not_equals":{"value":"r2"}}`),
	)))
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]bool{"a1 r1": true, "a2 r1": false, "a2 r2": false, "a2 r3": true} {
		name, r, _ := strings.Cut(in, " ")
		if got := f.Pass("eng", agent(t, name, "rack:"+r, "")); got != want {
			t.Errorf("%s: got %v", in, got)
		}
	}
}

func TestNoConstraints(t *testing.T) {
	none, err := New(nil)
	if err != nil || !none.Pass("eng", nil) || !(*Filter)(nil).Pass("eng", nil) {
		t.Errorf("no constraints keep agents away: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	const pre = "A role eng has an invalid 'AttributeConstraint': "
	for in, want := range map[string]string{
		`{"role_constraints":{"eng":{}}}`:  "'OfferConstraints::role_constraints' has an empty 'RoleConstraints::groups' for role eng",
		groups(""):                         "'OfferConstraints::RoleConstraints::groups' for role eng contains an empty RoleConstraints::Group",
		groups(one(`{}`, `{"exists":{}}`)): pre + "Exactly one of",
		groups(one(`{"pseudoattribute_type":"MOOD"}`, `{"exists":{}}`)):    pre + "Exactly one of",
		groups(one(`{"pseudoattribute_type":"UNKNOWN"}`, `{"exists":{}}`)): pre + "Unknown pseudoattribute type",
		groups(one(rack, `{}`)):                                    pre + "Unknown predicate type",
		groups(one(rack, `{"text_matches":{"regex":"("}}`)):        pre + "Failed to construct regex from pattern '(': ",
		groups(one(rack, `{"text_not_matches":{"regex":"a)(b"}}`)): pre + "Failed to construct regex from pattern 'a)(b': ",
		groups(one(rack, `{"text_matches":{"regex":"a{1,999}"}}`)): pre + "Regex 'a{1,999}' is too complex: program size of ",
	} {
		if _, err := New(read(t, in)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", in, err, want)
		}
	}
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{"a|b", "(?i)x", "a)(b", `\Q)`, "(?:", "x{2,3}", `a\`} {
		f.Add(s, "abx")
	}
	f.Fuzz(func(t *testing.T, re, s string) {
		e, err := expression(re)
		if err != nil {
			return
		}
		if loc := e.FindStringIndex(s); loc != nil && (loc[0] != 0 || loc[1] != len(s)) {
			t.Fatalf("%q matches %q in part: %v", re, s, loc)
		}
	})
}
