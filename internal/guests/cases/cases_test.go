package cases

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestLoadReadsEveryField(t *testing.T) {
	root := fstest.MapFS{
		"cases.json": {Data: []byte(`[{"name": "all", "module": "m", "args": ["a"], "env": ["K=V"], "stdin_file": "in",
			"files": {"/f": "in"}, "mem_mib": 16, "timeout": "2s", "exit": 4, "stdout": "x", "stderr": ""}]`)},
		"in": {Data: []byte("input")},
	}
	all, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	c := all[0]
	if len(all) != 1 || c.Name != "all" || c.Module != "m" || c.Args[0] != "a" || c.Env[0] != "K=V" ||
		string(c.Stdin) != "input" || string(c.Files["/f"]) != "input" || c.MemMiB != 16 || c.Timeout != 2*time.Second ||
		c.Want.Exit != 4 || string(c.Want.Stdout) != "x" || c.AnyStderr {
		t.Errorf("loaded %+v", all)
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct{ name, json, want string }{
		{"no file", "", "cases.json"},
		{"no JSON", "hello", "invalid character"},
		{"two values", "[] []", "more than one"},
		{"a field it does not know", `[{"name": "a", "module": "m", "stdinn": "x"}]`, "stdinn"},
		{"a case without a name", `[{"module": "m"}]`, "needs a name"},
		{"a case without a module", `[{"name": "a"}]`, "needs a name"},
		{"two cases of one name", `[{"name": "a", "module": "m"}, {"name": "a", "module": "m"}]`, "taken"},
		{"a missing input", `[{"name": "a", "module": "m", "stdin_file": "gone"}]`, "gone"},
		{"a missing output", `[{"name": "a", "module": "m", "stdout_file": "gone"}]`, "gone"},
		{"a missing staged file", `[{"name": "a", "module": "m", "files": {"/x": "gone"}}]`, "gone"},
		{"a relative guest path", `[{"name": "a", "module": "m", "files": {"x": "cases.json"}}]`, "slash"},
		{"stdin twice", `[{"name": "a", "module": "m", "stdin": "x", "stdin_file": "cases.json"}]`, "more than once"},
		{"stdout twice", `[{"name": "a", "module": "m", "stdout": "x", "stdout_match": "x"}]`, "more than once"},
		{"a bad pattern", `[{"name": "a", "module": "m", "stdout_match": "("}]`, "stdout_match"},
		{"a bad timeout", `[{"name": "a", "module": "m", "timeout": "soon"}]`, "timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{}
			if tt.json != "" {
				root["cases.json"] = &fstest.MapFile{Data: []byte(tt.json)}
			}
			if _, err := Load(root); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestCheckNamesEachDifference(t *testing.T) {
	root := fstest.MapFS{"cases.json": {Data: []byte(`[
		{"name": "plain", "module": "m", "exit": 1, "stdout": "out", "stderr": "err"},
		{"name": "match", "module": "m", "stdout_match": "^a+$"},
		{"name": "trap", "module": "m", "trap": true}]`)}}
	all, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	plain, match, trap := all[0], all[1], all[2]
	good := Result{Exit: 1, Stdout: []byte("out"), Stderr: []byte("err")}
	tests := []struct {
		name string
		c    Case
		got  Result
		want []string // nothing: as expected
	}{
		{"as expected", plain, good, nil},
		{"exit code", plain, Result{Exit: 2, Stdout: good.Stdout, Stderr: good.Stderr}, []string{"exit code is 2, want 1"}},
		{"stdout", plain, Result{Exit: 1, Stderr: good.Stderr}, []string{`stdout is "", want "out"`}},
		{"all at once", plain, Result{}, []string{"exit code", "stdout", "stderr"}},
		{"a match", match, Result{Stdout: []byte("aaa"), Stderr: []byte("chatter")}, nil},
		{"no match", match, Result{Stdout: []byte("b"), Stderr: []byte("why")}, []string{`a match of ^a+$`, `stderr was "why"`}},
		{"a trap has no exit code", trap, Result{Trap: true, Exit: 134}, nil},
		{"a missing trap", trap, Result{}, []string{"trap is false"}},
		{"long output is cut", plain, Result{Exit: 1, Stdout: make([]byte, 300), Stderr: good.Stderr}, []string{"and 100 bytes more"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.c.Check(tt.got)
			if (err == nil) != (len(tt.want) == 0) {
				t.Fatalf("Check = %v, want %q", err, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Check = %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestWasmIsTakenFromTheCommittedGuestsOrBin(t *testing.T) {
	root := fstest.MapFS{"bin/built.wasm": {Data: []byte("built")}}
	if wasm, err := (Case{Module: "hello"}).Wasm(root); err != nil || len(wasm) == 0 {
		t.Errorf("hello: %d bytes, %v", len(wasm), err)
	}
	if wasm, err := (Case{Module: "built"}).Wasm(root); err != nil || string(wasm) != "built" {
		t.Errorf("built: %q, %v", wasm, err)
	}
	if _, err := (Case{Module: "missing"}).Wasm(root); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("missing: %v, want %v", err, ErrNotBuilt)
	}
}

func TestTheCommittedTableLoads(t *testing.T) {
	all, err := Load(os.DirFS("../../../wasm-tasks"))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Error("the table is empty")
	}
}
