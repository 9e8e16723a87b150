//go:build linux

package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/saki-run/saki/api"
)

// each runs the test in every version of control groups that this machine has. limits says whether the version's controllers
// are to be had; on a machine of the first version, the second has none.
func each(t *testing.T, test func(t *testing.T, p *Parent, limits bool)) {
	parent := fmt.Sprintf("test-%d", os.Getpid())
	run := func(name string, p *Parent, err error, limits bool) {
		t.Run(name, func(t *testing.T) {
			if err != nil {
				t.Skipf("this machine lets us make no such groups: %v", err)
			}
			t.Cleanup(func() {
				if err := p.Delete(); err != nil {
					t.Error(err)
				}
			})
			test(t, p, limits)
		})
	}
	p, err := Open(parent)
	run("limits", p, err, true)
	bare := v2{mountpoint + "/unified"}
	if bare.exists("") {
		p := &Parent{bare, "/saki/" + parent}
		run("bare second version", p, os.MkdirAll(bare.dir(p.path), 0o755), false)
	}
}

func create(t *testing.T, p *Parent, l Limits) *Group {
	t.Helper()
	g, err := p.Create("x", l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(g.Kill(), g.Delete()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// start runs a script in the group and gives what it prints. Its standard input stays open until in is closed.
func start(t *testing.T, g *Group, script string) (cmd *exec.Cmd, in io.Closer, out io.Reader) {
	t.Helper()
	cmd = exec.Command("/bin/sh", "-c", script)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := g.Start(func(a *syscall.SysProcAttr) error { cmd.SysProcAttr = a; return cmd.Start() }); err != nil {
		t.Fatal(err)
	}
	return cmd, in, out
}

func TestAProcessIsBornInItsGroup(t *testing.T) {
	each(t, func(t *testing.T, p *Parent, _ bool) {
		g := create(t, p, Limits{})
		for range 20 { // the threads of this process come and go
			cmd, in, out := start(t, g, "echo started; read x")
			bufio.NewReader(out).ReadString('\n')
			pids, err := g.h.procs(g.path)
			if err != nil || len(pids) == 0 {
				t.Fatalf("in the group: %v, %v; want %d", pids, err, cmd.Process.Pid)
			}
			for _, pid := range pids {
				if pid == os.Getpid() {
					t.Fatal("the starting process itself is in the group")
				}
			}
			in.Close()
			cmd.Wait()
		}
		if !g.Empty() {
			t.Error("the group is not empty after all have ended")
		}
		s, err := g.Stats()
		if err != nil || s.CPU <= 0 {
			t.Errorf("got %+v, %v", s, err)
		}
	})
}

func TestKillEndsProcessesThatLeftTheirSession(t *testing.T) {
	each(t, func(t *testing.T, p *Parent, _ bool) {
		g := create(t, p, Limits{})
		cmd, _, out := start(t, g, "setsid sleep 1000 & (trap '' TERM; setsid sleep 1000) & echo ready; wait")
		bufio.NewReader(out).ReadString('\n')
		go cmd.Wait()
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		if !g.Empty() {
			t.Error("the group is not empty")
		}
	})
}

func TestAForkBombIsBoundedAndEnded(t *testing.T) {
	each(t, func(t *testing.T, p *Parent, limits bool) {
		if !limits {
			t.Skip("a fork bomb without a limit is not to be tried")
		}
		g := create(t, p, Limits{PIDs: 40, CPUs: 500})
		cmd, _, out := start(t, g, "echo ready; bomb() { bomb | bomb & }; while :; do bomb; done 2>/dev/null")
		bufio.NewReader(out).ReadString('\n')
		go cmd.Wait()
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTheMemoryLimitKillsAndIsCounted(t *testing.T) {
	each(t, func(t *testing.T, p *Parent, limits bool) {
		if !limits {
			t.Skip("no limits here")
		}
		g := create(t, p, Limits{Mem: 32 * api.MiB})
		cmd, _, out := start(t, g, "x=a; while :; do x=$x$x; done")
		io.Copy(io.Discard, out)
		if err := cmd.Wait(); err == nil {
			t.Error("it ended well")
		}
		s, err := g.Stats()
		if err != nil || s.OOMKills != 1 || s.PeakMem < 16*api.MiB || s.PeakMem > 33*api.MiB {
			t.Errorf("got %+v, %v", s, err)
		}
	})
}

func TestGroupsAreListedAndLoaded(t *testing.T) {
	each(t, func(t *testing.T, p *Parent, _ bool) {
		create(t, p, Limits{})
		if l, err := p.List(); err != nil || len(l) != 1 || l[0] != "x" {
			t.Errorf("got %v, %v", l, err)
		}
		if _, err := p.Load("x"); err != nil {
			t.Error(err)
		}
		if _, err := p.Load("y"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a group that does not exist: %v", err)
		}
	})
}

func TestNoGroupsWithoutAHierarchyToWriteTo(t *testing.T) {
	for name, h := range map[string]hierarchy{"first": newV1(t.TempDir()), "second": v2{"/proc/self/task"}} {
		if _, err := open(h, "x"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s version: got %v", name, err)
		}
	}
}

func TestSharesAndQuotaStayWithinWhatTheKernelTakes(t *testing.T) {
	for _, c := range []struct {
		cpus   api.Milli
		quota  int64
		shares uint64
	}{{1, 1000, 2}, {100, 10_000, 102}, {1000, 100_000, 1024}, {2500, 250_000, 2560}, {1024_000, 102_400_000, 262144}} {
		if q, s := quota(c.cpus), shares(c.cpus); q != c.quota || s != c.shares {
			t.Errorf("%s cpus: quota %d, shares %d; want %d, %d", c.cpus, q, s, c.quota, c.shares)
		}
	}
}

func BenchmarkGroup(b *testing.B) {
	p, err := Open(fmt.Sprintf("bench-%d", os.Getpid()))
	if err != nil {
		b.Skip(err)
	}
	defer p.Delete()
	bench := func(name string, g func() (*Group, func())) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				g, done := g()
				err := g.Start(func(a *syscall.SysProcAttr) error {
					c := exec.Command("/bin/true")
					c.SysProcAttr = a
					return c.Run()
				})
				if err != nil {
					b.Fatal(err)
				}
				done()
			}
		})
	}
	l := Limits{CPUs: 1000, Mem: api.GiB, PIDs: 100}
	bench("a fresh group", func() (*Group, func()) {
		g, err := p.Create("x", l)
		if err != nil {
			b.Fatal(err)
		}
		return g, func() { g.Stats(); g.Delete() }
	})
	one, err := p.Create("y", l)
	if err != nil {
		b.Fatal(err)
	}
	bench("the same group", func() (*Group, func()) { return one, func() {} })
	one.Delete()
	b.Run("no group", func(b *testing.B) {
		for b.Loop() {
			exec.Command("/bin/true").Run()
		}
	})
}
