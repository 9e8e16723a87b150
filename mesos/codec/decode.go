package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func unmarshalJSON(data []byte, m proto.Message) error {
	if err := checkSyntax(data); err != nil {
		return refuse("Failed to parse body into JSON: %s", err)
	}
	d := decoder{scanner: scanner{b: data}}
	err := refuse("Expecting a JSON object")
	if d.peek() == '{' {
		err = d.message(m.ProtoReflect())
	}
	if err == nil {
		if missing := Missing(m); len(missing) > 0 {
			err = refuse("Missing required fields: %s", strings.Join(missing, ", "))
		}
	}
	if err != nil {
		return refuse("Failed to convert JSON into %s protobuf: %s", name(m), err)
	}
	return nil
}

func checkSyntax(data []byte) error {
	if len(data) > MaxBytes {
		return refuse("%d bytes, at most %d", len(data), MaxBytes)
	}
	if json.Valid(data) {
		return nil
	}
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	at := len(data)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = min(max(int(syntax.Offset)-1, 0), len(data))
	}
	line := 1 + bytes.Count(data[:at], []byte("\n"))
	near, _, _ := bytes.Cut(data[at:], []byte("\n"))
	return refuse("syntax error at line %d near: %s", line, strings.ToValidUTF8(string(near[:min(len(near), 64)]), "\uFFFD"))
}

// decoder fills messages from valid JSON.
type decoder struct {
	scanner
	depth int
}

func (d *decoder) enter() error {
	d.depth++
	if d.depth > MaxDepth {
		return refuse("Nested deeper than %d levels", MaxDepth)
	}
	return nil
}

// message takes an object. Keys that name no field are ignored; of equal keys
// the last one counts.
func (d *decoder) message(m protoreflect.Message) error {
	if err := d.enter(); err != nil {
		return err
	}
	fields := m.Descriptor().Fields()
	err := d.members(func(key string) error {
		fd := fields.ByName(protoreflect.Name(key))
		if fd == nil {
			fd = fields.ByJSONName(key) // frameworkId, as Go and Java print it.
		}
		if fd == nil {
			return d.ignore()
		}
		m.Clear(fd)
		return d.field(m, fd)
	})
	d.depth--
	return err
}

// members takes an object and calls each with every key, to take the value.
func (d *decoder) members(each func(key string) error) error {
	d.next()
	if d.take('}') {
		return nil
	}
	for {
		key := d.text()
		d.next()
		if err := each(key); err != nil {
			return err
		}
		if d.next() == '}' {
			return nil
		}
	}
}

func (d *decoder) ignore() error {
	if d.depth+d.skip() > MaxDepth {
		return refuse("Nested deeper than %d levels", MaxDepth)
	}
	return nil
}

func (d *decoder) field(m protoreflect.Message, fd protoreflect.FieldDescriptor) error {
	switch c := d.peek(); {
	case c == 'n':
		d.literal()
		return nil
	case fd.IsMap():
		return d.mapField(m.Mutable(fd).Map(), fd)
	case fd.IsList() && c == '[':
		return d.list(m.Mutable(fd).List(), fd)
	case fd.IsList():
		return d.element(m.Mutable(fd).List(), fd)
	case c == '{' && fd.Message() != nil:
		return d.message(m.Mutable(fd).Message())
	}
	v, err := d.scalar(fd)
	if v.IsValid() {
		m.Set(fd, v)
	}
	return err
}

// list takes an array; what is null in it is left out.
func (d *decoder) list(l protoreflect.List, fd protoreflect.FieldDescriptor) error {
	if err := d.enter(); err != nil {
		return err
	}
	d.next()
	if !d.take(']') {
		for {
			if d.peek() == 'n' {
				d.literal()
			} else if err := d.element(l, fd); err != nil {
				return err
			}
			if d.next() == ']' {
				break
			}
		}
	}
	d.depth--
	return nil
}

func (d *decoder) element(l protoreflect.List, fd protoreflect.FieldDescriptor) error {
	if d.peek() == '{' && fd.Message() != nil {
		v := l.NewElement()
		l.Append(v)
		return d.message(v.Message())
	}
	v, err := d.scalar(fd)
	if v.IsValid() {
		l.Append(v)
	}
	return err
}

func (d *decoder) mapField(m protoreflect.Map, fd protoreflect.FieldDescriptor) error {
	if d.peek() != '{' {
		return unexpected(d.kind(), fd)
	}
	if err := d.enter(); err != nil {
		return err
	}
	vd := fd.MapValue()
	err := d.members(func(key string) error {
		k := protoreflect.ValueOfString(key).MapKey()
		m.Clear(k)
		switch c := d.peek(); {
		case c == 'n':
			d.literal()
			return nil
		case c == '{' && vd.Message() != nil:
			return d.message(m.Mutable(k).Message())
		}
		v, err := d.scalar(vd)
		if v.IsValid() {
			m.Set(k, v)
		}
		return err
	})
	d.depth--
	return err
}

// kind names what comes next.
func (d *decoder) kind() string {
	switch d.peek() {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	}
	return "number"
}

func unexpected(kind string, fd protoreflect.FieldDescriptor) error {
	return refuse("Not expecting a JSON %s for field '%s'", kind, fd.Name())
}

// scalar takes a value that is no message. The result is not valid, without an
// error, if the value is to be treated as not set.
func (d *decoder) scalar(fd protoreflect.FieldDescriptor) (protoreflect.Value, error) {
	kind := d.kind()
	switch kind {
	case "string":
		return fromText(fd, d.text())
	case "boolean":
		lit := d.literal()
		if fd.Kind() == protoreflect.BoolKind {
			return protoreflect.ValueOfBool(lit == "true"), nil
		}
	case "number":
		return fromNumber(fd, d.literal())
	}
	return protoreflect.Value{}, unexpected(kind, fd)
}

// fromText reads a value that the client wrote in quotes.
func fromText(fd protoreflect.FieldDescriptor, s string) (v protoreflect.Value, err error) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(s), nil
	case protoreflect.BytesKind:
		raw, err := decodeBase64(s)
		if err != nil {
			return v, refuse("Failed to base64 decode bytes field '%s': %s", fd.Name(), err)
		}
		return protoreflect.ValueOfBytes(raw), nil
	case protoreflect.EnumKind:
		if ev := fd.Enum().Values().ByName(protoreflect.Name(s)); ev != nil {
			return protoreflect.ValueOfEnum(ev.Number()), nil
		}
		return v, unknownEnum(fd, s)
	case protoreflect.BoolKind:
		if t := strings.TrimSpace(s); t == "true" || t == "false" {
			return protoreflect.ValueOfBool(t == "true"), nil
		}
		return v, refuse("Failed to parse '%s' as a JSON boolean for field '%s'", s, fd.Name())
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return v, unexpected("string", fd)
	case protoreflect.DoubleKind:
		if f, ok := special(s); ok {
			return protoreflect.ValueOfFloat64(f), nil
		}
	}
	t := strings.TrimSpace(s)
	if t == "" || t[0] != '-' && (t[0] < '0' || t[0] > '9') || !json.Valid([]byte(t)) {
		return v, refuse("Failed to parse '%s' as a JSON number for field '%s'", s, fd.Name())
	}
	return fromNumber(fd, t)
}

var urlToStd = strings.NewReplacer("-", "+", "_", "/")

// decodeBase64 reads the standard alphabet, and as Go's and Java's protobuf
// libraries do, also the URL one and text without padding.
func decodeBase64(s string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(urlToStd.Replace(s), "="))
}

// unknownEnum drops a name or number from a later version, unless the field is
// required.
func unknownEnum(fd protoreflect.FieldDescriptor, s string) error {
	if fd.Cardinality() == protoreflect.Required {
		return refuse("Failed to find enum for '%s'", s)
	}
	return nil
}
