package wal

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes f's content durable without waiting for its timestamps.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}
