package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A segment file is a header and frames, all little-endian:
//
//	header  magic [8]  sequence u64  last index before it u64  unused u32  crc u32
//	frame   crc u32  length u32  kind u32  batch u32  index u64  data, padded with zeros to 8 bytes
//
// The frame's crc covers all that follows it and starts from the segment's sequence, so that a frame is valid in its own
// file only. batch is the offset at which the write that the frame belongs to began. Behind the last frame are zeros.
const (
	magic         = "sakiwal1"
	segmentHeader = 32
	frameHeader   = 24
	zeroAhead     = 1 << 20 // bytes zeroed at a time: overwriting is about a third faster to sync than growing
)

type kind uint32

const (
	kindEntry    kind = iota + 1
	kindCutBack       // index: the last record kept
	kindCutFront      // index: the first record kept
	kindSeal          // the log goes on in the next segment, which exists
	kindClose         // written by Close; proves that all before it was on disk
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type segment struct {
	seq  uint64
	prev uint64 // last index of the log when the segment was made
	f    *os.File
	seed uint32
}

type frame struct {
	kind  kind
	batch uint32
	index uint64
	data  []byte
	size  int64 // bytes taken in the file
}

func newSegment(f *os.File, seq, prev uint64) *segment {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], seq)
	return &segment{seq: seq, prev: prev, f: f, seed: crc32.Checksum(b[:], castagnoli)}
}

func frameSize(n int) int64 { return frameHeader + (int64(n)+7)&^7 }

// frame appends one frame to b.
func (s *segment) frame(b []byte, k kind, batch int64, index uint64, data []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = binary.LittleEndian.AppendUint32(b, uint32(k))
	b = binary.LittleEndian.AppendUint32(b, uint32(batch))
	b = binary.LittleEndian.AppendUint64(b, index)
	b = append(b, data...)
	binary.LittleEndian.PutUint32(b[at:], crc32.Update(s.seed, castagnoli, b[at+4:]))
	for (len(b)-at)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// parse reads the frame at the start of b; false when there is no whole, unharmed one. data aliases b.
func (s *segment) parse(b []byte) (frame, bool) {
	if len(b) < frameHeader {
		return frame{}, false
	}
	n := binary.LittleEndian.Uint32(b[4:])
	k := kind(binary.LittleEndian.Uint32(b[8:]))
	if n > MaxRecord || int(n) > len(b)-frameHeader || k < kindEntry || k > kindClose {
		return frame{}, false
	}
	end := frameHeader + int(n)
	if crc32.Update(s.seed, castagnoli, b[4:end]) != binary.LittleEndian.Uint32(b) {
		return frame{}, false
	}
	return frame{
		kind:  k,
		batch: binary.LittleEndian.Uint32(b[12:]),
		index: binary.LittleEndian.Uint64(b[16:]),
		data:  b[frameHeader:end:end],
		size:  frameSize(int(n)),
	}, true
}

func (s *segment) corrupt(off int64, why string) error {
	return fmt.Errorf("%w: %s at offset %d: %s", ErrCorrupt, s.f.Name(), off, why)
}

func segmentName(dir string, seq uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016d.wal", seq))
}

// segmentSeq reads the sequence number back from a file name.
func segmentSeq(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, ".wal")
	if !ok || len(digits) != 16 {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil
}

// createSegment makes a segment file that is on disk, header and name, or not there at all.
func createSegment(dir string, seq, prev uint64) (*segment, error) {
	h := make([]byte, segmentHeader, zeroAhead)
	copy(h, magic)
	binary.LittleEndian.PutUint64(h[8:], seq)
	binary.LittleEndian.PutUint64(h[16:], prev)
	binary.LittleEndian.PutUint32(h[28:], crc32.Checksum(h[:28], castagnoli))

	name := segmentName(dir, seq)
	f, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(h[:zeroAhead])
	if err == nil {
		err = f.Sync()
	}
	f.Close()
	if err != nil {
		return nil, err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return nil, err
	}
	if err := syncDir(dir); err != nil {
		return nil, err
	}
	if f, err = os.OpenFile(name, os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	return newSegment(f, seq, prev), nil
}

// openSegment reads a whole segment file.
func openSegment(dir string, seq uint64) (*segment, []byte, error) {
	f, err := os.OpenFile(segmentName(dir, seq), os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	s := newSegment(f, seq, 0)
	if len(b) < segmentHeader || string(b[:8]) != magic || binary.LittleEndian.Uint64(b[8:]) != seq ||
		crc32.Checksum(b[:28], castagnoli) != binary.LittleEndian.Uint32(b[28:]) {
		f.Close()
		return nil, nil, s.corrupt(0, "not a segment header of this file")
	}
	s.prev = binary.LittleEndian.Uint64(b[16:])
	return s, b, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
