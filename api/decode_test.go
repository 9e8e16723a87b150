package api

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestDecodeStrictRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		code Code
		has  []string // in message or hint
	}{
		"unknown field":          {`{"shell":{"scrpt":"x"}}`, CodeUnknownField, []string{`"scrpt"`, "/shell", `"script"`}},
		"unknown field at top":   {`{"resorces":{}}`, CodeUnknownField, []string{`"resorces"`, `"resources"`}},
		"other case":             {`{"Name":"x"}`, CodeUnknownField, []string{`"name"`}},
		"doubled key":            {`{"name":"a","name":"b"}`, CodeInvalidSpec, []string{"/name", "twice"}},
		"doubled key in a map":   {`{"env":{"A":"1","A":"2"}}`, CodeInvalidSpec, []string{"/env/A"}},
		"wrong type":             {`{"count":"three"}`, CodeInvalidSpec, []string{"/count", "number"}},
		"object for text":        {`{"name":{}}`, CodeInvalidSpec, []string{"/name"}},
		"list for object":        {`{"shell":[]}`, CodeInvalidSpec, []string{"/shell"}},
		"negative cpus":          {`{"resources":{"cpus":-1}}`, CodeInvalidResources, []string{"/resources/cpus", `"-1"`}},
		"absurd cpus":            {`{"resources":{"cpus":1e308}}`, CodeInvalidResources, []string{"/resources/cpus"}},
		"bad mem":                {`{"resources":{"mem":"lots"}}`, CodeInvalidResources, []string{"/resources/mem", "64Mi"}},
		"bad timeout":            {`{"timeout":"soon"}`, CodeInvalidSpec, []string{"/timeout", "30s"}},
		"in a list":              {`{"constraints":[{"key":"a","op":"=","valus":[]}]}`, CodeUnknownField, []string{"/constraints/0", `"values"`}},
		"NaN":                    {`{"count":NaN}`, CodeInvalidSpec, nil},
		"count too large":        {`{"count":1e30}`, CodeInvalidSpec, []string{"/count"}},
		"ends early":             {`{"name":`, CodeInvalidSpec, []string{"too early"}},
		"empty":                  {``, CodeInvalidSpec, []string{"too early"}},
		"more after it":          {`{} {}`, CodeInvalidSpec, []string{"more"}},
		"deep":                   {`{"env":` + strings.Repeat(`[`, 10000), CodeInvalidSpec, []string{"deeper"}},
		"deep in a field":        {`{"env":` + strings.Repeat(`{"a":`, 1000), CodeInvalidSpec, []string{"deeper"}},
		"slash in a field":       {`{"a/b~c":1}`, CodeUnknownField, []string{`"a/b~c"`}},
		"control characters":     {"{\"\\u001b[2J\":1}", CodeUnknownField, []string{`\u001b`}},
		"not base64 for stdin":   {`{"stdin":"%%"}`, CodeInvalidSpec, nil},
		"number for an interval": {`{"backoff":-1}`, CodeInvalidSpec, []string{"/backoff"}},
	} {
		t.Run(name, func(t *testing.T) {
			var s Spec
			err := DecodeStrict([]byte(c.in), &s)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code != c.code {
				t.Fatalf("got %v, want code %s", err, c.code)
			}
			for _, want := range c.has {
				if !strings.Contains(e.Message+"\n"+e.Hint, want) {
					t.Errorf("%q, hint %q: lacks %q", e.Message, e.Hint, want)
				}
			}
		})
	}
}

func TestDecodeStrictReadsWhatIsRight(t *testing.T) {
	var s Spec
	in := `{"name":"x","wasm":{"module":"m","args":["a"]},"resources":{"cpus":0.5,"mem":"64Mi"},"timeout":90,"env":{"a":"b"},"stdin":"aGk="}`
	if err := DecodeStrict([]byte(in), &s); err != nil {
		t.Fatal(err)
	}
	if s.Wasm.Module != "m" || s.Resources.CPUs != 500 || s.Resources.Mem != 64*MiB || s.Timeout.String() != "1m30s" || string(s.Stdin) != "hi" {
		t.Errorf("got %+v", s)
	}
	var list []Spec
	if err := DecodeStrict([]byte(`[{"name":"a"},{"name":"b"}]`), &list); err != nil || len(list) != 2 || list[1].Name != "b" {
		t.Errorf("got %+v, %v", list, err)
	}
	var node Node // embeds NodeInfo, and holds times
	if err := DecodeStrict([]byte(`{"name":"n","seen":"2026-01-02T03:04:05Z","total":{"cpus":1,"mem":0,"disk":0}}`), &node); err != nil || node.Name != "n" {
		t.Errorf("got %+v, %v", node, err)
	}
}

// FuzzDecodeStrict checks that nothing panics, that what is accepted is also what encoding/json reads, and that it checks.
func FuzzDecodeStrict(f *testing.F) {
	for _, s := range []string{
		`{"name":"x","wasm":{"module":"m"}}`, `{"resources":{"cpus":1.5,"mem":"1Gi"}}`, `{"files":[{"path":"a","blob":"b"}]}`, `[]`, `null`, `{"env":{"A":null}}`,
		`{"container":{"image":"x","ports":[{"container":80,"index":0}]}}`, `{"constraints":[{"key":"a","op":"in","values":["b"]}]}`, `{"timeout":"1s","stdin":"aGk="}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var strict, lax Spec
		if err := DecodeStrict(b, &strict); err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("%v is no *Error", err)
			}
			return
		}
		if err := json.Unmarshal(b, &lax); err != nil {
			t.Errorf("accepted %q, which encoding/json refuses: %v", b, err)
		}
		full := strict.WithDefaults()
		if err := full.Check(); err == nil {
			if out, err := json.Marshal(full); err != nil || DecodeStrict(out, &lax) != nil {
				t.Errorf("%q is valid, and its own JSON %q is not: %v", b, out, err)
			}
		}
	})
}
