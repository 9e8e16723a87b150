package raftlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ErrBadSnapshot says that a snapshot is damaged, cut short, or of an unknown version. It was not restored.
var ErrBadSnapshot = errors.New("bad snapshot")

// A snapshot is "sakisnap", the version, and chunks: length u32, crc u32 over the length, the chunk's number and the data,
// then the data. An empty chunk ends it. A reader hands out no byte of a chunk that it has not checked.
const (
	snapshotMagic   = "sakisnap"
	snapshotVersion = 1
	snapshotChunk   = 64 << 10
)

type snapshotWriter struct {
	w    io.Writer
	buf  []byte
	seq  uint64
	head bool
}

func newSnapshotWriter(w io.Writer) *snapshotWriter {
	return &snapshotWriter{w: w, buf: make([]byte, 0, snapshotChunk)}
}

// Write buffers p and writes whole chunks.
func (s *snapshotWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), snapshotChunk-len(s.buf))
		s.buf = append(s.buf, p[:k]...)
		p = p[k:]
		if len(s.buf) == snapshotChunk {
			if err := s.chunk(); err != nil {
				return n - len(p), err
			}
		}
	}
	return n, nil
}

// Close writes the last chunk and the end.
func (s *snapshotWriter) Close() error {
	if len(s.buf) > 0 {
		if err := s.chunk(); err != nil {
			return err
		}
	}
	return s.chunk()
}

func (s *snapshotWriter) chunk() error {
	if !s.head {
		s.head = true
		if _, err := s.w.Write(binary.LittleEndian.AppendUint32([]byte(snapshotMagic), snapshotVersion)); err != nil {
			return err
		}
	}
	h := binary.LittleEndian.AppendUint32(nil, uint32(len(s.buf)))
	h = binary.LittleEndian.AppendUint32(h, chunkSum(s.seq, s.buf))
	if _, err := s.w.Write(h); err != nil {
		return err
	}
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	s.seq++
	return err
}

func chunkSum(seq uint64, data []byte) uint32 {
	h := binary.LittleEndian.AppendUint64(nil, seq)
	h = binary.LittleEndian.AppendUint32(h, uint32(len(data)))
	return crc32.Update(crc32.Checksum(h, castagnoli), castagnoli, data)
}

type snapshotReader struct {
	r    *bufio.Reader
	left []byte
	seq  uint64
	end  error
}

func newSnapshotReader(r io.Reader) (*snapshotReader, error) {
	s := &snapshotReader{r: bufio.NewReaderSize(r, snapshotChunk)}
	var h [len(snapshotMagic) + 4]byte
	if _, err := io.ReadFull(s.r, h[:]); err != nil {
		return nil, fmt.Errorf("%w: no header (%w)", ErrBadSnapshot, noEOF(err))
	}
	if string(h[:len(snapshotMagic)]) != snapshotMagic {
		return nil, fmt.Errorf("%w: not one of ours", ErrBadSnapshot)
	}
	if v := binary.LittleEndian.Uint32(h[len(snapshotMagic):]); v != snapshotVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrBadSnapshot, v, snapshotVersion)
	}
	return s, nil
}

// Read gives io.EOF only behind a sound end.
func (s *snapshotReader) Read(p []byte) (int, error) {
	if len(s.left) == 0 && s.end == nil {
		s.left, s.end = s.next()
	}
	if len(s.left) == 0 {
		return 0, s.end
	}
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

func (s *snapshotReader) next() ([]byte, error) {
	var h [8]byte
	if _, err := io.ReadFull(s.r, h[:]); err != nil {
		return nil, fmt.Errorf("%w: cut short in chunk %d (%w)", ErrBadSnapshot, s.seq, noEOF(err))
	}
	n := binary.LittleEndian.Uint32(h[:])
	if n > snapshotChunk {
		return nil, fmt.Errorf("%w: chunk %d has %d bytes", ErrBadSnapshot, s.seq, n)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(s.r, data); err != nil {
		return nil, fmt.Errorf("%w: cut short in chunk %d (%w)", ErrBadSnapshot, s.seq, noEOF(err))
	}
	if chunkSum(s.seq, data) != binary.LittleEndian.Uint32(h[4:]) {
		return nil, fmt.Errorf("%w: chunk %d does not match its checksum", ErrBadSnapshot, s.seq)
	}
	s.seq++
	if n == 0 {
		return nil, io.EOF
	}
	return data, nil
}

// noEOF keeps a file that ends too early from looking like one that ends well.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
