package main

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"slices"
	"unicode"
)

// maxKey is the length in bytes above which a word is counted but not remembered, so that input without
// spaces does not fill the memory.
const maxKey = 128

// counts are what wc counts: newlines, runs of characters between white space, and bytes.
type counts struct{ lines, words, bytes int64 }

func (c *counts) add(d counts) {
	c.lines += d.lines
	c.words += d.words
	c.bytes += d.bytes
}

// count reads r to its end and adds each word to words, in lower case and without the punctuation around it.
// A word that is nothing but punctuation is counted but not added.
func count(r io.Reader, words map[string]int) (counts, error) {
	var c counts
	var w word
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		char, size, err := in.ReadRune()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return c, err
		}
		c.bytes += int64(size)
		if char == '\n' {
			c.lines++
		}
		if !unicode.IsSpace(char) {
			w.add(char)
			continue
		}
		c.words += w.end(words)
	}
	c.words += w.end(words)
	return c, nil
}

// A word is a word that is being read.
type word struct {
	begun bool
	key   []byte // from the first letter or digit on, in lower case
	core  int    // length of key up to its last letter or digit
}

func (w *word) add(char rune) {
	w.begun = true
	letter := unicode.IsLetter(char) || unicode.IsDigit(char) || unicode.IsMark(char)
	if !letter && len(w.key) == 0 || len(w.key) > maxKey {
		return
	}
	w.key = append(w.key, string(unicode.ToLower(char))...)
	if letter {
		w.core = len(w.key)
	}
}

// end adds the word to words, makes w ready for the next and returns how many words have ended: 0 or 1.
func (w *word) end(words map[string]int) int64 {
	if !w.begun {
		return 0
	}
	if w.core > 0 && len(w.key) <= maxKey {
		words[string(w.key[:w.core])]++
	}
	*w = word{key: w.key[:0]}
	return 1
}

// A frequency says how often a word was seen.
type frequency struct {
	word  string
	count int
}

// top returns the n most frequent words, the most frequent first, equals in the order of the alphabet.
func top(words map[string]int, n int) []frequency {
	all := make([]frequency, 0, len(words))
	for w, c := range words {
		all = append(all, frequency{w, c})
	}
	slices.SortFunc(all, func(a, b frequency) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.word, b.word))
	})
	return all[:min(n, len(all))]
}
