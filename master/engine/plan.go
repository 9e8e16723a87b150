package engine

import (
	"time"

	"github.com/saki-run/saki/master/core"
	"github.com/saki-run/saki/master/sched"
)

// Plan is all of the leader's thinking: it tries the batch on a scratch copy of the state, places what then fits, and gives
// both as one entry. It is pure. An entry without commands is not worth writing.
func Plan(v core.View, batch []core.Command, p sched.Policy, now time.Time) core.Entry {
	scratch := v.Fork()
	scratch.Apply(v.Index()+1, core.Entry{Now: now, Commands: batch})
	placed, _ := sched.Place(scratch.View(), p)
	for _, pl := range placed {
		batch = append(batch, pl)
	}
	return core.Entry{Now: now, Commands: batch}
}
