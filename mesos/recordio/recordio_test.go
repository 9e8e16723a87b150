package recordio

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// pieces records what each Write call carried.
type pieces []string

func (p *pieces) Write(b []byte) (int, error) {
	*p = append(*p, string(b))
	return len(b), nil
}

func TestEachRecordIsOneWrite(t *testing.T) {
	var got pieces
	w := NewWriter(&got)
	for _, r := range []string{`{"type":"HEARTBEAT"}`, "", "a\nb"} {
		if err := w.Write([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	want := pieces{"20\n{\"type\":\"HEARTBEAT\"}", "3\na\nb"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

type short struct{}

func (short) Write(b []byte) (int, error) { return len(b) - 1, nil }

func TestWriterReportsFailures(t *testing.T) {
	if err := NewWriter(short{}).Write([]byte("x")); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v, want a short write", err)
	}
	_, pw := io.Pipe()
	cause := errors.New("gone")
	pw.CloseWithError(cause)
	if err := NewWriter(pw).Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want a closed pipe", err)
	}
}

func TestReader(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		max      int
		want     []string
		err      error
	}{
		{name: "nothing", err: io.EOF},
		{name: "two records", in: "1\na2\nbc", want: []string{"a", "bc"}, err: io.EOF},
		{name: "empty records are skipped", in: "0\n0\n1\na0\n", want: []string{"a"}, err: io.EOF},
		{name: "leading zeros", in: "0003\nabc", want: []string{"abc"}, err: io.EOF},
		{name: "newlines inside", in: "3\na\nb", want: []string{"a\nb"}, err: io.EOF},
		{name: "cut in the length", in: "1", err: io.ErrUnexpectedEOF},
		{name: "cut before the body", in: "1\n", err: io.ErrUnexpectedEOF},
		{name: "cut in the body", in: "2\na", err: io.ErrUnexpectedEOF},
		{name: "no length", in: "\na", err: ErrBadLength},
		{name: "sign", in: "+1\na", err: ErrBadLength},
		{name: "negative", in: "-1\na", err: ErrBadLength},
		{name: "space", in: "1 \na", err: ErrBadLength},
		{name: "not a number", in: "{}", err: ErrBadLength},
		{name: "too many digits", in: strings.Repeat("0", 20) + "\n", err: ErrBadLength},
		{name: "as long as allowed", in: "3\nabc", max: 3, want: []string{"abc"}, err: io.EOF},
		{name: "longer than allowed", in: "4\nabcd", max: 3, err: ErrTooLong},
		{name: "length that would wrap", in: "9999999999999999999\n", max: 3, err: ErrTooLong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(tc.in), iotest.OneByteReader(strings.NewReader(tc.in))} {
				r := NewReader(in, tc.max)
				var got []string
				var err error
				for {
					var b []byte
					if b, err = r.Next(); err != nil {
						break
					}
					got = append(got, string(b))
				}
				if !slices.Equal(got, tc.want) || !errors.Is(err, tc.err) {
					t.Errorf("got %q, %v; want %q, %v", got, err, tc.want, tc.err)
				}
				if _, again := r.Next(); again != err {
					t.Errorf("after the end got %v, want %v again", again, err)
				}
			}
		})
	}
}

func TestReaderPassesReadErrors(t *testing.T) {
	cause := errors.New("cable cut")
	r := NewReader(io.MultiReader(strings.NewReader("5\nab"), iotest.ErrReader(cause)), 0)
	if _, err := r.Next(); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

func TestClaimedLengthCostsLittle(t *testing.T) {
	got := testing.AllocsPerRun(10, func() {
		r := NewReader(strings.NewReader("4000000\nabc"), 0)
		if _, err := r.Next(); err != io.ErrUnexpectedEOF {
			t.Fatalf("got %v", err)
		}
		if cap(r.buf) > 2*chunk {
			t.Fatalf("%d bytes were set aside for 3", cap(r.buf))
		}
	})
	if got > 20 {
		t.Errorf("%v allocations", got)
	}
}

func TestLargeRecord(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 100_000)
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, rec := range [][]byte{want, []byte("x"), want} {
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(&b, 0)
	for _, rec := range [][]byte{want, []byte("x"), want} {
		got, err := r.Next()
		if err != nil || !bytes.Equal(got, rec) {
			t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(rec))
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, s := range []string{"", "1\na2\nbc", "0\n", "9999999999999999999\n", "3\na", "x"} {
		f.Add([]byte(s), 16)
	}
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		limit = limit%1024 + 1025
		r := NewReader(bytes.NewReader(in), limit)
		var out []byte
		for {
			rec, err := r.Next()
			if err != nil {
				break
			}
			if len(rec) == 0 || len(rec) > limit {
				t.Fatalf("record of %d bytes, at most %d allowed", len(rec), limit)
			}
			out = Append(out, rec)
		}
		// What was read, written again, reads the same.
		again := NewReader(bytes.NewReader(out), limit)
		var twice []byte
		for {
			rec, err := again.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("own output does not read: %v", err)
			}
			twice = Append(twice, rec)
		}
		if !bytes.Equal(out, twice) {
			t.Fatalf("wrote %q, read %q", out, twice)
		}
	})
}
