package api

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseResources(t *testing.T) {
	got, given, err := ParseResources(" cpus:4 ; mem:4096;disk:10Gi;ports:[8000-8100, 9000] ;")
	if err != nil {
		t.Fatal(err)
	}
	want := Resources{CPUs: 4000, Mem: 4 * GiB, Disk: 10 * GiB, Ports: Ports{{8000, 8100}, {9000, 9000}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	if len(given) != 4 || !given["ports"] {
		t.Errorf("given %v", given)
	}
	if _, given, err := ParseResources(""); err != nil || len(given) != 0 {
		t.Errorf("the empty text gives %v, %v", given, err)
	}
	for _, in := range []string{
		"cpus", "cpus:", "cpus:-1", "cpus:NaN", "cpus:1;cpus:2", "gpus:1", "mem:1Zi", "mem:-1", "mem:", "disk:x", "ports:[9000-8000]",
		"ports:[0-5]", "ports:65536", "ports:[1-2", "ports:1-2]", "ports:[[1]]", "ports:]1[", "ports:1-2-3", "ports:a", "ports:+1", "ports:-", "ports:1-",
	} {
		_, _, err := ParseResources(in)
		if e, ok := err.(*Error); !ok || e.Code != CodeInvalidResources || e.Hint == "" {
			t.Errorf("ParseResources(%q) gives %v, want invalid_resources with a hint", in, err)
		}
	}
}

func FuzzParseResources(f *testing.F) {
	f.Add("cpus:4;mem:4096;disk:10000;ports:[8000-8100,9000-9010]")
	f.Add("cpus:0.001;mem:1.5Gi;ports:65535")
	f.Fuzz(func(t *testing.T, s string) {
		r, _, err := ParseResources(s)
		if err != nil {
			return
		}
		if r.Negative() {
			t.Errorf("ParseResources(%q) is negative: %s", s, r)
		}
		again, _, err := ParseResources(r.String())
		if err != nil || again.CPUs != r.CPUs || !cmp.Equal(again.Ports, r.Ports) {
			t.Errorf("ParseResources(%q) = %s, which reads as %s, %v", s, r, again, err)
		}
	})
}

func FuzzParsePorts(f *testing.F) {
	f.Add("[8000-8100,9000]", uint16(8050))
	f.Add("1-65535", uint16(1))
	f.Add("5,4,3,2-9,7", uint16(3))
	f.Fuzz(func(t *testing.T, s string, cut uint16) {
		p, err := ParsePorts(s)
		if err != nil {
			return
		}
		checkPorts(t, p)
		if again, err := ParsePorts(p.String()); err != nil || !cmp.Equal(again, p) {
			t.Errorf("ParsePorts(%q) = %s, which reads as %s, %v", s, p, again, err)
		}
		rest := p.Minus(PortsOf(cut))
		checkPorts(t, rest)
		if rest.Contains(PortsOf(cut)) {
			t.Errorf("%s without %d is %s", p, cut, rest)
		}
	})
}

// checkPorts checks that the ranges are sorted, whole and apart.
func checkPorts(t *testing.T, p Ports) {
	t.Helper()
	last := -1
	for _, r := range p {
		if int(r.First) <= last+1 && last >= 0 || r.Last < r.First {
			t.Errorf("%s is not in normal form", p)
		}
		last = int(r.Last)
	}
}

// TestPortsAgreeWithASet compares the set operations with a map of single ports.
func TestPortsAgreeWithASet(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() (Ports, map[int]bool) {
		var list []uint16
		set := map[int]bool{}
		for range rnd.IntN(20) {
			n := uint16(1 + rnd.IntN(30))
			if rnd.IntN(10) == 0 {
				n = 65535
			}
			list, set[int(n)] = append(list, n), true
		}
		return PortsOf(list...), set
	}
	for range 2000 {
		a, setA := random()
		b, setB := random()
		union, minus, contains := a.Union(b), a.Minus(b), a.Contains(b)
		checkPorts(t, union)
		checkPorts(t, minus)
		wantContains := true
		both, less := 0, 0
		for n := range 65536 {
			if setA[n] || setB[n] {
				both++
			}
			if setA[n] && !setB[n] {
				less++
			}
			if setB[n] && !setA[n] {
				wantContains = false
			}
			if n == 40 {
				break
			}
		}
		if setA[65535] || setB[65535] {
			both++
		}
		if setA[65535] && !setB[65535] {
			less++
		}
		wantContains = wantContains && (!setB[65535] || setA[65535])
		if union.Len() != both || minus.Len() != less || contains != wantContains {
			t.Fatalf("%s and %s: union %s (want %d ports), minus %s (want %d), contains %v (want %v)", a, b, union, both, minus, less, contains, wantContains)
		}
		if got := a.Take(len(setA)); len(got) != len(setA) || a.Take(len(setA)+1) != nil {
			t.Fatalf("%s: Take gives %v", a, got)
		}
	}
	if got := PortsOf(1, 2).Take(-1); len(got) != 0 {
		t.Errorf("Take(-1) = %v", got)
	}
}

func TestResourcesAddUp(t *testing.T) {
	a := Resources{CPUs: 1000, Mem: GiB, Disk: 5, Ports: PortsOf(1, 2)}
	b := Resources{CPUs: 250, Mem: MiB, Disk: 1, Ports: PortsOf(3)}
	if diff := cmp.Diff(a, a.Add(b).Sub(b)); diff != "" {
		t.Errorf("a+b-b (-want +got):\n%s", diff)
	}
	if !b.Sub(a).Negative() || a.Sub(b).Negative() {
		t.Error("Negative is wrong")
	}
}
