package engine

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/saki-run/saki/master/core"
)

// Applied is one entry that has become part of the state.
type Applied struct {
	Index  uint64
	Now    time.Time
	Events []core.Event
	View   core.View // just after the entry
}

// Machine keeps the state machine under the log: the log applies entries, everybody else reads views.
type Machine struct {
	state    *core.State // belongs to the log's goroutine
	view     atomic.Pointer[core.View]
	onApply  []func(Applied)
	onUnsafe func(error)
}

// NewMachine makes a Machine with an empty state. onApply are called for every entry in the order of the log, on every master,
// and must not block. broken is called when an entry cannot be decoded: this master must stop, since it would no longer be
// equal to the others.
func NewMachine(broken func(error), onApply ...func(Applied)) *Machine {
	m := &Machine{onApply: onApply, onUnsafe: broken}
	m.set(core.New())
	return m
}

func (m *Machine) set(s *core.State) {
	m.state = s
	v := s.View()
	m.view.Store(&v)
}

// View gives the latest applied state. It is safe for concurrent use and never blocks.
func (m *Machine) View() core.View { return *m.view.Load() }

// Apply implements the log's state machine. Its result is the entry's []core.Event.
func (m *Machine) Apply(index uint64, data []byte) any {
	e, err := core.DecodeEntry(data)
	if err != nil {
		m.onUnsafe(fmt.Errorf("log entry %d: %w", index, err))
		return []core.Event(nil)
	}
	a := Applied{Index: index, Events: m.state.Apply(index, e)}
	a.View = m.state.View()
	a.Now = a.View.Now()
	m.view.Store(&a.View)
	for _, f := range m.onApply {
		f(a)
	}
	return a.Events
}

// Snapshot gives a function that writes the state as it is now. It takes constant time; the function may run beside Apply.
func (m *Machine) Snapshot() (func(io.Writer) error, error) {
	return m.state.View().Save, nil
}

// Restore replaces the state by the snapshot.
func (m *Machine) Restore(r io.Reader) error {
	s, err := core.Load(r)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // the log's checksum stands at the end
		return fmt.Errorf("restore state: %w", err)
	}
	m.set(s)
	return nil
}
