package executor

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Restarts: the first is immediate, those after it wait longer each time. A worker that lasted starts afresh.
const (
	backoffFirst = time.Second
	backoffLast  = time.Minute
	lasted       = 10 * time.Second
)

// backoff says how long to wait before a process is started again.
type backoff struct {
	now   func() time.Time
	wait  time.Duration
	since time.Time // of the start before
}

func (b *backoff) next() time.Duration {
	now := b.now()
	if now.Sub(b.since) > max(lasted, b.wait*2) {
		b.since, b.wait = now, 0
		return 0
	}
	b.since = now
	b.wait = min(max(b.wait*2, backoffFirst), backoffLast)
	return b.wait - rand.N(b.wait/4)
}

// status tells how a process ended.
func status(cmd *exec.Cmd) (signal, code int) {
	if cmd.ProcessState == nil {
		return 0, 0
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return int(ws.Signal()), 0
	}
	return 0, cmd.ProcessState.ExitCode()
}

// maxTail is how much of a worker's last words is kept.
const maxTail = 4 << 10

// tailWriter passes on what it is given and keeps the end of it.
type tailWriter struct {
	next io.Writer
	mu   sync.Mutex
	buf  []byte
}

// Write implements [io.Writer].
func (t *tailWriter) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.buf = append(t.buf, p[max(0, len(p)-maxTail):]...)
	t.buf = t.buf[max(0, len(t.buf)-maxTail):]
	t.mu.Unlock()
	return t.next.Write(p)
}

func (t *tailWriter) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.ToValidUTF8(t.buf, []byte("?")))
}

// oomKills is how often the kernel has killed for memory in this process's cgroup; 0 where it cannot be told. In a container
// the cgroup's folder is at the root of the mount.
func oomKills() int {
	for _, path := range []string{"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"} {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
				v, _ := strconv.Atoi(strings.TrimSpace(n))
				return v
			}
		}
	}
	return 0
}

// reapEvery is how often the first process of a container looks for children that are not its own.
const reapEvery = 5 * time.Second

// reapForEver reaps processes that were handed to this one when their parents ended.
func (s *supervisor) reapForEver(ctx context.Context) {
	t := time.NewTicker(reapEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, pid := range zombies() {
			s.mu.Lock()
			own := false
			for _, p := range s.procs {
				own = own || p.Pid == pid
			}
			s.mu.Unlock()
			if !own { // a worker's status is for runWorker
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
		}
	}
}

// zombies lists children of this process that have ended and were not waited for.
func zombies() []int {
	self := strconv.Itoa(os.Getpid())
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state ppid …; the name may hold anything
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) > 1 && f[0] == "Z" && f[1] == self {
			out = append(out, pid)
		}
	}
	return out
}
