package resources

import (
	"fmt"
	"strings"

	"github.com/saki-run/saki/mesos"
)

// ParseAttributes reads what describes an agent, such as
// "zone:a;rack:r1;level:10;slots:[1-4]". A number is a scalar, brackets hold
// ranges, all else is text. The order is kept; a name may come twice.
func ParseAttributes(text string) ([]*mesos.Attribute, error) {
	var out []*mesos.Attribute
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("parse attributes: %q is not name:value", part)
		}
		v, err := parseValue(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("parse attributes: %q: %w", part, err)
		}
		if v.GetType() == mesos.Value_SET {
			return nil, fmt.Errorf("parse attributes: %q: an attribute cannot be a set", part)
		}
		out = append(out, &mesos.Attribute{Name: &name, Type: v.Type, Scalar: v.Scalar, Ranges: v.Ranges, Text: v.Text})
	}
	return out, nil
}

// AttributeText is the value of a as text, as in "10", "[1-4]" or "r1".
func AttributeText(a *mesos.Attribute) string {
	switch a.GetType() {
	case mesos.Value_SCALAR:
		if m, ok := Milli(a.GetScalar().GetValue()); ok {
			return formatMilli(m)
		}
		return fmt.Sprint(a.GetScalar().GetValue())
	case mesos.Value_RANGES:
		var rs Ranges
		for _, x := range a.GetRanges().GetRange() {
			rs = append(rs, Range{x.GetBegin(), x.GetEnd()})
		}
		return rs.String()
	case mesos.Value_SET:
		return "{" + strings.Join(a.GetSet().GetItem(), ", ") + "}"
	}
	return a.GetText().GetValue()
}
