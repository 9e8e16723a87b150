//go:build linux

package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// proc names a process for ever: its number alone is used again.
type proc struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // in clock ticks since boot
	Boot  string `json:"boot"`
}

var bootID = sync.OnceValue(func() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // empty where there is none, and then the same for all
	return strings.TrimSpace(string(b))
})

// identify names the process that has the number now.
func identify(pid int) (proc, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return proc{}, err
	}
	// The second field is the name in parentheses and may hold anything, parentheses too.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 {
		return proc{}, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(fields))
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	return proc{PID: pid, Start: start, Boot: bootID()}, err
}

// errNoProc says that a process has ended.
var errNoProc = errors.New("the process has ended")

// held is a process that cannot be mistaken for another while it is held.
type held struct{ f *os.File }

// hold gets hold of p; [errNoProc] when it has ended.
func hold(p proc) (*held, error) {
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) || p.PID <= 0 {
		return nil, errNoProc
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", p.PID, err)
	}
	h := &held{os.NewFile(uintptr(fd), "pidfd")}
	if now, err := identify(p.PID); err != nil || now != p {
		h.close()
		return nil, errNoProc
	}
	return h, nil
}

func (h *held) close() { h.f.Close() }

// signal sends a signal; a process that has ended is no error.
func (h *held) signal(s unix.Signal) error {
	c, err := h.f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := c.Control(func(fd uintptr) { serr = unix.PidfdSendSignal(int(fd), s, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(serr, unix.ESRCH) {
		return nil
	}
	return serr
}

// wait waits for the process's end. It need not be a child.
func (h *held) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = h.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	c, err := h.f.SyscallConn()
	if err != nil {
		return err
	}
	err = c.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return n > 0 && err == nil
	})
	if ctx.Err() != nil {
		_ = h.f.SetReadDeadline(time.Time{})
		return context.Cause(ctx)
	}
	return err
}
