//go:build linux

package cgroup

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
)

// fakeV2 is a folder with the control files that are there before a group is made, for machines whose controllers belong to
// the first version.
func fakeV2(t *testing.T, group string) (v2, string) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, group)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for d := filepath.Dir(dir); len(d) >= len(root); d = filepath.Dir(d) {
		put(t, d, "cgroup.subtree_control", "")
	}
	put(t, dir, "memory.swap.max", "9") // the kernel replaces, a file is written over
	return v2{root}, dir
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheSecondVersionIsToldTheLimits(t *testing.T) {
	v, dir := fakeV2(t, "/saki/a1/x")
	if err := v.create("/saki/a1/x", Limits{CPUs: 1500, Mem: 64 * api.MiB, PIDs: 100}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range []string{"cpu.max", "cpu.weight", "memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "../cgroup.subtree_control", "../../../cgroup.subtree_control"} {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Error(err)
		}
		got[f] = string(b)
	}
	want := map[string]string{
		"cpu.max": "150000 100000", "cpu.weight": "59", "memory.max": "67108864", "memory.swap.max": "0", "memory.oom.group": "1",
		"pids.max": "100", "../cgroup.subtree_control": "+cpu +memory +pids", "../../../cgroup.subtree_control": "+cpu +memory +pids",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTheSecondVersionTellsWhatWasUsed(t *testing.T) {
	v, dir := fakeV2(t, "/saki/a1/x")
	put(t, dir, "cpu.stat", "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n")
	if s, err := v.stats("/saki/a1/x"); err != nil || s != (Stats{CPU: 1234 * time.Microsecond}) {
		t.Errorf("without a controller of memory: %+v, %v", s, err)
	}
	put(t, dir, "memory.peak", "4096\n")
	put(t, dir, "memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n")
	if s, err := v.stats("/saki/a1/x"); err != nil || s != (Stats{1234 * time.Microsecond, 4 * api.KiB, 1}) {
		t.Errorf("got %+v, %v", s, err)
	}
}
