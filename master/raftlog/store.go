package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/saki-run/saki/master/raftlog/wal"
)

// entryLog is what logStore needs of a *wal.Log.
type entryLog interface {
	First() uint64
	Last() uint64
	Read(index uint64) ([]byte, error)
	Append(first uint64, recs [][]byte) error
	CutBack(keep uint64) error
	CutFront(first uint64) error
}

var _ entryLog = (*wal.Log)(nil)

// logStore shows a record log to raft, and ends the node when the disk hangs, fails twice in a row, or lies.
type logStore struct {
	log    entryLog
	doom   *doom
	limit  time.Duration
	failed atomic.Int32 // writes that failed since one went well
}

var (
	_ raft.LogStore          = (*logStore)(nil)
	_ raft.MonotonicLogStore = (*logStore)(nil)
)

// IsMonotonic tells raft that the log has no gaps, so that installing a snapshot drops the whole log. Without it a
// follower with a divergent tail would loop for ever (hashicorp/raft #697).
func (s *logStore) IsMonotonic() bool { return true }

func (s *logStore) FirstIndex() (uint64, error) { return s.log.First(), nil }
func (s *logStore) LastIndex() (uint64, error)  { return s.log.Last(), nil }

// GetLog reads one entry. A damaged one ends the node: raft would retry it for ever or panic.
func (s *logStore) GetLog(index uint64, to *raft.Log) error {
	b, err := s.log.Read(index)
	if errors.Is(err, wal.ErrNotFound) {
		return raft.ErrLogNotFound // compared by == in the library
	}
	if err == nil {
		err = decodeEntry(index, b, to)
	}
	if errors.Is(err, wal.ErrCorrupt) {
		s.doom.die(fmt.Errorf("read entry %d: %w", index, err))
	}
	return err
}

func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *logStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	recs := make([][]byte, len(logs))
	for i, l := range logs {
		recs[i] = encodeEntry(l)
	}
	defer s.doom.watch("append to the log", s.limit)()
	return s.wrote(s.log.Append(logs[0].Index, recs))
}

// DeleteRange cuts from either end of the log.
func (s *logStore) DeleteRange(lo, hi uint64) error {
	if lo > hi {
		return nil
	}
	defer s.doom.watch("cut the log", s.limit)()
	switch first, last := s.log.First(), s.log.Last(); {
	case last == 0 || hi < first || lo > last:
		return nil
	case lo <= first:
		return s.wrote(s.log.CutFront(hi + 1))
	case hi >= last:
		return s.wrote(s.log.CutBack(lo - 1))
	default:
		return fmt.Errorf("cut entries %d to %d out of the middle of the log", lo, hi)
	}
}

// wrote ends the node at the second failure in a row. After the first one raft steps down, or refuses the entry.
func (s *logStore) wrote(err error) error {
	s.doom.park()
	if err == nil {
		s.failed.Store(0)
		return nil
	}
	if s.failed.Add(1) >= 2 {
		s.doom.die(fmt.Errorf("write the log: %w", err))
	}
	s.doom.log.Error("the log could not be written", "error", err)
	return err
}

// An entry is stored as: format 1, type, term, time of the append (Unix ns), extensions, data. Index and checksum are the
// record's.
const entryFormat = 1

func encodeEntry(l *raft.Log) []byte {
	b := make([]byte, 0, 2+3*binary.MaxVarintLen64+len(l.Extensions)+len(l.Data))
	b = append(b, entryFormat, byte(l.Type))
	b = binary.AppendUvarint(b, l.Term)
	var at int64
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	b = binary.AppendVarint(b, at)
	b = binary.AppendUvarint(b, uint64(len(l.Extensions)))
	b = append(b, l.Extensions...)
	return append(b, l.Data...)
}

func decodeEntry(index uint64, b []byte, to *raft.Log) error {
	bad := fmt.Errorf("%w: entry %d has an unknown form", wal.ErrCorrupt, index)
	if len(b) < 2 || b[0] != entryFormat {
		return bad
	}
	l := raft.Log{Index: index, Type: raft.LogType(b[1])}
	b = b[2:]
	var n int
	if l.Term, n = binary.Uvarint(b); n <= 0 {
		return bad
	}
	b = b[n:]
	at, n := binary.Varint(b)
	if n <= 0 {
		return bad
	}
	if at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	b = b[n:]
	ext, n := binary.Uvarint(b)
	if n <= 0 || ext > uint64(len(b)-n) {
		return bad
	}
	b = b[n:]
	if ext > 0 {
		l.Extensions = b[:ext:ext]
	}
	if b = b[ext:]; len(b) > 0 {
		l.Data = b
	}
	*to = l
	return nil
}
