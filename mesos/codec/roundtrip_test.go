package codec_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/saki-run/saki/mesos/agent"
	"github.com/saki-run/saki/mesos/codec"
	_ "github.com/saki-run/saki/mesos/executor"
	_ "github.com/saki-run/saki/mesos/master"
	_ "github.com/saki-run/saki/mesos/scheduler"
)

// messages lists every message type of the v1 API.
func messages(t testing.TB) []protoreflect.MessageType {
	t.Helper()
	var types []protoreflect.MessageType
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		if strings.HasPrefix(string(mt.Descriptor().FullName()), "mesos.v1.") {
			types = append(types, mt)
		}
		return true
	})
	if len(types) < 298 {
		t.Fatalf("only %d message types are registered", len(types))
	}
	slices.SortFunc(types, func(a, b protoreflect.MessageType) int {
		return strings.Compare(string(a.Descriptor().FullName()), string(b.Descriptor().FullName()))
	})
	return types
}

// unknown is field 54321 with a value, which no message declares.
var unknown = protowire.AppendString(protowire.AppendTag(nil, 54321, protowire.BytesType), "from a later version")

// fill sets every field of m, and of the messages in it down to a depth that
// stops recursion. Of a oneof the field number pick%n stays.
func fill(m protoreflect.Message, depth, pick int, withUnknown bool) {
	if withUnknown {
		m.SetUnknown(unknown)
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if o := fd.ContainingOneof(); o != nil && o.Fields().Get(pick%o.Fields().Len()) != fd {
			continue
		}
		if depth == 0 && fd.Message() != nil && fd.Cardinality() != protoreflect.Required {
			continue
		}
		switch {
		case fd.IsMap():
			for _, k := range []string{"b", "a\"\n"} {
				v := m.Mutable(fd).Map().NewValue()
				if fd.MapValue().Message() != nil {
					fill(v.Message(), depth-1, pick, withUnknown)
				} else {
					v = value(fd.MapValue(), 1)
				}
				m.Mutable(fd).Map().Set(protoreflect.ValueOfString(k).MapKey(), v)
			}
		case fd.IsList():
			for j := range 2 {
				l := m.Mutable(fd).List()
				v := l.NewElement()
				if fd.Message() != nil {
					fill(v.Message(), depth-1, pick+j, withUnknown)
				} else {
					v = value(fd, j)
				}
				l.Append(v)
			}
		case fd.Message() != nil:
			fill(m.Mutable(fd).Message(), max(depth-1, 0), pick, withUnknown)
		default:
			m.Set(fd, value(fd, i+pick))
		}
	}
}

func value(fd protoreflect.FieldDescriptor, n int) protoreflect.Value {
	pick := func(vs ...any) protoreflect.Value { return protoreflect.ValueOf(vs[n%len(vs)]) }
	switch fd.Kind() {
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(fd.Enum().Values().Get(n % fd.Enum().Values().Len()).Number())
	case protoreflect.StringKind:
		return pick("", "é \"\\\n\x01/", "plain")
	case protoreflect.BytesKind:
		return pick([]byte{}, []byte{0, 255, 254}, []byte("ab"))
	case protoreflect.BoolKind:
		return pick(false, true)
	case protoreflect.DoubleKind:
		return pick(0.0, 1.5, math.Inf(1), -3e300, 5.0, 1e-9, math.Inf(-1))
	case protoreflect.Int32Kind:
		return pick(int32(math.MinInt32), int32(7))
	case protoreflect.Int64Kind:
		return pick(int64(math.MaxInt64), int64(math.MinInt64))
	case protoreflect.Uint32Kind:
		return pick(uint32(math.MaxUint32), uint32(0))
	case protoreflect.Uint64Kind:
		return pick(uint64(math.MaxUint64), uint64(1))
	}
	panic("no value for " + fd.Kind().String())
}

func TestEveryMessageRoundTrips(t *testing.T) {
	for _, mt := range messages(t) {
		for pick := range 4 {
			for _, f := range []codec.Format{codec.JSON, codec.Protobuf} {
				m := mt.New()
				fill(m, 2, pick, f == codec.Protobuf)
				data, err := f.Append(nil, m.Interface())
				if err != nil {
					t.Fatalf("%s %s: %v", mt.Descriptor().FullName(), f, err)
				}
				got := mt.New().Interface()
				if err := f.Unmarshal(data, got); err != nil {
					t.Errorf("%s %s: %v\n%q", mt.Descriptor().FullName(), f, err, data)
					continue
				}
				if !proto.Equal(got, m.Interface()) {
					t.Errorf("%s %s: what was read differs\n%q", mt.Descriptor().FullName(), f, data)
				}
				again, err := f.Append(nil, got)
				if err != nil || !bytes.Equal(again, data) {
					t.Errorf("%s %s: second encoding differs: %v\n%q\n%q", mt.Descriptor().FullName(), f, err, again, data)
				}
				if f == codec.Protobuf && bytes.Count(again, unknown) != countUnknown(m) {
					t.Errorf("%s: unknown fields got lost", mt.Descriptor().FullName())
				}
				if f == codec.JSON && (bytes.Contains(data, []byte("null")) || bytes.ContainsAny(data, "\n\r")) {
					t.Errorf("%s: JSON holds null or a newline\n%s", mt.Descriptor().FullName(), data)
				}
			}
		}
	}
}

// countUnknown counts the messages in m that carry the unknown field.
func countUnknown(m protoreflect.Message) int {
	n := 0
	if len(m.GetUnknown()) > 0 {
		n++
	}
	for fd, v := range m.Range {
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				for _, e := range v.Map().Range {
					n += countUnknown(e.Message())
				}
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				n += countUnknown(v.List().Get(i).Message())
			}
		default:
			n += countUnknown(v.Message())
		}
	}
	return n
}

func TestEmptyMessagesReportEveryRequiredField(t *testing.T) {
	for _, mt := range messages(t) {
		var want []string
		for i := range mt.Descriptor().Fields().Len() {
			if fd := mt.Descriptor().Fields().Get(i); fd.Cardinality() == protoreflect.Required {
				want = append(want, string(fd.Name()))
			}
		}
		err := codec.JSON.Unmarshal([]byte("{}"), mt.New().Interface())
		wantText := "<nil>"
		if len(want) > 0 {
			wantText = fmt.Sprintf("Failed to convert JSON into %s protobuf: Missing required fields: %s", mt.Descriptor().Name(), strings.Join(want, ", "))
		}
		if got := fmt.Sprint(err); got != wantText {
			t.Errorf("got %q, want %q", got, wantText)
		}
	}
}
