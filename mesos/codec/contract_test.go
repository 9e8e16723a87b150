package codec_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestNumbersAreTheContract compares every field and enum value with a list
// that was checked against the definitions other Mesos programs use. A line
// may be added to it; a change of a line breaks clients.
func TestNumbersAreTheContract(t *testing.T) {
	lines := map[string]bool{}
	enum := func(ed protoreflect.EnumDescriptor) {
		for i := range ed.Values().Len() {
			v := ed.Values().Get(i)
			lines[fmt.Sprintf("%s %s = %d", ed.FullName(), v.Name(), v.Number())] = true
		}
	}
	for _, mt := range messages(t) {
		fields := mt.Descriptor().Fields()
		for i := range fields.Len() {
			fd := fields.Get(i)
			typ := fd.Kind().String()
			switch {
			case fd.IsMap():
				typ = "map of " + fd.MapValue().Kind().String()
				if m := fd.MapValue().Message(); m != nil {
					typ = "map of " + string(m.FullName())
				}
			case fd.Message() != nil:
				typ = string(fd.Message().FullName())
			case fd.Enum() != nil:
				typ = string(fd.Enum().FullName())
				enum(fd.Enum())
			}
			def := ""
			if fd.HasDefault() {
				def = " default " + fd.Default().String()
				if fd.Enum() != nil {
					def = " default " + string(fd.DefaultEnumValue().Name())
				}
			}
			lines[fmt.Sprintf("%s %s = %d %s %s%s", mt.Descriptor().FullName(), fd.Name(), fd.Number(), fd.Cardinality(), typ, def)] = true
		}
	}
	sorted := make([]string, 0, len(lines))
	for l := range lines {
		sorted = append(sorted, l)
	}
	slices.Sort(sorted)
	got := strings.Join(sorted, "\n") + "\n"
	const golden = "testdata/contract.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		have := map[string]bool{}
		for l := range strings.Lines(string(want)) {
			have[strings.TrimSuffix(l, "\n")] = true
		}
		for _, l := range sorted {
			if !have[l] {
				t.Errorf("new or changed: %s", l)
			}
		}
		for l := range have {
			if !lines[l] {
				t.Errorf("gone: %s", l)
			}
		}
	}
}
