// Command wordcount counts the lines, words and bytes of stdin, or of the files named as arguments, and
// shows the ten words that come most often.
//
//	wordcount < story.txt
//	wordcount story.txt notes.md
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

// topWords is how many of the most frequent words are shown.
const topWords = 10

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

func run(names []string, stdin io.Reader, stdout io.Writer) error {
	words := make(map[string]int)
	var rows []row
	if len(names) == 0 {
		c, err := count(stdin, words)
		if err != nil {
			return err
		}
		rows = append(rows, row{"-", c})
	}
	for _, name := range names {
		c, err := countFile(name, words)
		if err != nil {
			return err
		}
		rows = append(rows, row{name, c})
	}

	out := bufio.NewWriter(stdout)
	report(out, rows, top(words, topWords))
	return out.Flush()
}

func countFile(name string, words map[string]int) (counts, error) {
	f, err := os.Open(name)
	if err != nil {
		return counts{}, err
	}
	defer f.Close()
	return count(f, words)
}
