package core

import (
	"time"

	"github.com/saki-run/saki/api"
)

// Event says what a command did. Task, Node and Module are the values after it.
type Event struct {
	Cmd    int    // which command of the entry; -1 when time did it
	Type   string // one of the api.Event… constants, or Rejected, Same or Ignored
	Task   *api.Task
	Node   *api.Node
	Module *api.Module
	Ref    string     // of a module: the tag
	Err    *api.Error // of Rejected
	Count  int        // of ForgetMemo: how many results were forgotten
}

// Types of events that are answers to one command rather than news.
const (
	Rejected = "rejected" // the command could not be obeyed; Err says why
	Same     = "same"     // the idempotency key is known; Task is the one it stands for
	Ignored  = "ignored"  // there was nothing to do, such as for the report of an older attempt
)

// Public gives the event as it is shown outside, or false for an answer that is no news.
func (e Event) Public(index uint64, now time.Time) (api.Event, bool) {
	if e.Type == Rejected || e.Type == Same || e.Type == Ignored {
		return api.Event{}, false
	}
	out := api.Event{Index: index, Time: now, Type: e.Type, Module: e.Ref}
	if t := e.Task; t != nil {
		out.Task, out.Name, out.State, out.Reason = t.ID, t.Spec.Name, t.State, t.Reason
		out.Attempt, out.Node, out.Message = t.Attempt, t.NodeName, t.Message
	}
	if e.Node != nil {
		out.Node = e.Node.Name
	}
	if e.Module != nil && out.Module == "" {
		out.Module = string(e.Module.Digest)
	}
	return out, true
}

// applying is one entry on its way into the state.
type applying struct {
	*State
	cmd    int
	events []Event
}

func (a *applying) emit(e Event) {
	e.Cmd = a.cmd
	a.events = append(a.events, e)
}

func (a *applying) reject(code api.Code, format string, args ...any) {
	a.emit(Event{Type: Rejected, Err: api.Errorf(code, format, args...)})
}

// Apply obeys the entry at the given index of the log. It never fails: a command that cannot be obeyed gives a Rejected event
// and changes nothing. Time never goes back, whatever the entry says.
func (s *State) Apply(index uint64, e Entry) []Event {
	s.index = index
	if e.Now.After(s.now) {
		s.now = e.Now
	}
	a := &applying{State: s, cmd: -1}
	a.wake()
	for i, c := range e.Commands {
		a.cmd = i
		a.obey(c)
	}
	return a.events
}

func (a *applying) obey(c Command) {
	switch c := c.(type) {
	case *Submit:
		a.submit(c)
	case *Place:
		a.place(c)
	case *Report:
		a.report(c)
	case *Kill:
		a.kill(c)
	case *NodeUp:
		a.nodeUp(c)
	case *NodeAway:
		a.nodeAway(c)
	case *NodeLost:
		a.nodeLost(c)
	case *Drain:
		a.drain(c)
	case *PutModule:
		a.putModule(c)
	case *RemoveModule:
		a.removeModule(c)
	case *PutBlob:
		a.putBlob(c)
	case *Forget:
		a.forget(c)
	case *ForgetMemo:
		a.forgetMemo()
	default:
		panic("core: unknown command") // DecodeEntry lets none through
	}
}
