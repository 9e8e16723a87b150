//go:build linux

package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/saki-run/saki/api"
)

// v1 is the older version: one tree of folders for each controller.
type v1 struct {
	root        string
	controllers []cgroup1.Subsystem
	home        func() (map[string]string, error) // where this process is, by controller
}

func newV1(root string) *v1 {
	return &v1{
		root: root,
		controllers: []cgroup1.Subsystem{
			cgroup1.NewCpu(root), cgroup1.NewCpuacct(root), cgroup1.NewMemory(root, cgroup1.OptionalSwap()), cgroup1.NewPids(root),
		},
		home: sync.OnceValues(func() (map[string]string, error) { return cgroup1.ParseCgroupFile("/proc/self/cgroup") }),
	}
}

func (v *v1) hierarchy() ([]cgroup1.Subsystem, error) { return v.controllers, nil }

func (v *v1) dir(c cgroup1.Name, path string) string { return filepath.Join(v.root, string(c), path) }

func (v *v1) probe(path string) error {
	for _, c := range v.controllers {
		if _, err := os.Stat(v.dir(c.Name(), "/")); err != nil {
			return fmt.Errorf("the controller %s is missing: %w", c.Name(), err)
		}
		if err := os.MkdirAll(v.dir(c.Name(), path), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (v *v1) create(path string, l Limits) error {
	res := &specs.LinuxResources{}
	if l.CPUs > 0 {
		s, q, p := shares(l.CPUs), quota(l.CPUs), uint64(period.Microseconds())
		res.CPU = &specs.LinuxCPU{Shares: &s, Quota: &q, Period: &p}
	}
	if l.Mem > 0 {
		m := int64(l.Mem)
		res.Memory = &specs.LinuxMemory{Limit: &m}
		if _, err := os.Stat(v.dir(cgroup1.Memory, "memory.memsw.limit_in_bytes")); err == nil {
			res.Memory.Swap = &m // memory and swap together
		}
	}
	if l.PIDs > 0 {
		res.Pids = &specs.LinuxPids{Limit: &l.PIDs}
	}
	_, err := cgroup1.New(cgroup1.StaticPath(path), res, cgroup1.WithHierarchy(v.hierarchy))
	return err
}

func (v *v1) exists(path string) bool {
	for _, c := range v.controllers {
		if _, err := os.Stat(v.dir(c.Name(), path)); err == nil {
			return true
		}
	}
	return false
}

func (v *v1) list(path string) ([]string, error) {
	names := map[string]bool{}
	for _, c := range v.controllers {
		l, err := folders(v.dir(c.Name(), path))
		if err != nil {
			return nil, err
		}
		for _, n := range l {
			names[n] = true
		}
	}
	out := make([]string, 0, len(names))
	for n := range names {
		out = append(out, n)
	}
	return out, nil
}

// start puts the calling thread into the group for as long as fork takes. A child is born where its parent thread is. A thread
// that moves itself (the 0) spares the kernel the wait for all other threads that moving a process costs.
func (v *v1) start(path string, fork func(*syscall.SysProcAttr) error) error {
	home, err := v.home()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	err = v.move(func(cgroup1.Name) string { return path })
	if err == nil {
		err = fork(&syscall.SysProcAttr{})
	}
	if back := v.move(func(c cgroup1.Name) string { return home[string(c)] }); back != nil {
		// The thread stays locked to this goroutine, so that it runs nothing else in the group.
		return errors.Join(err, fmt.Errorf("leave the control group: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

func (v *v1) move(to func(cgroup1.Name) string) error {
	for _, c := range v.controllers {
		if err := write(filepath.Join(v.dir(c.Name(), to(c.Name())), "tasks"), "0"); err != nil {
			return err
		}
	}
	return nil
}

// procs looks into pids: each controller of a group holds the same processes.
func (v *v1) procs(path string) ([]int, error) { return readPIDs(v.dir(cgroup1.Pids, path)) }

func (v *v1) noForks(path string) {
	_ = write(filepath.Join(v.dir(cgroup1.Pids, path), "pids.max"), "0")
}

func (v *v1) killAll(path string) error {
	pids, err := v.procs(path)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

func (v *v1) stats(path string) (Stats, error) {
	cpu, err := readInt(filepath.Join(v.dir(cgroup1.Cpuacct, path), "cpuacct.usage"))
	if err != nil {
		return Stats{}, err
	}
	peak, err := readInt(filepath.Join(v.dir(cgroup1.Memory, path), "memory.max_usage_in_bytes"))
	if err != nil {
		return Stats{}, err
	}
	oom, err := readKey(filepath.Join(v.dir(cgroup1.Memory, path), "memory.oom_control"), "oom_kill")
	return Stats{CPU: time.Duration(cpu), PeakMem: api.Bytes(peak), OOMKills: oom}, err
}

func (v *v1) delete(path string) error {
	var errs []error
	for _, c := range v.controllers {
		if err := rmdir(v.dir(c.Name(), path)); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// write writes to a control file, which is never created.
func write(file, s string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(s)
	return errors.Join(err, f.Close())
}

// rmdir removes a group. The kernel calls it busy for a moment after its last process has gone.
func rmdir(dir string) error {
	var err error
	for wait := time.Millisecond; wait < time.Second; wait *= 2 {
		if err = syscall.Rmdir(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(wait)
	}
	return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
}

func folders(dir string) ([]string, error) {
	es, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var out []string
	for _, e := range es {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

func readPIDs(dir string) ([]int, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
			return nil, nil // the group is gone
		}
		return nil, err
	}
	var pids []int
	for f := range bytes.FieldsSeq(b) {
		if pid, err := strconv.Atoi(string(f)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func readInt(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	return n, nil
}

// readKey reads the number behind a name in a file of such lines; 0 when it has no such line.
func readKey(file, key string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for l := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(l, key+" "); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", file, err)
			}
			return n, nil
		}
	}
	return 0, nil
}
