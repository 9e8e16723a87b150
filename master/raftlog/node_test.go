package raftlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/saki-run/saki/internal/netx"
	"github.com/saki-run/saki/master/raftlog/wal"
)

func TestASingleMemberCommitsAndKeepsItAllOverARestart(t *testing.T) {
	g := newGroup(t, Config{Timeout: 50 * time.Millisecond, TrailingLogs: 4})
	n := g.start("m1")
	if has, err := n.HasState(); has || err != nil {
		t.Fatalf("a new member: has state %v, %v", has, err)
	}
	if _, _, err := n.Propose(t.Context(), []byte("a 1")); !errors.Is(err, ErrNoQuorum) {
		t.Fatalf("before the bootstrap: got %v, want ErrNoQuorum", err)
	}
	if err := n.Bootstrap([]Member{{ID: "m1", Addr: g.addrs["m1"]}}); err != nil {
		t.Fatal(err)
	}
	g.leader()
	index, res, err := n.Propose(t.Context(), []byte("a 1"))
	if want := fmt.Sprintf("%d:a 1", index); err != nil || res != want {
		t.Fatalf("got %v, %v, want %q", res, err, want)
	}
	for i := range 20 {
		g.put(n, fmt.Sprint("k", i), "x")
	}
	if err := n.SnapshotNow(); err != nil {
		t.Fatal(err)
	}
	if err := n.SnapshotNow(); err != nil {
		t.Fatalf("a second snapshot of the same state: %v", err)
	}
	g.put(n, "a", "2")
	want := g.fsms["m1"].state()
	before := n.Stats()
	if before.State != "leader" || before.SnapshotIndex == 0 || before.FirstIndex < before.SnapshotIndex-4 || before.Voters != 1 {
		t.Errorf("stats: %+v", before)
	}

	for range 2 {
		g.stop("m1")
		n = g.start("m1")
		if has, err := n.HasState(); !has || err != nil {
			t.Errorf("after the restart: has state %v, %v", has, err)
		}
		if err := n.Bootstrap([]Member{{ID: "m1", Addr: g.addrs["m1"]}}); !errors.Is(err, ErrHasState) {
			t.Errorf("second bootstrap: got %v, want ErrHasState", err)
		}
		g.leader()
		if diff := cmp.Diff(want, g.fsms["m1"].state()); diff != "" {
			t.Fatalf("state after the restart (-want +got):\n%s", diff)
		}
		if got := g.fsms["m1"].restores(); got != 1 {
			t.Errorf("%d restores, want 1", got)
		}
		if now := n.Stats(); now.Term <= before.Term || now.Commit < before.Commit {
			t.Errorf("before %+v, after %+v", before, now)
		}
	}
}

func TestProposeSaysWhatBecameOfTheEntry(t *testing.T) {
	g := newGroup(t, Config{Timeout: 50 * time.Millisecond})
	g.bootstrap("m1")
	_, n := g.leader()
	if _, _, err := n.Propose(t.Context(), make([]byte, 8*MaxEntry+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Either may win the race, but patience that ended must never look like a refusal.
	if _, _, err := n.Propose(ctx, []byte("a 1")); err != nil && !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("with an ended context: got %v, want ErrUnknownOutcome or none", err)
	}
	for err, want := range map[error]error{
		raft.ErrNotLeader: ErrNotLeader, raft.ErrEnqueueTimeout: ErrBusy, raft.ErrLeadershipTransferInProgress: ErrNotLeader,
		raft.ErrLeadershipLost: ErrUnknownOutcome, raft.ErrAbortedByRestore: ErrUnknownOutcome,
		raft.ErrRaftShutdown: ErrUnknownOutcome, io.ErrShortWrite: ErrUnknownOutcome, ErrClosed: ErrUnknownOutcome,
	} {
		if got := n.proposeError(err); !errors.Is(got, want) {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	}
	g.stop("m1")
	if _, _, err := n.Propose(t.Context(), []byte("a 1")); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: got %v, want ErrClosed", err)
	}
	if err := n.Barrier(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("barrier after close: got %v, want ErrClosed", err)
	}
	if got := n.Stats().State; got != "stopped" {
		t.Errorf("state after close: %q", got)
	}
}

// The transfer of leadership that never ends (hashicorp/raft #696) is told from one that does.
func TestATransferOfLeadershipThatNeverEndsIsGivenUp(t *testing.T) {
	var s stuckTransfer
	t0 := time.Unix(1000, 0)
	if got := s.since(t0); got != 0 {
		t.Errorf("first refusal: %v", got)
	}
	if got := s.since(t0.Add(6 * time.Second)); got <= stuckLimit {
		t.Errorf("after 6 s: %v, want more than %v", got, stuckLimit)
	}
	s.clear()
	if got := s.since(t0.Add(60 * time.Second)); got != 0 {
		t.Errorf("after an entry went through: %v, want 0", got)
	}
}

func TestHammerProposeFromManyGoroutines(t *testing.T) {
	g := newGroup(t, Config{Timeout: 200 * time.Millisecond, SnapshotThreshold: 100, SnapshotInterval: 10 * time.Millisecond, TrailingLogs: 50})
	g.bootstrap("m1")
	_, n := g.leader()
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 60 {
				want := fmt.Sprintf("w%d-%d x", w, i)
				index, res, err := n.Propose(t.Context(), []byte(want))
				if err != nil || res != fmt.Sprintf("%d:%s", index, want) {
					t.Errorf("propose %q: %v, %v", want, res, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := len(g.fsms["m1"].state()); got != 16*60 {
		t.Errorf("%d keys, want %d", got, 16*60)
	}
	g.stop("m1")
	g.start("m1")
	g.leader()
	if got := len(g.fsms["m1"].state()); got != 16*60 {
		t.Errorf("after the restart: %d keys, want %d", got, 16*60)
	}
}

func TestDamageIsRefusedAtOpen(t *testing.T) {
	g := newGroup(t, Config{Timeout: 50 * time.Millisecond})
	g.bootstrap("m1")
	_, n := g.leader()
	for i := range 9 {
		g.put(n, fmt.Sprint("key", i), "value")
	}
	g.stop("m1")

	for name, harm := range map[string]func(dir string) error{
		"a flipped byte in the log": func(dir string) error {
			file := filepath.Join(dir, "log", fmt.Sprintf("%016d.wal", 1))
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			b[strings.Index(string(b), "key4 value")]++
			return os.WriteFile(file, b, 0o600)
		},
		"a flipped byte in the vote": func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, "vote"))
			if err != nil {
				return err
			}
			b[12]++
			return os.WriteFile(filepath.Join(dir, "vote"), b, 0o600)
		},
		"a lost vote": func(dir string) error { return os.Remove(filepath.Join(dir, "vote")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(g.dirs["m1"])); err != nil {
				t.Fatal(err)
			}
			if err := harm(dir); err != nil {
				t.Fatal(err)
			}
			exit := func(err error) { t.Errorf("exit: %v", err) }
			n, err := Open(Config{ID: "m1", Dir: dir, Bind: "127.0.0.1:0", Exit: exit}, &kv{})
			if err == nil {
				n.Close()
			}
			if !errors.Is(err, wal.ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
		})
	}
}

func TestALostOrDamagedSnapshotIsRefusedWhenTheLogDoesNotCoverIt(t *testing.T) {
	g := newGroup(t, Config{Timeout: 50 * time.Millisecond, TrailingLogs: 1})
	g.bootstrap("m1")
	_, n := g.leader()
	for i := range 9 {
		g.put(n, fmt.Sprint("key", i), "value")
	}
	if err := n.SnapshotNow(); err != nil {
		t.Fatal(err)
	}
	g.put(n, "after", "it")
	g.stop("m1")
	files, err := filepath.Glob(filepath.Join(g.dirs["m1"], "snapshots", "*", "state.bin"))
	if err != nil || len(files) != 1 {
		t.Fatalf("snapshots: %v, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2]++
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	conf := Config{ID: "m1", Dir: g.dirs["m1"], Bind: "127.0.0.1:0"}
	if n, err := Open(conf, &kv{}); err == nil {
		n.Close()
		t.Fatal("a damaged snapshot was restored")
	}
	if err := os.RemoveAll(filepath.Dir(files[0])); err != nil {
		t.Fatal(err)
	}
	if n, err := Open(conf, &kv{}); !errors.Is(err, wal.ErrCorrupt) {
		if err == nil {
			n.Close()
		}
		t.Fatalf("without the snapshot: got %v, want ErrCorrupt", err)
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	ln, err := netx.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for name, c := range map[string]Config{
		"no id":                {Dir: t.TempDir(), Bind: "127.0.0.1:0"},
		"no directory":         {ID: "m1", Bind: "127.0.0.1:0"},
		"no address":           {ID: "m1", Dir: t.TempDir()},
		"an address in use":    {ID: "m1", Dir: t.TempDir(), Bind: ln.Addr().String()},
		"an address of no one": {ID: "m1", Dir: t.TempDir(), Bind: "0.0.0.0:0"},
	} {
		if n, err := Open(c, &kv{}); err == nil {
			n.Close()
			t.Errorf("%s: no error", name)
		} else if _, ok := errors.AsType[*netx.InUseError](err); ok != (name == "an address in use") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTheLibrarysLogBecomesOurs(t *testing.T) {
	var b strings.Builder
	l := bridge(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
	l.Info("entering state", "who", "m1")
	l.With("peer", "m2").Warn("is slow")
	for _, want := range []string{`level=DEBUG msg="raft: entering state" who=m1`, `level=WARN msg="raft: is slow" peer=m2`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in:\n%s", want, b.String())
		}
	}
}
