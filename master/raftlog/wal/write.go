package wal

import (
	"fmt"
	"math"
)

// zeros is only read.
var zeros [zeroAhead]byte

// mark writes one frame without data. The caller holds wmu.
func (l *Log) mark(k kind, index uint64) error {
	if err := l.makeRoom(frameHeader); err != nil {
		return err
	}
	l.buf = l.tail().frame(l.buf[:0], k, l.off, index, nil)
	return l.write()
}

// makeRoom begins a new segment when size more bytes would make this one too long. The caller holds wmu.
func (l *Log) makeRoom(size int64) error {
	if l.failed != nil {
		return l.failed
	}
	full := l.off+size+frameHeader > l.max && l.off > segmentHeader
	if !full {
		return nil
	}
	// The next file is there before this one says so: a sealed segment without a successor is a lost file.
	seg, err := createSegment(l.dir, l.tail().seq+1, l.Last())
	if err != nil {
		return l.fail(fmt.Errorf("begin segment: %w", err))
	}
	l.buf = l.tail().frame(l.buf[:0], kindSeal, l.off, 0, nil)
	if err := l.write(); err != nil {
		seg.f.Close()
		return err
	}
	l.mu.Lock()
	l.segs = append(l.segs, seg)
	l.mu.Unlock()
	l.off, l.alloc = segmentHeader, zeroAhead
	return nil
}

// write puts buf at the end of the last segment and syncs it. The caller holds wmu.
func (l *Log) write() error {
	f, end := l.tail().f, l.off+int64(len(l.buf))
	if end > math.MaxUint32 {
		return l.fail(fmt.Errorf("segment %s is too long", f.Name()))
	}
	if _, err := f.WriteAt(l.buf, l.off); err != nil {
		return l.fail(fmt.Errorf("write log: %w", err))
	}
	if end > l.alloc {
		to := (end/zeroAhead + 1) * zeroAhead
		if _, err := f.WriteAt(zeros[:to-end], end); err != nil {
			return l.fail(fmt.Errorf("extend log: %w", err))
		}
		l.alloc = to
	}
	if err := datasync(f); err != nil {
		return l.fail(fmt.Errorf("sync log: %w", err))
	}
	l.off = end
	if cap(l.buf) > 4<<20 {
		l.buf = nil
	}
	return nil
}

// fail makes every later write fail too. After a failed sync the kernel may have dropped the pages, so a second try that
// seems to work would prove nothing.
func (l *Log) fail(err error) error {
	l.failed = err
	return err
}
