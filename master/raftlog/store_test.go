package raftlog

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/saki-run/saki/master/raftlog/wal"
)

// fakeLog is a record log made of functions.
type fakeLog struct {
	first, last uint64
	read        func(uint64) ([]byte, error)
	write       func() error
}

var _ entryLog = (*fakeLog)(nil)

func (f *fakeLog) First() uint64                     { return f.first }
func (f *fakeLog) Last() uint64                      { return f.last }
func (f *fakeLog) Read(i uint64) ([]byte, error)     { return f.read(i) }
func (f *fakeLog) Append(_ uint64, _ [][]byte) error { return f.write() }
func (f *fakeLog) CutBack(_ uint64) error            { return f.write() }
func (f *fakeLog) CutFront(_ uint64) error           { return f.write() }

// newTestDoom records what the node would have ended with.
func newTestDoom() (*doom, *[]error) {
	var exits []error
	c := Config{ID: "m1", Logger: slog.New(slog.DiscardHandler), Exit: func(err error) { exits = append(exits, err) }}
	return newDoom(c, func() {}), &exits
}

func TestAnAppendThatHangsEndsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, exits := newTestDoom()
		takes := 9 * time.Second
		log := &fakeLog{write: func() error { time.Sleep(takes); return nil }} // virtual time
		s := &logStore{log: log, doom: d, limit: 10 * time.Second}
		if err := s.StoreLog(&raft.Log{Index: 1}); err != nil || len(*exits) != 0 {
			t.Fatalf("a slow append: %v, exits %v", err, *exits)
		}
		takes = time.Hour
		start := time.Now()
		returned := false
		go func() {
			s.StoreLog(&raft.Log{Index: 2})
			returned = true
		}()
		<-d.hit
		synctest.Wait()
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("gave up after %v, want 10 s", got)
		}
		if len(*exits) != 1 || !strings.Contains((*exits)[0].Error(), "append to the log takes more than 10s") {
			t.Errorf("exits: %v", *exits)
		}
		time.Sleep(2 * takes) // the write comes back at last; a node that gave up must not go on with it
		d.release()
		synctest.Wait()
		if returned {
			t.Error("the call came back to raft")
		}
	})
}

func TestTheSecondFailedWriteInARowEndsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, exits := newTestDoom()
		results := []error{io.ErrShortWrite, nil, io.ErrShortWrite, io.ErrClosedPipe}
		log := &fakeLog{first: 1, last: 9, write: func() error {
			err := results[0]
			results = results[1:]
			return err
		}}
		s := &logStore{log: log, doom: d, limit: time.Second}
		if err := s.StoreLog(&raft.Log{Index: 1}); !errors.Is(err, io.ErrShortWrite) {
			t.Fatalf("first failure: %v", err)
		}
		if err := s.StoreLog(&raft.Log{Index: 1}); err != nil {
			t.Fatal(err)
		}
		if err := s.StoreLog(&raft.Log{Index: 2}); err == nil || len(*exits) != 0 {
			t.Fatalf("one failure after a success: %v, exits %v", err, *exits)
		}
		returned := false
		go func() { // parked, as raft's goroutine would be
			s.DeleteRange(3, 9)
			returned = true
		}()
		synctest.Wait()
		if len(*exits) != 1 || !errors.Is((*exits)[0], io.ErrClosedPipe) {
			t.Errorf("exits: %v", *exits)
		}
		d.release()
		synctest.Wait()
		if returned {
			t.Error("the call came back to raft")
		}
	})
}

func TestADamagedEntryEndsTheNodeAndIsNotServed(t *testing.T) {
	for name, read := range map[string]func(uint64) ([]byte, error){
		"checksum":     func(uint64) ([]byte, error) { return nil, wal.ErrCorrupt },
		"unknown form": func(uint64) ([]byte, error) { return []byte{99, 0, 0}, nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			d, exits := newTestDoom()
			s := &logStore{log: &fakeLog{read: read}, doom: d}
			served := false
			go func() {
				s.GetLog(7, &raft.Log{})
				served = true
			}()
			synctest.Wait()
			d.release()
			synctest.Wait()
			if served || len(*exits) != 1 || !errors.Is((*exits)[0], wal.ErrCorrupt) {
				t.Errorf("%s: served %v, exits %v", name, served, *exits)
			}
		})
	}
}

func TestLogStoreKeepsEntriesAsTheyWere(t *testing.T) {
	l, err := wal.Open(t.TempDir(), wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, _ := newTestDoom()
	s := &logStore{log: l, doom: d, limit: time.Minute}
	at := time.Date(2026, 5, 4, 3, 2, 1, 12345, time.UTC)
	want := []*raft.Log{
		{Index: 5, Term: 1, Type: raft.LogCommand, Data: []byte("data"), Extensions: []byte("ext"), AppendedAt: at},
		{Index: 6, Term: 1 << 60, Type: raft.LogNoop},
		{Index: 7, Term: 2, Type: raft.LogConfiguration, Data: bytes.Repeat([]byte("x"), 10000)},
	}
	if err := s.StoreLogs(want); err != nil {
		t.Fatal(err)
	}
	for _, w := range want {
		var got raft.Log
		if err := s.GetLog(w.Index, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*w, got); diff != "" {
			t.Errorf("entry %d (-want +got):\n%s", w.Index, diff)
		}
	}
	if err := s.GetLog(8, &raft.Log{}); err != raft.ErrLogNotFound {
		t.Errorf("entry 8: got %v, want exactly raft.ErrLogNotFound", err)
	}
	if !raft.MonotonicLogStore(s).IsMonotonic() {
		t.Error("the log is not monotonic")
	}
	if cached, err := raft.NewLogCache(4, s); err != nil || !cached.IsMonotonic() {
		t.Error("the cache hides that the log is monotonic")
	}
	for _, cut := range []struct{ lo, hi, first, last uint64 }{
		{3, 4, 5, 7}, {8, 9, 5, 7}, {7, 6, 5, 7}, {7, 9, 5, 6}, {1, 5, 6, 6}, {6, 6, 0, 0},
	} {
		if err := s.DeleteRange(cut.lo, cut.hi); err != nil {
			t.Fatal(err)
		}
		first, _ := s.FirstIndex()
		last, _ := s.LastIndex()
		if first != cut.first || last != cut.last {
			t.Errorf("after cutting %d to %d: %d to %d, want %d to %d", cut.lo, cut.hi, first, last, cut.first, cut.last)
		}
	}
	if err := s.StoreLogs([]*raft.Log{{Index: 100}, {Index: 101}, {Index: 102}}); err != nil {
		t.Errorf("an empty log takes any index: %v", err)
	}
	if err := s.DeleteRange(101, 101); err == nil {
		t.Error("a cut out of the middle gave no error")
	}
}

// The term of a vote and its candidate reach the disk together or not at all.
func TestTheVoteIsWrittenAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vote")
	d, _ := newTestDoom()
	open := func() *stable {
		t.Helper()
		s, err := openStable(path, d, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	vote := func(s *stable) (uint64, string) {
		t.Helper()
		term, err1 := s.GetUint64([]byte(keyVoteTerm))
		cand, err2 := s.Get([]byte(keyVoteCand))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return term, string(cand)
	}
	s := open()
	if !s.fresh() {
		t.Error("a new store is not fresh")
	}
	s.SetUint64([]byte("CurrentTerm"), 4)
	s.SetUint64([]byte(keyVoteTerm), 4)
	s.Set([]byte(keyVoteCand), []byte("m1"))
	s.SetUint64([]byte(keyVoteTerm), 5)
	for name, s := range map[string]*stable{"before the candidate": s, "after a crash in between": open()} {
		if term, cand := vote(s); term != 4 || cand != "m1" {
			t.Errorf("%s: vote for %q in term %d, want m1 in 4", name, cand, term)
		}
	}
	s.Set([]byte(keyVoteCand), []byte("m2"))
	for name, s := range map[string]*stable{"after the candidate": s, "after a restart": open()} {
		if term, cand := vote(s); term != 5 || cand != "m2" {
			t.Errorf("%s: vote for %q in term %d, want m2 in 5", name, cand, term)
		}
	}
	if term, err := open().GetUint64([]byte("CurrentTerm")); term != 4 || err != nil {
		t.Errorf("term %d, %v, want 4", term, err)
	}
	// The same candidate again in a later term is still a new vote.
	s.SetUint64([]byte(keyVoteTerm), 6)
	s.Set([]byte(keyVoteCand), []byte("m2"))
	if term, _ := vote(open()); term != 6 {
		t.Errorf("term of the vote %d, want 6", term)
	}
}

func TestAVoteThatCannotBeWrittenEndsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, exits := newTestDoom()
		s, err := openStable(filepath.Join(t.TempDir(), "gone", "vote"), d, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		returned := false
		go func() { // raft would panic if this came back with an error
			s.SetUint64([]byte("CurrentTerm"), 4)
			returned = true
		}()
		synctest.Wait()
		d.release()
		synctest.Wait()
		if returned || len(*exits) != 1 || !errors.Is((*exits)[0], os.ErrNotExist) {
			t.Errorf("returned %v, exits %v", returned, *exits)
		}
	})
}

func snapshotOf(t testing.TB, state []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := newSnapshotWriter(&b)
	if _, err := w.Write(state); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readSnapshot(b []byte) ([]byte, error) {
	r, err := newSnapshotReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestASnapshotIsReadWholeOrRefused(t *testing.T) {
	for _, size := range []int{0, 1, snapshotChunk - 1, snapshotChunk, snapshotChunk + 1, 3*snapshotChunk + 7} {
		state := bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
		got, err := readSnapshot(snapshotOf(t, state))
		if err != nil || !bytes.Equal(got, state) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	good := snapshotOf(t, []byte("some state"))
	for at := range good {
		bad := slices.Clone(good)
		bad[at] ^= 1
		if _, err := readSnapshot(bad); !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("byte %d changed: got %v, want ErrBadSnapshot", at, err)
		}
		if _, err := readSnapshot(good[:at]); !errors.Is(err, ErrBadSnapshot) || errors.Is(err, io.EOF) {
			t.Errorf("cut at %d: got %v, want ErrBadSnapshot and not EOF", at, err)
		}
	}
	// A state machine that gets an error must keep its state; ours does, and so the old snapshot's state stays.
	m := &kv{values: map[string]string{"old": "state"}}
	err := (&machine{m}).Restore(io.NopCloser(bytes.NewReader(good[:len(good)-3])))
	if !errors.Is(err, ErrBadSnapshot) || m.values["old"] != "state" {
		t.Errorf("got %v and state %v", err, m.values)
	}
}

func FuzzSnapshotReader(f *testing.F) {
	good := snapshotOf(f, []byte("some state"))
	f.Add(good)
	f.Add(good[:20])
	f.Add(append(slices.Clone(good), good...))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readSnapshot(b)
		if err != nil && !errors.Is(err, ErrBadSnapshot) {
			t.Fatal(err)
		}
		if again, err2 := readSnapshot(snapshotOf(t, got)); err == nil && (err2 != nil || !bytes.Equal(got, again)) {
			t.Fatalf("written again it reads %q, %v, want %q", again, err2, got)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(encodeEntry(&raft.Log{Term: 3, Data: []byte("data"), Extensions: []byte("x"), AppendedAt: time.Unix(5, 6)}))
	f.Add([]byte{entryFormat, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var l, again raft.Log
		if err := decodeEntry(4, b, &l); err != nil {
			if !errors.Is(err, wal.ErrCorrupt) || l.Index != 0 {
				t.Fatalf("%v, %+v", err, l)
			}
			return
		}
		if err := decodeEntry(4, encodeEntry(&l), &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecodeStable(f *testing.F) {
	f.Add(encodeStable(map[string][]byte{"a": []byte("1"), "bb": nil}))
	f.Add([]byte(stableMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		vals, err := decodeStable(b)
		if err != nil {
			if !errors.Is(err, wal.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again, err := decodeStable(encodeStable(vals)); err != nil || len(again) != len(vals) {
			t.Fatalf("%v: %v", again, err)
		}
	})
}
