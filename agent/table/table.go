// Package table compares what the master wants of an agent with what runs there, and says what to do about it. It is pure:
// the agent carries the actions out.
package table

import (
	"slices"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire/link"
)

// Action is one of the types below, to be carried out in the order given.
type Action interface{ action() }

// Start asks for the attempt to be run.
type Start struct{ Task *api.Task }

// Stop asks for the attempt's end. Its outcome is to be told to [Table.Ended] as any other.
type Stop struct {
	link.Attempt
	Reason api.Reason
	Force  bool
}

// Forget says that the master has the attempt's outcome: nothing of it need be remembered.
type Forget struct{ link.Attempt }

func (Start) action()  {}
func (Stop) action()   {}
func (Forget) action() {}

// key names an attempt.
type key struct {
	task   api.TaskID
	number uint32
}

func keyOf(a link.Attempt) key { return key{a.Task, a.Number} }

// attempt is what the table knows of one.
type attempt struct {
	running bool         // it has been seen to run
	outcome *api.Outcome // set once it has ended
	stopped bool         // its end has been asked for
	forced  bool         // without grace
}

// Table is the attempts of one agent that the master has not been told the end of. It belongs to one goroutine.
type Table struct{ attempts map[key]*attempt }

// New makes an empty table.
func New() *Table { return &Table{attempts: map[key]*attempt{}} }

// Restore puts in an attempt that an earlier agent process knew: one that may still run, or, with an outcome, one whose end
// was not acknowledged.
func (t *Table) Restore(a link.Attempt, o *api.Outcome) {
	t.attempts[keyOf(a)] = &attempt{running: a.Running, outcome: o}
}

// Desire takes in what the master wants.
func (t *Table) Desire(d link.Desire) []Action {
	var out []Action
	for _, a := range d.Acks {
		if x := t.attempts[keyOf(a)]; x != nil && x.outcome != nil {
			delete(t.attempts, keyOf(a))
			out = append(out, Forget{link.Attempt{Task: a.Task, Number: a.Number}})
		}
	}
	if d.Whole {
		out = append(out, t.only(d)...)
	}
	for _, task := range d.Run {
		k := key{task.ID, task.Attempt}
		if t.attempts[k] != nil {
			continue // it runs, or its end is on the way
		}
		for n := range task.Attempt { // an older one that the master has given up
			out = append(out, t.stop(key{task.ID, n}, api.ReasonSuperseded, false)...)
		}
		t.attempts[k] = &attempt{}
		out = append(out, Start{task})
	}
	for _, s := range d.Stop {
		out = append(out, t.stop(keyOf(s.Attempt), s.Reason, s.Force)...)
	}
	return out
}

// only stops what a whole desire does not name.
func (t *Table) only(d link.Desire) []Action {
	wanted := map[key]bool{}
	for _, task := range d.Run {
		wanted[key{task.ID, task.Attempt}] = true
	}
	for _, a := range d.Keep {
		wanted[keyOf(a)] = true
	}
	var out []Action
	for _, k := range t.keys() {
		if !wanted[k] {
			out = append(out, t.stop(k, api.ReasonSuperseded, false)...)
		}
	}
	return out
}

func (t *Table) stop(k key, r api.Reason, force bool) []Action {
	x := t.attempts[k]
	if x == nil || x.outcome != nil || x.stopped && (x.forced || !force) {
		return nil
	}
	x.stopped, x.forced = true, force
	return []Action{Stop{link.Attempt{Task: k.task, Number: k.number}, r, force}}
}

// Started notes that the attempt runs, and reports whether that is news.
func (t *Table) Started(a link.Attempt) bool {
	x := t.attempts[keyOf(a)]
	if x == nil || x.outcome != nil || x.running {
		return false
	}
	x.running = true
	return true
}

// Ended notes an attempt's end, and reports whether that is news to be told. An attempt ends once.
func (t *Table) Ended(a link.Attempt, o api.Outcome) bool {
	x := t.attempts[keyOf(a)]
	if x == nil || x.outcome != nil {
		return false
	}
	x.outcome = &o
	return true
}

// Outcome gives how an attempt ended, or nil when it has not, or the master has its end already.
func (t *Table) Outcome(a link.Attempt) *api.Outcome {
	if x := t.attempts[keyOf(a)]; x != nil {
		return x.outcome
	}
	return nil
}

// Active gives the attempts that have not ended.
func (t *Table) Active() []link.Attempt {
	var out []link.Attempt
	for _, k := range t.keys() {
		if x := t.attempts[k]; x.outcome == nil {
			out = append(out, link.Attempt{Task: k.task, Number: k.number, Running: x.running})
		}
	}
	return out
}

// Unacknowledged gives the ends that the master may not have.
func (t *Table) Unacknowledged() []link.Ended {
	var out []link.Ended
	for _, k := range t.keys() {
		if x := t.attempts[k]; x.outcome != nil {
			out = append(out, link.Ended{Attempt: link.Attempt{Task: k.task, Number: k.number}, Outcome: *x.outcome})
		}
	}
	return out
}

// keys gives the attempts in a fixed order.
func (t *Table) keys() []key {
	out := make([]key, 0, len(t.attempts))
	for k := range t.attempts {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b key) int {
		if a.task != b.task {
			if a.task < b.task {
				return -1
			}
			return 1
		}
		return int(a.number) - int(b.number)
	})
	return out
}
