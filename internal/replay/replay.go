// Package replay compares two runs of one task: what the cluster remembers of the first, and the second, run again elsewhere.
// It is pure.
package replay

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/saki-run/saki/api"
)

// Run is one run of a task: how it ended and what it wrote. Without a Stream, only what the outcome says of it is known.
type Run struct {
	Outcome        *api.Outcome
	Stdout, Stderr *Stream
}

// Verdict says whether two runs of a task were the same.
type Verdict struct {
	Task          api.TaskID   `json:"task"`
	Same          bool         `json:"same"`
	Deterministic bool         `json:"deterministic"`          // clocks and randomness were virtual
	FuelCompared  bool         `json:"fuel_compared"`          // both runs have counted it
	NotCompared   []string     `json:"not_compared,omitempty"` // stdout, stderr or fuel, of which too little is known
	MayDiffer     []string     `json:"may_differ,omitempty"`   // why a difference need not mean anything, for people
	Differences   []Difference `json:"differences,omitempty"`
	Outcome       *api.Outcome `json:"outcome"` // of the second run
}

// Difference is one thing in which the runs differ.
type Difference struct {
	What string `json:"what"` // state, reason, exit_code, message, stdout, stderr or fuel
	Was  string `json:"was"`
	Now  string `json:"now"`
}

// Refuse says why the task cannot be run again to compare, or gives nil. The error is an [*api.Error].
func Refuse(t *api.Task) error {
	switch {
	case t.Spec.Wasm == nil:
		return api.Errorf(api.CodeInvalidArgument, "task %s is a %s task; only wasm tasks can be replayed", t.ID, t.Spec.Kind())
	case !t.State.Terminal():
		return api.Errorf(api.CodeConflict, "task %s is %s; there is nothing to compare with yet", t.ID, t.State).
			WithHint("wait for it: saki wait %s", t.ID)
	case t.State != api.Finished && t.State != api.Failed || t.Outcome == nil:
		return api.Errorf(api.CodeConflict, "task %s is %s: it did not end by itself", t.ID, t.State).
			WithHint("only tasks that finished or failed can be replayed")
	}
	switch t.Reason {
	case api.ReasonModuleNotFound, api.ReasonStagingFailed, api.ReasonLaunchFailed, api.ReasonRunnerUnavailable, api.ReasonDiskLimit:
		return api.Errorf(api.CodeConflict, "task %s failed for a reason outside of it (%s): %s", t.ID, t.Reason, t.Message).
			WithHint("submit it again")
	}
	return nil
}

// Compare compares the runs of a task. Times, memory and places are not compared: they are never the same.
func Compare(t *api.Task, was, now Run) Verdict {
	v := Verdict{Task: t.ID, Deterministic: t.Spec.Wasm != nil && t.Spec.Wasm.Deterministic, Outcome: now.Outcome}
	w, n := was.Outcome, now.Outcome
	v.text("state", string(w.State), string(n.State))
	v.text("reason", string(reason(w)), string(reason(n)))
	v.text("exit_code", strconv.Itoa(w.ExitCode), strconv.Itoa(n.ExitCode))
	if w.Reason == api.ReasonTrap && n.Reason == api.ReasonTrap {
		v.text("message", w.Message, n.Message)
	}
	if !v.Deterministic {
		v.MayDiffer = append(v.MayDiffer, "the task was not deterministic: its clocks and randomness were real, and are again")
	}
	v.Same = len(v.Differences) == 0
	if v.Same && w.Reason == api.ReasonDeadline {
		v.NotCompared = []string{"stdout", "stderr", "fuel"}
		v.MayDiffer = append(v.MayDiffer, "how far a task comes before its deadline depends on the machine")
		return v
	}
	v.output("stdout", w.Receipt.StdoutBytes, n.Receipt.StdoutBytes, was.Stdout, now.Stdout)
	v.output("stderr", w.Receipt.StderrBytes, n.Receipt.StderrBytes, was.Stderr, now.Stderr)
	if wf, nf := w.Receipt.Fuel, n.Receipt.Fuel; wf > 0 && nf > 0 {
		v.FuelCompared = true
		v.text("fuel", Grouped(wf), Grouped(nf))
	} else {
		v.NotCompared = append(v.NotCompared, "fuel")
	}
	v.Same = len(v.Differences) == 0
	return v
}

// reason takes an exit with code 0 for what needs no reason: runners say it either way.
func reason(o *api.Outcome) api.Reason {
	if o.State == api.Finished {
		return ""
	}
	return o.Reason
}

func (v *Verdict) text(what, was, now string) {
	if was != now {
		v.Differences = append(v.Differences, Difference{what, was, now})
	}
}

// output compares a stream by what is known of it: its content, or else its length.
func (v *Verdict) output(what string, was, now int64, ws, ns *Stream) {
	switch {
	case ws == nil || ns == nil:
		if was == now {
			v.NotCompared = append(v.NotCompared, what)
			return
		}
		v.text(what, bytesOf(was), bytesOf(now))
	case ws.Sum() != ns.Sum():
		at := differAt(ws.head, ns.head)
		v.text(what, ws.excerpt(at), ns.excerpt(at))
	case was != now: // the same as far as it was kept
		v.text(what, bytesOf(was), bytesOf(now))
	}
}

func bytesOf(n int64) string { return Grouped(uint64(n)) + " bytes" }

// Stream takes what a task has written, or what was kept of it: at most a number of bytes count. It is an [io.Writer] that
// never fails, for one goroutine.
type Stream struct {
	left int64 // bytes that still count
	n    int64 // bytes written
	head []byte
	sum  hash.Hash
}

// headSize is how much of a stream is kept to show where it differs.
const headSize = 64 << 10

// NewStream makes a Stream of which the first kept bytes count.
func NewStream(kept api.Bytes) *Stream { return &Stream{left: int64(kept), sum: sha256.New()} }

// Write implements [io.Writer].
func (s *Stream) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	k := p[:min(int64(len(p)), s.left)]
	s.left -= int64(len(k))
	_, _ = s.sum.Write(k) // a hash never fails
	s.head = append(s.head, k[:min(len(k), headSize-len(s.head))]...)
	return len(p), nil
}

// Len is how many bytes were written, kept or not.
func (s *Stream) Len() int64 { return s.n }

// Short gives all that was written when that is short enough to go into an outcome.
func (s *Stream) Short() ([]byte, bool) {
	if s.n > int64(api.InlineOutput) || s.n != int64(len(s.head)) {
		return nil, false
	}
	return bytes.Clone(s.head), true
}

// Sum is a hash of what counts.
func (s *Stream) Sum() [32]byte { return [32]byte(s.sum.Sum(nil)) }

// excerpt shows the stream where it differs from the other.
func (s *Stream) excerpt(at int) string {
	if at < 0 {
		return fmt.Sprintf("%s, sha256 %x…", bytesOf(s.n), s.sum.Sum(nil)[:6])
	}
	const before, after = 8, 32
	from, to := max(0, at-before), min(len(s.head), at+after)
	text := strconv.Quote(string(s.head[min(from, to):to]))
	if from > 0 {
		text = "…" + text
	}
	return fmt.Sprintf("%s, at byte %s: %s", bytesOf(s.n), Grouped(uint64(at)), text)
}

// differAt is the first place where a and b differ, or -1 when what is known of them is the same.
func differAt(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return n
	}
	return -1
}

// Grouped writes a number with commas: 8,123,456.
func Grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}
