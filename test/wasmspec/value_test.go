package wasmspec

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// bits returns a value the way the engine passes it: one word, or two for a vector.
func (v value) bits() ([]uint64, error) {
	if v.Type == "v128" {
		var lanes []string
		if err := json.Unmarshal(v.Value, &lanes); err != nil {
			return nil, err
		}
		return packLanes(lanes, v.Lane)
	}
	var s string
	if err := json.Unmarshal(v.Value, &s); err != nil {
		return nil, err
	}
	switch {
	case s == "null":
		return []uint64{0}, nil
	case v.Type == "externref":
		n, err := strconv.ParseUint(s, 10, 64)
		return []uint64{n + 1}, err
	}
	w, err := parseWord(s, v.Type)
	return []uint64{w}, err
}

func parseWord(s, typ string) (uint64, error) {
	if strings.HasPrefix(s, "nan") {
		if typ == "f32" {
			return 0x7fc00000, nil
		}
		return 0x7ff8 << 48, nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if typ == "i32" {
		return uint64(uint32(n)), err
	}
	return uint64(n), err
}

func packLanes(lanes []string, typ string) ([]uint64, error) {
	size := 128 / len(lanes)
	words := []uint64{0, 0}
	for i, lane := range lanes {
		w, err := parseWord(lane, typ)
		if err != nil {
			return nil, err
		}
		if size < 64 {
			w &= 1<<size - 1
		}
		words[i*size/64] |= w << (i * size % 64)
	}
	return words, nil
}

// matches reports whether the engine's answer is the expected one. NaNs of the kind "nan:canonical" match any quiet NaN.
func matches(want []value, got []uint64) (bool, error) {
	for _, w := range want {
		words, err := w.bits()
		if err != nil {
			return false, err
		}
		if len(got) < len(words) {
			return false, fmt.Errorf("too few results")
		}
		if !sameValue(w, words, got[:len(words)]) {
			return false, nil
		}
		got = got[len(words):]
	}
	return len(got) == 0, nil
}

func sameValue(v value, want, got []uint64) bool {
	nan := strings.Contains(string(v.Value), "nan:")
	switch {
	case v.Type == "v128" && nan:
		return sameLanes(v, got)
	case v.Type == "f32" && nan:
		return math.IsNaN(float64(math.Float32frombits(uint32(got[0]))))
	case v.Type == "f64" && nan:
		return math.IsNaN(math.Float64frombits(got[0]))
	case v.Type == "i32" || v.Type == "f32":
		return uint32(want[0]) == uint32(got[0])
	case v.Type == "funcref":
		return (want[0] == 0) == (got[0] == 0)
	}
	for i := range want {
		if want[i] != got[i] {
			return false
		}
	}
	return true
}

func sameLanes(v value, got []uint64) bool {
	var lanes []string
	if json.Unmarshal(v.Value, &lanes) != nil {
		return false
	}
	size := 128 / len(lanes)
	for i, lane := range lanes {
		raw, _ := json.Marshal(lane)
		w, err := parseWord(lane, v.Lane)
		g := got[i*size/64] >> (i * size % 64)
		if size == 32 {
			g &= 1<<32 - 1
		}
		if err != nil || !sameValue(value{Type: v.Lane, Value: raw}, []uint64{w}, []uint64{g}) {
			return false
		}
	}
	return true
}
