package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Milli is a number of thousandths, so that 1500 is one and a half. CPUs are counted in it. In JSON it is a plain number (1.5).
type Milli int64

// Bytes is a size in bytes. JSON takes a number or text such as "64Mi" and gives a number.
type Bytes int64

// Duration is a span of time that is text in JSON, such as "1m30s".
type Duration time.Duration

// Sizes in bytes.
const (
	KiB Bytes = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

// maxQuantity bounds every amount, so that sums of them cannot overflow.
const maxQuantity = 1 << 50

// ParseMilli reads a decimal number with at most three decimals, such as "0.25". It refuses signs, exponents, NaN and
// infinities.
func ParseMilli(s string) (Milli, error) {
	whole, frac, _ := strings.Cut(s, ".")
	if len(frac) > 3 {
		if strings.Trim(frac[3:], "0") != "" {
			return 0, fmt.Errorf("%s has more than three decimals", Quote(s))
		}
		frac = frac[:3]
	}
	if whole == "" && frac == "" || strings.Trim(whole+frac, "0123456789") != "" {
		return 0, fmt.Errorf("%s is not a number such as 0.5 or 2", Quote(s))
	}
	n, err := strconv.ParseInt(whole+(frac + "000")[:3], 10, 64)
	if err != nil || n > maxQuantity {
		return 0, fmt.Errorf("%s is too large", Quote(s))
	}
	return Milli(n), nil
}

// String gives the number without trailing zeros.
func (m Milli) String() string {
	s := strconv.FormatFloat(float64(m)/1000, 'f', 3, 64)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// MarshalJSON implements [json.Marshaler].
func (m Milli) MarshalJSON() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalJSON implements [json.Unmarshaler].
func (m *Milli) UnmarshalJSON(b []byte) error {
	v, err := ParseMilli(strings.Trim(string(b), `"`))
	if err != nil {
		return err
	}
	*m = v
	return nil
}

var byteUnits = []struct {
	suffix string
	size   Bytes
}{
	{"Ki", KiB},
	{"Mi", MiB},
	{"Gi", GiB},
	{"Ti", TiB},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"K", KiB},
	{"M", MiB},
	{"G", GiB},
	{"T", TiB},
	{"k", KiB},
	{"m", MiB},
	{"g", GiB},
	{"B", 1},
	{"", 1},
}

// ParseBytes reads a size such as "64Mi", "1.5G" or "4096". K, M, G and T alone mean the powers of 1024, as for docker.
func ParseBytes(s string) (Bytes, error) {
	t := s
	if strings.HasSuffix(t, "iB") {
		t = strings.TrimSuffix(t, "B")
	}
	for _, u := range byteUnits {
		num, ok := strings.CutSuffix(t, u.suffix)
		if !ok || num == "" || strings.Trim(num, "0123456789.") != "" {
			continue
		}
		f, err := strconv.ParseFloat(num, 64)
		if err != nil {
			break
		}
		if f*float64(u.size) > maxQuantity {
			return 0, fmt.Errorf("%s is too large", Quote(s))
		}
		return Bytes(math.Round(f * float64(u.size))), nil
	}
	return 0, fmt.Errorf("%s is not a size such as 64Mi or 1Gi", Quote(s))
}

// String gives the size in the largest binary unit that keeps it short: "64Mi", "1.5Gi", "100".
func (b Bytes) String() string {
	for _, u := range []struct {
		suffix string
		size   Bytes
	}{{"Ti", TiB}, {"Gi", GiB}, {"Mi", MiB}, {"Ki", KiB}} {
		if b >= u.size {
			s := strconv.FormatFloat(float64(b)/float64(u.size), 'f', 1, 64)
			return strings.TrimSuffix(s, ".0") + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (b *Bytes) UnmarshalJSON(data []byte) error {
	v, err := ParseBytes(strings.Trim(string(data), `"`))
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// ParseDuration reads a span such as "1m30s" or "250ms"; a bare number means seconds. It refuses negative spans and ones
// over ten years.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		secs, ferr := strconv.ParseFloat(s, 64)
		if ferr != nil || strings.Trim(s, "-.0123456789") != "" || math.Abs(secs) > 1e9 {
			return 0, fmt.Errorf("%s is not a duration such as 30s or 1m30s", Quote(s))
		}
		d = time.Duration(secs * float64(time.Second))
	}
	if d < 0 || d > 10*365*24*time.Hour {
		return 0, fmt.Errorf("%s is not between 0 and ten years", Quote(s))
	}
	return Duration(d), nil
}

// D gives the span as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String implements [fmt.Stringer].
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON implements [json.Marshaler].
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON implements [json.Unmarshaler].
func (d *Duration) UnmarshalJSON(b []byte) error {
	v, err := ParseDuration(strings.Trim(string(b), `"`))
	if err != nil {
		return err
	}
	*d = v
	return nil
}
