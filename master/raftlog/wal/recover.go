package wal

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
)

// recover reads all segments and rebuilds what is live. It changes files only after all of them were found sound.
func (l *Log) recover() error {
	seqs, err := l.list()
	if err != nil {
		return err
	}
	if len(seqs) == 0 {
		s, err := createSegment(l.dir, 1, 0)
		if err != nil {
			return err
		}
		l.segs, l.off, l.alloc = []*segment{s}, segmentHeader, zeroAhead
		return nil
	}
	var t tail
	for i, seq := range seqs {
		if i > 0 && seq != seqs[i-1]+1 {
			return fmt.Errorf("%w: segment %d is missing", ErrCorrupt, seqs[i-1]+1)
		}
		s, b, err := openSegment(l.dir, seq)
		if err != nil {
			return err
		}
		l.segs = append(l.segs, s)
		if i > 0 && !t.sealed {
			// A crash while this one was being begun: nothing can be in it yet.
			if i < len(seqs)-1 || !zero(b[segmentHeader:]) {
				return l.segs[i-1].corrupt(t.end, "the segment ends too early")
			}
			l.segs = l.segs[:i]
			s.f.Close()
			if err := os.Remove(s.f.Name()); err != nil {
				return err
			}
			break
		}
		// With no record left, what came before may have been in segments that were removed.
		if last := l.lastLocked(); i > 0 && last != 0 && s.prev != last {
			return s.corrupt(0, fmt.Sprintf("follows record %d, but the log ends at %d", s.prev, last))
		}
		if t, err = l.replay(s, b); err != nil {
			return err
		}
	}
	if t.sealed {
		return fmt.Errorf("%w: segment %d is missing", ErrCorrupt, l.tail().seq+1)
	}
	return l.trim(t)
}

// tail says how a segment ends.
type tail struct {
	end    int64 // offset behind the last valid frame
	size   int64 // of the file
	sealed bool
	torn   bool // something other than zeros follows
}

// replay applies the frames of one segment and judges its end. The log is not shared yet.
func (l *Log) replay(s *segment, b []byte) (tail, error) {
	t := tail{end: segmentHeader, size: int64(len(b))}
	for !t.sealed {
		fr, ok := s.parse(b[min(t.end, int64(len(b))):])
		if !ok {
			break
		}
		switch fr.kind {
		case kindEntry:
			if last := l.lastLocked(); last != 0 && fr.index != last+1 {
				return t, s.corrupt(t.end, fmt.Sprintf("record %d follows record %d", fr.index, last))
			}
			if len(l.locs) == 0 {
				l.first = fr.index
			}
			l.locs = append(l.locs, loc{seg: s, off: uint32(t.end), n: uint32(len(fr.data))})
		case kindCutBack:
			l.cutBackLocked(fr.index)
		case kindCutFront:
			l.cutFrontLocked(fr.index)
		case kindSeal:
			t.sealed = true
		case kindClose:
		}
		t.end += fr.size
		t.size = max(t.size, t.end) // the last padding may be missing
	}
	rest := b[min(t.end, int64(len(b))):]
	if zero(rest) {
		return t, nil
	}
	if t.sealed {
		return t, s.corrupt(t.end, "something was written behind the seal")
	}
	if at, ok := s.laterBatch(b, t.end); ok {
		return t, s.corrupt(t.end, fmt.Sprintf("a record was damaged after it was synced; a later one at offset %d is whole", at))
	}
	t.torn = true
	return t, nil
}

// laterBatch looks behind the broken frame at end for one of a later write. A write begins only after the one before was
// synced, so finding one proves that what is broken had been safe on disk. Frames of the same torn write prove nothing:
// their sectors may reach the disk in any order.
func (s *segment) laterBatch(b []byte, end int64) (int64, bool) {
	for at := end + 8; at+frameHeader <= int64(len(b)); at += 8 {
		if fr, ok := s.parse(b[at:]); ok && int64(fr.batch) > end && int64(fr.batch) <= at {
			return at, true
		}
	}
	return 0, false
}

// trim cuts a torn end off, so that its remains cannot be taken for frames later, and makes the segment the one written to.
func (l *Log) trim(t tail) error {
	l.off, l.alloc = t.end, t.size
	if !t.torn {
		return nil
	}
	f := l.tail().f
	l.log.Warn("cut off the torn end of the log", "file", f.Name(), "offset", t.end, "last", l.lastLocked())
	if err := f.Truncate(t.end); err != nil {
		return fmt.Errorf("cut off torn end: %w", err)
	}
	l.alloc = t.end
	return f.Sync()
}

// list returns the sequence numbers of the segments in order and removes what a crash left half made.
func (l *Log) list() ([]uint64, error) {
	ents, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var seqs []uint64
	for _, e := range ents {
		if strings.HasSuffix(e.Name(), ".wal.tmp") {
			if err := os.Remove(l.dir + string(os.PathSeparator) + e.Name()); err != nil {
				return nil, err
			}
		}
		if seq, ok := segmentSeq(e.Name()); ok {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs, nil
}

func zero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}
