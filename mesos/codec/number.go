package codec

import (
	"errors"
	"math"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// special reads the doubles that JSON has no number for.
func special(s string) (float64, bool) {
	switch s {
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	case "NaN":
		return math.NaN(), true
	}
	return 0, false
}

// fromNumber reads a JSON number into a field of any numeric kind. A fraction
// in an integer field is cut off, as in Mesos; a number out of range is an
// error.
func fromNumber(fd protoreflect.FieldDescriptor, lit string) (v protoreflect.Value, err error) {
	var ok bool
	switch fd.Kind() {
	case protoreflect.DoubleKind:
		f, err := strconv.ParseFloat(lit, 64)
		v, ok = protoreflect.ValueOfFloat64(f), err == nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		var n int64
		n, ok = signed(lit, 64)
		v = protoreflect.ValueOfInt64(n)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		var n int64
		n, ok = signed(lit, 32)
		v = protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		var n uint64
		n, ok = unsigned(lit, 64)
		v = protoreflect.ValueOfUint64(n)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		var n uint64
		n, ok = unsigned(lit, 32)
		v = protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.EnumKind:
		n, ok := signed(lit, 32)
		if ev := fd.Enum().Values().ByNumber(protoreflect.EnumNumber(n)); ok && ev != nil {
			return protoreflect.ValueOfEnum(ev.Number()), nil
		}
		return v, unknownEnum(fd, lit)
	default:
		return v, unexpected("number", fd)
	}
	if !ok {
		return protoreflect.Value{}, refuse("Failed to parse '%s' as a JSON number for field '%s': out of range", lit, fd.Name())
	}
	return v, nil
}

func signed(lit string, bits int) (int64, bool) {
	n, err := strconv.ParseInt(lit, 10, bits)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return n, err == nil
	}
	f, err := strconv.ParseFloat(lit, 64)
	if limit := math.Ldexp(1, bits-1); err != nil || f < -limit || f >= limit {
		return 0, false
	}
	return int64(f), true
}

func unsigned(lit string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(lit, 10, bits)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return n, err == nil
	}
	f, err := strconv.ParseFloat(lit, 64)
	if err != nil || f <= -1 || f >= math.Ldexp(1, bits) {
		return 0, false
	}
	return uint64(max(f, 0)), true
}
