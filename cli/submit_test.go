package cli

import (
	"errors"
	"testing"

	"github.com/saki-run/saki/api"
)

// FuzzSpecFile checks that no file of specs makes the command panic, and that what is refused has a code.
func FuzzSpecFile(f *testing.F) {
	for _, s := range []string{
		"shell: {script: hi}\n---\n- {wasm: {module: a}}\n", `[{"shell":{"argv":["a"]}}]`, "a: &x [1]\nb: *x\n", "a: [", "? {a: b}\n: c\n", "!!binary x",
		"resources: {cpus: .nan, mem: 64Mi}", "1: 2", "<<: {a: b}", "files: [{local: /nonexistent}]", "- - - a", "\x00", "a: |\n  b\n c",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		docs, err := parseDocs(b)
		for _, doc := range docs {
			var spec api.Spec
			if err = readSpec(doc, &staging{}, "/nonexistent", &spec); err != nil {
				break
			}
		}
		if _, ok := errors.AsType[*api.Error](err); err != nil && !ok {
			t.Errorf("%q gives %v, which is no *api.Error", b, err)
		}
	})
}
