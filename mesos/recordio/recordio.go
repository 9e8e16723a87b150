// Package recordio frames records on a stream the way the Mesos v1 API does:
// the length in decimal, a newline, the bytes.
//
// Some clients take every HTTP chunk for one record, so a Writer hands each
// record to its io.Writer in one piece; the caller flushes after each.
package recordio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// DefaultMax is the longest record, in bytes, that a Reader takes unless told
// otherwise. Known clients refuse more than 4 MiB.
const DefaultMax = 4 << 20

// Errors of Reader.Next, matched with errors.Is.
var (
	// ErrTooLong means that a record is longer than the reader allows.
	ErrTooLong = errors.New("recordio: record too long")
	// ErrBadLength means that the bytes where a length should stand are not one.
	ErrBadLength = errors.New("recordio: bad record length")
)

// maxDigits bounds the length line; a longer one is no length that could be
// read anyway.
const maxDigits = 19

// chunk is how much of a record is read at once, so that a length that is
// claimed but not sent costs little memory.
const chunk = 64 << 10

// Append adds record to dst as one frame and returns the longer slice. An
// empty record adds nothing: the length 0 is not part of the format.
func Append(dst, record []byte) []byte {
	if len(record) == 0 {
		return dst
	}
	dst = strconv.AppendInt(dst, int64(len(record)), 10)
	dst = append(dst, '\n')
	return append(dst, record...)
}

// Writer writes records. It is not safe for concurrent use.
type Writer struct {
	w   io.Writer
	buf []byte
}

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write frames record and hands it to the underlying writer in exactly one
// call. An empty record is not written. The record is not kept.
func (w *Writer) Write(record []byte) error {
	if len(record) == 0 {
		return nil
	}
	w.buf = Append(w.buf[:0], record)
	n, err := w.w.Write(w.buf)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	if cap(w.buf) > DefaultMax {
		w.buf = nil
	}
	if err != nil {
		return fmt.Errorf("recordio: write record of %d bytes: %w", len(record), err)
	}
	return nil
}

// Reader reads records. It is not safe for concurrent use.
type Reader struct {
	r   *bufio.Reader
	max int
	buf []byte
	err error
}

// NewReader returns a Reader on r that refuses records longer than limit
// bytes; limit <= 0 means DefaultMax, and nothing above 1 GiB is read. It reads
// ahead of the record it returns.
func NewReader(r io.Reader, limit int) *Reader {
	if limit <= 0 {
		limit = DefaultMax
	}
	return &Reader{r: bufio.NewReader(r), max: min(limit, 1<<30)}
}

// Next returns the next record that is not empty. The slice is valid until the
// following call. At the end of the stream the error is io.EOF; inside a frame
// it is io.ErrUnexpectedEOF. After an error every call returns that error: the
// stream cannot be put back in step.
func (r *Reader) Next() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	rec, err := r.next()
	r.err = err
	return rec, err
}

func (r *Reader) next() ([]byte, error) {
	for {
		n, err := r.length()
		if err != nil {
			return nil, err
		}
		if n > r.max {
			return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, n, r.max)
		}
		if n > 0 {
			return r.body(n)
		}
	}
}

func (r *Reader) length() (int, error) {
	n, digits := 0, 0
	for {
		c, err := r.r.ReadByte()
		if err == io.EOF && digits > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		switch {
		case c == '\n' && digits > 0:
			return n, nil
		case c < '0' || c > '9':
			return 0, fmt.Errorf("%w: unexpected byte %q", ErrBadLength, c)
		case digits == maxDigits:
			return 0, fmt.Errorf("%w: more than %d digits", ErrBadLength, maxDigits)
		}
		digits++
		if n <= r.max { // Past the limit the value no longer matters, and must not wrap.
			n = n*10 + int(c-'0')
		}
	}
}

func (r *Reader) body(n int) ([]byte, error) {
	if cap(r.buf) > chunk && n <= chunk {
		r.buf = nil // Do not keep the memory of one large record for ever.
	}
	b := r.buf[:0]
	for len(b) < n {
		have := len(b)
		b = append(b, make([]byte, min(n-have, chunk))...)
		if _, err := io.ReadFull(r.r, b[have:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	r.buf = b
	return b, nil
}
