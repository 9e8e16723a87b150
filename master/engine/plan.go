package engine

import (
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
	"github.com/saki-run/saki/master/sched"
)

// Plan is all of the leader's thinking: it tries the batch on a scratch copy of the state, places what then fits, and gives
// both as one entry. It is pure. An entry without commands is not worth writing.
func Plan(v core.View, batch []core.Command, p sched.Policy, now time.Time) core.Entry {
	if onlyEnds(batch) && v.Count(api.Pending) == 0 {
		return core.Entry{Now: now, Commands: batch} // nothing waits for the room that this makes
	}
	scratch := v.Fork()
	scratch.Apply(v.Index()+1, core.Entry{Now: now, Commands: batch})
	placed, _ := sched.Place(scratch.View(), p)
	for _, pl := range placed {
		batch = append(batch, pl)
	}
	return core.Entry{Now: now, Commands: batch}
}

// onlyEnds reports whether the batch can bring no task into a queue: a report of a task that has finished cannot, one of a
// task that failed or was lost can.
func onlyEnds(batch []core.Command) bool {
	for _, c := range batch {
		switch c := c.(type) {
		case *core.Report:
			if c.Outcome != nil && c.Outcome.State != api.Finished && c.Outcome.State != api.Killed {
				return false
			}
		case *core.Forget:
		default:
			return false
		}
	}
	return true
}
