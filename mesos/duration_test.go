package mesos

import (
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
)

func TestDurationText(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0ns": 0, "1ns": 1, "2us": 2 * time.Microsecond, "1500ms": 1500 * time.Millisecond, "5secs": 5 * time.Second,
		"90secs": 90 * time.Second, "15mins": 15 * time.Minute, "6hrs": 6 * time.Hour, "2days": 48 * time.Hour, "1weeks": 168 * time.Hour,
		"-3secs": -3 * time.Second, "9223372036854775807ns": math.MaxInt64, "-9223372036854775808ns": math.MinInt64,
	} {
		if got := DurationText(d); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, err := ParseDuration(want); err != nil || got != d {
			t.Errorf("%s: got %v, %v; want %v", want, got, err, d)
		}
	}
	for in, want := range map[string]time.Duration{"1.5secs": 1500 * time.Millisecond, "0secs": 0, "0.5weeks": 84 * time.Hour, "+1mins": time.Minute} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "5", "secs", "5s", "1 secs", "1e3secs", "0x1secs", "Infsecs", "99999999999weeks", "9223372036854775808ns", "1mins30secs"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q: got %v", in, got)
		}
	}
}

func TestRefusal(t *testing.T) {
	for _, tc := range []struct {
		in   *Filters
		want time.Duration
	}{
		{nil, 5 * time.Second},
		{&Filters{}, 5 * time.Second},
		{&Filters{RefuseSeconds: proto.Float64(0)}, 0},
		{&Filters{RefuseSeconds: new(4.5)}, 4500 * time.Millisecond},
		{&Filters{RefuseSeconds: proto.Float64(-1)}, 5 * time.Second},
		{&Filters{RefuseSeconds: new(math.NaN())}, 5 * time.Second},
		{&Filters{RefuseSeconds: new(1e18)}, 365 * 24 * time.Hour},
		{&Filters{RefuseSeconds: new(math.Inf(1))}, 365 * 24 * time.Hour},
	} {
		if got := tc.in.Refusal(); got != tc.want {
			t.Errorf("%v: got %v, want %v", tc.in, got, tc.want)
		}
	}
}

func TestTimesAndAddresses(t *testing.T) {
	if got := NewDuration(time.Second).GetNanoseconds(); got != 1e9 {
		t.Errorf("got %d", got)
	}
	if got := NewTime(time.Unix(2, 3)).GetNanoseconds(); got != 2e9+3 {
		t.Errorf("got %d", got)
	}
	if got := PackIPv4([4]byte{127, 0, 0, 1}); got != 16777343 {
		t.Errorf("got %d", got)
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"15mins", "1.5secs", "-0.1us", "9223372036854775807ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		d, err := ParseDuration(in)
		if err != nil {
			return
		}
		if again, err := ParseDuration(DurationText(d)); err != nil || again != d {
			t.Fatalf("%q is %v, printed and read %v, %v", in, d, again, err)
		}
	})
}
