//go:build linux

package shell

import (
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

// Frames between the agent and a shim, over the shim's file descriptor 3.
const (
	typeReady   wire.Type = iota + 1 // shim: it takes an order now
	typeOrder                        // agent: an order
	typeStarted                      // shim: the task runs
	typeEnded                        // shim: an outcome; it takes an order again
	typeStop                         // agent: a stop
)

// orderFD is the shim's end of the socket.
const orderFD = 3

// order is one attempt, all that a shim needs to know of it.
type order struct {
	Seq       uint64        `json:"seq"` // tells stops of this attempt from late ones of another
	Dir       string        `json:"dir"` // of the attempt
	Box       string        `json:"box"`
	Argv      []string      `json:"argv"`
	Env       []string      `json:"env"`
	Stdin     string        `json:"stdin,omitempty"` // path; "" is none
	MaxOutput api.Bytes     `json:"max_output"`
	Timeout   time.Duration `json:"timeout,omitempty"`
	Grace     time.Duration `json:"grace,omitempty"`

	// Parent and Group name the control group; without Parent there is none.
	Parent string    `json:"parent,omitempty"`
	Group  string    `json:"group,omitempty"`
	CPUs   api.Milli `json:"cpus,omitempty"`
	Mem    api.Bytes `json:"mem,omitempty"`
	PIDs   int64     `json:"pids,omitempty"`
}

// stop asks for the end of an order.
type stop struct {
	Seq    uint64     `json:"seq"`
	Reason api.Reason `json:"reason"`
	Force  bool       `json:"force,omitempty"`
}

// handle is what an agent needs to find the attempt again.
type handle struct {
	Dir   string `json:"dir"`
	Group string `json:"group,omitempty"`
	Proc  proc   `json:"proc"`
}
