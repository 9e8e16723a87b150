package runner

import (
	"context"
	"errors"
	"strconv"

	"github.com/saki-run/saki/api"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Stopped tells why ctx was cancelled: the [Stop] it carries, or a plain kill when it carries another cause. detach is true
// when the attempt is to be left running.
func Stopped(ctx context.Context) (s Stop, detach bool) {
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrDetach) {
		return Stop{}, true
	}
	if st, ok := errors.AsType[*Stop](cause); ok {
		return *st, false
	}
	return Stop{Reason: api.ReasonUserKill}, false
}

// KilledOutcome is the outcome of an attempt that was stopped as s asks. signal is what ended it in the end.
func KilledOutcome(s Stop, signal int) api.Outcome {
	o := api.Outcome{State: api.Killed, Reason: s.Reason, Signal: signal, ExitCode: api.ExitSignal + signal, Message: s.Reason.Sentence()}
	if s.Reason == api.ReasonDeadline {
		o.State, o.ExitCode = api.Failed, api.ExitDeadline
	}
	return o
}
