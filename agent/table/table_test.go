package table

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire/link"
)

func task(id string, n uint32) *api.Task { return &api.Task{ID: api.TaskID(id), Attempt: n} }

func at(id string, n uint32) link.Attempt { return link.Attempt{Task: api.TaskID(id), Number: n} }

func run(ts ...*api.Task) link.Desire { return link.Desire{Run: ts} }

func check(t *testing.T, got []Action, want ...Action) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("actions (-want +got):\n%s", d)
	}
}

func TestAnAttemptIsStartedOnce(t *testing.T) {
	x := New()
	check(t, x.Desire(run(task("a", 1))), Start{task("a", 1)})
	check(t, x.Desire(run(task("a", 1))))
	x.Ended(at("a", 1), api.Outcome{State: api.Finished})
	check(t, x.Desire(link.Desire{Whole: true, Run: []*api.Task{task("a", 1)}}))
}

func TestAWholeDesireStopsWhatItDoesNotName(t *testing.T) {
	x := New()
	x.Desire(run(task("a", 1), task("b", 1), task("c", 2), task("d", 1)))
	x.Ended(at("d", 1), api.Outcome{State: api.Finished})
	check(t, x.Desire(link.Desire{Whole: true, Run: []*api.Task{task("b", 1)}, Keep: []link.Attempt{at("c", 2)}}),
		Stop{at("a", 1), api.ReasonSuperseded, false})
}

func TestANewerAttemptStopsTheOlder(t *testing.T) {
	x := New()
	x.Desire(run(task("a", 1)))
	check(t, x.Desire(run(task("a", 2))), Stop{at("a", 1), api.ReasonSuperseded, false}, Start{task("a", 2)})
}

func TestAStopIsAskedForOnceAndMayBecomeForced(t *testing.T) {
	x := New()
	x.Desire(run(task("a", 1)))
	stop := func(force bool) link.Desire {
		return link.Desire{Stop: []link.Stop{{Attempt: at("a", 1), Reason: api.ReasonUserKill, Force: force}}}
	}
	check(t, x.Desire(stop(false)), Stop{at("a", 1), api.ReasonUserKill, false})
	check(t, x.Desire(stop(false)))
	check(t, x.Desire(stop(true)), Stop{at("a", 1), api.ReasonUserKill, true})
	x.Ended(at("a", 1), api.Outcome{State: api.Killed})
	check(t, x.Desire(stop(true)))
}

func TestAnEndIsKeptUntilItIsAcknowledged(t *testing.T) {
	x := New()
	x.Desire(run(task("a", 1)))
	if !x.Ended(at("a", 1), api.Outcome{State: api.Finished}) || x.Ended(at("a", 1), api.Outcome{State: api.Failed}) {
		t.Error("an attempt ends once")
	}
	if got := x.Unacknowledged(); len(got) != 1 || got[0].Outcome.State != api.Finished {
		t.Errorf("unacknowledged: %+v", got)
	}
	check(t, x.Desire(link.Desire{Acks: []link.Attempt{at("a", 1)}}), Forget{at("a", 1)})
	check(t, x.Desire(link.Desire{Acks: []link.Attempt{at("a", 1)}}))
	if len(x.Unacknowledged())+len(x.Active()) != 0 {
		t.Error("something is left")
	}
}

func TestAnAckOfAnAttemptThatRunsIsNoEnd(t *testing.T) {
	x := New()
	x.Desire(run(task("a", 1)))
	check(t, x.Desire(link.Desire{Acks: []link.Attempt{at("a", 1)}}))
	if len(x.Active()) != 1 {
		t.Error("the attempt was forgotten while it runs")
	}
}

func TestWhatWasRestoredIsNotStartedAgain(t *testing.T) {
	x := New()
	x.Restore(link.Attempt{Task: "a", Number: 1, Running: true}, nil)
	x.Restore(at("b", 1), &api.Outcome{State: api.Failed})
	check(t, x.Desire(link.Desire{Whole: true, Run: []*api.Task{task("a", 1), task("b", 1)}}))
	if x.Started(at("a", 1)) {
		t.Error("that it runs was news")
	}
}

// However the stream breaks and repeats, an attempt is started at most once and its end told until it is acknowledged.
func TestRepeatsAndReordersDoNoHarm(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		x := New()
		started, acked := map[link.Attempt]int{}, map[link.Attempt]bool{}
		live := map[link.Attempt]bool{}
		for range 200 {
			a := at(string(rune('a'+r.IntN(4))), uint32(1+r.IntN(3)))
			var acts []Action
			switch r.IntN(5) {
			case 0, 1:
				if !acked[a] { // the master does not send an attempt again whose end it has committed
					acts = x.Desire(run(task(string(a.Task), a.Number)))
				}
			case 2:
				if live[a] {
					x.Ended(a, api.Outcome{State: api.Finished})
				}
			case 3:
				for _, e := range x.Unacknowledged() {
					acts = append(acts, x.Desire(link.Desire{Acks: []link.Attempt{e.Attempt}})...)
					acked[e.Attempt] = true
				}
			case 4:
				acts = x.Desire(link.Desire{Stop: []link.Stop{{Attempt: a}}})
			}
			for _, act := range acts {
				if s, ok := act.(Start); ok {
					k := at(string(s.Task.ID), s.Task.Attempt)
					started[k]++
					live[k] = true
				}
			}
		}
		for a, n := range started {
			if n != 1 {
				t.Fatalf("seed %d: %v was started %d times", seed, a, n)
			}
		}
	}
}
