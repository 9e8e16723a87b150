package cluster

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/internal/guests"
	"github.com/saki-run/saki/wasm/build"
)

var update = flag.Bool("update", false, "rewrite golden files")

// call makes one request and gives the status and body.
func call(t *testing.T, method, url string, body io.Reader, header ...string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

func codeOf(t *testing.T, body []byte) api.Code {
	t.Helper()
	var e api.ErrorBody
	if err := json.Unmarshal(body, &e); err != nil || e.Error == nil {
		t.Fatalf("not an error body: %s", body)
	}
	if e.Error.Message == "" {
		t.Errorf("error %s has no message", e.Error.Code)
	}
	return e.Error.Code
}

func guest(t *testing.T, name string) []byte {
	t.Helper()
	b, err := guests.Module(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBadRequestsGetACodeAndNothingIsQueued(t *testing.T) {
	c := Start(t, Config{})
	c.Leader()
	url := c.URLs()[0]
	hello := guest(t, "hello")
	if code, body := call(t, "PUT", url+"/v1/modules?tag=hello", bytes.NewReader(hello)); code != http.StatusCreated {
		t.Fatalf("push: %d %s", code, body)
	}
	if code, body := call(t, "PUT", url+"/v1/modules?tag=reactor", bytes.NewReader(guest(t, "reactor"))); code != http.StatusCreated {
		t.Fatalf("push: %d %s", code, body)
	}
	var m build.Module
	m.ImportFunc("env", "nope", m.Type(nil, nil))
	m.ImportFunc("env", "neither", m.Type(nil, nil))
	foreign := m.Bytes()
	deep := strings.Repeat(`{"shell":`, 10_000)
	for _, x := range []struct {
		name, method, path, body string
		status                   int
		code                     api.Code
	}{
		{"empty body", "POST", "/v1/tasks", "", 400, api.CodeInvalidSpec},
		{"not JSON", "POST", "/v1/tasks", "{", 400, api.CodeInvalidSpec},
		{"trailing text", "POST", "/v1/tasks", `{"shell":{"script":"a"}} x`, 400, api.CodeInvalidSpec},
		{"empty list", "POST", "/v1/tasks", `[]`, 400, api.CodeInvalidSpec},
		{"no kind", "POST", "/v1/tasks", `{}`, 400, api.CodeInvalidSpec},
		{"two kinds", "POST", "/v1/tasks", `{"shell":{"script":"a"},"wasm":{"module":"hello"}}`, 400, api.CodeInvalidSpec},
		{"unknown field", "POST", "/v1/tasks", `{"shell":{"script":"a"},"timeuot":"1s"}`, 400, api.CodeUnknownField},
		{"case of a field", "POST", "/v1/tasks", `{"Shell":{"script":"a"}}`, 400, api.CodeUnknownField},
		{"doubled field", "POST", "/v1/tasks", `{"shell":{"script":"a"},"shell":{"script":"b"}}`, 400, api.CodeInvalidSpec},
		{"deep nesting", "POST", "/v1/tasks", deep, 400, api.CodeUnknownField},
		{"deep list", "POST", "/v1/tasks", `{"labels":` + strings.Repeat("[", 10_000), 400, api.CodeInvalidSpec},
		{"negative cpus", "POST", "/v1/tasks", `{"shell":{"script":"a"},"resources":{"cpus":-1}}`, 400, api.CodeInvalidResources},
		{"NaN cpus", "POST", "/v1/tasks", `{"shell":{"script":"a"},"resources":{"cpus":NaN}}`, 400, api.CodeInvalidSpec},
		{"huge cpus", "POST", "/v1/tasks", `{"shell":{"script":"a"},"resources":{"cpus":1e308}}`, 400, api.CodeInvalidResources},
		{"tiny cpus", "POST", "/v1/tasks", `{"shell":{"script":"a"},"resources":{"cpus":0.0000001}}`, 400, api.CodeInvalidResources},
		{"many cpus", "POST", "/v1/tasks", `{"shell":{"script":"a"},"resources":{"cpus":100000}}`, 400, api.CodeInvalidResources},
		{"little memory", "POST", "/v1/tasks", `{"shell":{"script":"a"},"resources":{"mem":"1"}}`, 400, api.CodeInvalidResources},
		{"many ports", "POST", "/v1/tasks", `{"shell":{"script":"a"},"resources":{"ports":10000}}`, 400, api.CodeInvalidResources},
		{"large count", "POST", "/v1/tasks", `{"shell":{"script":"a"},"count":1000000000}`, 400, api.CodeInvalidSpec},
		{"overlong timeout", "POST", "/v1/tasks", `{"shell":{"script":"a"},"timeout":"999999999h"}`, 400, api.CodeInvalidSpec},
		{"name with a slash", "POST", "/v1/tasks", `{"shell":{"script":"a"},"name":"a/b"}`, 400, api.CodeInvalidName},
		{"name with dots", "POST", "/v1/tasks", `{"shell":{"script":"a"},"name":"../x"}`, 400, api.CodeInvalidName},
		{"name with ESC", "POST", "/v1/tasks", `{"shell":{"script":"a"},"name":"a\u001b[31m"}`, 400, api.CodeInvalidName},
		{"namespace with dots", "POST", "/v1/tasks", `{"shell":{"script":"a"},"namespace":".."}`, 400, api.CodeInvalidName},
		{"env key with =", "POST", "/v1/tasks", `{"shell":{"script":"a"},"env":{"A=B":"c"}}`, 400, api.CodeInvalidSpec},
		{"NUL in a script", "POST", "/v1/tasks", `{"shell":{"script":"a\u0000b"}}`, 400, api.CodeInvalidSpec},
		{"file that escapes", "POST", "/v1/tasks", `{"shell":{"script":"a"},"files":[{"path":"../x","blob":"sha256:` + strings.Repeat("0", 64) + `"}]}`, 400, api.CodeInvalidSpec},
		{"blob that is not there", "POST", "/v1/tasks", `{"shell":{"script":"a"},"files":[{"path":"x","blob":"sha256:` + strings.Repeat("0", 64) + `"}]}`, 404, api.CodeNotFound},
		{"unknown module", "POST", "/v1/tasks", `{"wasm":{"module":"helo"}}`, 404, api.CodeModuleNotFound},
		{"unknown digest", "POST", "/v1/tasks", `{"wasm":{"module":"sha256:` + strings.Repeat("0", 64) + `"}}`, 404, api.CodeModuleNotFound},
		{"unknown function", "POST", "/v1/tasks", `{"wasm":{"module":"hello","func":"strat"}}`, 422, api.CodeNoEntryPoint},
		{"no entry point", "POST", "/v1/tasks", `{"wasm":{"module":"reactor"}}`, 422, api.CodeNoEntryPoint},
		{"memory over the limit", "POST", "/v1/tasks", `{"wasm":{"module":"hello"},"resources":{"mem":"64Ki"}}`, 0, ""}, // fits: one page
		{"large stdin", "POST", "/v1/tasks", fmt.Sprintf(`{"shell":{"script":"a"},"stdin":%q}`, strings.Repeat("QUJD", 30_000)), 413, api.CodeTooLarge},
		{"large body", "POST", "/v1/tasks", `{"shell":{"script":"` + strings.Repeat("a", 17<<20) + `"}}`, 413, api.CodeTooLarge},
		{"bad wait", "POST", "/v1/tasks?wait=forever", `{"shell":{"script":"a"}}`, 400, api.CodeInvalidArgument},
		{"text as module", "PUT", "/v1/modules", "hello", 422, api.CodeInvalidModule},
		{"empty module", "PUT", "/v1/modules", "", 422, api.CodeInvalidModule},
		{"truncated module", "PUT", "/v1/modules", string(hello[:len(hello)/2]), 422, api.CodeInvalidModule},
		{"component", "PUT", "/v1/modules", "\x00asm\x0d\x00\x01\x00", 422, api.CodeComponentNotSupported},
		{"unknown imports", "PUT", "/v1/modules", string(foreign), 422, api.CodeUnknownImport},
		{"bad tag", "PUT", "/v1/modules?tag=a/b", string(hello), 400, api.CodeInvalidName},
		{"unknown task", "GET", "/v1/tasks/zzzz", "", 404, api.CodeNotFound},
		{"kill an unknown task", "POST", "/v1/tasks/zzzz/kill", "", 404, api.CodeNotFound},
		{"unknown state", "GET", "/v1/tasks?state=dead", "", 400, api.CodeInvalidArgument},
		{"unknown node", "POST", "/v1/nodes/a9/drain", "", 404, api.CodeNotFound},
		{"remove an unknown module", "DELETE", "/v1/modules/nope", "", 404, api.CodeModuleNotFound},
		{"wrong method", "PATCH", "/v1/tasks", "", 405, api.CodeMethodNotAllowed},
		{"wrong path", "GET", "/v2/tasks", "", 404, api.CodeNotFound},
		{"digest that is none", "GET", "/v1/blobs/sha256:..", "", 400, api.CodeInvalidArgument},
	} {
		t.Run(x.name, func(t *testing.T) {
			status, body := call(t, x.method, url+x.path, strings.NewReader(x.body))
			if x.status == 0 {
				if status >= 300 {
					t.Errorf("refused: %d %s", status, body)
				}
				return
			}
			if status != x.status || codeOf(t, body) != x.code {
				t.Errorf("got %d %s, want %d %s", status, bytes.TrimSpace(body), x.status, x.code)
			}
		})
	}
	v := c.Leader().View()
	if n := v.Count(api.Pending); n != 1 { // the one that fits
		t.Errorf("%d tasks are queued", n)
	}
	status, body := call(t, "PUT", url+"/v1/modules", bytes.NewReader(foreign))
	if status != 422 || !bytes.Contains(body, []byte("env.nope")) || !bytes.Contains(body, []byte("env.neither")) {
		t.Errorf("not all unknown imports are named: %s", body)
	}
	status, body = call(t, "POST", url+"/v1/tasks", strings.NewReader(`{"shell":{"script":"a"},"timeuot":"1s"}`))
	if status != 400 || !bytes.Contains(body, []byte(`did you mean \"timeout\"?`)) {
		t.Errorf("no suggestion: %s", body)
	}
	if status, body := call(t, "GET", url+"/v1/tasks", nil, "Origin", "http://evil.example"); status != 403 {
		t.Errorf("a request of another site: %d %s", status, body)
	}
	if status, body := call(t, "POST", url+"/v1/tasks", strings.NewReader("x"), "Content-Encoding", "gzip"); status != 400 {
		t.Errorf("a compressed body: %d %s", status, body)
	}
}

func TestAMemoryThatIsTooSmallForTheModuleIsRefused(t *testing.T) {
	c := Start(t, Config{})
	c.Leader()
	url := c.URLs()[0]
	var m build.Module
	m.Memory(2000, -1)
	m.Export("_start", build.Func, m.Func(m.Type(nil, nil), nil))
	big := m.Bytes()
	if code, body := call(t, "PUT", url+"/v1/modules?tag=big", bytes.NewReader(big)); code != http.StatusCreated {
		t.Fatalf("push: %d %s", code, body)
	}
	status, body := call(t, "POST", url+"/v1/tasks", strings.NewReader(`{"wasm":{"module":"big"}}`))
	if status != 422 || codeOf(t, body) != api.CodeLimitExceeded {
		t.Errorf("got %d %s", status, body)
	}
}

// keys replaces every leaf of a JSON value by its type, so that what is left is the shape.
func keys(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = keys(x)
		}
		return out
	case []any:
		if len(v) == 0 {
			return v
		}
		return []any{keys(v[0])}
	default:
		return fmt.Sprintf("%T", v)
	}
}

func TestTheKeysOfTheAPIAreStable(t *testing.T) {
	c := Start(t, Config{})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	c.Until("the agent is there", func() bool { return len(c.Leader().ReadyNodes()) == 1 })
	url := c.URLs()[0]
	call(t, "PUT", url+"/v1/modules?tag=hello", bytes.NewReader(guest(t, "hello")))
	_, task := call(t, "POST", url+"/v1/tasks?wait=10s", strings.NewReader(`{"name":"x","shell":{"script":"exit 3"},"env":{"A":"b"},"labels":{"l":"v"},"resources":{"ports":1}}`))
	c.Until("the end is committed", func() bool { return c.Leader().View().Count(api.Failed) == 1 })
	shapes := map[string]any{}
	add := func(name string, b []byte) {
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v: %s", name, err, b)
		}
		shapes[name] = keys(v)
	}
	add("task", task)
	for _, p := range []string{"nodes", "modules", "modules/hello", "cluster", "version", "tasks/last/explain"} {
		_, b := call(t, "GET", url+"/v1/"+p, nil)
		add(p, b)
	}
	_, events := call(t, "GET", url+"/v1/events", nil)
	add("event", bytes.SplitN(events, []byte("\n"), 2)[0])
	golden(t, "keys.json", shapes)
}

func TestTheOpenAPIDocumentNamesEveryRoute(t *testing.T) {
	c := Start(t, Config{})
	_, b := call(t, "GET", c.URLs()[0]+"/v1/openapi.json", nil)
	var doc struct {
		Paths      map[string]map[string]any `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	routes := map[string][]string{}
	for p, ops := range doc.Paths {
		for m := range ops {
			routes[p] = append(routes[p], m)
		}
	}
	for p, n := range map[string]int{"/v1/tasks": 2, "/v1/tasks/{id}": 1, "/v1/modules/{ref}": 2, "/v1/cluster": 1, "/v1/events": 1} {
		if len(routes[p]) != n {
			t.Errorf("%s has the methods %v, want %d", p, routes[p], n)
		}
	}
	for _, s := range []string{"Spec", "Task", "Outcome", "Node", "Error"} {
		if doc.Components.Schemas[s] == nil {
			t.Errorf("no schema %s", s)
		}
	}
	var refs []string
	for _, part := range strings.Split(string(b), `"$ref":"#/components/schemas/`)[1:] {
		refs = append(refs, part[:strings.IndexByte(part, '"')])
	}
	for _, r := range refs {
		if doc.Components.Schemas[r] == nil {
			t.Errorf("schema %s is referred to and missing", r)
		}
	}
}

func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

func TestHealthAndMetrics(t *testing.T) {
	c := Start(t, Config{})
	c.Leader()
	url := c.URLs()[0]
	for _, p := range []string{"/healthz", "/readyz"} {
		c.Until(p+" is fine", func() bool { s, _ := call(t, "GET", url+p, nil); return s == 200 })
	}
	_, b := call(t, "GET", url+"/metrics", nil)
	for _, want := range []string{"saki_leading 1", `saki_tasks{state="pending"} 0`, "saki_http_requests_total"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func TestEventsTellAWholeLife(t *testing.T) {
	c := Start(t, Config{})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	url := c.URLs()[0]
	c.Leader()
	call(t, "POST", url+"/v1/tasks?wait=10s", strings.NewReader(`{"shell":{"script":"exit 0"}}`))
	var seen []string
	c.Until("the end is told", func() bool {
		_, b := call(t, "GET", url+"/v1/events", nil)
		seen = nil
		for line := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
			var e api.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if e.Task != "" {
				seen = append(seen, e.Type)
			}
		}
		return len(seen) > 0 && seen[len(seen)-1] == api.EventTaskEnded
	})
	if seen[0] != api.EventTaskSubmitted || seen[1] != api.EventTaskPlaced {
		t.Errorf("got %v", seen)
	}
}

func TestAMasterThatDoesNotLeadPassesRequestsOn(t *testing.T) {
	c := Start(t, Config{Masters: 3})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	leader := c.Leader()
	for _, u := range c.URLs() {
		c.Until("master "+u+" answers", func() bool {
			s, b := call(t, "POST", u+"/v1/tasks?wait=10s", strings.NewReader(`{"shell":{"script":"exit 0"}}`))
			return s == 201 && bytes.Contains(b, []byte(`"state":"finished"`))
		})
	}
	// A module goes to a majority before it is part of the state.
	for _, u := range c.URLs() {
		if u != "http://"+leader.Addr {
			if s, b := call(t, "PUT", u+"/v1/modules?tag=x", bytes.NewReader(guest(t, "echo"))); s != 201 {
				t.Fatalf("push through a follower: %d %s", s, b)
			}
			break
		}
	}
	c.Stop(leader)
	c.Leader()
	c.Until("the module is there without the old leader", func() bool {
		for _, u := range c.URLs() {
			if u == "http://"+leader.Addr {
				continue
			}
			if s, _ := call(t, "GET", u+"/v1/modules/x", nil); s == 200 {
				return true
			}
		}
		return false
	})
}
