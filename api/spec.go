package api

import "time"

// Kind says which runner runs a task.
type Kind string

// The kinds of task.
const (
	Wasm      Kind = "wasm"
	Container Kind = "container"
	Shell     Kind = "shell"
)

// Spec is what a person asks to be run. Exactly one of Wasm, Container and Shell is set.
type Spec struct {
	Name      string            `json:"name,omitempty"`
	Namespace string            `json:"namespace,omitempty"` // default [DefaultNamespace]
	Wasm      *WasmSpec         `json:"wasm,omitempty"`
	Container *ContainerSpec    `json:"container,omitempty"`
	Shell     *ShellSpec        `json:"shell,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`

	Stdin     []byte `json:"stdin,omitempty"`      // at most [MaxInlineStdin] bytes; more goes by StdinBlob
	StdinBlob Digest `json:"stdin_blob,omitempty"` // uploaded before the task
	Files     []File `json:"files,omitempty"`      // put into the sandbox before the task starts

	Resources   Request      `json:"resources,omitzero"`
	Constraints []Constraint `json:"constraints,omitempty"`
	Placement   Strategy     `json:"placement,omitempty"` // default [Pack]

	Count     int      `json:"count,omitempty"`      // copies; default 1
	Timeout   Duration `json:"timeout,omitempty"`    // of one attempt's run; 0 is none
	KillGrace Duration `json:"kill_grace,omitempty"` // between SIGTERM and SIGKILL; default [DefaultKillGrace]
	Retries   int      `json:"retries,omitempty"`    // attempts after a failed one
	Backoff   Duration `json:"backoff,omitempty"`    // before the first retry, doubled for each next; default [DefaultBackoff]
	MaxOutput Bytes    `json:"max_output,omitempty"` // kept of stdout and of stderr each; default [DefaultMaxOutput]
}

// WasmSpec asks for a wasm module.
type WasmSpec struct {
	Module string   `json:"module"`         // digest or name[:tag]; the master replaces it by the digest
	Func   string   `json:"func,omitempty"` // export to call; default _start
	Args   []string `json:"args,omitempty"` // without the program's name

	Fuel          uint64    `json:"fuel,omitempty"`          // instructions it may use; 0 is no limit
	Isolation     Isolation `json:"isolation,omitempty"`     // default [Shared]
	Engine        string    `json:"engine,omitempty"`        // compiler (default) or interpreter
	Deterministic bool      `json:"deterministic,omitempty"` // virtual clocks and randomness: equal inputs give equal runs
	Memo          bool      `json:"memo,omitempty"`          // an equal task's result will do; implies Deterministic
	Record        bool      `json:"record,omitempty"`        // keep what clocks and randomness gave, for saki replay
}

// Isolation says which tasks share a worker process with this one. Tasks of different namespaces never do.
type Isolation string

// The kinds of isolation.
const (
	Shared Isolation = "shared" // any of the same namespace
	Strict Isolation = "strict" // none: the worker runs this task alone
)

// Engines that a wasm task may ask for.
const (
	EngineCompiler    = "compiler"
	EngineInterpreter = "interpreter"
)

// ContainerSpec asks for a container.
type ContainerSpec struct {
	Image   string        `json:"image"`
	Command []string      `json:"command,omitempty"` // default: the image's
	User    string        `json:"user,omitempty"`
	Workdir string        `json:"workdir,omitempty"`
	Network string        `json:"network,omitempty"` // bridge (default), none or host
	Ports   []PortMapping `json:"ports,omitempty"`
	Volumes []Volume      `json:"volumes,omitempty"` // host paths must be on the agent's allow-list
}

// PortMapping publishes a container's port on one of the task's ports.
type PortMapping struct {
	Container uint16 `json:"container"`
	Index     int    `json:"index"`              // which of the task's ports: 0 is PORT0
	Protocol  string `json:"protocol,omitempty"` // tcp (default) or udp
}

// Volume mounts a folder of the agent's machine.
type Volume struct {
	Host      string `json:"host"`
	Container string `json:"container"`
	ReadOnly  bool   `json:"read_only,omitempty"`
}

// ShellSpec asks for a command on the agent's machine. Exactly one of Script and Argv is set.
type ShellSpec struct {
	Script string   `json:"script,omitempty"` // run by /bin/sh -c
	Argv   []string `json:"argv,omitempty"`   // run as it is
}

// File is a blob to be put into the task's sandbox.
type File struct {
	Path string `json:"path"` // relative to the sandbox, slash-separated, no ".."
	Blob Digest `json:"blob"`
	Mode uint32 `json:"mode,omitempty"` // permission bits; default 0644
}

// Request is what one copy of a task needs.
type Request struct {
	CPUs  Milli `json:"cpus,omitempty"`
	Mem   Bytes `json:"mem,omitempty"`
	Disk  Bytes `json:"disk,omitempty"`
	Ports int   `json:"ports,omitempty"` // how many; handed to the task as PORT0, PORT1, …
}

// Strategy says which of the fitting nodes is taken.
type Strategy string

// The strategies: Pack fills a node before it takes the next, Spread takes the one with the most room.
const (
	Pack   Strategy = "pack"
	Spread Strategy = "spread"
)

// Limits and defaults of a spec.
const (
	DefaultTag       = "latest"
	DefaultKillGrace = Duration(5 * time.Second)
	DefaultBackoff   = Duration(time.Second)
	MaxBackoff       = Duration(time.Minute)
	DefaultMaxOutput = 10 * MiB
	MaxMaxOutput     = GiB
	MaxInlineStdin   = 64 * KiB
	MaxModule        = 64 * MiB
	MaxBlob          = 256 * MiB
	MaxCount         = 100_000
	MaxRetries       = 100
	MaxPorts         = 100
	MaxFiles         = 1000
	MaxSpec          = 512 * KiB // of a spec's JSON
	// AutoKeyPrefix begins the idempotency keys that the SDK makes for its own retries. They are forgotten with their task;
	// other keys keep it for a day.
	AutoKeyPrefix = "auto."
	// InlineOutput is the most of stdout and of stderr that an outcome carries itself.
	InlineOutput = KiB
)

// defaultRequests are what a task gets that asks for nothing.
var defaultRequests = map[Kind]Request{
	Wasm:      {CPUs: 20, Mem: 64 * MiB},
	Shell:     {CPUs: 100, Mem: 64 * MiB},
	Container: {CPUs: 100, Mem: 128 * MiB},
}

// Kind tells which of the three is set; "" when none is.
func (s *Spec) Kind() Kind {
	switch {
	case s.Wasm != nil:
		return Wasm
	case s.Container != nil:
		return Container
	case s.Shell != nil:
		return Shell
	}
	return ""
}

// Module is the digest that a wasm task runs, once a master has resolved it; "" for other kinds.
func (s *Spec) Module() Digest {
	if s.Wasm == nil {
		return ""
	}
	return Digest(s.Wasm.Module)
}

// WithDefaults gives a copy of s with every default filled in.
func (s Spec) WithDefaults() Spec {
	def := func(p *Duration, d Duration) {
		if *p == 0 {
			*p = d
		}
	}
	if s.Namespace == "" {
		s.Namespace = DefaultNamespace
	}
	if s.Count == 0 {
		s.Count = 1
	}
	if s.Placement == "" {
		s.Placement = Pack
	}
	if s.MaxOutput == 0 {
		s.MaxOutput = DefaultMaxOutput
	}
	def(&s.KillGrace, DefaultKillGrace)
	def(&s.Backoff, DefaultBackoff)
	if s.Wasm != nil && s.Wasm.Memo && !s.Wasm.Deterministic {
		w := *s.Wasm
		w.Deterministic = true
		s.Wasm = &w
	}
	d := defaultRequests[s.Kind()]
	if s.Resources.CPUs == 0 {
		s.Resources.CPUs = d.CPUs
	}
	if s.Resources.Mem == 0 {
		s.Resources.Mem = d.Mem
	}
	return s
}
