package engine

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/saki-run/saki/api"
)

func TestARecordedRunIsReplayed(t *testing.T) {
	e := newEngine(t, Config{Rewrite: meter})
	d := load(t, e, "clock-random")
	run := func(w World) (string, api.Outcome) {
		var stdout bytes.Buffer
		out, err := e.Run(t.Context(), Invocation{Digest: d, Stdout: &stdout, World: w})
		if err != nil || out.State != api.Finished {
			t.Fatalf("got %+v, %v", out, err)
		}
		return stdout.String(), out
	}
	var tape bytes.Buffer
	rec := NewRecorder(NewReal(time.Now()), &tape, 1<<20)
	first, out1 := run(rec)
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	play, err := NewReplayer(bytes.NewReader(tape.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	second, out2 := run(play)
	if second != first || out1.Receipt.Fuel != out2.Receipt.Fuel || play.Err() != nil {
		t.Errorf("recorded %q with fuel %d, replayed %q with %d, %v", first, out1.Receipt.Fuel, second, out2.Receipt.Fuel, play.Err())
	}
	if third, _ := run(NewReal(time.Now())); third == first {
		t.Errorf("the real world repeats itself: %q", third)
	}
	cut, err := NewReplayer(bytes.NewReader(tape.Bytes()[:tape.Len()-3]))
	if err != nil {
		t.Fatal(err)
	}
	if run(cut); !errors.Is(cut.Err(), ErrDiverged) {
		t.Errorf("a cut recording: %v", cut.Err())
	}
}

func TestARecordingThatIsTooLongSaysSoAndHarmsNoGuest(t *testing.T) {
	var tape bytes.Buffer
	r := NewRecorder(NewVirtual([32]byte{}), &tape, 100)
	var p [64]byte
	for range 3 {
		if n, err := r.Read(p[:]); n != len(p) || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	}
	if r.Close() == nil || tape.Len() > 100 {
		t.Errorf("%d bytes were written, and nobody says that it was too much", tape.Len())
	}
}

func FuzzReplayer(f *testing.F) {
	f.Add([]byte(recordHeader + "\x02\x04\x01\x02\x02\x03\x02ab\x04\x06"))
	f.Add([]byte("nothing"))
	f.Fuzz(func(t *testing.T, tape []byte) {
		r, err := NewReplayer(bytes.NewReader(tape))
		if err != nil {
			return
		}
		var p [2]byte
		for range len(tape) {
			r.Nanotime()
			r.Walltime()
			if n, err := r.Read(p[:]); n != 2 || err != nil {
				t.Fatalf("got %d, %v", n, err)
			}
			r.Sleep(t.Context(), 3)
		}
		if !errors.Is(r.Err(), ErrDiverged) {
			t.Errorf("more was asked for than there is: %v", r.Err())
		}
	})
}
