package mesos

import (
	"fmt"
	"strings"
	"unicode"
)

// CheckRole says what is wrong with the name of a role, if anything. A role is
// a path such as "eng/web", whose parts are not empty, not "." or "..", do not
// start with "-" and hold no white space. "*" is the role of everybody.
func CheckRole(role string) error {
	if role == "*" {
		return nil
	}
	if role == "" {
		return fmt.Errorf("role name is empty")
	}
	for part := range strings.SplitSeq(role, "/") {
		switch {
		case part == "":
			return fmt.Errorf("role %q has an empty part", role)
		case part == "." || part == ".." || part == "*":
			return fmt.Errorf("role %q holds the part %q", role, part)
		case part[0] == '-':
			return fmt.Errorf("role %q has a part that starts with '-'", role)
		}
	}
	if i := strings.IndexFunc(role, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }); i >= 0 {
		return fmt.Errorf("role %q holds white space or a control character", role)
	}
	return nil
}

// Within tells whether role is top or lies below it: "eng/web" is within
// "eng". Resources reserved to a role may be used by all roles within it.
func Within(role, top string) bool {
	return role == top || strings.HasPrefix(role, top) && role[len(top)] == '/'
}
