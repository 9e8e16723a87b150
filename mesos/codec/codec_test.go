package codec_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/saki-run/saki/mesos"
	"github.com/saki-run/saki/mesos/codec"
	"github.com/saki-run/saki/mesos/executor"
	"github.com/saki-run/saki/mesos/scheduler"
)

func TestRefusalsInTheWordsOfMesos(t *testing.T) {
	nested := strings.Repeat(`{"parent":`, codec.MaxDepth) + "{}" + strings.Repeat("}", codec.MaxDepth)
	unknown := `{"x":` + strings.Repeat("[", codec.MaxDepth) + strings.Repeat("]", codec.MaxDepth) + "}"
	const convert = "Failed to convert JSON into Call protobuf: "
	for _, tc := range []struct{ name, in, want string }{
		{"no JSON", "MALFORMED_CONTENT", "Failed to parse body into JSON: syntax error at line 1 near: MALFORMED_CONTENT"},
		{"broken in line 2", "{\n\"a\":}\n", "Failed to parse body into JSON: syntax error at line 2 near: }"},
		{"nothing", "", "Failed to parse body into JSON: syntax error at line 1 near: "},
		{"too much", strings.Repeat(" ", codec.MaxBytes+1), "Failed to parse body into JSON: 16777217 bytes, at most 16777216"},
		{"no object", "[]", convert + "Expecting a JSON object"},
		{"null", "null", convert + "Expecting a JSON object"},
		{"a field is missing", `{"type":"KILL","kill":{}}`, convert + "Missing required fields: kill.task_id"},
		{"fields are missing", `{"accept":{"operations":[{"launch":{"task_infos":[{"limits":{"mem":{}}}]}}]},"kill":{"task_id":{}}}`, convert + "Missing required fields: accept.operations[0].launch.task_infos[0].name, accept.operations[0].launch.task_infos[0].task_id, accept.operations[0].launch.task_infos[0].agent_id, accept.operations[0].launch.task_infos[0].limits[mem].value, kill.task_id.value"},
		{"text for an object", `{"kill":"x"}`, convert + "Not expecting a JSON string for field 'kill'"},
		{"object for text", `{"framework_id":{"value":{}}}`, convert + "Not expecting a JSON object for field 'value'"},
		{"number for text", `{"framework_id":{"value":1}}`, convert + "Not expecting a JSON number for field 'value'"},
		{"boolean for text", `{"framework_id":{"value":true}}`, convert + "Not expecting a JSON boolean for field 'value'"},
		{"array for an object", `{"kill":[{}]}`, convert + "Not expecting a JSON array for field 'kill'"},
		{"array in an array", `{"revive":{"roles":[["a"]]}}`, convert + "Not expecting a JSON array for field 'roles'"},
		{"array for a map", `{"subscribe":{"framework_info":{"offer_filters":[]}}}`, convert + "Not expecting a JSON array for field 'offer_filters'"},
		{"no base64", `{"acknowledge":{"uuid":"!"}}`, convert + "Failed to base64 decode bytes field 'uuid': illegal base64 data at input byte 0"},
		{"no number", `{"decline":{"filters":{"refuse_seconds":"soon"}}}`, convert + "Failed to parse 'soon' as a JSON number for field 'refuse_seconds'"},
		{"hexadecimal", `{"decline":{"filters":{"refuse_seconds":"0x1p3"}}}`, convert + "Failed to parse '0x1p3' as a JSON number for field 'refuse_seconds'"},
		{"number too large", `{"kill":{"kill_policy":{"grace_period":{"nanoseconds":1e19}}}}`, convert + "Failed to parse '1e19' as a JSON number for field 'nanoseconds': out of range"},
		{"float too large", `{"decline":{"filters":{"refuse_seconds":1e999}}}`, convert + "Failed to parse '1e999' as a JSON number for field 'refuse_seconds': out of range"},
		{"no boolean", `{"subscribe":{"framework_info":{"checkpoint":"yes"}}}`, convert + "Failed to parse 'yes' as a JSON boolean for field 'checkpoint'"},
		{"unknown name in a required enum", `{"accept":{"operations":{"reserve":{"resources":{"type":"BAG"}}}}}`, convert + "Failed to find enum for 'BAG'"},
		{"unknown number in a required enum", `{"accept":{"operations":{"reserve":{"resources":{"type":77}}}}}`, convert + "Failed to find enum for '77'"},
		{"unknown parts too deep", unknown, convert + "Nested deeper than 100 levels"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := codec.JSON.Unmarshal([]byte(tc.in), new(scheduler.Call))
			if err == nil || err.Error() != tc.want {
				t.Errorf("got  %v\nwant %v", err, tc.want)
			}
		})
	}
	if err := codec.JSON.Unmarshal([]byte(nested), new(mesos.ContainerID)); err == nil || !strings.HasSuffix(err.Error(), "Nested deeper than 100 levels") {
		t.Errorf("deep messages: got %v", err)
	}
}

func TestProtobufRefusals(t *testing.T) {
	if err := codec.Protobuf.Unmarshal([]byte("MALFORMED_CONTENT"), new(scheduler.Call)); err == nil || err.Error() != "Failed to parse body into Call protobuf" {
		t.Errorf("malformed: got %v", err)
	}
	err := codec.Protobuf.Unmarshal(nil, new(executor.Call))
	if want := "Failed to parse body into Call protobuf: Missing required fields: executor_id, framework_id"; err == nil || err.Error() != want {
		t.Errorf("empty: got %v, want %v", err, want)
	}
	if err := codec.Protobuf.Unmarshal(make([]byte, codec.MaxBytes+1), new(executor.Call)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too long: got %v", err)
	}
	if _, err := codec.Protobuf.Append(nil, new(executor.Call)); err == nil {
		t.Error("a message that lacks required fields was encoded")
	}
}

func TestNumbers(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "-0": 0, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
		"1e3": 1000, "1.5E+3": 1500, "2.9": 2, "-2.9": -2, `"8000"`: 8000, `" 8000 "`: 8000, `"1e2"`: 100,
	} {
		var m mesos.DurationInfo
		if err := codec.JSON.Unmarshal([]byte(`{"nanoseconds":`+in+`}`), &m); err != nil || m.GetNanoseconds() != want {
			t.Errorf("%s: got %d, %v; want %d", in, m.GetNanoseconds(), err, want)
		}
	}
	for _, in := range []string{"9223372036854775808", "-9223372036854775809", "1e400"} {
		if err := codec.JSON.Unmarshal([]byte(`{"nanoseconds":`+in+`}`), new(mesos.DurationInfo)); err == nil {
			t.Errorf("int64 %s was taken", in)
		}
	}
	for in, want := range map[string]uint64{"18446744073709551615": math.MaxUint64, "0.5": 0, "-0.5": 0, "8000.0": 8000} {
		var m mesos.Value_Range
		if err := codec.JSON.Unmarshal([]byte(`{"begin":`+in+`,"end":1}`), &m); err != nil || m.GetBegin() != want {
			t.Errorf("%s: got %d, %v; want %d", in, m.GetBegin(), err, want)
		}
	}
	for _, in := range []string{"-1", "18446744073709551616"} {
		if err := codec.JSON.Unmarshal([]byte(`{"begin":`+in+`,"end":1}`), new(mesos.Value_Range)); err == nil {
			t.Errorf("uint64 %s was taken", in)
		}
	}
	for _, in := range []string{"4294967296", "-1"} {
		if err := codec.JSON.Unmarshal([]byte(`{"number":`+in+`}`), new(mesos.Port)); err == nil {
			t.Errorf("uint32 %s was taken", in)
		}
	}
}

func TestFloatsAreShortAndKeepTheirPoint(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0.0", 5: "5.0", 4.82: "4.82", 0.1: "0.1", -2: "-2.0", 3.6e6: "3600000.0", 1e20: "100000000000000000000.0",
		1e21: "1e+21", 1e-7: "1e-07", math.Inf(1): `"Infinity"`, math.Inf(-1): `"-Infinity"`, math.NaN(): `"NaN"`,
	} {
		got, err := codec.JSON.Append(nil, &mesos.Value_Scalar{Value: new(f)})
		if err != nil || string(got) != `{"value":`+want+`}` {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
		if !json.Valid(got) {
			t.Errorf("%s is no JSON", got)
		}
	}
}

func TestEnumNumbersFromLaterVersionsCountAsNotSet(t *testing.T) {
	m := &mesos.ContainerInfo_DockerInfo{Image: new("i"), Network: mesos.ContainerInfo_DockerInfo_Network(99).Enum()}
	got, _ := codec.JSON.Append(nil, m)
	if want := `{"image":"i","network":"HOST","privileged":false}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	caps := &mesos.CapabilityInfo{Capabilities: []mesos.CapabilityInfo_Capability{7, mesos.CapabilityInfo_KILL}}
	got, _ = codec.JSON.Append(nil, caps)
	if want := `{"capabilities":["KILL"]}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var call scheduler.Call
	if err := codec.JSON.Unmarshal([]byte(`{"type":99}`), &call); err != nil || call.Type != nil {
		t.Errorf("got %v, %v; want no type", call.Type, err)
	}
	if err := codec.JSON.Unmarshal([]byte(`{"type":6}`), &call); err != nil || call.GetType() != scheduler.Call_KILL {
		t.Errorf("got %v, %v; want KILL", call.Type, err)
	}
}

func TestInvalidUTF8BecomesValid(t *testing.T) {
	got, _ := codec.JSON.Append(nil, &mesos.TaskID{Value: new("a\xffb\xe2\x82")})
	if want := "{\"value\":\"a\uFFFDb\uFFFD\uFFFD\"}"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var id mesos.TaskID
	if err := codec.JSON.Unmarshal([]byte("{\"value\":\"a\xffb\"}"), &id); err != nil || id.GetValue() != "a\uFFFDb" {
		t.Errorf("got %q, %v", id.GetValue(), err)
	}
}

func TestContentTypes(t *testing.T) {
	for in, want := range map[string]codec.Format{
		"application/json": codec.JSON, "Application/JSON; charset=utf-8": codec.JSON, " application/x-protobuf ;v=1": codec.Protobuf,
	} {
		if got, ok := codec.ParseContentType(in); !ok || got != want {
			t.Errorf("%q: got %v, %v; want %v", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "text/plain", "application/recordio", "application/jsonp"} {
		if got, ok := codec.ParseContentType(in); ok {
			t.Errorf("%q: got %v, want nothing", in, got)
		}
	}
	if got := codec.Protobuf.ContentType() + " " + codec.JSON.ContentType() + " " + codec.Protobuf.String() + " " + codec.JSON.String(); got != "application/x-protobuf application/json protobuf JSON" {
		t.Errorf("got %s", got)
	}
}

func TestNegotiate(t *testing.T) {
	for _, tc := range []struct {
		accept []string
		want   codec.Format
		ok     bool
	}{
		{nil, codec.JSON, true},
		{[]string{""}, codec.JSON, true},
		{[]string{"*/*"}, codec.JSON, true},
		{[]string{"application/*"}, codec.JSON, true},
		{[]string{"text/html, application/json;q=0.1"}, codec.JSON, true},
		{[]string{"application/x-protobuf", "application/x-protobuf"}, codec.Protobuf, true},
		{[]string{"application/x-protobuf", "application/json"}, codec.JSON, true},
		{[]string{"application/json;q=0, application/x-protobuf"}, codec.Protobuf, true},
		{[]string{"application/json; q=0", "*/*"}, codec.Protobuf, true},
		{[]string{"*/*;q=0"}, 0, false},
		{[]string{"text/html"}, 0, false},
	} {
		if got, ok := codec.Negotiate(tc.accept); got != tc.want || ok != tc.ok {
			t.Errorf("%q: got %v, %v; want %v, %v", tc.accept, got, ok, tc.want, tc.ok)
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, m := range []proto.Message{new(scheduler.Call), new(executor.Call)} {
			err := codec.JSON.Unmarshal(in, m)
			if err != nil {
				if !json.Valid(in) != strings.HasPrefix(err.Error(), "Failed to parse body into JSON: ") {
					t.Fatalf("valid JSON: %v, error: %v", json.Valid(in), err)
				}
				continue
			}
			out, err := codec.JSON.Append(nil, m)
			if err != nil || !json.Valid(out) || bytes.ContainsAny(out, "\n\r") {
				t.Fatalf("%q, %v", out, err)
			}
			twin := m.ProtoReflect().New().Interface()
			if err := codec.JSON.Unmarshal(out, twin); err != nil {
				t.Fatalf("own output does not read: %v\n%s", err, out)
			}
			again, _ := codec.JSON.Append(nil, twin)
			if !bytes.Equal(out, again) {
				t.Fatalf("first  %s\nsecond %s", out, again)
			}
		}
	})
}

func FuzzProtobuf(f *testing.F) {
	for _, s := range seeds(f) {
		var m scheduler.Call
		if codec.JSON.Unmarshal(s, &m) == nil {
			b, _ := codec.Protobuf.Append(nil, &m)
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var m scheduler.Call
		if codec.Protobuf.Unmarshal(in, &m) != nil {
			return
		}
		out, err := codec.Protobuf.Append(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		var twin scheduler.Call
		if err := codec.Protobuf.Unmarshal(out, &twin); err != nil {
			t.Fatal(err)
		}
		again, _ := codec.Protobuf.Append(nil, &twin)
		if !bytes.Equal(out, again) {
			t.Fatalf("first  %x\nsecond %x", out, again)
		}
		if text, _ := codec.JSON.Append(nil, &m); !json.Valid(text) {
			t.Fatalf("no JSON: %s", text)
		}
	})
}

func seeds(f *testing.F) [][]byte {
	f.Helper()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	var out [][]byte
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") {
			b, err := os.ReadFile("testdata/" + e.Name())
			if err != nil {
				f.Fatal(err)
			}
			out = append(out, b)
		}
	}
	return slices.Concat(out, [][]byte{[]byte("{}"), []byte(`{"type":null}`), []byte(`{"executor_id":{"value":""},"framework_id":{"value":"\ud800"}}`)})
}

func benchmarkEvent(b *testing.B, f codec.Format) []byte {
	b.Helper()
	in, err := os.ReadFile("testdata/scheduler.Event-offers.json")
	if err != nil {
		b.Fatal(err)
	}
	var m scheduler.Event
	if err := codec.JSON.Unmarshal(in, &m); err != nil {
		b.Fatal(err)
	}
	out, err := f.Append(nil, &m)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

func BenchmarkAppend(b *testing.B) {
	for _, f := range []codec.Format{codec.JSON, codec.Protobuf} {
		b.Run(f.String(), func(b *testing.B) {
			data := benchmarkEvent(b, f)
			var m scheduler.Event
			if err := f.Unmarshal(data, &m); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				data, _ = f.Append(data[:0], &m)
			}
		})
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	for _, f := range []codec.Format{codec.JSON, codec.Protobuf} {
		b.Run(f.String(), func(b *testing.B) {
			data := benchmarkEvent(b, f)
			var m scheduler.Event
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := f.Unmarshal(data, &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
