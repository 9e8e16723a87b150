package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type message struct {
	ID   string            `json:"id"`
	N    int64             `json:"n"`
	At   time.Time         `json:"at,omitzero"`
	Tags map[string]string `json:"tags,omitempty"`
}

func TestEqualValuesMakeEqualBytes(t *testing.T) {
	m := message{ID: "a", Tags: map[string]string{}}
	for i := range 50 {
		m.Tags[fmt.Sprint("k", i)] = "v"
	}
	first, err := Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, _ := Marshal(m)
		if !bytes.Equal(first, again) {
			t.Fatal("the same value was encoded in two ways")
		}
	}
}

func TestTimesKeepTheirNanoseconds(t *testing.T) {
	want := message{At: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)}
	b, err := Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got message
	if err := Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestFramesOfManySendersArriveWhole(t *testing.T) {
	a, b := net.Pipe()
	from, to := NewConn(a), NewConn(b)
	defer from.Close()
	defer to.Close()
	const senders, each = 8, 500
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				if err := from.Send(Type(s), message{ID: fmt.Sprint(s), N: int64(i)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	next := make([]int64, senders)
	for range senders * each {
		typ, body, err := to.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var m message
		if err := Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		if m.ID != fmt.Sprint(typ) || m.N != next[typ] {
			t.Fatalf("sender %d: got %+v, want number %d", typ, m, next[typ])
		}
		next[typ]++
	}
	wg.Wait()
}

func TestABlockedSendEndsWithClose(t *testing.T) {
	a, _ := net.Pipe() // nobody reads
	c := NewConn(a)
	done := make(chan error, 3)
	for range 3 {
		go func() {
			for {
				if err := c.SendRaw(1, make([]byte, MaxFrame)); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	c.Close()
	for range 3 {
		if err := <-done; err == nil {
			t.Fatal("send on a closed connection succeeded")
		}
	}
}

func TestAFrameOverTheLimitIsRefused(t *testing.T) {
	c := NewConn(&stream{})
	if err := c.SendRaw(1, make([]byte, MaxFrame+1)); !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("send: got %v", err)
	}
	huge := NewConn(&stream{in: bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 1})})
	if _, _, err := huge.Recv(); !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("receive: got %v", err)
	}
}

func TestATruncatedFrameIsAnError(t *testing.T) {
	c := NewConn(&stream{in: bytes.NewReader([]byte{0, 0, 0, 9, 1, 'x'})})
	if _, _, err := c.Recv(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want unexpected EOF", err)
	}
}

type stream struct {
	in  io.Reader
	out bytes.Buffer
}

func (s *stream) Read(b []byte) (int, error) {
	if s.in == nil {
		return 0, io.EOF
	}
	return s.in.Read(b)
}
func (s *stream) Write(b []byte) (int, error) { return s.out.Write(b) }
func (s *stream) Close() error                { return nil }

func FuzzRecv(f *testing.F) {
	var good stream
	c := NewConn(&good)
	_ = c.Send(3, message{ID: "x", N: 1})
	f.Add(good.out.Bytes())
	f.Add([]byte{0, 0, 0, 0, 7})
	f.Fuzz(func(_ *testing.T, b []byte) {
		c := NewConn(&stream{in: bytes.NewReader(b)})
		for {
			_, body, err := c.Recv()
			if err != nil {
				return
			}
			var m message
			_ = Unmarshal(body, &m)
			var v any
			_ = Unmarshal(body, &v)
		}
	})
}

func BenchmarkSendRecv(b *testing.B) {
	x, y := net.Pipe()
	from, to := NewConn(x), NewConn(y)
	go func() {
		for {
			if _, _, err := to.Recv(); err != nil {
				return
			}
		}
	}()
	m := message{ID: "0123456789ab", N: 42}
	b.ReportAllocs()
	for b.Loop() {
		if err := from.Send(1, m); err != nil {
			b.Fatal(err)
		}
	}
	from.Close()
}
