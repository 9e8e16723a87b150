// Package link names the messages between the leading master and an agent. The agent dials the master's HTTP port, asks for
// the upgrade [Protocol] at [Path], and both then speak frames of package wire.
//
// The agent speaks first (Hello, with all it runs and every outcome that was not acknowledged). The master answers with
// Welcome and a whole Desire; after that both send increments. Nothing is lost when the stream breaks: the agent repeats an
// outcome until its Ack arrives, and the master sends the whole desire to a stream that is new.
package link

import (
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

// Path and Protocol of the HTTP upgrade that opens a stream.
const (
	Path     = "/v1/internal/session"
	Protocol = "saki-session/1"
)

// Types of frames. The comment says who sends it.
const (
	TypeHello   wire.Type = iota + 1 // agent, first
	TypeWelcome                      // master, first
	TypeDesire                       // master
	TypeReport                       // agent
	TypeInfo                         // agent, when what it can run has changed
	TypePing                         // both, when nothing else was sent for a while
	TypeRefused                      // master, instead of Welcome; the stream then ends
)

// PingEvery is how often, in seconds, each side says something; a side that hears nothing for three times that gives up.
const PingEvery = 2

// Hello is the agent's table.
type Hello struct {
	Cluster string       `json:"cluster,omitempty"` // empty for an agent that never joined
	Info    api.NodeInfo `json:"info"`
	Holds   []api.Digest `json:"holds,omitempty"` // modules it has on disk
	Active  []Attempt    `json:"active,omitempty"`
	Ended   []Ended      `json:"ended,omitempty"`
	MaxTerm uint64       `json:"max_term,omitempty"` // highest term it has obeyed
}

// Attempt names one attempt of a task.
type Attempt struct {
	Task    api.TaskID `json:"task"`
	Number  uint32     `json:"number"`
	Running bool       `json:"running,omitempty"` // in reports: it has started
}

// Ended is an attempt's outcome.
type Ended struct {
	Attempt
	Outcome api.Outcome `json:"outcome"`
}

// Welcome accepts a Hello.
type Welcome struct {
	Cluster string     `json:"cluster"`
	Term    uint64     `json:"term"` // an agent ignores a master of a lower one
	Master  string     `json:"master"`
	Node    api.NodeID `json:"node"`
}

// Refused turns an agent away.
type Refused struct {
	Error  *api.Error `json:"error"`
	Leader string     `json:"leader,omitempty"` // host:port to try instead
}

// Desire is what the master wants of the agent. Ended attempts that it names in Acks need not be repeated.
type Desire struct {
	Whole bool        `json:"whole,omitempty"` // Run and Keep are all there is: stop everything else
	Keep  []Attempt   `json:"keep,omitempty"`  // with Whole: to go on, or to follow in a later Run
	Run   []*api.Task `json:"run,omitempty"`   // each at its current attempt
	Stop  []Stop      `json:"stop,omitempty"`
	Acks  []Attempt   `json:"acks,omitempty"`
}

// Stop asks for the end of an attempt.
type Stop struct {
	Attempt
	Reason api.Reason `json:"reason"`
	Force  bool       `json:"force,omitempty"`
}

// Report is news of attempts.
type Report struct {
	Started []Attempt `json:"started,omitempty"`
	Ended   []Ended   `json:"ended,omitempty"`
}

// Info is news of the agent itself.
type Info struct {
	Info  api.NodeInfo `json:"info"`
	Holds []api.Digest `json:"holds,omitempty"`
}
