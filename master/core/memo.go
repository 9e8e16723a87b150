package core

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
)

// Bounds of what is remembered of memo tasks. Beyond them the oldest results go first.
const (
	maxMemos     = 10_000
	maxMemoBytes = 16 << 20 // of all together
	maxMemoSize  = 16 << 10 // of one: more than inline output and its words come to
)

// memo is the result of a deterministic task, for the next equal one. It never changes.
type memo struct {
	Key     []byte     `json:"key"`
	Task    api.TaskID `json:"task"`    // whose result it is; it may have been forgotten since
	Outcome []byte     `json:"outcome"` // encoded, so that the garbage collector need not look into it
	Seq     uint64     `json:"seq"`     // order of remembering
}

// size is what the memo counts for, in bytes.
func (m *memo) size() int { return len(m.Key) + len(m.Task) + len(m.Outcome) + 64 }

// memoKey names all that a deterministic task can know, and so all that its result depends on. Tasks of different namespaces
// have different keys: nobody learns what others have run. The timeout is not part of it, since it does not change a result
// that there is; nor is stdin's way, inline or as a blob.
func memoKey(s *api.Spec, index int) []byte {
	h := sha256.New()
	text := func(parts ...string) {
		for _, p := range parts {
			_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p)))) // a hash never fails
			_, _ = h.Write([]byte(p))
		}
	}
	number := func(ns ...uint64) {
		for _, n := range ns {
			_, _ = h.Write(binary.BigEndian.AppendUint64(nil, n))
		}
	}
	stdin := s.StdinBlob
	if stdin == "" {
		stdin = api.DigestOf(sha256.Sum256(s.Stdin))
	}
	w, r := s.Wasm, s.Resources
	text("saki memo 1", s.Namespace, w.Module, w.Func, s.Name, string(stdin))
	number(w.Fuel, uint64(r.Mem), uint64(r.Disk), uint64(s.MaxOutput), uint64(index), uint64(len(w.Args)))
	text(w.Args...)
	number(uint64(len(s.Env)))
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		text(k, s.Env[k])
	}
	number(uint64(len(s.Files)))
	for _, f := range s.Files {
		text(f.Path, string(f.Blob))
		number(uint64(f.Mode))
	}
	return h.Sum(nil)
}

// remember keeps the result of a memo task that has ended, when an equal task would surely end the same: it ended by itself,
// nothing of the machine had a part in it, and all that it wrote is in its outcome.
func (a *applying) remember(t *api.Task) {
	o := t.Outcome
	byItself := o.State == api.Finished || o.State == api.Failed && o.Reason == api.ReasonExit
	if w := t.Spec.Wasm; w == nil || !w.Memo || !o.Receipt.Deterministic || !byItself || !o.Inline {
		return
	}
	key := memoKey(t.Spec, t.Index)
	if _, known := a.memos.Get(key); known {
		return // two equal tasks ran at the same time
	}
	kept := *o
	kept.Receipt = api.Receipt{
		Warm: true, Memo: true, MemoOf: t.ID, Deterministic: true, Fuel: o.Receipt.Fuel, PeakMem: o.Receipt.PeakMem,
		StdoutBytes: o.Receipt.StdoutBytes, StderrBytes: o.Receipt.StderrBytes,
	}
	b, err := wire.Marshal(&kept)
	if err != nil {
		panic("core: " + err.Error()) // our own types always encode
	}
	m := &memo{Key: key, Task: t.ID, Outcome: b}
	if m.size() > maxMemoSize {
		return
	}
	m.Seq = a.nextSeq()
	a.addMemo(m)
	for a.memoCount > maxMemos || a.memoBytes > maxMemoBytes {
		_, oldest, _ := a.aged.Root().Minimum()
		a.dropMemo(oldest)
	}
}

func (s *State) addMemo(m *memo) {
	s.memos.Insert(m.Key, m)
	s.aged.Insert(seqKey(m.Seq), m)
	s.memoCount++
	s.memoBytes += m.size()
}

func (s *State) dropMemo(m *memo) {
	s.memos.Delete(m.Key)
	s.aged.Delete(seqKey(m.Seq))
	s.memoCount--
	s.memoBytes -= m.size()
}

// recall ends a task that was submitted just now when the result of an equal one is remembered: it needs no node.
func (a *applying) recall(r *record) {
	t := *r.live
	if w := t.Spec.Wasm; w == nil || !w.Memo || !w.Deterministic {
		return
	}
	m, ok := a.memos.Get(memoKey(t.Spec, t.Index))
	if !ok {
		return
	}
	o, err := m.outcome()
	if err != nil {
		panic("core: " + err.Error()) // remember wrote it, or load has checked it
	}
	t.State, t.Reason, t.Message, t.EndedAt, t.Outcome = o.State, o.Reason, o.Message, a.now, o
	a.set(r, &t)
	a.emit(Event{Type: api.EventTaskEnded, Task: &t})
}

func (m *memo) outcome() (*api.Outcome, error) {
	o := new(api.Outcome)
	return o, wire.Unmarshal(m.Outcome, o)
}

func (a *applying) forgetMemo() {
	n := a.memoCount
	for a.memoCount > 0 {
		_, m, _ := a.aged.Root().Minimum()
		a.dropMemo(m)
	}
	a.emit(Event{Type: Ignored, Count: n})
}

// checkMemos reports what does not hold of the remembered results.
func (v View) checkMemos() error {
	size := 0
	var err error
	v.aged.Root().Walk(func(k []byte, m *memo) bool {
		size += m.size()
		same, _ := v.memos.Get(m.Key)
		o, bad := m.outcome()
		switch {
		case len(m.Key) != sha256.Size || same != m || !bytes.Equal(k, seqKey(m.Seq)):
			err = fmt.Errorf("memo %d stands under the wrong key", m.Seq)
		case bad != nil:
			err = fmt.Errorf("memo %d: %w", m.Seq, bad)
		case !o.State.Terminal() || !o.Inline || !o.Receipt.Memo:
			err = errors.New("a memo holds what is not a result")
		}
		return err != nil
	})
	switch {
	case err != nil:
		return err
	case v.memos.Len() != v.memoCount || v.aged.Len() != v.memoCount || size != v.memoBytes:
		return fmt.Errorf("%d memos of %d bytes in an order of %d, counted as %d of %d bytes", v.memos.Len(), size, v.aged.Len(), v.memoCount, v.memoBytes)
	case v.memoCount > maxMemos || v.memoBytes > maxMemoBytes:
		return fmt.Errorf("%d memos of %d bytes are more than is kept", v.memoCount, v.memoBytes)
	}
	return nil
}
