//go:build linux

package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/cgroups/v3/cgroup2"

	"github.com/saki-run/saki/api"
)

// v2 is the newer version: one tree for all controllers.
type v2 struct{ root string }

func (v v2) dir(path string) string { return filepath.Join(v.root, path) }

// probe makes a group with limits below path, which also turns on the controllers on the way there.
func (v v2) probe(path string) error {
	probe := filepath.Join(path, "probe")
	err := v.create(probe, Limits{CPUs: 1000, Mem: api.GiB, PIDs: 10})
	return errors.Join(err, v.delete(probe))
}

func (v v2) create(path string, l Limits) error {
	res := &cgroup2.Resources{}
	if l.CPUs > 0 {
		weight := 1 + (shares(l.CPUs)-2)*9999/262142
		q := quota(l.CPUs)
		res.CPU = &cgroup2.CPU{Weight: &weight, Max: cgroup2.NewCPUMax(&q, nil)}
	}
	if l.Mem > 0 {
		m, whole := int64(l.Mem), true
		res.Memory = &cgroup2.Memory{Max: &m, OOMGroup: &whole}
	}
	if l.PIDs > 0 {
		res.Pids = &cgroup2.Pids{Max: l.PIDs}
	}
	if _, err := cgroup2.NewManager(v.root, path, res); err != nil {
		return err
	}
	if l.Mem > 0 {
		_ = write(filepath.Join(v.dir(path), "memory.swap.max"), "0") // there is no such file without swap
	}
	return nil
}

func (v v2) exists(path string) bool {
	_, err := os.Stat(v.dir(path))
	return err == nil
}

func (v v2) list(path string) ([]string, error) { return folders(v.dir(path)) }

// start has the kernel clone the child right into the group.
func (v v2) start(path string, fork func(*syscall.SysProcAttr) error) error {
	f, err := os.Open(v.dir(path))
	if err != nil {
		return err
	}
	defer f.Close()
	return fork(&syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())})
}

func (v v2) procs(path string) ([]int, error) { return readPIDs(v.dir(path)) }

// noForks does nothing: the kernel's own kill leaves no process a chance to fork.
func (v v2) noForks(string) {}

func (v v2) killAll(path string) error {
	m, err := cgroup2.Load(path, cgroup2.WithMountpoint(v.root))
	if err != nil {
		return err
	}
	return m.Kill()
}

func (v v2) stats(path string) (Stats, error) {
	usec, err := readKey(filepath.Join(v.dir(path), "cpu.stat"), "usage_usec")
	if err != nil {
		return Stats{}, err
	}
	s := Stats{CPU: time.Duration(usec) * time.Microsecond}
	if peak, err := readInt(filepath.Join(v.dir(path), "memory.peak")); err == nil { // since Linux 5.19
		s.PeakMem = api.Bytes(peak)
	}
	if kills, err := readKey(filepath.Join(v.dir(path), "memory.events"), "oom_kill"); err == nil {
		s.OOMKills = kills
	}
	return s, nil
}

func (v v2) delete(path string) error { return rmdir(v.dir(path)) }
