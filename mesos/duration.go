package mesos

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var units = []struct {
	name string
	size time.Duration
}{
	{"weeks", 7 * 24 * time.Hour},
	{"days", 24 * time.Hour},
	{"hrs", time.Hour},
	{"mins", time.Minute},
	{"secs", time.Second},
	{"ms", time.Millisecond},
	{"us", time.Microsecond},
	{"ns", 1},
}

// DurationText writes d as Mesos does in flags and in the environment of
// executors, in the largest unit that divides it: "15mins", "5secs", "0ns".
func DurationText(d time.Duration) string {
	for _, u := range units {
		if d != 0 && d%u.size == 0 {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	return "0ns"
}

// ParseDuration reads what DurationText writes, and fractions such as
// "1.5secs".
func ParseDuration(text string) (time.Duration, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= math.MinInt64/int64(u.size) && n <= math.MaxInt64/int64(u.size) {
			return time.Duration(n) * u.size, nil
		}
		f, err := strconv.ParseFloat(number, 64)
		if err != nil || strings.Trim(number, "+-.0123456789") != "" || math.Abs(f)*float64(u.size) >= math.MaxInt64 {
			break
		}
		return time.Duration(math.Round(f * float64(u.size))), nil
	}
	return 0, fmt.Errorf("%q is no duration such as 500ms, 5secs, 15mins, 1hrs, 1days or 1weeks", text)
}

const (
	defaultRefusal = 5 * time.Second
	longestRefusal = 365 * 24 * time.Hour
)

// Refusal is how long what a framework declined is not to be offered to it
// again: refuse_seconds, which is 5 seconds if it is not set or negative and
// 365 days if it is longer. 0 means no filter.
func (x *Filters) Refusal() time.Duration {
	s := x.GetRefuseSeconds()
	switch {
	case !(s >= 0):
		return defaultRefusal
	case s >= longestRefusal.Seconds():
		return longestRefusal
	}
	return time.Duration(s * float64(time.Second))
}

// NewDuration is d as a message.
func NewDuration(d time.Duration) *DurationInfo {
	n := d.Nanoseconds()
	return &DurationInfo{Nanoseconds: &n}
}

// NewTime is t as a message.
func NewTime(t time.Time) *TimeInfo {
	n := t.UnixNano()
	return &TimeInfo{Nanoseconds: &n}
}

// PackIPv4 is an address as MasterInfo.ip holds it: the four bytes in network
// order, read as a number on a little-endian machine. 127.0.0.1 is 16777343.
func PackIPv4(ip [4]byte) uint32 { return binary.LittleEndian.Uint32(ip[:]) }
