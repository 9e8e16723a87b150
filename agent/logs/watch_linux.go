package logs

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// watch tells of changes in the folder of path. stop ends it. Where the kernel refuses, changed never says anything.
func watch(path string) (changed <-chan struct{}, stop func()) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, func() {}
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_CREATE|unix.IN_MODIFY|unix.IN_MOVED_TO); err != nil {
		f.Close()
		return nil, func() {}
	}
	c := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			if _, err := f.Read(buf); err != nil {
				return
			}
			select {
			case c <- struct{}{}:
			default: // one notice stands for many
			}
		}
	}()
	return c, func() { f.Close(); <-done }
}
