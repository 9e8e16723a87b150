package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Names of a process executor's files in its folder.
const (
	pidFile = "executor.pid"
	logFile = "executor.log"
)

// stopWithin is how long an executor gets to end by itself.
const stopWithin = 5 * time.Second

// Process starts executors as child processes in sessions of their own: they live on when the agent ends. There is no
// container around them; whoever runs a module then trusts the engine alone.
type Process struct {
	// Root is the folder that holds the folders of the spaces.
	Root string
	// Exe is the program, run as "EXE executor …". Default: this one.
	Exe string
	// Options bounds the executors.
	Options Options
	Log     *slog.Logger
}

var _ Launcher = (*Process)(nil)

// Name implements [Launcher].
func (*Process) Name() string { return "process" }

// Check implements [Launcher].
func (p *Process) Check(context.Context) error {
	_, err := p.exe()
	return err
}

// Owner implements [Launcher].
func (*Process) Owner() (uid, gid int) { return -1, -1 }

// Image implements [Launcher].
func (*Process) Image() string { return "" }

// SharesPaths implements [Launcher].
func (*Process) SharesPaths() bool { return true }

func (p *Process) exe() (string, error) {
	if p.Exe != "" {
		return p.Exe, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return exe, nil
}

// record is the content of a pid file. The start time tells a process from a later one of the same number.
type record struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
	Exe   string `json:"exe"`   // identity of the program's file
}

// Ensure implements [Launcher].
func (p *Process) Ensure(ctx context.Context, s Space) (Executor, error) {
	exe, err := p.exe()
	if err != nil {
		return nil, err
	}
	id, err := identity(exe)
	if err != nil {
		return nil, fmt.Errorf("start executor: %w", err)
	}
	if rec, ok := running(s.Dir); ok {
		old := watch(s.Dir, rec, true)
		if rec.Exe == id {
			return old, nil
		}
		p.Log.Info("executor of another version is replaced", "namespace", s.Namespace, "pid", rec.PID)
		if err := old.Stop(ctx); err != nil {
			return nil, err
		}
	}
	return p.start(exe, id, s)
}

func (p *Process) start(exe, id string, s Space) (Executor, error) {
	out, err := os.OpenFile(filepath.Join(s.Dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start executor: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(exe, "executor", "--dir", s.Dir, "--workers", strconv.Itoa(p.Options.Workers),
		"--memory", strconv.FormatInt(p.Options.WorkerMem, 10))
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, out, out
	cmd.Env = []string{"PATH=/usr/bin:/bin"} // nothing of the agent's own: it may hold secrets
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start executor: %w", err)
	}
	start, err := startTime(cmd.Process.Pid)
	if err == nil {
		rec := record{PID: cmd.Process.Pid, Start: start, Exe: id}
		if err = writeRecord(s.Dir, rec); err == nil {
			e := watch(s.Dir, rec, false)
			go func() { _ = cmd.Wait() }() // so that no zombie stays
			return e, nil
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return nil, fmt.Errorf("start executor: %w; see %s", err, filepath.Join(s.Dir, logFile))
}

// Running implements [Launcher].
func (p *Process) Running(context.Context) ([]string, error) {
	entries, err := os.ReadDir(p.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range entries {
		if _, ok := running(filepath.Join(p.Root, e.Name())); ok {
			out = append(out, e.Name())
		}
	}
	return out, err
}

// running reads the pid file in dir and reports whether its process is alive.
func running(dir string) (record, bool) {
	var rec record
	b, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil || json.Unmarshal(b, &rec) != nil || rec.PID <= 1 {
		return rec, false
	}
	start, err := startTime(rec.PID)
	return rec, err == nil && start == rec.Start
}

func writeRecord(dir string, rec record) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, pidFile+".tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, pidFile))
}

// startTime tells when a process started, in clock ticks since boot. A process that has ended has no such time, even while
// nobody has waited for it.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:]) // the name before it may hold anything
	const state, start = 0, 19
	if len(f) <= start || f[state] == "Z" || f[state] == "X" {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(f[start], 10, 64)
}

// identity tells one version of a program from another without reading all of it.
func identity(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d-%d", st.Size(), st.ModTime().UnixNano()), nil
}

// process is an executor that runs as a process, a child of ours or not.
type process struct {
	dir     string
	rec     record
	adopted bool
	done    chan struct{}
	release context.CancelFunc
}

var _ Executor = (*process)(nil)

// watch waits for the end of a process, until it is released.
func watch(dir string, rec record, adopted bool) *process {
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{dir: dir, rec: rec, adopted: adopted, done: make(chan struct{}), release: cancel}
	fd, err := unix.PidfdOpen(rec.PID, 0)
	if err != nil || !p.alive() { // the number was given away before we had hold of it
		if err == nil {
			_ = unix.Close(fd)
		}
		close(p.done)
		return p
	}
	go func() {
		defer func() { _ = unix.Close(fd) }()
		for ctx.Err() == nil {
			const every = 200 // milliseconds between looks at ctx
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if n, err := unix.Poll(fds, every); n > 0 && err == nil {
				close(p.done)
				return
			}
		}
	}()
	return p
}

func (p *process) alive() bool {
	start, err := startTime(p.rec.PID)
	return err == nil && start == p.rec.Start
}

func (p *process) Adopted() bool         { return p.adopted }
func (p *process) Done() <-chan struct{} { return p.done }
func (p *process) Release()              { p.release() }

func (p *process) Ended() string {
	return fmt.Sprintf("executor process %d has ended; see %s", p.rec.PID, filepath.Join(p.dir, logFile))
}

// Stop implements [Executor]. It does not lean on the watcher, which may be released.
func (p *process) Stop(ctx context.Context) error {
	defer p.release()
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	if p.alive() {
		_ = unix.Kill(p.rec.PID, unix.SIGTERM)
		if !p.wait(ctx) {
			// The workers are of its session and end with it. Whatever did not is ended here.
			if err := unix.Kill(-p.rec.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("stop executor %d: %w", p.rec.PID, err)
			}
			p.wait(context.Background())
		}
	}
	if err := os.Remove(filepath.Join(p.dir, pidFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("stop executor %d: %w", p.rec.PID, err)
	}
	return nil
}

// wait waits for the end of the process and reports whether it came before ctx's.
func (p *process) wait(ctx context.Context) bool {
	for p.alive() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return true
}
