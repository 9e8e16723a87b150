package client

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unanswered is how long a master's machine may leave what was sent to it unacknowledged. One that lost its network says
// nothing; without this limit a request waits for it until Config.AnswerTimeout ends. A busy master acknowledges at once.
const unanswered = 5 * time.Second

// impatient sets that limit on a connection that is being made. Where it cannot be set, AnswerTimeout has to do.
func impatient(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unanswered.Milliseconds()))
	})
}
