//go:build linux

package shell_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/saki-run/saki/agent/logs"
	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/shell"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/internal/cgroup"
)

func newRunner(t testing.TB, cfg shell.Config) (*shell.Runner, string) {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = fmt.Sprintf("test-%d-%d", os.Getpid(), names.Add(1))
	}
	if _, bench := t.(*testing.B); !bench { // benchmarks take the default, which starts faster
		cfg.Shim = shimCommand
	}
	r, err := shell.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background(), false) }) // a second runner of the same name has removed the groups
	return r, cfg.Name
}

func script(id, s string) *api.Task {
	spec := api.Spec{Shell: &api.ShellSpec{Script: s}}.WithDefaults()
	return &api.Task{ID: api.TaskID(id), Attempt: 1, Spec: &spec}
}

// place is where an attempt runs, and what it said of itself.
func place(t testing.TB) (runner.IO, func() []byte) {
	var handle []byte
	return runner.IO{
		Dir:    filepath.Join(t.TempDir(), "attempt"),
		Handle: func(h []byte) error { handle = h; return nil },
	}, func() []byte { return handle }
}

func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + strings.TrimSpace(pid) + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// firstLine waits for the first line of the attempt's output.
func firstLine(t *testing.T, dir string) string {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { w.CloseWithError(logs.Follow(ctx, filepath.Join(dir, "stdout"), 0, nil, w)) }()
	l, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(l)
}

func TestWhatATaskLeavesBehindEndsWithIt(t *testing.T) {
	for name, cfg := range map[string]shell.Config{"with control groups": {}, "without": {NoLimits: true}} {
		t.Run(name, func(t *testing.T) {
			r, _ := newRunner(t, cfg)
			at, _ := place(t)
			// A process in the background, one in a session of its own, and one whose parent has gone; the last two
			// hold no pipe of the task's.
			o, err := r.Run(t.Context(), script("x", `
				sleep 3600 & echo $!
				setsid sh -c 'echo $$ > a; exec sleep 3600' >/dev/null 2>&1 &
				(sh -c 'trap "" TERM; echo $$ > b; while :; do sleep 1; done' >/dev/null 2>&1 &)
				until test -s a && test -s b; do sleep 0.01; done
				cat a b; exit 3`), at)
			if err != nil || o.ExitCode != 3 {
				t.Fatalf("got %+v, %v", o, err)
			}
			pids := strings.Fields(string(o.Stdout))
			if len(pids) != 3 {
				t.Fatalf("the task printed %q", o.Stdout)
			}
			for _, pid := range pids {
				if alive(pid) {
					t.Errorf("process %s lives on", pid)
				}
			}
		})
	}
}

func TestAKilledTaskLeavesNoProcess(t *testing.T) {
	for name, cfg := range map[string]shell.Config{"with control groups": {}, "without": {NoLimits: true}} {
		t.Run(name, func(t *testing.T) {
			r, _ := newRunner(t, cfg)
			at, _ := place(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan api.Outcome)
			go func() {
				o, _ := r.Run(ctx, script("x", `trap '' TERM
					setsid sh -c 'trap "" TERM; echo $$; while :; do sleep 1; done'`), at)
				done <- o
			}()
			pid := firstLine(t, at.Dir)
			if !alive(pid) {
				t.Fatalf("process %s does not live", pid)
			}
			cancel(&runner.Stop{Reason: api.ReasonUserKill, Force: true})
			if o := <-done; o.State != api.Killed || o.Signal != 9 || o.ExitCode != 137 {
				t.Errorf("got %+v", o)
			}
			if alive(pid) {
				t.Errorf("process %s lives on", pid)
			}
		})
	}
}

func TestASignalIsPartOfTheExitCode(t *testing.T) {
	r, _ := newRunner(t, shell.Config{})
	for sig := range 15 { // a task ignores none from the start
		if sig == 0 {
			continue
		}
		at, _ := place(t)
		o, err := r.Run(t.Context(), script("x", fmt.Sprintf("kill -%d $$", sig)), at)
		if err != nil || o.State != api.Failed || o.Reason != api.ReasonSignal || o.Signal != sig || o.ExitCode != 128+sig {
			t.Errorf("signal %d: got %+v, %v", sig, o, err)
		}
	}
}

func TestATaskInheritsNothingButItsStreams(t *testing.T) {
	r, _ := newRunner(t, shell.Config{})
	at, _ := place(t)
	// An open file that the agent has from whoever started it.
	leak, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	if _, err := unix.FcntlInt(leak.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	o, err := r.Run(t.Context(), script("x", "readlink /proc/$$/fd/*"), at)
	if got := strings.Fields(string(o.Stdout)); err != nil || len(got) != 3 || got[0] != os.DevNull {
		t.Errorf("got %q, %v; want /dev/null and two pipes", got, err)
	}
}

// TestHammer runs, kills and detaches tasks all at once.
func TestHammer(t *testing.T) {
	r, name := newRunner(t, shell.Config{Idle: 2})
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 60 {
		id := fmt.Sprint("h", i)
		at := runner.IO{Dir: filepath.Join(dir, id), Handle: func([]byte) error { return nil }}
		ctx, cancel := context.WithCancelCause(t.Context())
		started := make(chan struct{})
		at.Started = func() { close(started) }
		wg.Go(func() {
			defer cancel(nil)
			o, err := r.Run(ctx, script(id, "echo "+id+"; test "+fmt.Sprint(i%3)+" = 0 || exec sleep 3600"), at)
			switch {
			case i%3 == 0 && (err != nil || string(o.Stdout) != id+"\n"),
				i%3 == 1 && (err != nil || o.State != api.Killed),
				i%3 == 2 && !errors.Is(err, runner.ErrDetach):
				t.Errorf("%s: got %+v, %v", id, o, err)
			}
		})
		wg.Go(func() {
			if i%2 == 0 { // at any time, or as soon as it runs
				select {
				case <-started:
				case <-ctx.Done():
				}
			}
			switch i % 3 {
			case 1:
				cancel(&runner.Stop{Reason: api.ReasonUserKill})
			case 2:
				cancel(runner.ErrDetach)
			}
		})
	}
	wg.Wait()
	if err := r.Close(t.Context(), false); err != nil {
		t.Error(err)
	}
	if p, err := cgroup.Open(name); err == nil {
		defer p.Delete()
		if left, err := p.List(); len(left) > 0 || err != nil {
			t.Errorf("control groups are left: %v, %v", left, err)
		}
	}
}

func TestWhatCannotBeExecutedIsToldApart(t *testing.T) {
	r, _ := newRunner(t, shell.Config{})
	for text, want := range map[string]api.Reason{
		"#!/no/such/interpreter\n": api.ReasonCommandNotFound,
		"neither ELF nor script":   api.ReasonLaunchFailed,
	} {
		at, _ := place(t)
		p := filepath.Join(t.TempDir(), "command")
		if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		task := script("x", "")
		task.Spec.Shell = &api.ShellSpec{Argv: []string{p}}
		if o, err := r.Run(t.Context(), task, at); err != nil || o.Reason != want || o.Message == "" {
			t.Errorf("%q: got %+v, %v; want %s", text, o, err, want)
		}
	}
}

func TestTheReceiptTellsWhatWasUsed(t *testing.T) {
	r, name := newRunner(t, shell.Config{})
	if _, err := cgroup.Open(name); err != nil {
		t.Skipf("no control groups here: %v", err)
	}
	at, _ := place(t)
	o, err := r.Run(t.Context(), script("x", "i=0; while test $i -lt 20000; do i=$((i+1)); done"), at)
	if err != nil || o.Receipt.CPUNS < 1e6 || o.Receipt.PeakMem < 64*api.KiB || o.Receipt.InitNS <= 0 {
		t.Errorf("got %+v, %v", o.Receipt, err)
	}
}

func TestProcessorTimeIsLimited(t *testing.T) {
	r, name := newRunner(t, shell.Config{})
	if _, err := cgroup.Open(name); err != nil {
		t.Skipf("no control groups here: %v", err)
	}
	at, _ := place(t)
	task := script("x", "while :; do :; done")
	task.Spec.Resources.CPUs = 100
	task.Spec.Timeout = api.Duration(1e9)
	task.Spec.KillGrace = 1e6
	o, err := r.Run(t.Context(), task, at)
	if err != nil || o.Reason != api.ReasonDeadline {
		t.Fatalf("got %+v, %v", o, err)
	}
	if o.Receipt.CPUNS > 300e6 { // a tenth of a second, and room for what the kernel lets slip
		t.Errorf("it used %d ms of processor time in one second", o.Receipt.CPUNS/1e6)
	}
}

func TestAnAttemptWhoseShimIsKilledIsAnErrorAndItsProcessesEnd(t *testing.T) {
	r, name := newRunner(t, shell.Config{})
	if _, err := cgroup.Open(name); err != nil {
		t.Skipf("without control groups nobody could find the processes: %v", err)
	}
	at, _ := place(t)
	done := make(chan error)
	go func() {
		_, err := r.Run(t.Context(), script("x", "echo $$ $PPID; exec sleep 3600"), at)
		done <- err
	}()
	var pid, shim int
	fmt.Sscan(firstLine(t, at.Dir), &pid, &shim)
	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("no error")
	}
	if alive(fmt.Sprint(pid)) {
		t.Errorf("process %d lives on", pid)
	}
	// The next task gets another shim.
	at, _ = place(t)
	if o, err := r.Run(t.Context(), script("y", "echo well"), at); err != nil || string(o.Stdout) != "well\n" {
		t.Errorf("got %+v, %v", o, err)
	}
}

// agent is what the parent tells the program that plays an agent, and what it learns from it.
type agent struct{ Name, Dir, Script string }

// playAgent runs one task and prints its handle, in hexadecimal, as soon as it has one.
func playAgent(arg string) error {
	var a agent
	if err := json.Unmarshal([]byte(arg), &a); err != nil {
		return err
	}
	r, err := shell.New(shell.Config{Name: a.Name})
	if err != nil {
		return err
	}
	_, err = r.Run(context.Background(), script("x", a.Script), runner.IO{
		Dir:    a.Dir,
		Handle: func(h []byte) error { _, err := fmt.Println(hex.EncodeToString(h)); return err },
	})
	return err
}

func TestATaskSurvivesTheDeathOfItsAgent(t *testing.T) {
	for end, want := range map[string]int{"while the next agent waits": 7, "before the next agent comes": 7} {
		t.Run(end, func(t *testing.T) {
			r, name := newRunner(t, shell.Config{})
			at, _ := place(t)
			arg, _ := json.Marshal(agent{name, at.Dir, "echo ready; until test -e go; do sleep 0.01; done; echo done; exit 7"})
			cmd := exec.Command("/proc/self/exe", "agent", string(arg))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			handle, err := hex.DecodeString(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			firstLine(t, at.Dir)
			cmd.Process.Kill()
			cmd.Wait()
			finish := func() {
				if err := os.WriteFile(filepath.Join(at.Dir, "box", "go"), nil, 0o600); err != nil {
					t.Error(err)
				}
			}
			at.Started = finish // Reattach has found it running
			if end == "before the next agent comes" {
				at.Started = nil
				finish()
				ended := make(chan struct{})
				if err := logs.Follow(t.Context(), filepath.Join(at.Dir, "outcome"), 0, ended, closer{ended}); err != nil {
					t.Fatal(err)
				}
			}
			o, err := r.Reattach(t.Context(), script("x", ""), handle, at)
			if err != nil || o.ExitCode != want || string(o.Stdout) != "ready\ndone\n" {
				t.Errorf("got %+v, %v", o, err)
			}
		})
	}
}

// closer closes a channel at the first write.
type closer struct{ c chan struct{} }

func (c closer) Write(b []byte) (int, error) {
	close(c.c)
	return len(b), nil
}

func TestSweepEndsWhatNobodyKnows(t *testing.T) {
	first, name := newRunner(t, shell.Config{})
	if _, err := cgroup.Open(name); err != nil {
		t.Skipf("no control groups here: %v", err)
	}
	pids := map[api.TaskID]string{}
	for _, id := range []api.TaskID{"known", "unknown"} {
		at, _ := place(t)
		ctx, detach := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() { _, err := first.Run(ctx, script(string(id), "echo $$; exec sleep 3600"), at); done <- err }()
		pids[id] = firstLine(t, at.Dir)
		detach(runner.ErrDetach)
		if err := <-done; !errors.Is(err, runner.ErrDetach) {
			t.Fatal(err)
		}
	}
	second, _ := newRunner(t, shell.Config{Name: name})
	if err := second.Sweep(t.Context(), func(id api.TaskID, n uint32) bool { return id == "known" && n == 1 }); err != nil {
		t.Fatal(err)
	}
	if !alive(pids["known"]) {
		t.Error("the task that is known was ended")
	}
	if alive(pids["unknown"]) {
		t.Error("the task that nobody knows lives on")
	}
}

func BenchmarkRun(b *testing.B) {
	for name, cfg := range map[string]shell.Config{"warm shim": {}, "no waiting shim": {Idle: -1}, "warm shim, no limits": {NoLimits: true}} {
		b.Run(name, func(b *testing.B) {
			r, _ := newRunner(b, cfg)
			dir := b.TempDir()
			i := 0
			var took []time.Duration
			defer func() {
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			}()
			for b.Loop() {
				i++
				begun := time.Now()
				at := runner.IO{Dir: fmt.Sprint(dir, "/", i), Handle: func([]byte) error { return nil }}
				if o, err := r.Run(b.Context(), script(fmt.Sprint("x", i), "echo hi"), at); err != nil || string(o.Stdout) != "hi\n" {
					b.Fatalf("got %+v, %v", o, err)
				}
				took = append(took, time.Since(begun))
			}
		})
	}
	b.Run("two at a time", func(b *testing.B) {
		r, _ := newRunner(b, shell.Config{})
		dir := b.TempDir()
		var i atomic.Int64
		b.SetParallelism(1)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				id := fmt.Sprint("x", i.Add(1))
				at := runner.IO{Dir: filepath.Join(dir, id), Handle: func([]byte) error { return nil }}
				if o, err := r.Run(b.Context(), script(id, "echo hi"), at); err != nil || string(o.Stdout) != "hi\n" {
					b.Errorf("got %+v, %v", o, err)
				}
			}
		})
	})
	b.Run("sh alone", func(b *testing.B) {
		for b.Loop() {
			if out, err := exec.Command("/bin/sh", "-c", "echo hi").Output(); err != nil || string(out) != "hi\n" {
				b.Fatal(err)
			}
		}
	})
}
