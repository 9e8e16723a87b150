package cli

import (
	"fmt"
	"strings"

	"github.com/saki-run/saki/api"
)

// exitCode is what a command exits with for a task that has ended.
func exitCode(t *api.Task) int {
	switch {
	case t.Outcome != nil && t.State == t.Outcome.State:
		return t.Outcome.ExitCode
	case t.State == api.Finished:
		return 0
	}
	return api.ExitCode(t.Reason)
}

// ended says how a task ended, unless its own exit code says it all, and gives that code as an error.
func (a *app) ended(t *api.Task, stats bool) error {
	if stats {
		fmt.Fprintln(a.env.Stderr, receipt(t, a.style(a.env.StderrTTY)))
	}
	a.whyEnded(t)
	if code := exitCode(t); code != 0 {
		return &ExitError{code}
	}
	return nil
}

// whyEnded explains an end that was not the task's own exit.
func (a *app) whyEnded(t *api.Task) {
	if t.State == api.Finished || t.Reason == api.ReasonExit || a.output == "json" || a.output == "yaml" {
		return
	}
	msg, code := t.Message, string(t.Reason)
	if t.Outcome != nil && msg == "" {
		msg = t.Outcome.Message
	}
	sentence := t.Reason.Sentence()
	if msg == "" || msg == sentence {
		msg, sentence = sentence, ""
	}
	if msg == "" {
		msg = fmt.Sprintf("task %s is %s", t.ID, t.State)
	}
	if code == "" {
		code = string(t.State)
	}
	a.complain(msg, code, sentence)
	if t.Outcome != nil && t.Outcome.Trace != "" {
		a.notice("%s", strings.TrimRight(t.Outcome.Trace, "\n"))
	}
}

// receipt is one line of what a task cost.
func receipt(t *api.Task, s style) string {
	mark := s.good("✓")
	if t.State != api.Finished {
		mark = s.bad("✗")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", mark, t.ID, t.State)
	if t.Outcome != nil {
		b.Reset()
		fmt.Fprintf(&b, "%s %s exit %d", mark, t.ID, exitCode(t))
	}
	if t.Outcome == nil {
		return b.String()
	}
	r := t.Outcome.Receipt
	if node := r.Node; node != "" || t.NodeName != "" {
		if node == "" {
			node = t.NodeName
		}
		fmt.Fprintf(&b, " on %s", clean(node))
	}
	if r.Memo {
		return memoReceipt(b.String(), r)
	}
	if r.Warm {
		b.WriteString(" (warm)")
	} else {
		b.WriteString(" (cold)")
	}
	if t.Attempt > 1 {
		fmt.Fprintf(&b, " attempt %d", t.Attempt)
	}
	fmt.Fprintf(&b, "  queue %s  dispatch %s  init %s  run %s", millis(r.QueueNS), millis(r.DispatchNS), millis(r.InitNS), millis(r.RunNS))
	if r.CPUNS > 0 {
		fmt.Fprintf(&b, "  cpu %s", millis(r.CPUNS))
	}
	if r.Fuel > 0 {
		fmt.Fprintf(&b, "  fuel %s", big(r.Fuel))
	}
	if r.PeakMem > 0 {
		fmt.Fprintf(&b, "  peak %sB", r.PeakMem)
	}
	if r.Dropped > 0 {
		fmt.Fprintf(&b, "  output dropped %s", api.Bytes(r.Dropped))
	}
	return b.String()
}

// memoReceipt ends the receipt of a task whose result was remembered.
func memoReceipt(line string, r api.Receipt) string {
	line += fmt.Sprintf(" (memo of %s)  nothing ran", r.MemoOf)
	if r.Fuel > 0 {
		line += "  its fuel " + big(r.Fuel)
	}
	return line
}

// big writes a count shortly: 8.1M.
func big(n uint64) string {
	for _, u := range []struct {
		size   float64
		suffix string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if float64(n) >= u.size {
			return fmt.Sprintf("%.1f%s", float64(n)/u.size, u.suffix)
		}
	}
	return fmt.Sprint(n)
}
