//go:build linux

// Package cgroup bounds groups of processes in processor time, memory and number, on machines with either version of Linux
// control groups. Every group lies two levels deep: saki/<parent>/<name>.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/cgroups/v3"

	"github.com/saki-run/saki/api"
)

// ErrUnavailable says that this process cannot make groups: it is not root, or the machine has none to give.
var ErrUnavailable = errors.New("control groups are not available")

// ErrNotEmpty says that processes of a group did not die in time.
var ErrNotEmpty = errors.New("processes are left in the control group")

// period is that of the processor quota, as in Docker.
const period = 100 * time.Millisecond

// minQuota is the least processor time per period that the kernel takes.
const minQuota = time.Millisecond

// Limits bound a group. Zero is no limit.
type Limits struct {
	CPUs api.Milli // processor time, and the share of it when the machine is busy
	Mem  api.Bytes // memory, swap included
	PIDs int64     // processes and threads
}

// Stats is what a group has used so far.
type Stats struct {
	CPU      time.Duration // processor time of all that ever ran in it
	PeakMem  api.Bytes     // most memory at a time; 0 where the kernel does not tell
	OOMKills int64         // processes killed for the memory limit
}

// hierarchy is one version of control groups. Paths are like /saki/a1/x.
type hierarchy interface {
	probe(path string) error
	create(path string, l Limits) error
	exists(path string) bool
	list(path string) ([]string, error)
	start(path string, fork func(*syscall.SysProcAttr) error) error
	procs(path string) ([]int, error)
	noForks(path string)
	killAll(path string) error
	stats(path string) (Stats, error)
	delete(path string) error
}

// Parent holds the groups of one agent. It is safe for concurrent use.
type Parent struct {
	h    hierarchy
	path string
}

// Open makes the folder of groups named parent. The error wraps [ErrUnavailable] and says why.
func Open(parent string) (*Parent, error) {
	if cgroups.Mode() == cgroups.Unavailable {
		return nil, fmt.Errorf("%w: nothing is mounted at %s", ErrUnavailable, mountpoint)
	}
	return open(here(), parent)
}

// At is [Open] for a parent that was opened before, perhaps by another process. It does not look whether it was.
func At(parent string) *Parent { return at(here(), parent) }

const mountpoint = "/sys/fs/cgroup"

// here is the version of this machine.
var here = sync.OnceValue(func() hierarchy {
	if cgroups.Mode() == cgroups.Unified {
		return v2{mountpoint}
	}
	return newV1(mountpoint)
})

func at(h hierarchy, parent string) *Parent { return &Parent{h: h, path: path.Join("/saki", parent)} }

func open(h hierarchy, parent string) (*Parent, error) {
	p := at(h, parent)
	if err := h.probe(p.path); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return p, nil
}

// Create makes the group name and sets its limits.
func (p *Parent) Create(name string, l Limits) (*Group, error) {
	g := &Group{p.h, path.Join(p.path, name)}
	if err := p.h.create(g.path, l); err != nil {
		_ = p.h.delete(g.path) // what there is of it
		return nil, fmt.Errorf("make control group %s: %w", g.path, err)
	}
	return g, nil
}

// Load gives the group name that somebody else made; fs.ErrNotExist when there is none.
func (p *Parent) Load(name string) (*Group, error) {
	g := &Group{p.h, path.Join(p.path, name)}
	if !p.h.exists(g.path) {
		return nil, fmt.Errorf("control group %s: %w", g.path, fs.ErrNotExist)
	}
	return g, nil
}

// List names every group of the parent.
func (p *Parent) List() ([]string, error) { return p.h.list(p.path) }

// Delete removes the parent, which has no groups any more.
func (p *Parent) Delete() error { return p.h.delete(p.path) }

// Group is one bounded group of processes. It is safe for concurrent use.
type Group struct {
	h    hierarchy
	path string
}

// Start calls fork, which starts a process with the attributes it is given, so that the process is in the group from its
// first instruction. The attributes may be added to.
func (g *Group) Start(fork func(*syscall.SysProcAttr) error) error {
	return g.h.start(g.path, fork)
}

// Stats tells what the group has used.
func (g *Group) Stats() (Stats, error) { return g.h.stats(g.path) }

// killFor is how long Kill waits for the dying.
const killFor = 5 * time.Second

// Kill ends every process of the group by SIGKILL and waits until none is left. Nothing that the group does can keep it from
// that, not even a fork bomb. The caller reaps those that are its children.
func (g *Group) Kill() error {
	g.h.noForks(g.path)
	for wait := time.Millisecond / 4; wait < killFor/2; wait *= 2 {
		pids, err := g.h.procs(g.path)
		if err != nil {
			return fmt.Errorf("kill control group %s: %w", g.path, err)
		}
		if len(pids) == 0 {
			return nil
		}
		if err := g.h.killAll(g.path); err != nil {
			return fmt.Errorf("kill control group %s: %w", g.path, err)
		}
		time.Sleep(wait)
	}
	return fmt.Errorf("kill control group %s: %w", g.path, ErrNotEmpty)
}

// Empty reports whether no process is in the group.
func (g *Group) Empty() bool {
	pids, err := g.h.procs(g.path)
	return err != nil || len(pids) == 0
}

// Delete removes the group, which must be empty. It is no error when it is gone already.
func (g *Group) Delete() error {
	if err := g.h.delete(g.path); err != nil {
		return fmt.Errorf("remove control group %s: %w", g.path, err)
	}
	return nil
}

// quota is the processor time per period for so many processors.
func quota(cpus api.Milli) int64 {
	return max(int64(cpus)*period.Microseconds()/1000, minQuota.Microseconds())
}

// shares is the weight of so many processors, 1024 for one.
func shares(cpus api.Milli) uint64 {
	return uint64(min(max(int64(cpus)*1024/1000, 2), 262144))
}
