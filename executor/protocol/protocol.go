// Package protocol names the messages between an agent and the processes of its wasm executor: frames of package wire on a
// unix socket in the folder that both see.
//
// The agent listens and the processes dial, so that an agent that comes back finds its executors by itself: they redial until
// it answers. Each process says Hello first and is answered by Welcome or Refused. Workers then run what Invoke asks for and
// keep every Result until its Ack, however often the agent goes away in between. The supervisor tells of workers that ended
// and kills the ones it is told to.
package protocol

import (
	"fmt"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

// Version is the protocol's. A process whose version differs is refused: its executor is replaced.
const Version = 2

// Names of files in an executor's folder.
const (
	Socket   = "agent.sock"
	Token    = "token"   // what processes show in Hello
	Modules  = "modules" // <hex digest>.wasm
	Cache    = "cache"   // native code, made by the workers
	Tasks    = "tasks"   // <task>.<attempt>
	Sandbox  = "box"     // in a task's folder: what the guest sees as its root
	Stdout   = "stdout"  // in a task's folder
	Stderr   = "stderr"  // in a task's folder
	StdinTmp = "stdin"   // in a task's folder: input that is too long for a frame
	Record   = "record"  // in a task's folder: what clocks and randomness gave, see engine.Recorder
)

// Role says what a process is.
type Role string

// The roles of processes.
const (
	Worker     Role = "worker"
	Supervisor Role = "supervisor"
)

// Types of frames. The comment says who sends it.
const (
	TypeHello   wire.Type = iota + 1 // process, first
	TypeWelcome                      // agent, first
	TypeRefused                      // agent, instead of Welcome
	TypeLoad                         // agent to worker
	TypeLoaded                       // worker
	TypeInvoke                       // agent to worker
	TypeStarted                      // worker, of an invocation that runs for longer than a moment
	TypeResult                       // worker, until acknowledged
	TypeAck                          // agent to worker
	TypeCancel                       // agent to worker
	TypePing                         // agent
	TypePong                         // process
	TypeKill                         // agent to supervisor
	TypeExited                       // supervisor
	TypeExtra                        // agent to supervisor
)

// Message is one of the message types of this package.
type Message interface{ frameType() wire.Type }

// Key names one attempt of a task.
type Key struct {
	Task    api.TaskID `json:"task"`
	Attempt uint32     `json:"attempt"`
}

// String gives the name of the attempt's folder.
func (k Key) String() string { return fmt.Sprintf("%s.%d", k.Task, k.Attempt) }

// Hello says who dials and what it has.
type Hello struct {
	Version     int          `json:"version"`
	Role        Role         `json:"role"`
	Token       string       `json:"token"`
	Name        string       `json:"name"`        // of the worker, for people: "w3"
	Incarnation string       `json:"incarnation"` // of the process; unlike any other's
	PID         int          `json:"pid"`         // as the process itself sees it
	Engine      string       `json:"engine,omitempty"`
	Build       string       `json:"build,omitempty"`
	Loaded      []api.Digest `json:"loaded,omitempty"`
	Running     []Key        `json:"running,omitempty"`
	Ended       []Key        `json:"ended,omitempty"` // their Results follow the Welcome
	Own         bool         `json:"own,omitempty"`   // a worker's: it was given to one task, and takes no other
	Alive       []string     `json:"alive,omitempty"` // a supervisor's: incarnations of the workers it has
}

// Welcome accepts a Hello.
type Welcome struct{}

// Refused turns a process away. With Exit it is to end: another has taken its place.
type Refused struct {
	Why  string `json:"why"`
	Exit bool   `json:"exit,omitempty"`
}

// Load asks for a module to be compiled and held. The file lies in [Modules].
type Load struct {
	Digest api.Digest `json:"digest"`
}

// Loaded answers a Load. Reason is empty when the module is ready.
type Loaded struct {
	Digest  api.Digest `json:"digest"`
	Reason  api.Reason `json:"reason,omitempty"`
	Message string     `json:"message,omitempty"`
	TookNS  int64      `json:"took_ns"`
}

// Invoke asks for one run of a module that is loaded.
type Invoke struct {
	Key
	Digest    api.Digest        `json:"digest"`
	Name      string            `json:"name"` // args[0]
	Func      string            `json:"func,omitempty"`
	Args      []string          `json:"args,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
	Stdin     []byte            `json:"stdin,omitempty"`
	StdinFile bool              `json:"stdin_file,omitempty"` // stdin is Dir/[StdinTmp] instead
	Dir       string            `json:"dir"`                  // the task's folder: absolute, or relative to the executor's
	Mem       int64             `json:"mem"`                  // bytes of linear memory
	Timeout   int64             `json:"timeout,omitempty"`    // nanoseconds; 0 is none
	MaxOutput int64             `json:"max_output"`           // bytes kept of each stream

	Fuel          uint64 `json:"fuel,omitempty"`          // units it may use; 0 is no limit
	Engine        string `json:"engine,omitempty"`        // kind of engine; "" is the worker's own
	Deterministic bool   `json:"deterministic,omitempty"` // virtual clocks and randomness
	Record        bool   `json:"record,omitempty"`        // keep what clocks and randomness give in Dir/[Record]
	Disk          int64  `json:"disk,omitempty"`          // bytes in its sandbox; 0 is no limit
	Files         int64  `json:"files,omitempty"`         // files and folders in its sandbox; 0 is no limit
	Own           bool   `json:"own,omitempty"`           // the worker is this task's alone from now on
}

// Started says that an invocation runs.
type Started struct{ Key }

// Result is how an invocation ended.
type Result struct {
	Key
	Outcome api.Outcome `json:"outcome"`
}

// Ack says that results need not be kept any longer.
type Ack struct {
	Keys []Key `json:"keys"`
}

// Cancel asks for the end of an invocation.
type Cancel struct {
	Key
	Reason api.Reason `json:"reason"`
}

// Ping asks for a Pong of the same number.
type Ping struct {
	N uint64 `json:"n"`
}

// Pong answers a Ping.
type Pong struct {
	N uint64 `json:"n"`
}

// Extra says how many workers are to be kept running beyond the ones that an executor always has. What is too many ends when
// the next worker does. It is 0 when nothing was said.
type Extra struct {
	N int `json:"n"`
}

// Kill asks the supervisor to kill a worker at once. The supervisor starts another in its place, without delay.
type Kill struct {
	Incarnation string `json:"incarnation"`
}

// Exited says that a worker process has ended.
type Exited struct {
	Name        string `json:"name"`
	Incarnation string `json:"incarnation"`
	Signal      int    `json:"signal,omitempty"`
	ExitCode    int    `json:"exit_code,omitempty"`
	OOM         bool   `json:"oom,omitempty"`  // the kernel has killed for memory since the last worker ended
	Tail        string `json:"tail,omitempty"` // the last lines of what it wrote
}

func (*Hello) frameType() wire.Type   { return TypeHello }
func (*Welcome) frameType() wire.Type { return TypeWelcome }
func (*Refused) frameType() wire.Type { return TypeRefused }
func (*Load) frameType() wire.Type    { return TypeLoad }
func (*Loaded) frameType() wire.Type  { return TypeLoaded }
func (*Invoke) frameType() wire.Type  { return TypeInvoke }
func (*Started) frameType() wire.Type { return TypeStarted }
func (*Result) frameType() wire.Type  { return TypeResult }
func (*Ack) frameType() wire.Type     { return TypeAck }
func (*Cancel) frameType() wire.Type  { return TypeCancel }
func (*Ping) frameType() wire.Type    { return TypePing }
func (*Pong) frameType() wire.Type    { return TypePong }
func (*Kill) frameType() wire.Type    { return TypeKill }
func (*Exited) frameType() wire.Type  { return TypeExited }
func (*Extra) frameType() wire.Type   { return TypeExtra }
