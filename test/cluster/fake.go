package cluster

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
)

// Fake runs shell tasks without a shell. Scripts: "exit N" ends with that code at once, "sleep" waits for its end to be asked
// for or for [Fake.Release], "lose" loses the attempt. Attempts outlive the agent, as long as the Fake does.
type Fake struct {
	mu      sync.Mutex
	Started []string // task ids with their attempt, in order
	running map[string]chan struct{}
	release chan struct{}
}

var (
	_ runner.Runner     = (*Fake)(nil)
	_ runner.Reattacher = (*Fake)(nil)
)

// NewFake makes a Fake.
func NewFake() *Fake { return &Fake{running: map[string]chan struct{}{}, release: make(chan struct{})} }

// Probe implements [runner.Runner].
func (f *Fake) Probe(context.Context) runner.Capability {
	return runner.Capability{Kind: api.Shell, OK: true}
}

func name(t *api.Task) string { return string(t.ID) + "." + string(rune('0'+t.Attempt)) }

// Run implements [runner.Runner].
func (f *Fake) Run(ctx context.Context, t *api.Task, io runner.IO) (api.Outcome, error) {
	f.mu.Lock()
	f.Started = append(f.Started, name(t))
	f.mu.Unlock()
	if err := io.Handle([]byte(name(t))); err != nil {
		return api.Outcome{}, err
	}
	io.Started()
	return f.finish(ctx, t)
}

// Reattach implements [runner.Reattacher].
func (f *Fake) Reattach(ctx context.Context, t *api.Task, handle []byte, _ runner.IO) (api.Outcome, error) {
	if string(handle) != name(t) {
		return api.Outcome{}, runner.ErrGone
	}
	return f.finish(ctx, t)
}

func (f *Fake) finish(ctx context.Context, t *api.Task) (api.Outcome, error) {
	script := t.Spec.Shell.Script
	code, isExit := strings.CutPrefix(script, "exit ")
	switch {
	case isExit && code == "0":
		return api.Outcome{State: api.Finished, Reason: api.ReasonExit, Inline: true, Stdout: []byte("out of " + string(t.ID))}, nil
	case isExit:
		return api.Outcome{
			State: api.Failed, Reason: api.ReasonExit, ExitCode: int(code[0] - '0'), Inline: true, Stderr: []byte("error of " + name(t) + "\n"),
		}, nil
	case script == "lose":
		return api.Outcome{State: api.Lost, Reason: api.ReasonWorkerLost, ExitCode: api.ExitCluster, Inline: true}, nil
	}
	f.mu.Lock()
	release := f.release
	f.mu.Unlock()
	select {
	case <-release:
		return api.Outcome{State: api.Finished, Reason: api.ReasonExit, Inline: true}, nil
	case <-ctx.Done():
		s, detach := runner.Stopped(ctx)
		if detach {
			return api.Outcome{}, runner.ErrDetach
		}
		return runner.KilledOutcome(s, 15), nil
	}
}

// Release ends every attempt that sleeps.
func (f *Fake) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.release)
	f.release = make(chan struct{})
}

// Starts gives how often the task was started.
func (f *Fake) Starts(id api.TaskID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.Started {
		if strings.HasPrefix(s, string(id)+".") {
			n++
		}
	}
	return n
}

// Sleep is a spec that runs until it is released or stopped.
func Sleep() api.Spec {
	return api.Spec{Shell: &api.ShellSpec{Script: "sleep"}, KillGrace: api.Duration(time.Second)}
}
