package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire/link"
)

func task(id string) *api.Task {
	return &api.Task{ID: api.TaskID(id), Attempt: 1, State: api.Placed, Spec: &api.Spec{Shell: &api.ShellSpec{Script: "true"}}}
}

func at(id string) link.Attempt { return link.Attempt{Task: api.TaskID(id), Number: 1} }

func open(t *testing.T, dir string) (*Journal, []Entry) {
	t.Helper()
	j, es, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(es, func(a, b Entry) int { return cmp.Compare(a.Task.ID, b.Task.ID) })
	return j, es
}

func write(t *testing.T, j *Journal, recs ...Record) {
	t.Helper()
	if err := j.Write(recs...); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasWrittenIsThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	j, es := open(t, dir)
	if len(es) != 0 {
		t.Fatalf("a new journal has %v", es)
	}
	write(t, j, Record{Start: task("a")}, Record{Start: task("b")}, Record{Start: task("c")})
	write(t, j, Record{Handle: &Handle{at("a"), []byte("h")}})
	forgotten := at("c")
	write(t, j, Record{Forget: &forgotten})
	done := make(chan error, 1)
	j.Sync(func(err error) { done <- err }, Record{Ended: &link.Ended{Attempt: at("b"), Outcome: api.Outcome{State: api.Finished}}})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want := []Entry{{task("a"), []byte("h"), nil}, {task("b"), nil, &api.Outcome{State: api.Finished}}}
	for range 2 { // the second time from what the first compacted
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j, es = open(t, dir)
		if d := gocmp.Diff(want, es); d != "" {
			t.Error(d)
		}
	}
	_ = j.Close()
}

func TestATornEndIsDroppedAndDamageBeforeItIsAnError(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	write(t, j, Record{Start: task("a")})
	first := j.size
	write(t, j, Record{Start: task("b")})
	_ = j.Close()
	path := filepath.Join(dir, "journal")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := first; n < int64(len(whole)); n++ {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j, es := open(t, dir)
		_ = j.Close()
		if len(es) != 1 || es[0].Task.ID != "a" {
			t.Fatalf("cut at %d of %d: %v", n, len(whole), es)
		}
	}
	for i := range first {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x40
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		j, es, err := Open(dir)
		if err == nil {
			_ = j.Close()
			for _, e := range es {
				if e.Task.ID == "b" {
					t.Fatalf("damage at byte %d was skipped", i)
				}
			}
			continue // the length now reaches beyond the end: a torn end
		}
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("damage at byte %d: %v", i, err)
		}
	}
}

func TestTheFileDoesNotGrowWithoutBound(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	defer j.Close()
	big := task("x")
	big.Spec.Shell.Script = string(make([]byte, 100_000))
	a := at("x")
	var wg sync.WaitGroup
	for range 250 {
		write(t, j, Record{Start: big}, Record{Forget: &a})
	}
	for range 5 { // and while syncs follow each other without a pause
		wg.Go(func() {
			for range 50 {
				j.Sync(func(error) {}, Record{Start: big}, Record{Forget: &a})
			}
		})
	}
	wg.Wait()
	if info, _ := os.Stat(j.path); info.Size() > compactAt+2_000_000 {
		t.Errorf("50 MB of notes left %d bytes", info.Size())
	}
}

func TestHammerSyncFromManyGoroutines(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	var wg sync.WaitGroup
	const workers, each = 8, 50
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("t%d-%d", w, i)
				done := make(chan error, 1)
				j.Sync(func(err error) { done <- err }, Record{Start: task(id)}, Record{Ended: &link.Ended{Attempt: at(id)}})
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	_ = j.Close()
	j, es := open(t, dir)
	_ = j.Close()
	if len(es) != workers*each {
		t.Errorf("%d entries, want %d", len(es), workers*each)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(appendRecord(nil, Record{Start: task("a")}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			if _, _, err := read(r); err != nil {
				return
			}
		}
	})
}
