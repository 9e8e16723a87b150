package launch

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test's program play an executor that runs until it is ended.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "executor" {
		time.Sleep(time.Minute)
		return
	}
	os.Exit(m.Run())
}

func newProcess(t *testing.T) (*Process, Space) {
	t.Helper()
	p := &Process{Root: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	s := Space{Namespace: "default", Dir: filepath.Join(p.Root, "default")}
	if err := os.Mkdir(s.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if rec, ok := running(s.Dir); ok {
			_ = unix.Kill(-rec.PID, unix.SIGKILL)
		}
	})
	return p, s
}

func ensure(t *testing.T, p *Process, s Space) *process {
	t.Helper()
	e, err := p.Ensure(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return e.(*process)
}

func TestAProcessIsAdoptedByTheNextAgent(t *testing.T) {
	p, s := newProcess(t)
	first := ensure(t, p, s)
	if first.Adopted() {
		t.Error("a new process was adopted")
	}
	first.Release()
	again := ensure(t, p, s)
	if !again.Adopted() || again.rec != first.rec {
		t.Errorf("got %+v, want %+v", again.rec, first.rec)
	}
	if all, err := p.Running(t.Context()); err != nil || len(all) != 1 || all[0] != "default" {
		t.Errorf("got %v, %v", all, err)
	}
	if err := again.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all, err := p.Running(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("after the stop: %v, %v", all, err)
	}
	if third := ensure(t, p, s); third.Adopted() {
		t.Error("a process that has ended was adopted")
	}
}

func TestTheEndOfAProcessIsSeen(t *testing.T) {
	p, s := newProcess(t)
	for _, adopted := range []bool{false, true} {
		e := ensure(t, p, s)
		if adopted {
			e.Release()
			e = ensure(t, p, s)
		}
		if e.Adopted() != adopted {
			t.Fatalf("adopted is %v", e.Adopted())
		}
		if err := unix.Kill(e.rec.PID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-e.Done()
		if e.Ended() == "" {
			t.Error("it does not say how it ended")
		}
	}
}

func TestAnotherVersionIsReplaced(t *testing.T) {
	p, s := newProcess(t)
	old := ensure(t, p, s)
	rec := old.rec
	rec.Exe = "another"
	if err := writeRecord(s.Dir, rec); err != nil {
		t.Fatal(err)
	}
	if e := ensure(t, p, s); e.Adopted() || e.rec.PID == rec.PID {
		t.Errorf("got %+v", e.rec)
	}
	<-old.Done()
}

func TestANumberThatWasGivenAwayIsNotOurs(t *testing.T) {
	p, s := newProcess(t)
	if err := writeRecord(s.Dir, record{PID: os.Getpid(), Start: 1}); err != nil { // this process, but of another time
		t.Fatal(err)
	}
	if e := ensure(t, p, s); e.Adopted() {
		t.Error("a stranger was adopted")
	}
	for _, junk := range []string{"", "{", `{"pid":0}`, `{"pid":-1}`, `{"pid":99999999,"start":1}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, pidFile), []byte(junk), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := running(dir); ok {
			t.Errorf("%q is taken for a process", junk)
		}
	}
}
