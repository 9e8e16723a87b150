package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/blob"
	"github.com/saki-run/saki/wire/link"
)

// waiting is a runner whose attempts wait for their end to be asked for.
type waiting struct{}

var _ runner.Runner = waiting{}

func (waiting) Probe(context.Context) runner.Capability {
	return runner.Capability{Kind: api.Shell, OK: true}
}

func (waiting) Run(ctx context.Context, _ *api.Task, _ runner.IO) (api.Outcome, error) {
	<-ctx.Done()
	s, detach := runner.Stopped(ctx)
	if detach {
		return api.Outcome{}, runner.ErrDetach
	}
	return runner.KilledOutcome(s, 9), nil
}

func newAgent(t *testing.T) *Agent {
	t.Helper()
	home, err := OpenHome(filepath.Join(t.TempDir(), "a1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { home.Close() })
	blobs, err := blob.Open(filepath.Join(home.Dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	a, err := New(Config{
		Home: home, Name: "a1", Runners: map[api.Kind]runner.Runner{api.Shell: waiting{}}, Blobs: blobs, EndTasks: true,
		Masters: func() []string { return nil }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func shellTask(id string) *api.Task {
	spec := api.Spec{Shell: &api.ShellSpec{Script: "true"}}.WithDefaults()
	return &api.Task{ID: api.TaskID(id), Attempt: 1, Spec: &spec, State: api.Placed}
}

func TestAStopThatComesWithItsTaskEndsIt(t *testing.T) {
	a := newAgent(t)
	ctx, stop := context.WithCancel(t.Context())
	a.ctx = ctx
	at := link.Attempt{Task: "x", Number: 1}
	a.desire(link.Desire{
		Whole: true, Run: []*api.Task{shellTask("x")},
		Stop: []link.Stop{{Attempt: at, Reason: api.ReasonUserKill}},
	})
	a.wg.Wait() // nobody else ends it
	stop()
	ended := a.table.Unacknowledged()
	if len(ended) != 1 || ended[0].Outcome.State != api.Killed || ended[0].Outcome.Reason != api.ReasonUserKill {
		t.Errorf("got %+v", ended)
	}
}

func TestAnAgentThatCannotWriteItsJournalStartsNothingAndStops(t *testing.T) {
	a := newAgent(t)
	a.ctx = t.Context()
	if err := a.journal.Close(); err != nil { // as a disk that is full
		t.Fatal(err)
	}
	a.desire(link.Desire{Run: []*api.Task{shellTask("x")}})
	if err := a.Run(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Run gave %v", err)
	}
	if n := len(a.live); n != 0 {
		t.Errorf("%d attempts run", n)
	}
}

func TestASecondAgentCannotHaveTheSameHome(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a1")
	first, err := OpenHome(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenHome(dir); !errors.Is(err, &api.Error{Code: api.CodeInUse}) {
		t.Errorf("the second got %v", err)
	}
	if err := first.Join("c1"); err != nil {
		t.Fatal(err)
	}
	first.Close()
	again, err := OpenHome(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.ID != first.ID || again.Cluster != "c1" {
		t.Errorf("got %s of %q, want %s of c1", again.ID, again.Cluster, first.ID)
	}
}
