// Package wal keeps numbered records in append-only segment files and checks every byte it gives back.
//
// A record's checksum covers its index, its length and the segment it belongs to, and is verified when the log is
// opened and at every read: bytes that changed on disk give [ErrCorrupt], never a record. The end of the log that a crash
// cut off is told apart from damage by batch numbers; DESIGN.md one folder up has the argument.
package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

var (
	// ErrNotFound says that the log holds no record of that index.
	ErrNotFound = errors.New("no such record")
	// ErrCorrupt says that the disk gave back other bytes than were written, or that a file is missing.
	ErrCorrupt = errors.New("log is corrupt")
	// ErrLocked says that another process, or another Log in this one, has the directory open.
	ErrLocked = errors.New("log is in use")
	// ErrClosed is given by every method after Close.
	ErrClosed = errors.New("log is closed")
)

// MaxRecord is the size limit of one record in bytes.
const MaxRecord = 64 << 20

// Options are the settings of a log. The zero value is fit for use.
type Options struct {
	SegmentSize int          // bytes after which a new file is begun; default 16 MiB
	Logger      *slog.Logger // told about a torn end that was cut off; default none
}

// Log is a log of consecutively numbered records. Safe for concurrent use; readers wait for no disk write.
type Log struct {
	dir  string
	max  int64
	log  *slog.Logger
	lock *os.File

	wmu    sync.Mutex // one writer at a time; guards the fields below
	off    int64      // where the next frame goes in the last segment
	alloc  int64      // bytes of the last segment that are already on disk, zeroed
	failed error      // a write failed: what the file holds is unknown until it is opened again
	buf    []byte

	mu    sync.RWMutex // guards what readers see
	segs  []*segment   // in order; the last one is written to
	first uint64       // index of locs[0]
	locs  []loc        // where each live record is
}

// loc is the place of one record: its frame starts at off and carries n payload bytes.
type loc struct {
	seg *segment
	off uint32
	n   uint32
}

// Open opens the log in dir, making the directory if need be, and reads all of it. A torn end is cut off; anything else
// that does not add up gives an error that wraps ErrCorrupt and names the file and offset, and leaves the files alone.
func Open(dir string, opt Options) (*Log, error) {
	if opt.SegmentSize <= 0 {
		opt.SegmentSize = 16 << 20
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open log %s: %w (%w)", dir, ErrLocked, err)
	}
	l := &Log{dir: dir, max: int64(opt.SegmentSize), log: opt.Logger, lock: lock}
	if err := l.recover(); err != nil {
		_ = l.closeFiles() // err says more
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	return l, nil
}

// First returns the index of the oldest record, 0 when the log is empty.
func (l *Log) First() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.locs) == 0 {
		return 0
	}
	return l.first
}

// Last returns the index of the newest record, 0 when the log is empty.
func (l *Log) Last() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.lastLocked()
}

func (l *Log) lastLocked() uint64 {
	if len(l.locs) == 0 {
		return 0
	}
	return l.first + uint64(len(l.locs)) - 1
}

// Read returns a copy of the record of that index, or ErrNotFound, ErrCorrupt or the disk's error.
func (l *Log) Read(index uint64) ([]byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.segs == nil {
		return nil, ErrClosed
	}
	if index < l.first || index-l.first >= uint64(len(l.locs)) {
		return nil, ErrNotFound
	}
	at := l.locs[index-l.first]
	b := make([]byte, frameHeader+int(at.n))
	if _, err := at.seg.f.ReadAt(b, int64(at.off)); err != nil {
		return nil, fmt.Errorf("read record %d: %w", index, err)
	}
	fr, ok := at.seg.parse(b)
	if !ok || fr.kind != kindEntry || fr.index != index || len(fr.data) != int(at.n) {
		return nil, at.seg.corrupt(int64(at.off), fmt.Sprintf("record %d does not match its checksum", index))
	}
	return fr.data, nil
}

// Append writes records first, first+1, … and returns once they are on disk, all with one sync. first must follow the
// last record; an empty log takes any. After a failed write the log refuses every further write until it is opened again,
// since what the file holds is then unknown.
func (l *Log) Append(first uint64, recs [][]byte) error {
	if len(recs) == 0 {
		return nil
	}
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if last := l.Last(); first == 0 || (last != 0 && first != last+1) {
		return fmt.Errorf("append record %d: the last one is %d", first, last)
	}
	size := int64(0)
	for i, r := range recs {
		if len(r) > MaxRecord {
			return fmt.Errorf("append record %d: %d bytes, the limit is %d", first+uint64(i), len(r), MaxRecord)
		}
		size += frameSize(len(r))
	}
	if size > math.MaxUint32/2 {
		return fmt.Errorf("append %d records: %d bytes in one batch", len(recs), size)
	}
	if err := l.makeRoom(size); err != nil {
		return err
	}
	seg, batch := l.tail(), l.off
	locs := make([]loc, len(recs))
	l.buf = l.buf[:0]
	for i, r := range recs {
		locs[i] = loc{seg: seg, off: uint32(batch) + uint32(len(l.buf)), n: uint32(len(r))}
		l.buf = seg.frame(l.buf, kindEntry, batch, first+uint64(i), r)
	}
	if err := l.write(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.locs) == 0 {
		l.first = first
	}
	l.locs = append(l.locs, locs...)
	return nil
}

// CutBack forgets every record after index keep and returns once that is on disk.
func (l *Log) CutBack(keep uint64) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.mark(kindCutBack, keep); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutBackLocked(keep)
	return nil
}

// CutFront forgets every record before index first, returns once that is on disk, and removes the files that hold no
// record any more.
func (l *Log) CutFront(first uint64) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.mark(kindCutFront, first); err != nil {
		return err
	}
	l.mu.Lock()
	l.cutFrontLocked(first)
	dead := l.unusedLocked()
	l.mu.Unlock()
	for _, s := range dead {
		s.f.Close()
		// Oldest first, each made durable before the next: a gap in the sequence always means a lost file.
		if err := os.Remove(s.f.Name()); err != nil {
			return l.fail(fmt.Errorf("remove old segment: %w", err))
		}
		if err := syncDir(l.dir); err != nil {
			return l.fail(err)
		}
	}
	return nil
}

func (l *Log) cutBackLocked(keep uint64) {
	if keep < l.first {
		l.locs = l.locs[:0]
	} else if n := keep - l.first + 1; n < uint64(len(l.locs)) {
		l.locs = l.locs[:n]
	}
}

func (l *Log) cutFrontLocked(first uint64) {
	if len(l.locs) == 0 || first <= l.first {
		return
	}
	n := min(first-l.first, uint64(len(l.locs)))
	l.locs = l.locs[n:]
	l.first = first
}

// unusedLocked takes the segments before the oldest live record off the list and returns them.
func (l *Log) unusedLocked() []*segment {
	keep := l.tail()
	if len(l.locs) > 0 {
		keep = l.locs[0].seg
	}
	for i, s := range l.segs {
		if s == keep {
			dead := l.segs[:i:i]
			l.segs = l.segs[i:]
			return dead
		}
	}
	return nil
}

// Close writes a last mark, by which damage to the end of a log that was closed is recognised, and closes the files.
func (l *Log) Close() error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if errors.Is(l.failed, ErrClosed) {
		return nil
	}
	var err error
	if l.failed == nil {
		err = l.mark(kindClose, 0)
	}
	l.failed = ErrClosed
	return errors.Join(err, l.closeFiles())
}

func (l *Log) closeFiles() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range l.segs {
		errs = append(errs, s.f.Close())
	}
	l.segs, l.locs = nil, nil
	return errors.Join(append(errs, l.lock.Close())...)
}

// tail is the segment written to. The caller holds wmu or mu.
func (l *Log) tail() *segment { return l.segs[len(l.segs)-1] }
