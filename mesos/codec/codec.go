package codec

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Limits of what Unmarshal reads.
const (
	// MaxBytes is the largest message, in bytes of either format.
	MaxBytes = 16 << 20
	// MaxDepth is how deeply messages and lists may nest.
	MaxDepth = 100
)

// Append adds m to dst and returns the longer slice. The JSON is compact and
// holds no newline. Equal messages make equal bytes. The only error is a
// message in protobuf format that lacks a required field; JSON shows what
// there is.
func (f Format) Append(dst []byte, m proto.Message) ([]byte, error) {
	if f == JSON {
		return appendMessage(dst, m.ProtoReflect()), nil
	}
	out, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, m)
	if err != nil {
		return dst, fmt.Errorf("encode %s: %w", name(m), err)
	}
	return out, nil
}

// Unmarshal replaces m with what data holds. On error m is left in an
// unspecified state; the text of the error is what Mesos answers with 400.
func (f Format) Unmarshal(data []byte, m proto.Message) error {
	proto.Reset(m)
	if f == JSON {
		return unmarshalJSON(data, m)
	}
	if len(data) > MaxBytes {
		return refuse("Failed to parse body into %s protobuf: %d bytes, at most %d", name(m), len(data), MaxBytes)
	}
	opts := proto.UnmarshalOptions{AllowPartial: true, RecursionLimit: MaxDepth}
	if opts.Unmarshal(data, m) != nil {
		return refuse("Failed to parse body into %s protobuf", name(m))
	}
	if missing := Missing(m); len(missing) > 0 {
		return refuse("Failed to parse body into %s protobuf: Missing required fields: %s", name(m), strings.Join(missing, ", "))
	}
	return nil
}

// refusal is the text of an answer in the words of Mesos, which start with a
// capital letter.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

func name(m proto.Message) protoreflect.Name { return m.ProtoReflect().Descriptor().Name() }

// Missing lists the required fields that m lacks, as paths such as
// "accept.operations[0].launch.task_infos[1].name".
func Missing(m proto.Message) []string {
	if proto.CheckInitialized(m) == nil {
		return nil
	}
	return appendMissing(nil, "", m.ProtoReflect())
}

func appendMissing(dst []string, prefix string, m protoreflect.Message) []string {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); fd.Cardinality() == protoreflect.Required && !m.Has(fd) {
			dst = append(dst, prefix+string(fd.Name()))
		}
	}
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) {
			continue
		}
		path := prefix + string(fd.Name())
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() == nil {
				continue
			}
			for _, k := range sortedKeys(m.Get(fd).Map()) {
				dst = appendMissing(dst, path+"["+k.String()+"].", m.Get(fd).Map().Get(k).Message())
			}
		case fd.Message() == nil:
		case fd.IsList():
			for j := range m.Get(fd).List().Len() {
				dst = appendMissing(dst, fmt.Sprintf("%s[%d].", path, j), m.Get(fd).List().Get(j).Message())
			}
		default:
			dst = appendMissing(dst, path+".", m.Get(fd).Message())
		}
	}
	return dst
}
