package container

import (
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

func notFound(err error) bool { return errdefs.IsNotFound(err) }

func conflict(err error) bool { return errdefs.IsConflict(err) }

// said reports whether the daemon itself refused, as against a daemon that cannot be reached.
func said(err error) bool {
	if client.IsErrConnectionFailed(err) {
		return false
	}
	return notFound(err) || conflict(err) || errdefs.IsInvalidArgument(err) || errdefs.IsPermissionDenied(err) ||
		errdefs.IsUnauthorized(err) || errdefs.IsNotImplemented(err) || errdefs.IsInternal(err)
}

// noCommand reports whether the daemon could not start a container because its command does not exist.
func noCommand(err error) bool {
	s := err.Error()
	return strings.Contains(s, "executable file not found") ||
		strings.Contains(s, "exec:") && strings.Contains(s, "no such file or directory")
}
