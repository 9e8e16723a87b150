// Package constraint tells which agents a framework wants offers of.
package constraint

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/saki-run/saki/mesos"
	"github.com/saki-run/saki/mesos/scheduler"
)

// maxProgram bounds the size of a compiled expression, in instructions. Every
// agent is matched against it.
const maxProgram = 1000

// Filter holds the constraints of one framework. It is never changed once
// made, so it may be shared. A nil Filter lets every agent pass.
type Filter struct{ roles map[string][]group }

// group is constraints that must all hold.
type group []test

// test tells whether an agent meets one constraint.
type test func(*mesos.AgentInfo) bool

// value is what a constraint looks at. Attributes that are numbers or ranges
// are not text; constraints on text let them pass, and leave them to the
// scheduler.
type value struct {
	exists, text bool
	s            string
}

// New compiles the constraints of a SUBSCRIBE or UPDATE_FRAMEWORK. The errors
// are worded as Mesos words them. Nothing of c is kept.
func New(c *scheduler.OfferConstraints) (*Filter, error) {
	f := &Filter{roles: make(map[string][]group)}
	for role, rc := range c.GetRoleConstraints() {
		if len(rc.GetGroups()) == 0 {
			return nil, refuse("'OfferConstraints::role_constraints' has an empty 'RoleConstraints::groups' for role %s", role)
		}
		for _, g := range rc.GetGroups() {
			if len(g.GetAttributeConstraints()) == 0 {
				return nil, refuse("'OfferConstraints::RoleConstraints::groups' for role %s contains an empty RoleConstraints::Group", role)
			}
			var tests group
			for _, ac := range g.GetAttributeConstraints() {
				t, err := compile(ac)
				if err != nil {
					return nil, refuse("A role %s has an invalid 'AttributeConstraint': %s", role, err)
				}
				tests = append(tests, t)
			}
			f.roles[role] = append(f.roles[role], tests)
		}
	}
	return f, nil
}

// Pass tells whether the agent may be offered to role: if the role has no
// constraints, or all constraints of one of its groups hold.
func (f *Filter) Pass(role string, a *mesos.AgentInfo) bool {
	if f == nil || len(f.roles[role]) == 0 {
		return true
	}
	for _, g := range f.roles[role] {
		if g.pass(a) {
			return true
		}
	}
	return false
}

func (g group) pass(a *mesos.AgentInfo) bool {
	for _, t := range g {
		if !t(a) {
			return false
		}
	}
	return true
}

func compile(c *scheduler.AttributeConstraint) (test, error) {
	look, err := selector(c.GetSelector())
	if err != nil {
		return nil, err
	}
	holds, err := predicate(c.GetPredicate())
	if err != nil {
		return nil, err
	}
	return func(a *mesos.AgentInfo) bool { return holds(look(a)) }, nil
}

func selector(s *scheduler.AttributeConstraint_Selector) (func(*mesos.AgentInfo) value, error) {
	switch s := s.GetSelector().(type) {
	case *scheduler.AttributeConstraint_Selector_AttributeName:
		return func(a *mesos.AgentInfo) value {
			for _, at := range a.GetAttributes() {
				if at.GetName() == s.AttributeName {
					return value{true, at.GetType() == mesos.Value_TEXT, at.GetText().GetValue()}
				}
			}
			return value{}
		}, nil
	case *scheduler.AttributeConstraint_Selector_PseudoattributeType_:
		switch s.PseudoattributeType {
		case scheduler.AttributeConstraint_Selector_HOSTNAME:
			return func(a *mesos.AgentInfo) value { return value{true, true, a.GetHostname()} }, nil
		case scheduler.AttributeConstraint_Selector_REGION:
			return func(a *mesos.AgentInfo) value {
				d := a.GetDomain().GetFaultDomain()
				return value{d != nil, true, d.GetRegion().GetName()}
			}, nil
		case scheduler.AttributeConstraint_Selector_ZONE:
			return func(a *mesos.AgentInfo) value {
				d := a.GetDomain().GetFaultDomain()
				return value{d != nil, true, d.GetZone().GetName()}
			}, nil
		}
		return nil, refuse("Unknown pseudoattribute type")
	}
	return nil, refuse("Exactly one of 'AttributeConstraint::Selector::name' or 'AttributeConstraint::Selector::pseudoattribute_type' must be set")
}

func predicate(p *scheduler.AttributeConstraint_Predicate) (func(value) bool, error) {
	switch p := p.GetPredicate().(type) {
	case *scheduler.AttributeConstraint_Predicate_Exists_:
		return func(v value) bool { return v.exists }, nil
	case *scheduler.AttributeConstraint_Predicate_NotExists_:
		return func(v value) bool { return !v.exists }, nil
	case *scheduler.AttributeConstraint_Predicate_TextEquals_:
		want := p.TextEquals.GetValue()
		return text(func(s string) bool { return s == want }), nil
	case *scheduler.AttributeConstraint_Predicate_TextNotEquals_:
		want := p.TextNotEquals.GetValue()
		return noText(func(s string) bool { return s == want }), nil
	case *scheduler.AttributeConstraint_Predicate_TextMatches_:
		re, err := expression(p.TextMatches.GetRegex())
		if err != nil {
			return nil, err
		}
		return text(re.MatchString), nil
	case *scheduler.AttributeConstraint_Predicate_TextNotMatches_:
		re, err := expression(p.TextNotMatches.GetRegex())
		if err != nil {
			return nil, err
		}
		return noText(re.MatchString), nil
	}
	return nil, refuse("Unknown predicate type")
}

// text holds if there is text that is so, or something that is not text.
func text(so func(string) bool) func(value) bool {
	return func(v value) bool { return v.exists && (!v.text || so(v.s)) }
}

// noText holds unless there is text that is so.
func noText(so func(string) bool) func(value) bool {
	return func(v value) bool { return !v.exists || !v.text || !so(v.s) }
}

// expression compiles text that has to match from end to end.
func expression(re string) (*regexp.Regexp, error) {
	// Parsed by itself, so that it can neither close nor quote what is put around it.
	tree, err := syntax.Parse(re, syntax.Perl)
	if err != nil {
		return nil, refuse("Failed to construct regex from pattern '%s': %s", re, err)
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, refuse("Failed to construct regex from pattern '%s': %s", re, err)
	}
	if n := len(prog.Inst); n > maxProgram {
		return nil, refuse("Regex '%s' is too complex: program size of %d is larger than maximum of %d allowed", re, n, maxProgram)
	}
	return regexp.Compile(`\A(?:` + tree.String() + `)\z`)
}

// refusal is an answer in the words of Mesos, which start with a capital.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }
