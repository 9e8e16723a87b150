package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// headerLen is a frame's header: four bytes of body length, big endian, and one of type.
const headerLen = 5

// MaxFrame is the longest body of a frame, in bytes.
const MaxFrame = 16 << 20

// maxQueued is how much may wait to be written before Send blocks.
const maxQueued = 8 << 20

// ErrFrameTooLarge says that a peer announced, or a caller sent, a frame over [MaxFrame].
var ErrFrameTooLarge = errors.New("frame too large")

// Type tells what a frame's body is. Each protocol on a wire has its own.
type Type uint8

// Conn sends and receives frames on a stream. Send may be called by many goroutines at once; Recv by one. What is sent while
// a write is under way goes out together in the next one, without a goroutine of its own.
type Conn struct {
	rw  io.ReadWriteCloser
	r   *bufio.Reader
	hdr [headerLen]byte

	mu      sync.Mutex
	room    sync.Cond // queued has shrunk, or err is set
	queued  []byte    // frames that wait
	spare   []byte    // the buffer that was written last
	writing bool
	err     error // set once, by the first write that failed or by Close
}

// NewConn makes a Conn that owns rw.
func NewConn(rw io.ReadWriteCloser) *Conn {
	c := &Conn{rw: rw, r: bufio.NewReaderSize(rw, 64<<10)}
	c.room.L = &c.mu
	return c
}

// Send encodes v as the body of a frame of type t and writes it, or leaves it to the write that is under way. A nil error does
// not say that the peer has it. Send blocks while the peer is far behind. After an error the connection is of no use.
func (c *Conn) Send(t Type, v any) error {
	body, err := Marshal(v)
	if err != nil {
		return err
	}
	return c.SendRaw(t, body)
}

// SendRaw is [Conn.Send] for a body that is encoded already. It copies body.
func (c *Conn) SendRaw(t Type, body []byte) error {
	if len(body) > MaxFrame {
		return fmt.Errorf("send frame of type %d and %d bytes: %w", t, len(body), ErrFrameTooLarge)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queued) > maxQueued && c.err == nil {
		c.room.Wait()
	}
	if c.err != nil {
		return c.err
	}
	c.queued = appendHeader(c.queued, t, len(body))
	c.queued = append(c.queued, body...)
	if c.writing {
		return nil
	}
	c.writing = true
	for len(c.queued) > 0 && c.err == nil {
		out := c.queued
		c.queued, c.spare = c.spare[:0], nil
		c.mu.Unlock()
		_, err := c.rw.Write(out)
		c.mu.Lock()
		if cap(out) <= 1<<20 {
			c.spare = out
		}
		if err != nil && c.err == nil {
			c.err = fmt.Errorf("write frames: %w", err)
		}
		c.room.Broadcast()
	}
	c.writing = false
	return c.err
}

func appendHeader(b []byte, t Type, n int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	return append(b, byte(t))
}

// Recv reads the next frame. The body is the caller's to keep. It gives io.EOF when the peer has closed between two frames.
func (c *Conn) Recv() (Type, []byte, error) { return readFrame(c.r, c.hdr[:]) }

// Buffered reports whether another frame, or a part of one, has arrived already, so that answers may be held back to go
// together.
func (c *Conn) Buffered() bool { return c.r.Buffered() > 0 }

func readFrame(r io.Reader, hdr []byte) (Type, []byte, error) {
	if _, err := io.ReadFull(r, hdr); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(hdr)
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("receive frame of %d bytes: %w", n, ErrFrameTooLarge)
	}
	body, err := readBody(r, int(n))
	if err != nil {
		return 0, nil, err
	}
	return Type(hdr[4]), body, nil
}

// readBody reads n bytes without trusting n: memory grows with what has arrived.
func readBody(r io.Reader, n int) ([]byte, error) {
	const step = 256 << 10
	body := make([]byte, min(n, step))
	for got := 0; ; {
		m, err := io.ReadFull(r, body[got:])
		got += m
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil || got == n {
			return body, err
		}
		body = append(body, make([]byte, min(n-got, len(body)))...)
	}
}

// Close closes the stream. Recv and every blocked Send return. It may be called more than once and by any goroutine.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.err == nil {
		c.err = io.ErrClosedPipe
	}
	c.room.Broadcast()
	c.mu.Unlock()
	return c.rw.Close()
}
