// Package runnertest is the suite that every runner passes. A runner joins it with a [Harness] of a few lines.
package runnertest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/saki-run/saki/agent/logs"
	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
)

// Harness is a runner and the tasks to try it with.
type Harness struct {
	// New makes a runner. Called again in the same test, it gives what the next process of the same agent would have: it
	// knows of the first one's attempts only by their handles. The harness closes what it made.
	New func(t *testing.T) runner.Runner

	// Task gives the part of a spec that behaves as asked; nil for what this kind of task cannot do.
	Task func(b Behaviour) *api.Spec

	// Blobs are contents that tasks of the harness need besides the suite's own, such as modules. It may be nil.
	Blobs map[api.Digest][]byte

	// Wait is how long an attempt may take that should end at once. Default 30 s.
	Wait time.Duration
}

// Behaviour is what a task is to do. It is one of the types below.
type Behaviour interface{ behaviour() }

// The behaviours. A task that is asked for none of Exit's codes ends with 0.
type (
	// Exit ends with Code.
	Exit struct{ Code int }
	// Print writes to both streams, adding nothing.
	Print struct{ Stdout, Stderr string }
	// CatStdin copies standard input to standard output.
	CatStdin struct{}
	// PrintEnv writes every variable of its environment to standard output, as NAME=value lines in any order.
	PrintEnv struct{}
	// Sleep prints "ready" and a newline, then waits for an hour without using the processor. SIGTERM ends it.
	Sleep struct{}
	// IgnoreTerm is Sleep that SIGTERM does not end.
	IgnoreTerm struct{}
	// ExitOnTerm is Sleep that ends with 0 when SIGTERM comes.
	ExitOnTerm struct{}
	// Gate prints "ready" and a newline, and ends with Code once the file at Path, relative to the sandbox, exists.
	Gate struct {
		Path string
		Code int
	}
	// ReadFile writes the content of a file of the sandbox, by its relative path, to standard output.
	ReadFile struct{ Path string }
	// BigOutput writes N bytes of 'x' to standard output.
	BigOutput struct{ N int }
	// NotFound names a command, image or module that does not exist.
	NotFound struct{}
	// UseMemory touches 1 GiB of memory. The suite allows it 64 MiB.
	UseMemory struct{}
)

func (Exit) behaviour()       {}
func (Print) behaviour()      {}
func (CatStdin) behaviour()   {}
func (PrintEnv) behaviour()   {}
func (Sleep) behaviour()      {}
func (IgnoreTerm) behaviour() {}
func (ExitOnTerm) behaviour() {}
func (Gate) behaviour()       {}
func (ReadFile) behaviour()   {}
func (BigOutput) behaviour()  {}
func (NotFound) behaviour()   {}
func (UseMemory) behaviour()  {}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	if h.Wait == 0 {
		h.Wait = 30 * time.Second
	}
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *suite)
	}{
		{"the probe names its kind and is well", probe},
		{"exit codes are kept", exitCodes},
		{"short output is inline, stdout and stderr apart", inlineOutput},
		{"long output stays in files", longOutput},
		{"output over the limit is dropped and counted", outputLimit},
		{"output can be read while the task runs", liveOutput},
		{"the environment is the task's own and the cluster's", environment},
		{"the environment of the agent stays with the agent", agentEnvironment},
		{"standard input is at its end when none is given", noInput},
		{"standard input may be inline", inlineInput},
		{"standard input may be a blob", blobInput},
		{"files are staged before the task starts", stagedFiles},
		{"a file that nobody has fails the task", missingFile},
		{"a task over its timeout fails", timeout},
		{"a task over its memory fails", memory},
		{"a kill is asked for and then done", kill},
		{"a task that ends by itself when asked is killed all the same", politeKill},
		{"a task that ignores the asking is forced", stubbornKill},
		{"a forced kill waits for nothing", forcedKill},
		{"a kill before the start starts nothing", earlyKill},
		{"what does not exist is not found", notFound},
		{"attempts side by side do not mix", parallel},
		{"an attempt outlives a detached runner", detach},
		{"an attempt that ends while nobody looks keeps its outcome", detachedEnd},
		{"a reattached attempt can be killed", detachedKill},
		{"an attempt that never was is gone", gone},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, &suite{Harness: h, root: t.TempDir()}) })
	}
}

// suite is the state of one test.
type suite struct {
	Harness
	root string

	mu    sync.Mutex
	blobs map[api.Digest]string
}

// attempt is one task on its way.
type attempt struct {
	task    *api.Task
	io      runner.IO
	cancel  context.CancelCauseFunc
	started atomic.Int32
	running chan struct{} // closed by Started
	done    chan struct{} // closed when Run has returned

	mu      sync.Mutex
	handle  []byte
	outcome api.Outcome
	err     error
}

// task makes a task of the behaviour, skipping the test when the kind has no such thing.
func (s *suite) task(t *testing.T, b Behaviour) *api.Task {
	t.Helper()
	spec := s.Task(b)
	if spec == nil {
		t.Skipf("this kind of task has no %T", b)
	}
	c := spec.WithDefaults()
	return &api.Task{
		ID:    api.NewTaskID(rand.Uint64()),
		Index: 7, Spec: &c, State: api.Placed, Attempt: 1, Node: "n1", NodeName: "node-1",
	}
}

// blob stores content and gives its digest.
func (s *suite) blob(t *testing.T, content []byte) api.Digest {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	d := api.DigestOf(sha256.Sum256(content))
	if s.blobs[d] != "" { // another attempt may be reading it
		return d
	}
	p := filepath.Join(s.root, "blob-"+d.Hex())
	if err := os.WriteFile(p, content, 0o444); err != nil {
		t.Fatal(err)
	}
	if s.blobs == nil {
		s.blobs = map[api.Digest]string{}
	}
	s.blobs[d] = p
	return d
}

func (s *suite) fetch(t *testing.T) func(context.Context, api.Digest) (string, error) {
	for _, b := range s.Blobs {
		s.blob(t, b)
	}
	return func(_ context.Context, d api.Digest) (string, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if p, ok := s.blobs[d]; ok {
			return p, nil
		}
		return "", fmt.Errorf("blob %s: %w", d.Short(), api.Errorf(api.CodeNotFound, "no node has it"))
	}
}

// start runs the task. Cleanup ends it.
func (s *suite) start(t *testing.T, r runner.Runner, task *api.Task) *attempt {
	t.Helper()
	return s.begin(t, task, filepath.Join(s.root, string(task.ID)), func(ctx context.Context, io runner.IO) (api.Outcome, error) {
		return r.Run(ctx, task, io)
	})
}

// reattach takes the attempt over with another runner.
func (s *suite) reattach(t *testing.T, r runner.Runner, a *attempt) *attempt {
	t.Helper()
	ra, ok := r.(runner.Reattacher)
	if !ok {
		t.Skip("attempts of this runner do not outlive the agent")
	}
	a.mu.Lock()
	handle := a.handle
	a.mu.Unlock()
	return s.begin(t, a.task, a.io.Dir, func(ctx context.Context, io runner.IO) (api.Outcome, error) {
		return ra.Reattach(ctx, a.task, handle, io)
	})
}

func (s *suite) begin(t *testing.T, task *api.Task, dir string, run func(context.Context, runner.IO) (api.Outcome, error)) *attempt {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	a := &attempt{task: task, cancel: cancel, running: make(chan struct{}), done: make(chan struct{})}
	a.io = runner.IO{
		Dir:  dir,
		Blob: s.fetch(t),
		Handle: func(h []byte) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.started.Load() > 0 && a.handle == nil {
				t.Error("the handle was recorded after the start")
			}
			a.handle = append([]byte{}, h...)
			return nil
		},
		Started: func() {
			if a.started.Add(1) > 1 {
				t.Error("Started was called twice")
				return
			}
			close(a.running)
		},
	}
	go func() {
		defer close(a.done)
		o, err := run(ctx, a.io)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.outcome, a.err = o, err
	}()
	t.Cleanup(func() {
		cancel(&runner.Stop{Reason: api.ReasonUserKill, Force: true})
		<-a.done
	})
	return a
}

// ready waits until the task has printed its first line.
func (s *suite) ready(t *testing.T, a *attempt) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), s.Wait)
	defer cancel()
	err := logs.Follow(ctx, filepath.Join(a.io.Dir, "stdout"), 0, a.done, &until{want: "ready\n"})
	if !errors.Is(err, errSeen) {
		o, rerr := a.result()
		t.Fatalf("the task did not print that it is ready: %v; outcome %+v, %v", err, o, rerr)
	}
}

var errSeen = errors.New("seen")

// until gives errSeen once all of want was written to it.
type until struct{ got, want string }

func (u *until) Write(b []byte) (int, error) {
	if u.got += string(b); len(u.got) >= len(u.want) && u.got[:len(u.want)] == u.want {
		return len(b), errSeen
	}
	return len(b), nil
}

func (a *attempt) result() (api.Outcome, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.outcome, a.err
}

// end waits for the outcome, which must not be an error.
func (s *suite) end(t *testing.T, a *attempt) api.Outcome {
	t.Helper()
	select {
	case <-a.done:
	case <-time.After(s.Wait):
		t.Fatalf("task %s did not end in %v", a.task.ID, s.Wait)
	}
	o, err := a.result()
	if err != nil {
		t.Fatalf("the runner gave an error: %v", err)
	}
	if !o.State.Terminal() {
		t.Fatalf("the outcome's state is %q", o.State)
	}
	return o
}

// run is start and end.
func (s *suite) run(t *testing.T, task *api.Task) api.Outcome {
	t.Helper()
	return s.end(t, s.start(t, s.New(t), task))
}
