package hostile

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/saki-run/saki/api"
)

// pace is how long the neighbour waits between the end of a task and the next.
const pace = 2 * time.Millisecond

// neighbour runs one small warm task after the other, as somebody would who shares the executor with strangers.
type neighbour struct {
	stop func()

	mu   sync.Mutex // guards what follows
	took []time.Duration
	lost []string // what did not go as it should
}

func newNeighbour(t *testing.T, w *world) *neighbour {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n := &neighbour{}
	var wg sync.WaitGroup
	n.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(n.stop)
	noop := w.guest("noop")
	wg.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			began := time.Now()
			out, err := w.run(w.task("neighbour", noop))
			took := time.Since(began)
			n.mu.Lock()
			n.took = append(n.took, took)
			if err != nil || out.State != api.Finished {
				n.lost = append(n.lost, fmt.Sprintf("%s (%s: %s), %v", out.State, out.Reason, out.Message, err))
			}
			n.mu.Unlock()
		}
	})
	return n
}

// seen is what the neighbour has gone through.
type seen struct {
	tasks    int
	p50, p99 time.Duration
	lost     []string
}

// since gives what it has gone through since the last time.
func (n *neighbour) since() seen {
	n.mu.Lock()
	defer n.mu.Unlock()
	slices.Sort(n.took)
	s := seen{tasks: len(n.took), lost: n.lost}
	if s.tasks > 0 {
		s.p50, s.p99 = n.took[s.tasks/2], n.took[s.tasks*99/100]
	}
	n.took, n.lost = nil, nil
	return s
}

// besideABusyProcess gives what it goes through while another process, outside of the executor, uses a processor: what the
// kernel and the machine make of that, no executor can do better.
func (n *neighbour) besideABusyProcess(t *testing.T) seen {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", burn)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.since()
	time.Sleep(quietFor) // it is what is measured
	s := n.since()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return s
}
