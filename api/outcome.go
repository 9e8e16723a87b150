package api

// Outcome is how one attempt ended. A runner makes it; it never changes.
type Outcome struct {
	State    State  `json:"state"` // finished, failed, killed or lost
	Reason   Reason `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"` // one sentence
	ExitCode int    `json:"exit_code"`         // as [ExitCode] maps it: what saki run exits with
	Signal   int    `json:"signal,omitempty"`
	Trace    string `json:"trace,omitempty"` // wasm stack trace of a trap, at most 8 KiB

	// Output whole, when it is no longer than [InlineOutput]; longer output stays on the agent.
	Stdout  []byte  `json:"stdout,omitempty"`
	Stderr  []byte  `json:"stderr,omitempty"`
	Inline  bool    `json:"inline"` // Stdout and Stderr hold all there was
	Receipt Receipt `json:"receipt"`
}

// Receipt is what an attempt cost. Times are in nanoseconds.
type Receipt struct {
	Node        string `json:"node,omitempty"`
	Warm        bool   `json:"warm"`              // nothing had to be started, loaded or compiled
	QueueNS     int64  `json:"queue_ns"`          // from submit to placement
	DispatchNS  int64  `json:"dispatch_ns"`       // from the agent's start on it to the runner's
	InitNS      int64  `json:"init_ns"`           // loading, compiling, instantiating; image and container start
	RunNS       int64  `json:"run_ns"`            // the task's own run
	CPUNS       int64  `json:"cpu_ns"`            // processor time; 0 where it cannot be told
	PeakMem     Bytes  `json:"peak_mem"`          // most memory at a time; 0 where it cannot be told
	Fuel        uint64 `json:"fuel,omitempty"`    // instructions counted, for metered wasm
	StdoutBytes int64  `json:"stdout_bytes"`      // written, whether kept or not
	StderrBytes int64  `json:"stderr_bytes"`      //
	Dropped     int64  `json:"dropped,omitempty"` // bytes of output over the limit

	Deterministic bool `json:"deterministic,omitempty"` // wasm that saw virtual clocks and randomness: it can be run again alike
	Unmetered     bool `json:"unmetered,omitempty"`     // wasm that could not be metered: no fuel is counted

	// Memo says that nothing ran: the result is that of MemoOf, an equal deterministic task, and so are fuel and peak memory.
	Memo   bool   `json:"memo,omitempty"`
	MemoOf TaskID `json:"memo_of,omitempty"`
}

// Exit codes of run, wait and call that are not the guest's own.
const (
	ExitDeadline = 124
	ExitCluster  = 125
	ExitRefused  = 126
	ExitNotFound = 127
	ExitSignal   = 128 // plus the signal
	ExitLimit    = 137
)

// Fail makes the outcome of an attempt that ended badly for the given reason, with the exit code that goes with it.
func Fail(r Reason, message string) Outcome {
	return Outcome{State: Failed, Reason: r, Message: message, ExitCode: ExitCode(r), Inline: true}
}

// ExitCode gives the exit code that a reason stands for; 1 where the reason implies none.
func ExitCode(r Reason) int {
	switch r {
	case ReasonDeadline:
		return ExitDeadline
	case ReasonModuleRefused, ReasonCompileLimit:
		return ExitRefused
	case ReasonModuleNotFound, ReasonEntryNotFound, ReasonImageNotFound, ReasonCommandNotFound:
		return ExitNotFound
	case ReasonMemoryLimit, ReasonFuelExhausted, ReasonUserKill:
		return ExitLimit
	case ReasonTrap:
		return ExitSignal + 6 // as a native program that aborts
	case ReasonStagingFailed, ReasonLaunchFailed, ReasonVolumeRefused, ReasonExecutorLost, ReasonWorkerLost, ReasonNodeLost,
		ReasonNodeForgot, ReasonRegisterTimeout, ReasonRunnerUnavailable, ReasonDrained, ReasonSuperseded:
		return ExitCluster
	}
	return 1
}
