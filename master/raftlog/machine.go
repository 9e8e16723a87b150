package raftlog

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// machine shows an FSM to raft.
type machine struct{ fsm FSM }

var _ raft.FSM = (*machine)(nil)

func (m *machine) Apply(l *raft.Log) any {
	return m.fsm.Apply(l.Index, l.Data)
}

func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	write, err := m.fsm.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("take snapshot: %w", err)
	}
	return image(write), nil
}

func (m *machine) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	r, err := newSnapshotReader(rc)
	if err != nil {
		return err
	}
	if err := m.fsm.Restore(r); err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	if n, err := io.Copy(io.Discard, r); n > 0 || err != nil {
		return fmt.Errorf("restore snapshot: the state machine left %d bytes (%w)", n, errors.Join(ErrBadSnapshot, err))
	}
	return nil
}

// image is a snapshot that has been taken and not been written.
type image func(w io.Writer) error

func (im image) Persist(sink raft.SnapshotSink) error {
	buf := bufio.NewWriterSize(sink, 64<<10)
	w := newSnapshotWriter(buf)
	err := im(w)
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = buf.Flush()
	}
	if err != nil {
		_ = sink.Cancel() // the snapshot is not kept either way
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

func (image) Release() {}
