package core

import (
	"time"

	"github.com/saki-run/saki/api"
)

// Ending gives the task as it will be once the report of its end is applied, if the report is of the current attempt and no
// other attempt follows. It changes nothing.
func (v View) Ending(r *Report, now time.Time) (*api.Task, bool) {
	rec := v.Task(r.Task)
	if rec == nil || !rec.Active() || rec.Attempt != r.Attempt || rec.Node != r.Node || r.Outcome == nil {
		return nil, false
	}
	t := *rec
	o := *r.Outcome
	o.Receipt.Node = t.NodeName
	o.Receipt.QueueNS = int64(t.PlacedAt.Sub(t.Submitted))
	if _, again := nextAttempt(&t, &o); again {
		return nil, false
	}
	t.Outcome = &o
	t.State, t.Reason, t.Message, t.EndedAt = o.State, o.Reason, o.Message, now
	return &t, true
}
