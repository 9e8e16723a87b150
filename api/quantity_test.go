package api

import (
	"encoding/json"
	"testing"
	"time"
)

func TestParseMilli(t *testing.T) {
	for in, want := range map[string]Milli{"0": 0, "1": 1000, "0.5": 500, ".25": 250, "2.": 2000, "0.0010": 1, "1024": 1024000, "007": 7000} {
		if got, err := ParseMilli(in); err != nil || got != want {
			t.Errorf("ParseMilli(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", ".", "-1", "+1", "1e3", "NaN", "Inf", "0x1", "1.0001", "1.2.3", " 1", "1 ", "99999999999999999999", "1125899906842.625", "½"} {
		if got, err := ParseMilli(in); err == nil {
			t.Errorf("ParseMilli(%q) = %d, want an error", in, got)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for in, want := range map[string]Bytes{
		"0": 0, "4096": 4096, "64Mi": 64 * MiB, "64MiB": 64 * MiB, "1.5G": 3 * GiB / 2, "1k": KiB, "1KB": 1000, "2Ti": 2 * TiB, "10B": 10, "0.5Ki": 512,
	} {
		if got, err := ParseBytes(in); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-1", "+1", "Mi", "1Zi", "1e9", "NaN", "Inf", "1.2.3Mi", ".", "1 Mi", "64mI", "99999999Ti", "1iB", "0x10"} {
		if got, err := ParseBytes(in); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", in, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]Duration{
		"0": 0, "30": Duration(30 * time.Second), "1.5": Duration(1500 * time.Millisecond), "1m30s": Duration(90 * time.Second), "250ms": Duration(250 * time.Millisecond),
	} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-1", "-5s", "NaN", "Inf", "1e300", "1e10", "9e9", "100000h", "1d", "soon", "0x1p4", "1_0"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %s, want an error", in, got)
		}
	}
}

func TestQuantitiesAsText(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Milli(1500).String(), "1.5"},
		{Milli(20).String(), "0.02"},
		{Milli(0).String(), "0"},
		{Milli(-500).String(), "-0.5"},
		{Bytes(100).String(), "100"},
		{(64 * MiB).String(), "64Mi"},
		{(3 * GiB / 2).String(), "1.5Gi"},
		{Duration(90 * time.Second).String(), "1m30s"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestQuantitiesInJSON(t *testing.T) {
	type all struct {
		CPUs Milli
		Mem  Bytes
		Time Duration
	}
	var got all
	if err := json.Unmarshal([]byte(`{"CPUs":0.5,"Mem":"64Mi","Time":"1m"}`), &got); err != nil {
		t.Fatal(err)
	}
	if want := (all{500, 64 * MiB, Duration(time.Minute)}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if b, err := json.Marshal(got); err != nil || string(b) != `{"CPUs":0.5,"Mem":67108864,"Time":"1m0s"}` {
		t.Errorf("got %s, %v", b, err)
	}
}

// FuzzQuantities checks that what is read is in bounds, and reads the same from its text where that is exact.
func FuzzQuantities(f *testing.F) {
	for _, s := range []string{"0.5", "64Mi", "1.5GiB", "1m30s", "-1", "NaN", "1e308", "9.999", "1125899906842624"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := ParseMilli(s); err == nil {
			if again, err := ParseMilli(m.String()); err != nil || again != m || m < 0 || m > maxQuantity {
				t.Errorf("ParseMilli(%q) = %d, which reads as %d, %v", s, m, again, err)
			}
		}
		if b, err := ParseBytes(s); err == nil {
			if _, err := ParseBytes(b.String()); err != nil || b < 0 || b > maxQuantity {
				t.Errorf("ParseBytes(%q) = %d, which reads with %v", s, b, err)
			}
		}
		if d, err := ParseDuration(s); err == nil {
			if again, err := ParseDuration(d.String()); err != nil || again != d || d < 0 {
				t.Errorf("ParseDuration(%q) = %d, which reads as %d, %v", s, d, again, err)
			}
		}
	})
}
