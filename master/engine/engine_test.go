package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
)

// heldLog applies what is proposed, each entry once the test lets it through.
type heldLog struct {
	machine *Machine
	through chan error // one value for each entry; an error is the answer instead

	mu      sync.Mutex // guards entries
	entries [][]core.Command
}

var _ Log = (*heldLog)(nil)

func (l *heldLog) Propose(ctx context.Context, data []byte) (uint64, any, error) {
	e, err := core.DecodeEntry(data)
	if err != nil {
		return 0, nil, err
	}
	l.mu.Lock()
	l.entries = append(l.entries, e.Commands)
	index := uint64(len(l.entries))
	l.mu.Unlock()
	select {
	case err = <-l.through:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return 0, nil, err
	}
	return index, l.machine.Apply(index, data), nil
}

func (l *heldLog) sizes() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []int
	for _, e := range l.entries {
		out = append(out, len(e))
	}
	return out
}

func held(t *testing.T) (*Engine, *heldLog, context.CancelFunc) {
	m := NewMachine(func(err error) { t.Error(err) })
	l := &heldLog{machine: m, through: make(chan error)}
	e := New(Config{Log: l, Machine: m, Now: time.Now})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go e.Run(ctx)
	synctest.Wait()
	return e, l, cancel
}

func submitting(n int) *core.Submit {
	s := &api.Spec{Namespace: "default", Shell: &api.ShellSpec{Script: "true"}, Count: 1}
	return &core.Submit{ID: api.NewTaskID(uint64(n)), Spec: s}
}

func TestWhatComesWhileAnEntryIsWrittenIsTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, l, _ := held(t)
		var wg sync.WaitGroup
		ask := func(n int) {
			wg.Go(func() {
				ev, err := e.Do(t.Context(), submitting(n))
				if err != nil || len(ev) != 1 || ev[0].Task == nil || ev[0].Task.ID != api.NewTaskID(uint64(n)) {
					t.Errorf("request %d was answered with %v, %v", n, ev, err)
				}
			})
			synctest.Wait()
		}
		ask(0)
		for n := range 100 {
			ask(n + 1)
		}
		l.through <- nil
		synctest.Wait()
		l.through <- nil
		wg.Wait()
		if got := fmt.Sprint(l.sizes()); got != "[1 100]" {
			t.Errorf("entries of %s commands, want [1 100]", got)
		}
	})
}

func TestAnEntryStaysSmallWhenRequestsAreLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, l, _ := held(t)
		for n := range 40 {
			s := submitting(n)
			s.Spec.Stdin = make([]byte, 60<<10)
			e.Enqueue(func([]core.Event, error) {}, s)
		}
		for range 6 {
			select {
			case l.through <- nil:
			case <-time.After(time.Second):
			}
			synctest.Wait()
		}
		total := 0
		for _, n := range l.sizes() {
			if n*60<<10 > maxEntryBytes+60<<10 {
				t.Errorf("an entry of %d requests of 60 KiB", n)
			}
			total += n
		}
		if total != 40 {
			t.Errorf("%d of 40 requests were written", total)
		}
	})
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, cancel := held(t)
		left := 0
		e.Enqueue(func([]core.Event, error) { left++ }, submitting(0))
		synctest.Wait() // the loop has it, and waits for the log
		big := make([]byte, 64<<10)
		refused := error(nil)
		for n := 1; refused == nil && n < maxQueuedRequests; n++ {
			s := submitting(n)
			s.Spec.Stdin = big
			answered := false
			e.Enqueue(func(_ []core.Event, err error) {
				if !answered {
					refused = err
				}
			}, s)
			answered = true
			left++
		}
		if err, ok := errors.AsType[*api.Error](refused); !ok || err.Code != api.CodeOverloaded || err.Hint == "" {
			t.Fatalf("the answer is %v", refused)
		}
		if most := maxQueuedBytes/len(big) + 1; left > most {
			t.Errorf("%d requests of 64 KiB were taken, want at most %d", left, most)
		}
		cancel()
	})
}

func TestEveryRequestIsAnsweredWhenTheLeadershipEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, cancel := held(t)
		var wg sync.WaitGroup
		for n := range 10 {
			wg.Go(func() {
				if _, err := e.Do(t.Context(), submitting(n)); err == nil {
					t.Errorf("request %d was answered without an error", n)
				}
			})
			synctest.Wait()
		}
		cancel()
		wg.Wait()
		_, err := e.Do(t.Context(), submitting(99))
		if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeNoLeader {
			t.Errorf("afterwards the answer is %v", err)
		}
	})
}

func TestAFailedEntryIsToldToAllOfItsRequestsAndTheLoopGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, l, _ := held(t)
		disk := errors.New("disk full")
		var got []error
		for n := range 3 {
			e.Enqueue(func(_ []core.Event, err error) { got = append(got, err) }, submitting(n))
		}
		synctest.Wait()
		for len(l.sizes()) < 2 {
			l.through <- disk
			synctest.Wait()
			if len(got) == 3 {
				break
			}
		}
		for i, err := range got {
			if !errors.Is(err, disk) {
				t.Errorf("request %d: %v", i, err)
			}
		}
		done := make(chan error, 1)
		e.Enqueue(func(_ []core.Event, err error) { done <- err }, submitting(9))
		l.through <- nil
		if err := <-done; err != nil || len(got) != 3 {
			t.Errorf("the next request: %v; answers before: %d", err, len(got))
		}
	})
}

func TestHammerHubMissesNoEnd(t *testing.T) {
	var hub Hub
	var wg sync.WaitGroup
	for n := range 200 {
		id := api.NewTaskID(uint64(n))
		var mu sync.Mutex
		task := &api.Task{ID: id, State: api.Running}
		current := func() *api.Task {
			mu.Lock()
			defer mu.Unlock()
			return task
		}
		for range 4 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if got := hub.Wait(ctx, id, current); !got.State.Terminal() {
					t.Errorf("task %s was given as %s", id, got.State)
				}
			})
		}
		wg.Go(func() {
			over := &api.Task{ID: id, State: api.Finished}
			mu.Lock()
			task = over
			mu.Unlock()
			hub.Applied(Applied{Events: []core.Event{{Type: api.EventTaskEnded, Task: over}}})
		})
	}
	wg.Wait()
	if len(hub.wait) != 0 {
		t.Errorf("%d tasks are still waited for", len(hub.wait))
	}
}

func TestAReaderOfTheFeedMissesNothingUnlessItIsToldSo(t *testing.T) {
	f := NewFeed()
	spec := &api.Spec{}
	const total = 3 * feedSize
	go func() {
		for n := range total {
			f.Applied(Applied{Index: uint64(n + 1), Events: []core.Event{{Type: api.EventTaskRunning, Task: &api.Task{ID: "t", Spec: spec}}}})
		}
	}()
	var pos, seen uint64
	told := false
	for pos < total {
		changed := f.Changed()
		events, next, missed := f.Since(pos)
		if missed {
			told = true
		} else if next-pos != uint64(len(events)) {
			t.Fatalf("%d events from %d to %d", len(events), pos, next)
		}
		for i, e := range events {
			if want := next - uint64(len(events)) + uint64(i) + 1; e.Index != want {
				t.Fatalf("event %d stands where %d should", e.Index, want)
			}
		}
		seen, pos = seen+uint64(len(events)), next
		if pos < total && len(events) == 0 {
			<-changed
		}
	}
	if seen != total && !told {
		t.Errorf("saw %d of %d events and was not told", seen, total)
	}
}
