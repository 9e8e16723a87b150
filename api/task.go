package api

import "time"

// State is where a task is in its life. A terminal state never changes.
type State string

// The states, in the order of a task's life.
const (
	Pending  State = "pending"  // waits for a node
	Placed   State = "placed"   // an agent has been told to run it
	Running  State = "running"  // it runs; very short tasks go from placed to their end at once
	Finished State = "finished" // ended with exit code 0
	Failed   State = "failed"   // ended badly by itself or by a limit
	Killed   State = "killed"   // ended because somebody asked
	Lost     State = "lost"     // its agent, container or worker went away too often
)

// Terminal reports whether the state is final.
func (s State) Terminal() bool {
	return s == Finished || s == Failed || s == Killed || s == Lost
}

// Reason says why a task is in its state, from a fixed set. The empty reason needs no explanation.
type Reason string

// The reasons. Each has a sentence for people in [Reason.Sentence].
const (
	ReasonExit              Reason = "exit"
	ReasonTrap              Reason = "trap"
	ReasonDeadline          Reason = "deadline"
	ReasonMemoryLimit       Reason = "memory_limit"
	ReasonFuelExhausted     Reason = "fuel_exhausted"
	ReasonOutputLimit       Reason = "output_limit"
	ReasonDiskLimit         Reason = "disk_limit"
	ReasonSignal            Reason = "signal"
	ReasonUserKill          Reason = "killed_by_user"
	ReasonModuleRefused     Reason = "module_refused"
	ReasonModuleNotFound    Reason = "module_not_found"
	ReasonEntryNotFound     Reason = "entry_not_found"
	ReasonImageNotFound     Reason = "image_not_found"
	ReasonCommandNotFound   Reason = "command_not_found"
	ReasonCompileLimit      Reason = "compile_limit"
	ReasonStagingFailed     Reason = "staging_failed"
	ReasonLaunchFailed      Reason = "launch_failed"
	ReasonVolumeRefused     Reason = "volume_refused"
	ReasonExecutorLost      Reason = "executor_lost"
	ReasonWorkerLost        Reason = "worker_lost"
	ReasonNodeLost          Reason = "node_lost"
	ReasonNodeForgot        Reason = "node_forgot"
	ReasonDrained           Reason = "node_drained"
	ReasonRegisterTimeout   Reason = "executor_registration_timeout"
	ReasonRunnerUnavailable Reason = "runner_unavailable"
	ReasonSuperseded        Reason = "superseded"
)

var sentences = map[Reason]string{
	ReasonExit:              "the task ended with the exit code shown",
	ReasonTrap:              "the module trapped; the wasm stack trace shows where",
	ReasonDeadline:          "the task ran longer than its --timeout; raise it or make the task faster",
	ReasonMemoryLimit:       "the task needed more memory than its --mem; raise it",
	ReasonFuelExhausted:     "the task used up its --fuel; raise it or look for an endless loop",
	ReasonOutputLimit:       "the task wrote more output than is kept; raise max_output or write to a file",
	ReasonDiskLimit:         "the task wrote more to its sandbox than its disk limit; raise disk",
	ReasonSignal:            "the process was ended by a signal",
	ReasonUserKill:          "somebody asked for the task to be killed",
	ReasonModuleRefused:     "the module cannot be run; the message says why",
	ReasonModuleNotFound:    "no node could supply the module; push it again",
	ReasonEntryNotFound:     "the module does not export the function; see saki module inspect",
	ReasonImageNotFound:     "the image is not on the agent and could not be pulled; build or load it there",
	ReasonCommandNotFound:   "the command does not exist on the agent",
	ReasonCompileLimit:      "compiling the module took too long or too much memory; make the module smaller",
	ReasonStagingFailed:     "a file of the task could not be put into its sandbox",
	ReasonLaunchFailed:      "the task could not be started; the message says why",
	ReasonVolumeRefused:     "the agent does not allow this host folder; start it with --allow-volume",
	ReasonExecutorLost:      "the executor container went away while the task ran; it is started again",
	ReasonWorkerLost:        "the executor's worker process ended while the task ran",
	ReasonNodeLost:          "the agent did not come back in time",
	ReasonNodeForgot:        "the agent came back without the task",
	ReasonDrained:           "the node was drained and the task moved",
	ReasonRegisterTimeout:   "the executor did not register in time; see the agent's log",
	ReasonRunnerUnavailable: "the agent could not run this kind of task; the message says why",
	ReasonSuperseded:        "a newer attempt of the task took over",
}

// Sentence says what the reason means and what to do about it; "" for an unknown reason.
func (r Reason) Sentence() string { return sentences[r] }

// Reasons lists every reason, in no order.
func Reasons() []Reason {
	out := make([]Reason, 0, len(sentences))
	for r := range sentences {
		out = append(out, r)
	}
	return out
}

// Task is one thing to run and all that is known of it. A Task that has been published is never changed; a new one takes its place.
type Task struct {
	ID    TaskID `json:"id"`
	Job   TaskID `json:"job,omitempty"` // the array it belongs to
	Index int    `json:"index"`         // SAKI_TASK_INDEX: its place in the array
	Key   string `json:"key,omitempty"` // idempotency key of the submit
	Spec  *Spec  `json:"spec"`

	State   State  `json:"state"`
	Reason  Reason `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`

	Attempt  uint32   `json:"attempt"` // 0 before the first placement
	Node     NodeID   `json:"node,omitempty"`
	NodeName string   `json:"node_name,omitempty"`
	Ports    []uint16 `json:"ports,omitempty"`

	Kill      *Kill     `json:"kill,omitempty"`      // somebody asked for its end
	NotBefore time.Time `json:"not_before,omitzero"` // a retry waits until then
	Submitted time.Time `json:"submitted"`           // all times are the leader's, UTC
	PlacedAt  time.Time `json:"placed_at,omitzero"`  //
	StartedAt time.Time `json:"started_at,omitzero"` //
	EndedAt   time.Time `json:"ended_at,omitzero"`   //
	Outcome   *Outcome  `json:"outcome,omitempty"`   // of the last attempt that ended
	History   []Attempt `json:"history,omitempty"`   // earlier attempts, oldest first; the last [MaxHistory]
	Failures  int       `json:"failures,omitempty"`  // attempts that failed by themselves
	Losses    int       `json:"losses,omitempty"`    // attempts lost with a worker or executor
}

// Kill is a wish to end a task.
type Kill struct {
	Reason Reason    `json:"reason"`
	Force  bool      `json:"force,omitempty"` // no grace period
	At     time.Time `json:"at"`
}

// Attempt is one run of a task that has ended, or was given up.
type Attempt struct {
	Number   uint32    `json:"number"`
	Node     NodeID    `json:"node,omitempty"`
	NodeName string    `json:"node_name,omitempty"`
	State    State     `json:"state"`
	Reason   Reason    `json:"reason,omitempty"`
	Message  string    `json:"message,omitempty"`
	ExitCode int       `json:"exit_code"`
	EndedAt  time.Time `json:"ended_at"`
}

// MaxHistory is how many earlier attempts a task remembers.
const MaxHistory = 10

// MaxLosses is how many attempts of a task may be lost with their worker or executor before the task itself is lost.
const MaxLosses = 3

// Holds is what the task takes of its node while it is placed or running.
func (t *Task) Holds() Resources {
	r := t.Spec.Resources
	return Resources{CPUs: r.CPUs, Mem: r.Mem, Disk: r.Disk, Ports: PortsOf(t.Ports...)}
}

// Active reports whether the task holds resources of a node.
func (t *Task) Active() bool { return t.State == Placed || t.State == Running }
