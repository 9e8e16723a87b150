package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, dir string, size int) *Log {
	t.Helper()
	l, err := Open(dir, Options{SegmentSize: size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// record is what the tests write under an index; version tells a rewritten record from the first one.
func record(index uint64, version int) []byte {
	return fmt.Appendf(nil, "record %d version %d %s", index, version, bytes.Repeat([]byte("x"), int(index%37)))
}

func appendTo(t *testing.T, l *Log, from, to uint64, version int) {
	t.Helper()
	var recs [][]byte
	for i := from; i <= to; i++ {
		recs = append(recs, record(i, version))
	}
	if err := l.Append(from, recs); err != nil {
		t.Fatal(err)
	}
}

// contents reads the whole log; a record that cannot be read fails the test.
func contents(t *testing.T, l *Log) map[uint64]string {
	t.Helper()
	m := map[uint64]string{}
	if l.First() == 0 {
		return m
	}
	for i := l.First(); i <= l.Last(); i++ {
		b, err := l.Read(i)
		if err != nil {
			t.Fatal(err)
		}
		m[i] = string(b)
	}
	return m
}

// crash copies the files of an open log, as they would be found after a crash of the process.
func crash(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestLogAgainstAModelAcrossCrashesAndRestarts(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			dir := t.TempDir()
			l := open(t, dir, 2000)
			model := map[uint64]string{}
			for step := range 120 {
				first, last := l.First(), l.Last()
				switch op := rnd.IntN(12); {
				case op < 7:
					from := last + 1
					if last == 0 {
						from = 1 + rnd.Uint64N(1000)
					}
					to := from + rnd.Uint64N(8)
					appendTo(t, l, from, to, step)
					for i := from; i <= to; i++ {
						model[i] = string(record(i, step))
					}
				case op == 7 && last > 0:
					keep := last - min(last, rnd.Uint64N(10))
					if err := l.CutBack(keep); err != nil {
						t.Fatal(err)
					}
					for i := range model {
						if i > keep {
							delete(model, i)
						}
					}
				case op == 8 && last > 0:
					from := first + rnd.Uint64N(last-first+3)
					if err := l.CutFront(from); err != nil {
						t.Fatal(err)
					}
					for i := range model {
						if i < from {
							delete(model, i)
						}
					}
				case op == 9:
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
					l = open(t, dir, 2000)
				case op == 10:
					dir = crash(t, dir)
					l = open(t, dir, 2000)
				}
				if diff := cmp.Diff(model, contents(t, l)); diff != "" {
					t.Fatalf("step %d (-want +got):\n%s", step, diff)
				}
			}
			if n := len(segments(t, dir)); n < 1 || n > 40 {
				t.Errorf("%d segments are left", n)
			}
		})
	}
}

// Every single flipped byte must be found, or be in the last write (which cannot be told from a torn one), in padding or
// in the zeros behind the end. Nothing changed is ever read back.
func TestEveryFlippedByteIsFoundOrHarmless(t *testing.T) {
	for name, closed := range map[string]bool{"after a crash": false, "after a clean close": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, 600)
			for i := range uint64(8) {
				appendTo(t, l, 1+3*i, 3+3*i, 0)
			}
			want := contents(t, l)
			if closed {
				l.Close()
			}
			files := segments(t, dir)
			if len(files) < 3 {
				t.Fatalf("%d segments, want several", len(files))
			}
			whole := map[string][]byte{} // without the zeros far behind the end
			for _, file := range files {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				whole[file] = b[:len(bytes.TrimRight(b, "\x00"))+64]
			}
			to, found := t.TempDir(), 0
			try := func(file string, at int, last bool) {
				for name, b := range whole {
					if name == file {
						b = slices.Clone(b)
						b[at] ^= 0x40
					}
					if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), b, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				l, err := Open(to, Options{SegmentSize: 600})
				if errors.Is(err, ErrCorrupt) {
					found++
					return
				}
				if err != nil {
					t.Fatalf("%s byte %d: %v", file, at, err)
				}
				got := contents(t, l)
				l.closeFiles()
				for i, r := range got {
					if want[i] != r {
						t.Fatalf("%s byte %d: record %d reads %q", file, at, i, r)
					}
				}
				if lost := len(want) - len(got); lost > 3 || lost > 0 && (closed || !last) {
					t.Fatalf("%s byte %d: %d records were dropped in silence", file, at, lost)
				}
			}
			for n, file := range files {
				for at := range len(whole[file]) - 64 {
					try(file, at, n == len(files)-1)
				}
			}
			if found < 600 {
				t.Errorf("only %d flips were found", found)
			}
		})
	}
}

// A write may reach the disk in part, in any order of its sectors. What was synced before survives all of that.
func TestATornWriteIsCutOffAndWhatWasSyncedStays(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 1<<20)
	appendTo(t, l, 1, 5, 0)
	before, err := os.ReadFile(segments(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	synced, want := l.off, contents(t, l)
	appendTo(t, l, 6, 20, 0)
	after, err := os.ReadFile(segments(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	end := l.off
	for try := range 150 {
		torn := slices.Clone(before[:end+4096])
		for at := synced &^ 127; at < end; at += 128 { // small "sectors", so that there are many ways to tear
			if lo := max(at, synced); rnd.IntN(2) == 0 {
				copy(torn[lo:at+128], after[lo:at+128])
			}
		}
		to := t.TempDir()
		name := filepath.Join(to, filepath.Base(segments(t, dir)[0]))
		if err := os.WriteFile(name, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(to, Options{})
		if err != nil {
			t.Fatalf("try %d: %v", try, err)
		}
		got := contents(t, l)
		if l.Last() < 5 || l.Last() > 20 {
			t.Fatalf("try %d: the log ends at %d", try, l.Last())
		}
		for i := range uint64(5) {
			if got[i+1] != want[i+1] {
				t.Fatalf("try %d: record %d is %q", try, i+1, got[i+1])
			}
		}
		// The log must be fit for use, and stay so over a restart, whatever the tear left behind.
		appendTo(t, l, l.Last()+1, l.Last()+9, 1)
		wantNow := contents(t, l)
		l.Close()
		l = open(t, to, 0)
		if diff := cmp.Diff(wantNow, contents(t, l)); diff != "" {
			t.Fatalf("try %d (-want +got):\n%s", try, diff)
		}
		l.Close()
	}
}

// Record 6 of a torn write is lost, 7 to 9 of it are whole. A new record 6 of the same length must not bring them back.
func TestTheRemainsOfATornWriteDoNotComeBack(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 0)
	appendTo(t, l, 1, 5, 0)
	appendTo(t, l, 6, 9, 0)
	if _, err := l.tail().f.WriteAt([]byte("torn"), int64(l.locs[5].off)); err != nil {
		t.Fatal(err)
	}
	dir = crash(t, dir)
	l = open(t, dir, 0)
	if got := l.Last(); got != 5 {
		t.Fatalf("the log ends at %d, want 5", got)
	}
	appendTo(t, l, 6, 6, 1)
	l = open(t, crash(t, dir), 0)
	if got := l.Last(); got != 6 {
		t.Errorf("after the restart the log ends at %d, want 6", got)
	}
}

func TestALostFileIsFound(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 600)
	for i := range uint64(10) {
		appendTo(t, l, 1+3*i, 3+3*i, 0)
	}
	files := segments(t, dir)
	for _, lose := range files[1:] {
		to := crash(t, dir)
		if err := os.Remove(filepath.Join(to, filepath.Base(lose))); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(to, Options{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("without %s: got %v, want ErrCorrupt", filepath.Base(lose), err)
		}
	}
	// Two files changed places.
	to := crash(t, dir)
	a, b := filepath.Join(to, filepath.Base(files[0])), filepath.Join(to, filepath.Base(files[1]))
	for _, mv := range [][2]string{{a, a + "x"}, {b, a}, {a + "x", b}} {
		if err := os.Rename(mv[0], mv[1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(to, Options{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("swapped files: got %v, want ErrCorrupt", err)
	}
}

func TestACrashWhileASegmentIsBegunIsHealed(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 1<<20)
	appendTo(t, l, 1, 5, 0)
	want := contents(t, l)
	to := crash(t, dir)
	s, err := createSegment(to, 2, 5)
	if err != nil {
		t.Fatal(err)
	}
	s.f.Close()
	if err := os.WriteFile(segmentName(to, 3)+".tmp", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, to, 1<<20)
	if diff := cmp.Diff(want, contents(t, l)); diff != "" {
		t.Fatal(diff)
	}
	if got := segments(t, to); len(got) != 1 {
		t.Errorf("segments left: %v", got)
	}
	appendTo(t, l, 6, 9, 0)
}

func TestDamageUnderARunningLogIsNeverServed(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 0)
	appendTo(t, l, 1, 9, 0)
	at := l.locs[4]
	if _, err := at.seg.f.WriteAt([]byte("?"), int64(at.off)+frameHeader+3); err != nil {
		t.Fatal(err)
	}
	if b, err := l.Read(5); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %q, %v, want ErrCorrupt", b, err)
	}
	if _, err := l.Read(6); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 0)
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: got %v, want ErrLocked", err)
	}
	if _, err := l.Read(1); !errors.Is(err, ErrNotFound) {
		t.Errorf("read of an empty log: got %v, want ErrNotFound", err)
	}
	appendTo(t, l, 3, 4, 0)
	for _, first := range []uint64{0, 3, 6} {
		if err := l.Append(first, [][]byte{nil}); err == nil {
			t.Errorf("append of record %d behind 4 gave no error", first)
		}
	}
	if err := l.Append(5, [][]byte{make([]byte, MaxRecord+1)}); err == nil {
		t.Error("an oversize record gave no error")
	}
	appendTo(t, l, 5, 5, 0) // a refusal is not a failure of the log
	l.tail().f.Close()
	err := l.Append(6, [][]byte{nil})
	if err == nil {
		t.Fatal("write to a closed file gave no error")
	}
	if again := l.Append(6, [][]byte{nil}); !errors.Is(again, err) {
		t.Errorf("after a failed write: got %v, want the same error", again)
	}
	if err := l.Close(); err == nil {
		t.Error("close after the file was closed gave no error")
	}
	if _, err := l.Read(3); !errors.Is(err, ErrClosed) {
		t.Errorf("read after close: got %v, want ErrClosed", err)
	}
	if err := l.Append(6, [][]byte{nil}); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: got %v, want ErrClosed", err)
	}
}

func TestHammerReadersDuringAppendsAndCuts(t *testing.T) {
	l := open(t, t.TempDir(), 4000)
	appendTo(t, l, 1, 1, 0)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for n := uint64(0); ; n++ {
				select {
				case <-done:
					return
				default:
				}
				i := l.First() + n%20
				b, err := l.Read(i)
				if err != nil && !errors.Is(err, ErrNotFound) {
					t.Error(err)
					return
				}
				if err == nil && !bytes.Equal(b, record(i, 0)) {
					t.Errorf("record %d reads %q", i, b)
					return
				}
			}
		})
	}
	for i := range uint64(300) {
		last := l.Last()
		appendTo(t, l, last+1, last+3, 0)
		switch i % 7 {
		case 3:
			if err := l.CutBack(l.Last() - 1); err != nil {
				t.Fatal(err)
			}
		case 5:
			if err := l.CutFront(l.Last() - 10); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(done)
	wg.Wait()
}

func FuzzReplay(f *testing.F) {
	s := newSegment(nil, 1, 0)
	good := s.frame(nil, kindEntry, 0, 1, []byte("hello"))
	good = s.frame(good, kindCutBack, 0, 0, nil)
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add(append(make([]byte, 32), good...))
	file, err := os.CreateTemp(f.TempDir(), "")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		l := &Log{}
		s := newSegment(file, 1, 0)
		end, err := l.replay(s, append(make([]byte, segmentHeader), body...))
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		if err == nil && (end.end > end.size || end.end < segmentHeader) {
			t.Fatalf("ends at %d of %d", end.end, end.size)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{300, 64 << 10} {
		b.Run(fmt.Sprint(size, " bytes"), func(b *testing.B) {
			l, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			rec := [][]byte{make([]byte, size)}
			b.SetBytes(int64(size))
			for i := range b.N {
				if err := l.Append(uint64(i)+1, rec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
