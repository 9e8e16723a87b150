package main

import (
	"errors"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCount(t *testing.T) {
	long := strings.Repeat("x", maxKey)
	tests := []struct {
		name  string
		input string
		want  counts
		words map[string]int
	}{
		{"nothing", "", counts{}, map[string]int{}},
		{"a last line without a newline still has words", "one two\nthree", counts{1, 3, 13}, map[string]int{"one": 1, "two": 1, "three": 1}},
		{"case does not matter", "Sea sea SEA", counts{0, 3, 11}, map[string]int{"sea": 3}},
		{"punctuation around a word is dropped, inside it stays", "“Don't!” (well-known)", counts{0, 2, 25}, map[string]int{"don't": 1, "well-known": 1}},
		{"a dash is a word but not in the table", "a — b", counts{0, 3, 7}, map[string]int{"a": 1, "b": 1}},
		{"other scripts", "Ёлка ёлка 東京\n", counts{1, 3, 25}, map[string]int{"ёлка": 2, "東京": 1}},
		{"all white space separates", "a\tb\r\nc\u00a0d", counts{1, 4, 9}, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1}},
		{"invalid UTF-8 counts its bytes", "ab\xffcd", counts{0, 1, 5}, map[string]int{"ab\ufffdcd": 1}},
		{"the longest word remembered", long, counts{0, 1, maxKey}, map[string]int{long: 1}},
		{"a longer word is counted only", long + "x y", counts{0, 2, maxKey + 3}, map[string]int{"y": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			words := map[string]int{}
			got, err := count(iotest.OneByteReader(strings.NewReader(tt.input)), words)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("count = %+v, want %+v", got, tt.want)
			}
			if !maps.Equal(words, tt.words) {
				t.Errorf("words = %v, want %v", words, tt.words)
			}
		})
	}
}

func TestCountReportsAReadError(t *testing.T) {
	broken := errors.New("broken")
	_, err := count(io.MultiReader(strings.NewReader("a b"), iotest.ErrReader(broken)), map[string]int{})
	if !errors.Is(err, broken) {
		t.Fatalf("err = %v, want %v", err, broken)
	}
}

func TestTopIsSortedByCountThenAlphabet(t *testing.T) {
	got := top(map[string]int{"b": 2, "a": 2, "c": 9, "d": 1}, 3)
	want := []frequency{{"c", 9}, {"a", 2}, {"b", 2}}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

func FuzzCount(f *testing.F) {
	f.Add("one two\nthree")
	f.Add("\xff — x\u0301")
	f.Fuzz(func(t *testing.T, s string) {
		words := map[string]int{}
		got, err := count(strings.NewReader(s), words)
		if err != nil {
			t.Fatal(err)
		}
		want := counts{int64(strings.Count(s, "\n")), int64(len(strings.Fields(s))), int64(len(s))}
		if got != want {
			t.Fatalf("count(%q) = %+v, want %+v", s, got, want)
		}
		var sum int64
		for w, n := range words {
			if w == "" || len(strings.Fields(w)) != 1 {
				t.Fatalf("count(%q) remembers %q", s, w)
			}
			sum += int64(n)
		}
		if sum > got.words {
			t.Fatalf("count(%q) remembers %d words of %d", s, sum, got.words)
		}
	})
}
