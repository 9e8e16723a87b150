//go:build linux

package shell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/output"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/internal/cgroup"
)

// task is an order under way in a shim.
type task struct {
	order
	capture *output.Capture
	group   *cgroup.Group // nil without one
	proc    *os.Process
	begun   time.Time
	copies  sync.WaitGroup
	pipes   []*os.File // our ends
}

// start starts the task. A refusal is its outcome.
func (t *task) start() (refused *api.Outcome) {
	fail := func(r api.Reason, err error) *api.Outcome {
		o := api.Fail(r, err.Error())
		return &o
	}
	bin, err := lookPath(t.Argv[0], t.Box, t.Env)
	if err != nil {
		return fail(api.ReasonCommandNotFound, err)
	}
	if t.Parent != "" {
		t.group, err = cgroup.At(t.Parent).Create(t.Group, cgroup.Limits{CPUs: t.CPUs, Mem: t.Mem, PIDs: t.PIDs})
		if err != nil {
			return fail(api.ReasonLaunchFailed, err)
		}
	}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	in := t.Stdin
	if in == "" {
		in = os.DevNull
	}
	stdin, err := os.Open(in)
	if err != nil {
		return fail(api.ReasonStagingFailed, err)
	}
	theirs = append(theirs, stdin)
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			t.closePipes()
			return fail(api.ReasonLaunchFailed, err)
		}
		t.pipes, theirs = append(t.pipes, r), append(theirs, w)
	}
	if err := t.fork(bin, theirs); err != nil {
		t.closePipes()
		if errors.Is(err, errNoInterpreter) {
			return fail(api.ReasonCommandNotFound, err)
		}
		return fail(api.ReasonLaunchFailed, err)
	}
	t.copies.Go(func() { copyAll(t.capture.Stdout(), t.pipes[0]) })
	t.copies.Go(func() { copyAll(t.capture.Stderr(), t.pipes[1]) })
	return nil
}

func (t *task) closePipes() {
	for _, p := range t.pipes {
		p.Close()
	}
}

// errNoInterpreter says that a script names an interpreter that does not exist. The script itself was looked for before.
var errNoInterpreter = errors.New("its interpreter does not exist")

// fork starts the process in a session and a control group of its own.
func (t *task) fork(bin string, files []*os.File) error {
	run := func(a *syscall.SysProcAttr) error {
		a.Setsid = true
		t.begun = time.Now() //nolint:forbidigo // the span of a run, measured where it happens
		var err error
		t.proc, err = os.StartProcess(bin, t.Argv, &os.ProcAttr{Dir: t.Box, Env: t.Env, Files: files, Sys: a})
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", errNoInterpreter, err)
		}
		return err
	}
	if t.group == nil {
		return run(&syscall.SysProcAttr{})
	}
	return t.group.Start(run)
}

// wait waits for the end of the process and of all that it left behind, obeying stops and the timeout.
func (t *task) wait(stops <-chan stop) api.Outcome {
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		// Not reaped yet, so that its number stays its own while signals may be sent.
		for errors.Is(unix.Waitid(unix.P_PID, t.proc.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		}
	}()
	var timeout, grace <-chan time.Time
	if t.Timeout > 0 {
		timer := time.NewTimer(t.Timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	var why *runner.Stop
	ask := func(s runner.Stop) {
		if why == nil {
			why = &s
			_ = unix.Kill(-t.proc.Pid, unix.SIGTERM) // it may have ended just now
			timer := time.NewTimer(t.Grace)
			grace = timer.C
		}
		if s.Force {
			t.killAll()
		}
	}
	for {
		select {
		case <-exited:
			took := time.Since(t.begun) //nolint:forbidigo // as begun
			st, _ := t.proc.Wait()      // our child, and nobody else waits for it
			t.killAll()
			t.drain()
			return t.outcome(st, why, took)
		case <-timeout:
			ask(runner.Stop{Reason: api.ReasonDeadline})
		case <-grace:
			t.killAll()
		case s := <-stops:
			if s.Seq == t.Seq || s.Seq == anySeq {
				ask(runner.Stop{Reason: s.Reason, Force: s.Force})
			}
		}
	}
}

// outcome tells how the task ended. why is nil when it ended by itself.
func (t *task) outcome(st *os.ProcessState, why *runner.Stop, took time.Duration) api.Outcome {
	ws, _ := st.Sys().(syscall.WaitStatus)
	used := t.usage(st)
	var o api.Outcome
	switch {
	case why != nil:
		sig := int(unix.SIGTERM)
		if ws.Signaled() {
			sig = int(ws.Signal())
		}
		o = runner.KilledOutcome(*why, sig)
	case used.OOMKills > 0 && !st.Success():
		o = api.Fail(api.ReasonMemoryLimit, fmt.Sprintf("the task needed more than its %s of memory", t.Mem))
		o.Signal = int(unix.SIGKILL)
	case ws.Signaled():
		o = api.Fail(api.ReasonSignal, "ended by "+unix.SignalName(ws.Signal()))
		o.Signal = int(ws.Signal())
		o.ExitCode = api.ExitSignal + o.Signal
	case st.ExitCode() != 0:
		o = api.Fail(api.ReasonExit, fmt.Sprintf("ended with exit code %d", st.ExitCode()))
		o.ExitCode = st.ExitCode()
	default:
		o = api.Outcome{State: api.Finished}
	}
	o.Receipt = api.Receipt{RunNS: took.Nanoseconds(), CPUNS: used.CPU.Nanoseconds(), PeakMem: used.PeakMem}
	return o
}

// usage asks the control group, or else the kernel's accounts of the process and of the children it waited for.
func (t *task) usage(st *os.ProcessState) cgroup.Stats {
	if t.group != nil {
		if s, err := t.group.Stats(); err == nil {
			return s
		}
	}
	s := cgroup.Stats{CPU: st.UserTime() + st.SystemTime()}
	if ru, ok := st.SysUsage().(*syscall.Rusage); ok {
		s.PeakMem = api.Bytes(ru.Maxrss) * api.KiB
	}
	return s
}

// killAll ends whatever the task has started, wherever it has gone.
func (t *task) killAll() {
	if t.group != nil && !t.group.Empty() {
		_ = t.group.Kill() // what does not die in time dies later; the outcome does not wait for it
	}
	_ = t.proc.Kill() // an error says that it has ended
	killOrphans(t.proc.Pid)
}

// drainFor is how long output may still come when all is over: somebody outside of the task may hold a pipe.
const drainFor = 2 * time.Second

func (t *task) drain() {
	for _, p := range t.pipes {
		_ = p.SetReadDeadline(time.Now().Add(drainFor)) //nolint:forbidigo // the kernel's deadline, not the program's logic
	}
	t.copies.Wait()
}

// remove removes the control group.
func (t *task) remove() {
	if t.group != nil {
		_ = t.group.Delete() // a group that is still busy is swept by the next agent
	}
}

// killOrphans ends and reaps the processes that have become children of this one, which is their reaper, but not main: somebody
// waits for that. What an orphan leaves behind becomes a child in turn.
func killOrphans(main int) {
	for {
		if errors.Is(unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil), unix.ECHILD) {
			return // the common case, at the cost of one system call
		}
		var kids []int
		for _, pid := range children() {
			if pid != main {
				kids = append(kids, pid)
			}
		}
		if len(kids) == 0 {
			return
		}
		for _, pid := range kids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		for _, pid := range kids {
			var ws unix.WaitStatus
			for {
				if _, err := unix.Wait4(pid, &ws, 0, nil); !errors.Is(err, unix.EINTR) {
					break
				}
			}
		}
	}
}

// children lists the children of this process.
func children() []int {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	var pids []int
	for _, l := range lists {
		b, err := os.ReadFile(l)
		if err != nil {
			continue // the thread has ended
		}
		for f := range strings.FieldsSeq(string(b)) {
			var pid int
			if _, err := fmt.Sscan(f, &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// lookPath finds a command as a shell in dir with that environment would.
func lookPath(name, dir string, env []string) (string, error) {
	runnable := func(p string) bool {
		if !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		st, err := os.Stat(p)
		return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
	}
	if strings.Contains(name, "/") {
		if runnable(name) {
			return name, nil
		}
		return "", fmt.Errorf("%s is not an executable file", api.Quote(name))
	}
	var path string
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, d := range filepath.SplitList(path) {
		if p := filepath.Join(d, name); d != "" && runnable(p) {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s is not in the PATH %s", api.Quote(name), path)
}
