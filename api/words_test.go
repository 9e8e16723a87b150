package api

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseConstraint(t *testing.T) {
	for in, want := range map[string]Constraint{
		"zone=a":            {"zone", Equal, []string{"a"}},
		" zone != a ":       {"zone", NotEqual, []string{"a"}},
		"zone in a, b":      {"zone", In, []string{"a", "b"}},
		"zone in (a,b)":     {"zone", In, []string{"a", "b"}},
		"executor.image=x:": {"executor.image", Equal, []string{"x:"}},
		"zone=":             {"zone", Equal, []string{""}},
	} {
		got, err := ParseConstraint(in)
		if err != nil {
			t.Errorf("ParseConstraint(%q): %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ParseConstraint(%q) (-want +got):\n%s", in, diff)
		}
	}
	for _, in := range []string{"", "zone", "=a", "!=", " in a", "a b=c", "zo\x1bne=a", "zone in a=b", "Zone=a", strings.Repeat("z", 64) + "=a"} {
		_, err := ParseConstraint(in)
		if e, ok := err.(*Error); !ok || e.Code != CodeInvalidSpec || e.Hint == "" {
			t.Errorf("ParseConstraint(%q) gives %v, want invalid_spec with a hint", in, err)
		}
	}
}

func TestConstraintsMatch(t *testing.T) {
	attrs := map[string]string{"zone": "a"}
	for text, want := range map[string]bool{
		"zone=a": true, "zone=b": false, "zone!=a": false, "zone!=b": true, "zone in b,a": true, "zone in b,c": false,
		"gpu=yes": false, "gpu!=yes": true, "gpu in yes,no": false,
	} {
		c, err := ParseConstraint(text)
		if err != nil || c.Match(attrs) != want {
			t.Errorf("%s matches %v: %v, want %v (%v)", text, attrs, !want, want, err)
		}
	}
	if (Constraint{"zone", "~", []string{"a"}}).Match(attrs) {
		t.Error("an unknown operator matches")
	}
}

func FuzzParseConstraint(f *testing.F) {
	for _, s := range []string{"zone=a", "zone!=a", "zone in a,b", "zone in (a, b)", "a in ((b))", "=", "x in ,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseConstraint(s)
		if err != nil {
			return
		}
		if err := c.Check(); err != nil {
			t.Errorf("ParseConstraint(%q) gives one that is not valid: %v", s, err)
		}
		if _, err := ParseConstraint(c.String()); err != nil {
			t.Errorf("ParseConstraint(%q) = %s, which does not read: %v", s, c, err)
		}
	})
}

func TestParseAttributes(t *testing.T) {
	got, err := ParseAttributes("zone:a; gpu:no;url:http://x")
	if want := (map[string]string{"zone": "a", "gpu": "no", "url": "http://x"}); err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, in := range []string{"zone", "a b:c", ":x", "a:1;a:2", "x:" + strings.Repeat("v", 257)} {
		if got, err := ParseAttributes(in); err == nil {
			t.Errorf("ParseAttributes(%q) = %v, want an error", in, got)
		}
	}
}

func TestNames(t *testing.T) {
	for _, ok := range []string{"a", "0", "etl.v1-2_x", strings.Repeat("a", 63)} {
		if err := CheckName("task", ok); err != nil {
			t.Errorf("CheckName(%q): %v", ok, err)
		}
	}
	for _, bad := range []string{"", "../x", "a/b", ".", "-a", "A", "ä", "a b", "a\x00", "a\n", "\x1b[2J", "\u202eabc", "🌸", strings.Repeat("a", 64)} {
		err := CheckName("task", bad)
		if e, ok := err.(*Error); !ok || e.Code != CodeInvalidName || e.Hint == "" {
			t.Errorf("CheckName(%q) gives %v, want invalid_name with a hint", bad, err)
			continue
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < 0x20 || r == 0x202e }) {
			t.Errorf("the error for %q is not safe to show: %q", bad, err)
		}
	}
}

func TestDigestsAndModuleRefs(t *testing.T) {
	d := DigestOf([32]byte{0xab})
	if got, err := ParseDigest(string(d)); err != nil || got != d || d.Short() != "ab0000000000" || len(d.Hex()) != 64 {
		t.Errorf("%s reads as %s, %v", d, got, err)
	}
	for in, want := range map[string]string{"hello": "hello:latest", "hello:1.2": "hello:1.2", string(d): string(d)} {
		if got, err := ParseModuleRef(in); err != nil || got.String() != want {
			t.Errorf("ParseModuleRef(%q) = %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", ":", "a:", ":a", "a:b:c", "../a", "sha256:12", "sha256:" + strings.Repeat("A", 64), "A", "a/b"} {
		if got, err := ParseModuleRef(in); err == nil {
			t.Errorf("ParseModuleRef(%q) = %v, want an error", in, got)
		}
	}
}

func TestTaskIDs(t *testing.T) {
	if got := NewTaskID(0).Member(7); got != "000000000000-7" {
		t.Errorf("got %s", got)
	}
	if a, b := NewTaskID(1), NewTaskID(1<<59); a == b || len(b) != taskIDLen {
		t.Errorf("%s and %s", a, b)
	}
}

func TestEveryCodeHasAStatusAndEveryReasonASentence(t *testing.T) {
	for c, s := range Codes() {
		if s < 400 || s > 599 || c.Status() != s {
			t.Errorf("code %s has status %d", c, s)
		}
	}
	for _, r := range Reasons() {
		if r.Sentence() == "" {
			t.Errorf("reason %s has no sentence", r)
		}
		if c := ExitCode(r); c < 1 || c > 255 {
			t.Errorf("reason %s has exit code %d", r, c)
		}
	}
	if Code("nonsense").Status() != 500 || Reason("nonsense").Sentence() != "" {
		t.Error("unknown codes are not told apart")
	}
}

func TestAsError(t *testing.T) {
	e := Errorf(CodeInUse, "busy").WithHint("wait")
	got := AsError(fmt.Errorf("remove x: %w", e))
	if got.Code != CodeInUse || got.Message != "remove x: busy" || got.Hint != "wait" || e.Message != "busy" {
		t.Errorf("got %+v, from %+v", got, e)
	}
	if AsError(nil) != nil || AsError(errors.New("x")).Code != CodeInternal || !errors.Is(got, Errorf(CodeInUse, "")) || errors.Is(got, Errorf(CodeConflict, "")) {
		t.Error("AsError or Is is wrong")
	}
}

func TestClosest(t *testing.T) {
	names := []string{"logs", "ps", "resources", "node", "nodes"}
	for in, want := range map[string]string{"lgos": "logs", "resorces": "resources", "nod": "node", "LOGS": "logs", "zzzzzz": "", "": ""} {
		if got := Closest(in, names); got != want {
			t.Errorf("Closest(%q) = %q, want %q", in, got, want)
		}
	}
}
