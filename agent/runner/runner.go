// Package runner is the contract between the agent and what runs its tasks. It knows nothing of masters, sessions or
// journals; the suite in runnertest is passed by every runner.
package runner

import (
	"context"
	"errors"
	"maps"

	"github.com/saki-run/saki/api"
)

// ErrDetach asks, as the cause of a cancelled context, Run to return at once and leave the attempt running.
var ErrDetach = errors.New("detached")

// Runner runs attempts of one kind of task. All methods are safe for concurrent use.
type Runner interface {
	// Probe tells what this runner can do here and now. It returns quickly.
	Probe(ctx context.Context) Capability

	// Run runs the attempt and blocks until it has ended. An Outcome says how the task ended, well or badly. An error says
	// that the runner itself is broken: the attempt is lost and may go elsewhere.
	//
	// Run enforces t.Spec.Timeout, counted from the moment the task itself runs (not from fetching, compiling or pulling).
	//
	// When ctx is cancelled, Run asks the attempt to stop, waits t.Spec.KillGrace and forces it; the outcome is then Killed
	// with the reason that [Stop] carries as the context's cause. A cause of [ErrDetach] leaves it running and
	// returns ErrDetach.
	Run(ctx context.Context, t *api.Task, io IO) (api.Outcome, error)
}

// Reattacher is implemented by runners whose attempts outlive the agent.
type Reattacher interface {
	// Reattach is [Runner.Run] for an attempt that an earlier agent process started and gave the handle for. It returns
	// [ErrGone] when no such attempt runs and its outcome is not to be found.
	Reattach(ctx context.Context, t *api.Task, handle []byte, io IO) (api.Outcome, error)
}

// Closer is implemented by runners that hold processes or containers of their own.
type Closer interface {
	// Close lets go of everything. With keep, executors and attempts stay for the next agent process; without, they are
	// ended and removed.
	Close(ctx context.Context, keep bool) error
}

// Sweeper is implemented by runners that may find what earlier agent processes left behind.
type Sweeper interface {
	// Sweep ends and removes every attempt of this agent that known does not know. An agent calls it once, at its start.
	Sweep(ctx context.Context, known func(task api.TaskID, attempt uint32) bool) error
}

// ErrGone says that an attempt cannot be reattached.
var ErrGone = errors.New("attempt is gone")

// Stop is the cause of a context cancelled because the task is to end.
type Stop struct {
	Reason api.Reason
	Force  bool // no grace period
}

// Error implements error.
func (s *Stop) Error() string { return string(s.Reason) }

// IO is what an attempt may use of the agent.
type IO struct {
	// Dir is the attempt's folder on the agent's disk, of its own and absolute. It may not exist yet: a runner that needs it
	// makes it (its parent exists). The runner leaves the attempt's output in Dir/stdout and Dir/stderr, growing while the
	// attempt runs and never longer than t.Spec.MaxOutput each, unless both are short enough to go whole into the Outcome
	// ([api.InlineOutput]). The sandbox that the task sees is Dir/box.
	Dir string

	// Blob gives the path of a local, verified, read-only copy of content, fetching it first when needed. An error that
	// wraps an *api.Error of code not_found says that no peer has it.
	Blob func(ctx context.Context, d api.Digest) (path string, err error)

	// Handle records what Reattach will need, durably, before the attempt is of any effect. It may be called again.
	Handle func(handle []byte) error

	// Started says that the attempt runs now. A runner calls it at most once.
	Started func()
}

// Capability is what a runner can do.
type Capability struct {
	Kind       api.Kind
	OK         bool
	Notice     string            // why not OK, or what is limited; one sentence with what to do
	Attributes map[string]string // for the node, such as "wasm.engine": "compiler"
	Executor   string            // such as "docker (compiler)"
}

// Env gives the environment that every task gets besides its own: SAKI_TASK_ID, SAKI_TASK_INDEX, SAKI_ATTEMPT, SAKI_NODE and
// PORT0…. The task's own variables win over them. A deterministic task is not told what differs from run to run: of these it
// gets SAKI_TASK_INDEX and ports alone.
func Env(t *api.Task) map[string]string {
	env := map[string]string{"SAKI_TASK_INDEX": itoa(t.Index)}
	if !deterministic(t) {
		env["SAKI_TASK_ID"] = string(t.ID)
		env["SAKI_ATTEMPT"] = itoa(int(t.Attempt))
		env["SAKI_NODE"] = t.NodeName
	}
	for i, p := range t.Ports {
		env["PORT"+itoa(i)] = itoa(int(p))
	}
	maps.Copy(env, t.Spec.Env)
	return env
}

// Program gives what a wasm task sees as its program's name: the task's, or else its id; a deterministic task without a name is
// called by its module's digest.
func Program(t *api.Task) string {
	switch {
	case t.Spec.Name != "":
		return t.Spec.Name
	case deterministic(t):
		return t.Spec.Module().Short()
	}
	return string(t.ID)
}

func deterministic(t *api.Task) bool {
	w := t.Spec.Wasm
	return w != nil && (w.Deterministic || w.Memo)
}
