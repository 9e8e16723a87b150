package api

import (
	"slices"
	"strings"
)

// Constraint restricts the nodes that a task may run on by one attribute. The attributes "node" (its name) and "id" always exist.
type Constraint struct {
	Key    string   `json:"key"`
	Op     Op       `json:"op"`
	Values []string `json:"values"`
}

// Op is how a [Constraint] compares.
type Op string

// The operators. NotEqual also holds for a node that lacks the attribute.
const (
	Equal    Op = "="
	NotEqual Op = "!="
	In       Op = "in"
)

// ParseConstraint reads "zone=a", "zone!=a" or "zone in a,b".
func ParseConstraint(s string) (Constraint, error) {
	c := Constraint{}
	if key, val, ok := strings.Cut(s, "!="); ok {
		c = Constraint{strings.TrimSpace(key), NotEqual, []string{strings.TrimSpace(val)}}
	} else if key, val, ok := strings.Cut(s, "="); ok {
		c = Constraint{strings.TrimSpace(key), Equal, []string{strings.TrimSpace(val)}}
	} else if key, val, ok := strings.Cut(s, " in "); ok {
		c = Constraint{Key: strings.TrimSpace(key), Op: In}
		for v := range strings.SplitSeq(strings.Trim(strings.TrimSpace(val), "()"), ",") {
			c.Values = append(c.Values, strings.TrimSpace(v))
		}
	}
	if err := c.Check(); err != nil {
		return Constraint{}, Errorf(CodeInvalidSpec, "%s is not a constraint", Quote(s)).
			WithHint("write zone=a, zone!=a or 'zone in a,b'")
	}
	return c, nil
}

// Check reports what is wrong with the constraint itself.
func (c Constraint) Check() error {
	if CheckName("constraint", c.Key) != nil || len(c.Values) == 0 || len(c.Values) > 100 {
		return Errorf(CodeInvalidSpec, "constraint on %s needs the name of an attribute and 1 to 100 values", Quote(c.Key)).
			WithHint(`for example {"key":"zone","op":"in","values":["a","b"]}`)
	}
	switch c.Op {
	case Equal, NotEqual:
		if len(c.Values) != 1 {
			return Errorf(CodeInvalidSpec, "constraint on %s takes one value with %s", Quote(c.Key), c.Op)
		}
	case In:
	default:
		return Errorf(CodeInvalidSpec, "constraint on %s has the unknown operator %s", Quote(c.Key), Quote(string(c.Op))).
			WithHint("operators are =, != and in")
	}
	return nil
}

// Match reports whether a node with these attributes satisfies the constraint.
func (c Constraint) Match(attrs map[string]string) bool {
	got, ok := attrs[c.Key]
	switch c.Op {
	case Equal, In:
		return ok && slices.Contains(c.Values, got)
	case NotEqual:
		return !ok || !slices.Contains(c.Values, got)
	}
	return false
}

// String gives the text that [ParseConstraint] reads.
func (c Constraint) String() string {
	if c.Op == In {
		return c.Key + " in " + strings.Join(c.Values, ",")
	}
	return c.Key + string(c.Op) + strings.Join(c.Values, ",")
}

// ParseAttributes reads the text of --attributes: "zone:a;gpu:no".
func ParseAttributes(s string) (map[string]string, error) {
	out := map[string]string{}
	for entry := range strings.SplitSeq(s, ";") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		k, v, ok := strings.Cut(entry, ":")
		if !ok || CheckName("attribute", k) != nil || len(v) > 256 {
			return nil, Errorf(CodeInvalidArgument, "%s is not an attribute", Quote(entry)).WithHint("for example zone:a;gpu:no")
		}
		if _, dup := out[k]; dup {
			return nil, Errorf(CodeInvalidArgument, "attribute %s is given twice", k)
		}
		out[k] = v
	}
	return out, nil
}
