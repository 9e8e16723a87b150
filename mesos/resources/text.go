package resources

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/saki-run/saki/mesos"
)

// Parse reads text such as
//
//	cpus:4;mem:4096;disk:10000;ports:[8000-8100,9000-9010];tags(role):{a,b}
//
// A number is a scalar, brackets hold ranges, braces hold a set. A role in
// parentheses reserves the amount statically; without one it is free. White
// space does not matter, nor do empty parts.
func Parse(text string) (Resources, error) {
	var rs []*mesos.Resource
	for part := range strings.SplitSeq(text, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		r, err := parseOne(part)
		if err != nil {
			return Resources{}, fmt.Errorf("parse resources: %q: %w", part, err)
		}
		rs = append(rs, r)
	}
	out, err := From(rs)
	if err != nil {
		return Resources{}, fmt.Errorf("parse resources: %w", err)
	}
	return out, nil
}

func parseOne(part string) (*mesos.Resource, error) {
	name, value, ok := strings.Cut(part, ":")
	if !ok {
		return nil, fmt.Errorf("there is no ':' between a name and a value")
	}
	r := &mesos.Resource{}
	name, role, reserved := strings.Cut(strings.TrimSpace(name), "(")
	if reserved {
		if role, ok = strings.CutSuffix(role, ")"); !ok {
			return nil, fmt.Errorf("the role is not closed by ')'")
		}
		r.Role = new(strings.TrimSpace(role))
	}
	if name = strings.TrimSpace(name); name == "" || strings.ContainsAny(name, " \t\r\n()[]{}") {
		return nil, fmt.Errorf("%q is no name", name)
	}
	r.Name = &name
	v, err := parseValue(strings.TrimSpace(value))
	if err != nil {
		return nil, err
	}
	if v.GetType() == mesos.Value_TEXT {
		return nil, fmt.Errorf("%q is neither a number, [ranges] nor a {set}", value)
	}
	r.Type, r.Scalar, r.Ranges, r.Set = v.Type, v.Scalar, v.Ranges, v.Set
	return r, nil
}

// parseValue reads a value; what is nothing else is text.
func parseValue(s string) (*mesos.Value, error) {
	switch {
	case s == "":
		return nil, fmt.Errorf("the value is empty")
	case s[0] == '[':
		body, ok := strings.CutSuffix(s[1:], "]")
		if !ok {
			return nil, fmt.Errorf("the ranges are not closed by ']'")
		}
		ranges, err := parseRanges(body)
		return &mesos.Value{Type: mesos.Value_RANGES.Enum(), Ranges: ranges}, err
	case s[0] == '{':
		body, ok := strings.CutSuffix(s[1:], "}")
		if !ok {
			return nil, fmt.Errorf("the set is not closed by '}'")
		}
		set := &mesos.Value_Set{}
		for item := range strings.SplitSeq(body, ",") {
			if item = strings.TrimSpace(item); item != "" {
				set.Item = append(set.Item, item)
			}
		}
		return &mesos.Value{Type: mesos.Value_SET.Enum(), Set: set}, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && strings.Trim(s, "+-.0123456789eE") == "" {
		return &mesos.Value{Type: mesos.Value_SCALAR.Enum(), Scalar: &mesos.Value_Scalar{Value: &f}}, nil
	}
	return &mesos.Value{Type: mesos.Value_TEXT.Enum(), Text: &mesos.Value_Text{Value: &s}}, nil
}

func parseRanges(body string) (*mesos.Value_Ranges, error) {
	out := &mesos.Value_Ranges{}
	for piece := range strings.SplitSeq(body, ",") {
		if piece = strings.TrimSpace(piece); piece == "" {
			continue
		}
		lo, hi, ok := strings.Cut(piece, "-")
		if !ok {
			hi = lo
		}
		begin, err := strconv.ParseUint(strings.TrimSpace(lo), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no range", piece)
		}
		end, err := strconv.ParseUint(strings.TrimSpace(hi), 10, 64)
		if err != nil || end < begin {
			return nil, fmt.Errorf("%q is no range", piece)
		}
		out.Range = append(out.Range, &mesos.Value_Range{Begin: &begin, End: &end})
	}
	return out, nil
}

// String is the text that Mesos prints: "cpus(*):4; ports(*):[8000-8100]".
// Parse reads it back if nothing in r is reserved dynamically, allocated or
// bound to a disk.
func (r Resources) String() string {
	parts := make([]string, len(r.items))
	for i, it := range r.items {
		parts[i] = it.String()
	}
	return strings.Join(parts, "; ")
}

func (it item) String() string {
	var b strings.Builder
	s := it.shape
	b.WriteString(s.GetName())
	if s.AllocationInfo != nil {
		fmt.Fprintf(&b, "(allocated: %s)", s.GetAllocationInfo().GetRole())
	}
	switch rs := s.GetReservations(); {
	case len(rs) == 0 && s.AllocationInfo == nil:
		b.WriteString("(*)")
	case len(rs) == 1 && rs[0].GetType() == mesos.Resource_ReservationInfo_STATIC:
		fmt.Fprintf(&b, "(%s)", rs[0].GetRole())
	case len(rs) > 0:
		b.WriteString("(reservations: [")
		for i, info := range rs {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "(%s,%s", info.GetType(), info.GetRole())
			if info.Principal != nil {
				b.WriteString("," + info.GetPrincipal())
			}
			b.WriteByte(')')
		}
		b.WriteString("])")
	}
	if d := s.Disk; d != nil {
		b.WriteString("[")
		if src := d.GetSource(); src != nil {
			b.WriteString(src.GetType().String() + ",")
		}
		b.WriteString(d.GetPersistence().GetId() + ":" + d.GetVolume().GetContainerPath() + "]")
	}
	if s.Revocable != nil {
		b.WriteString("{REV}")
	}
	if s.Shared != nil {
		b.WriteString("<SHARED>")
	}
	b.WriteByte(':')
	switch s.GetType() {
	case mesos.Value_SCALAR:
		b.WriteString(formatMilli(it.milli))
	case mesos.Value_RANGES:
		b.WriteString(it.ranges.String())
	default:
		b.WriteString("{" + strings.Join(it.set, ", ") + "}")
	}
	return b.String()
}

func formatMilli(milli int64) string { return strconv.FormatFloat(Float(milli), 'f', -1, 64) }
