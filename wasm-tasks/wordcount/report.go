package main

import (
	"fmt"
	"io"
	"strconv"
)

// A row is one line of the first table.
type row struct {
	name string
	counts
}

// report writes two tables: the counts of each input, with their sum when there are several, and the most
// frequent words. Errors are left to w: give it a bufio.Writer and look at Flush.
func report(w io.Writer, rows []row, most []frequency) {
	if len(rows) > 1 {
		total := row{name: "total"}
		for _, r := range rows {
			total.add(r.counts)
		}
		rows = append(rows, total)
	}
	lines, words, bytes := len("lines"), len("words"), len("bytes")
	for _, r := range rows {
		lines = max(lines, digits(r.lines))
		words = max(words, digits(r.words))
		bytes = max(bytes, digits(r.bytes))
	}
	fmt.Fprintf(w, "%*s  %*s  %*s  file\n", lines, "lines", words, "words", bytes, "bytes")
	for _, r := range rows {
		fmt.Fprintf(w, "%*d  %*d  %*d  %s\n", lines, r.lines, words, r.words, bytes, r.bytes, r.name)
	}

	if len(most) == 0 {
		return
	}
	count := max(len("count"), digits(int64(most[0].count)))
	fmt.Fprintf(w, "\n%*s  word\n", count, "count")
	for _, f := range most {
		fmt.Fprintf(w, "%*d  %s\n", count, f.count, f.word)
	}
}

func digits(n int64) int { return len(strconv.FormatInt(n, 10)) }
