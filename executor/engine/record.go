package engine

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// What a recording holds: the kind of each question, and the answer.
const (
	askedWalltime byte = iota + 1 // varint seconds, varint nanoseconds
	askedNanotime                 // varint nanoseconds
	askedRandom                   // uvarint length, bytes
	askedSleep                    // varint nanoseconds
)

// recordHeader begins every recording.
const recordHeader = "saki record 1\n"

// maxAnswer bounds the randomness that is read back at a time.
const maxAnswer = 64 << 20

// ErrDiverged says that a guest has asked for something else than when it was recorded, or for more.
var ErrDiverged = errors.New("the run differs from what was recorded")

// Recorder is a [World] that writes down what another one gives. When it cannot write any more, the world goes on without.
type Recorder struct {
	of   World
	to   *bufio.Writer
	left int64 // bytes
	buf  []byte
	err  error
}

var _ World = (*Recorder)(nil)

// NewRecorder makes a recorder that writes at most so many bytes.
func NewRecorder(of World, to io.Writer, most int64) *Recorder {
	r := &Recorder{of: of, to: bufio.NewWriter(to), left: most}
	r.write([]byte(recordHeader))
	return r
}

// Close writes what is left. The error is the first that there was: with one, the recording is not whole.
func (r *Recorder) Close() error { return errors.Join(r.err, r.to.Flush()) }

func (r *Recorder) write(b []byte) {
	if r.err != nil {
		return
	}
	if r.left -= int64(len(b)); r.left < 0 {
		r.err = errors.New("the recording is too long")
		return
	}
	_, r.err = r.to.Write(b)
}

func (r *Recorder) note(kind byte, vals ...int64) {
	r.buf = append(r.buf[:0], kind)
	for _, v := range vals {
		r.buf = binary.AppendVarint(r.buf, v)
	}
	r.write(r.buf)
}

// Walltime implements [World].
func (r *Recorder) Walltime() (sec int64, nsec int32) {
	sec, nsec = r.of.Walltime()
	r.note(askedWalltime, sec, int64(nsec))
	return sec, nsec
}

// Nanotime implements [World].
func (r *Recorder) Nanotime() int64 {
	ns := r.of.Nanotime()
	r.note(askedNanotime, ns)
	return ns
}

// Sleep implements [World].
func (r *Recorder) Sleep(ctx context.Context, ns int64) {
	r.of.Sleep(ctx, ns)
	r.note(askedSleep, ns)
}

// Read implements [World].
func (r *Recorder) Read(p []byte) (int, error) {
	n, err := r.of.Read(p)
	r.buf = binary.AppendUvarint(append(r.buf[:0], askedRandom), uint64(n))
	r.write(append(r.buf, p[:n]...))
	return n, err
}

// Replayer is a [World] that gives what a [Recorder] has written, and takes no time for it. When the guest asks for something
// else it is given zeros, and Err says so.
type Replayer struct {
	from *bufio.Reader
	err  error
}

var _ World = (*Replayer)(nil)

// NewReplayer makes a replayer. The error says that it is not a recording.
func NewReplayer(from io.Reader) (*Replayer, error) {
	r := &Replayer{from: bufio.NewReader(from)}
	head := make([]byte, len(recordHeader))
	if _, err := io.ReadFull(r.from, head); err != nil || string(head) != recordHeader {
		return nil, fmt.Errorf("not a recording of this version: %w", errors.Join(err, ErrDiverged))
	}
	return r, nil
}

// Err tells whether the guest has asked for what was recorded. The error is, or wraps, [ErrDiverged].
func (r *Replayer) Err() error { return r.err }

// next reads the kind of the next answer, and whether it is the one that is wanted.
func (r *Replayer) next(kind byte) bool {
	if r.err != nil {
		return false
	}
	got, err := r.from.ReadByte()
	if err != nil || got != kind {
		r.err = fmt.Errorf("%w: asked for %d, recorded %d", ErrDiverged, kind, got)
	}
	return r.err == nil
}

func (r *Replayer) varint() int64 {
	v, err := binary.ReadVarint(r.from)
	if err != nil {
		r.err = fmt.Errorf("%w: the recording is cut", ErrDiverged)
	}
	return v
}

// Walltime implements [World].
func (r *Replayer) Walltime() (sec int64, nsec int32) {
	if !r.next(askedWalltime) {
		return 0, 0
	}
	return r.varint(), int32(r.varint())
}

// Nanotime implements [World].
func (r *Replayer) Nanotime() int64 {
	if !r.next(askedNanotime) {
		return 0
	}
	return r.varint()
}

// Sleep implements [World].
func (r *Replayer) Sleep(_ context.Context, ns int64) {
	if r.next(askedSleep) && r.varint() != ns && r.err == nil {
		r.err = fmt.Errorf("%w: it sleeps for another time", ErrDiverged)
	}
}

// Read implements [World].
func (r *Replayer) Read(p []byte) (int, error) {
	clear(p)
	if !r.next(askedRandom) {
		return len(p), nil
	}
	n, err := binary.ReadUvarint(r.from)
	if err != nil || n > maxAnswer || n != uint64(len(p)) {
		r.err = fmt.Errorf("%w: it asks for %d random bytes, recorded %d", ErrDiverged, len(p), n)
		return len(p), nil
	}
	if _, err := io.ReadFull(r.from, p); err != nil {
		clear(p)
		r.err = fmt.Errorf("%w: the recording is cut", ErrDiverged)
	}
	return len(p), nil
}

// Real is the [World] of the machine.
type Real struct{ began time.Time }

var _ World = Real{}

// NewReal makes the machine's world. Its monotonic clock begins at now.
func NewReal(now time.Time) Real { return Real{now} }

// Walltime implements [World].
func (Real) Walltime() (sec int64, nsec int32) {
	now := time.Now() //nolint:forbidigo // the guest's clock
	return now.Unix(), int32(now.Nanosecond())
}

// Nanotime implements [World].
func (r Real) Nanotime() int64 { return time.Since(r.began).Nanoseconds() } //nolint:forbidigo // the guest's clock

// Sleep implements [World].
func (Real) Sleep(ctx context.Context, ns int64) { sleeper(ctx)(ns) }

// Read implements [World].
func (Real) Read(p []byte) (int, error) { return rand.Read(p) }
