package validate

import (
	"strings"

	"github.com/saki-run/saki/mesos"
)

const (
	maxID          = 255 // Bytes: ids become names of directories.
	maxContainerID = 242 // Bytes, of all levels with a dot between them.
)

// ID says what is wrong with the id of a task or an executor.
func ID(id string) error {
	switch {
	case id == "":
		return refuse("ID must not be empty")
	case len(id) > maxID:
		return refuse("ID must not be greater than %d characters", maxID)
	case id == "." || id == "..":
		return refuse("'%s' is disallowed", id)
	case strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r == '/' || r == '\\' }):
		return refuse("'%s' contains invalid characters", id)
	}
	return nil
}

func containerID(id *mesos.ContainerID) error {
	n := -1
	for ; id != nil; id = id.GetParent() {
		if err := ID(id.GetValue()); err != nil {
			return err
		}
		if strings.ContainsAny(id.GetValue(), ". ") {
			return refuse("'%s' contains invalid characters", id.GetValue())
		}
		n += len(id.GetValue()) + 1
	}
	if n > maxContainerID {
		return refuse("Container ID must not be greater than %d characters", maxContainerID)
	}
	return nil
}
