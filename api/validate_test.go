package api

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

const okDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

func TestSpecsThatAreValid(t *testing.T) {
	for name, in := range map[string]string{
		"least":     `{"shell":{"script":"x"}}`,
		"argv":      `{"shell":{"argv":["x",""]}}`,
		"wasm":      `{"wasm":{"module":"fib:1.2","args":["30"],"func":"main"},"env":{"A":""}}`,
		"digest":    `{"wasm":{"module":"` + okDigest + `"},"stdin_blob":"` + okDigest + `"}`,
		"container": `{"container":{"image":"nginx","ports":[{"container":80,"index":1,"protocol":"udp"}],"volumes":[{"host":"/a","container":"/b"}]},"resources":{"ports":2}}`,
		"all": `{"name":"x","namespace":"y","shell":{"script":"x"},"labels":{"a":"b"},"files":[{"path":"a/b","blob":"` + okDigest + `","mode":493}],` +
			`"resources":{"cpus":1,"mem":"1Gi","disk":"1Gi","ports":1},"constraints":[{"key":"z","op":"in","values":["a"]}],"placement":"spread","count":2,"timeout":"1s","retries":1}`,
	} {
		var s Spec
		if err := DecodeStrict([]byte(in), &s); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		full := s.WithDefaults()
		if err := full.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if full.Kind() == "" || full.Resources.Mem == 0 || full.Resources.CPUs == 0 || full.Count == 0 || full.KillGrace == 0 {
			t.Errorf("%s: defaults are not filled in: %+v", name, full)
		}
		if s.Namespace != "" && name != "all" {
			t.Errorf("%s: WithDefaults changed its receiver", name)
		}
	}
}

func TestSpecsThatAreNot(t *testing.T) {
	long := strings.Repeat("x", 129<<10)
	for _, c := range []struct {
		code Code
		in   string
	}{
		{CodeInvalidSpec, `{}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"wasm":{"module":"m"}}`},
		{CodeInvalidSpec, `{"shell":{}}`},
		{CodeInvalidSpec, `{"shell":{"script":"x","argv":["y"]}}`},
		{CodeInvalidSpec, `{"shell":{"argv":[""]}}`},
		{CodeInvalidSpec, `{"shell":{"script":"\u0000"}}`},
		{CodeInvalidSpec, `{"shell":{"script":"` + long + `"}}`},
		{CodeInvalidSpec, `{"wasm":{"module":"m","args":["\u0000"]}}`},
		{CodeInvalidSpec, `{"wasm":{"module":"m","func":"a\u001bb"}}`},
		{CodeInvalidName, `{"wasm":{"module":""}}`},
		{CodeInvalidName, `{"wasm":{"module":"../x"}}`},
		{CodeInvalidArgument, `{"wasm":{"module":"sha256:12"}}`},
		{CodeInvalidSpec, `{"container":{"image":""}}`},
		{CodeInvalidSpec, `{"container":{"image":"a b"}}`},
		{CodeInvalidSpec, `{"container":{"image":"a","network":"container:x"}}`},
		{CodeInvalidSpec, `{"container":{"image":"a","ports":[{"container":80,"index":0}]}}`},
		{CodeInvalidSpec, `{"container":{"image":"a","ports":[{"container":0,"index":0}]},"resources":{"ports":1}}`},
		{CodeInvalidSpec, `{"container":{"image":"a","volumes":[{"host":"/a/../b","container":"/b"}]}}`},
		{CodeInvalidSpec, `{"container":{"image":"a","volumes":[{"host":"a","container":"/b"}]}}`},
		{CodeInvalidSpec, `{"container":{"image":"a","workdir":"b"}}`},
		{CodeInvalidName, `{"shell":{"script":"x"},"name":"../x"}`},
		{CodeInvalidName, `{"shell":{"script":"x"},"namespace":"A"}`},
		{CodeInvalidName, `{"shell":{"script":"x"},"labels":{"a b":"c"}}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"labels":{"a":"\u001b"}}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"env":{"A=B":"c"}}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"env":{"":"c"}}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"env":{"A":"\u0000"}}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"files":[{"path":"../x","blob":"` + okDigest + `"}]}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"files":[{"path":"/x","blob":"` + okDigest + `"}]}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"files":[{"path":"a//b","blob":"` + okDigest + `"}]}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"files":[{"path":"a","blob":"` + okDigest + `"},{"path":"a","blob":"` + okDigest + `"}]}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"files":[{"path":"a","blob":"` + okDigest + `","mode":2048}]}`},
		{CodeInvalidArgument, `{"shell":{"script":"x"},"files":[{"path":"a","blob":"x"}]}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"stdin":"aGk=","stdin_blob":"` + okDigest + `"}`},
		{CodeInvalidResources, `{"shell":{"script":"x"},"resources":{"cpus":9999999}}`},
		{CodeInvalidResources, `{"shell":{"script":"x"},"resources":{"mem":1}}`},
		{CodeInvalidResources, `{"shell":{"script":"x"},"resources":{"mem":"17Ti"}}`},
		{CodeInvalidResources, `{"shell":{"script":"x"},"resources":{"ports":-1}}`},
		{CodeInvalidResources, `{"shell":{"script":"x"},"resources":{"ports":101}}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"constraints":[{"key":"a","op":"~","values":["b"]}]}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"constraints":[{"key":"a","op":"=","values":["b","c"]}]}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"constraints":[{"key":"a b","op":"=","values":["b"]}]}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"placement":"tight"}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"count":-1}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"count":1000000000}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"retries":101}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"max_output":"2Gi"}`},
		{CodeInvalidSpec, `{"shell":{"script":"x"},"kill_grace":"2h"}`},
	} {
		var s Spec
		if err := DecodeStrict([]byte(c.in), &s); err != nil {
			t.Errorf("%.120s does not decode: %v", c.in, err)
			continue
		}
		full := s.WithDefaults()
		err := full.Check()
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != c.code {
			t.Errorf("%.120s gives %v, want code %s", c.in, err, c.code)
		}
	}
	s := Spec{Shell: &ShellSpec{Script: "x"}, Stdin: make([]byte, MaxInlineStdin+1)}.WithDefaults()
	if err := s.Check(); !errors.Is(err, Errorf(CodeTooLarge, "")) {
		t.Errorf("a long stdin gives %v, want too_large", err)
	}
}

func TestTasksInJSON(t *testing.T) {
	task := Task{ID: "x", Spec: &Spec{Shell: &ShellSpec{Script: "x"}, Resources: Request{CPUs: 500, Mem: 1, Disk: 2}}, State: Running, Ports: []uint16{8000, 8001}}
	if !task.Active() || task.State.Terminal() {
		t.Error("a running task is active and not terminal")
	}
	if got, want := task.Holds().String(), "cpus:0.5;mem:0;disk:0;ports:[8000-8001]"; got != want {
		t.Errorf("holds %s, want %s", got, want)
	}
	b, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	var again Task
	if err := DecodeStrict(b, &again); err != nil || again.Spec.Resources != task.Spec.Resources {
		t.Errorf("%s reads as %+v, %v", b, again, err)
	}
	if strings.Contains(string(b), "ended_at") {
		t.Errorf("times that are not set show: %s", b)
	}
}

func TestMemoMeansDeterministicAndGoesWithoutPorts(t *testing.T) {
	given := &WasmSpec{Module: "fib", Memo: true}
	s := Spec{Wasm: given}.WithDefaults()
	if !s.Wasm.Deterministic || given.Deterministic {
		t.Errorf("with defaults: %+v, and the given one is %+v", s.Wasm, given)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	s.Resources.Ports = 1
	if err := s.Check(); AsError(err).Code != CodeInvalidSpec {
		t.Errorf("with ports: %v", err)
	}
}
