package core

import (
	"fmt"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

// Entry is one entry of the replicated log: a batch of commands and the time at which the leader wrote it, the only clock that
// the state machine knows.
type Entry struct {
	Now      time.Time
	Commands []Command
}

// Command is one of the types below. The set is sealed: a master that meets a command it does not know must stop, since to
// skip it would make its state differ from the others'.
type Command interface{ command() }

// Submit brings a task, or an array of Spec.Count tasks, into being. The spec is complete and checked, its module resolved.
type Submit struct {
	ID   api.TaskID `json:"id"`
	Spec *api.Spec  `json:"spec"`
	Key  string     `json:"key,omitempty"`  // idempotency key: the same key and hash give the same task
	Hash string     `json:"hash,omitempty"` // of what the client sent
}

// Place gives a pending task to a node as its next attempt.
type Place struct {
	Task  api.TaskID `json:"task"`
	Node  api.NodeID `json:"node"`
	Ports []uint16   `json:"ports,omitempty"`
}

// Report is an agent's news of an attempt: it runs, or it has ended. A report of any attempt but the current one changes
// nothing, and neither does one of an agent that was not given the attempt.
type Report struct {
	Task    api.TaskID   `json:"task"`
	Node    api.NodeID   `json:"node"`
	Attempt uint32       `json:"attempt"`
	Outcome *api.Outcome `json:"outcome,omitempty"` // nil: it runs
}

// Kill asks for a task's end. A pending task ends at once.
type Kill struct {
	Task   api.TaskID `json:"task"`
	Reason api.Reason `json:"reason"`
	Force  bool       `json:"force,omitempty"`
}

// NodeUp registers an agent or brings it back.
type NodeUp struct {
	Info api.NodeInfo `json:"info"`
}

// NodeAway notes that the leader has lost touch with an agent.
type NodeAway struct {
	Node api.NodeID `json:"node"`
}

// NodeLost gives an agent up: its attempts are lost and its tasks wait for another node.
type NodeLost struct {
	Node api.NodeID `json:"node"`
}

// Drain keeps new tasks off a node, or ends that.
type Drain struct {
	Node api.NodeID `json:"node"`
	On   bool       `json:"on"`
}

// PutModule adds a module and, when Tag is set, points name:tag at it.
type PutModule struct {
	Module api.Module `json:"module"`
	Tag    string     `json:"tag,omitempty"`
}

// RemoveModule takes away a tag, or a digest with all its tags.
type RemoveModule struct {
	Ref string `json:"ref"`
}

// PutBlob adds content for tasks.
type PutBlob struct {
	Blob api.BlobInfo `json:"blob"`
}

// Forget drops ended tasks and unused blobs.
type Forget struct {
	Tasks []api.TaskID `json:"tasks,omitempty"`
	Blobs []api.Digest `json:"blobs,omitempty"`
}

// ForgetMemo drops every remembered result of a memo task.
type ForgetMemo struct{}

func (*Submit) command()       {}
func (*Place) command()        {}
func (*Report) command()       {}
func (*Kill) command()         {}
func (*NodeUp) command()       {}
func (*NodeAway) command()     {}
func (*NodeLost) command()     {}
func (*Drain) command()        {}
func (*PutModule) command()    {}
func (*RemoveModule) command() {}
func (*PutBlob) command()      {}
func (*Forget) command()       {}
func (*ForgetMemo) command()   {}

// box is how a command is written: exactly one field is set.
type box struct {
	Submit       *Submit       `json:"submit,omitempty"`
	Place        *Place        `json:"place,omitempty"`
	Report       *Report       `json:"report,omitempty"`
	Kill         *Kill         `json:"kill,omitempty"`
	NodeUp       *NodeUp       `json:"node_up,omitempty"`
	NodeAway     *NodeAway     `json:"node_away,omitempty"`
	NodeLost     *NodeLost     `json:"node_lost,omitempty"`
	Drain        *Drain        `json:"drain,omitempty"`
	PutModule    *PutModule    `json:"put_module,omitempty"`
	RemoveModule *RemoveModule `json:"remove_module,omitempty"`
	PutBlob      *PutBlob      `json:"put_blob,omitempty"`
	Forget       *Forget       `json:"forget,omitempty"`
	ForgetMemo   *ForgetMemo   `json:"forget_memo,omitempty"`
}

type boxedEntry struct {
	Now      time.Time `json:"now"`
	Commands []box     `json:"commands"`
}

// Encode gives the entry as bytes for the log.
func (e Entry) Encode() ([]byte, error) {
	b := boxedEntry{Now: e.Now.UTC(), Commands: make([]box, len(e.Commands))}
	for i, c := range e.Commands {
		bx := &b.Commands[i]
		switch c := c.(type) {
		case *Submit:
			bx.Submit = c
		case *Place:
			bx.Place = c
		case *Report:
			bx.Report = c
		case *Kill:
			bx.Kill = c
		case *NodeUp:
			bx.NodeUp = c
		case *NodeAway:
			bx.NodeAway = c
		case *NodeLost:
			bx.NodeLost = c
		case *Drain:
			bx.Drain = c
		case *PutModule:
			bx.PutModule = c
		case *RemoveModule:
			bx.RemoveModule = c
		case *PutBlob:
			bx.PutBlob = c
		case *Forget:
			bx.Forget = c
		case *ForgetMemo:
			bx.ForgetMemo = c
		default:
			return nil, fmt.Errorf("encode entry: unknown command %T", c)
		}
	}
	return wire.Marshal(b)
}

// DecodeEntry reads what [Entry.Encode] wrote. It fails on a command that this version does not know.
func DecodeEntry(data []byte) (Entry, error) {
	var b boxedEntry
	if err := wire.Unmarshal(data, &b); err != nil {
		return Entry{}, fmt.Errorf("decode entry: %w", err)
	}
	e := Entry{Now: b.Now.UTC(), Commands: make([]Command, len(b.Commands))}
	for i, bx := range b.Commands {
		c := bx.command()
		if c == nil {
			return Entry{}, fmt.Errorf("decode entry: command %d is of a kind that this version does not know", i)
		}
		e.Commands[i] = c
	}
	return e, nil
}

func (b box) command() Command {
	switch {
	case b.Submit != nil && b.Submit.Spec != nil:
		return b.Submit
	case b.Place != nil:
		return b.Place
	case b.Report != nil:
		return b.Report
	case b.Kill != nil:
		return b.Kill
	case b.NodeUp != nil:
		return b.NodeUp
	case b.NodeAway != nil:
		return b.NodeAway
	case b.NodeLost != nil:
		return b.NodeLost
	case b.Drain != nil:
		return b.Drain
	case b.PutModule != nil:
		return b.PutModule
	case b.RemoveModule != nil:
		return b.RemoveModule
	case b.PutBlob != nil:
		return b.PutBlob
	case b.Forget != nil:
		return b.Forget
	case b.ForgetMemo != nil:
		return b.ForgetMemo
	}
	return nil
}
