//go:build !linux

package client

import "syscall"

// impatient does nothing where the system has no such limit.
func impatient(_, _ string, _ syscall.RawConn) error { return nil }
