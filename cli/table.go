package cli

import (
	"io"
	"strings"
	"unicode/utf8"
)

// style colours text, or leaves it plain.
type style bool

// style gives the style for a stream: colours only for a terminal that wants them.
func (a *app) style(tty bool) style {
	on := tty && a.env.Getenv("TERM") != "dumb" && a.env.Getenv("CLICOLOR") != "0"
	if f := a.env.Getenv("CLICOLOR_FORCE"); f != "" && f != "0" {
		on = true
	}
	return style(on && a.env.Getenv("NO_COLOR") == "")
}

func (s style) wrap(code, text string) string {
	if !s || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(t string) string { return s.wrap("1", t) }
func (s style) dim(t string) string  { return s.wrap("2", t) }
func (s style) bad(t string) string  { return s.wrap("31", t) }
func (s style) good(t string) string { return s.wrap("32", t) }
func (s style) warn(t string) string { return s.wrap("33", t) }

// state colours the words for states of tasks and nodes.
func (s style) state(t string) string {
	switch t {
	case "finished", "ready":
		return s.good(t)
	case "failed", "lost":
		return s.bad(t)
	case "killed", "away", "draining":
		return s.warn(t)
	}
	return t
}

// table is rows of aligned columns. It has no trailing blanks and looks the same in a pipe, but for the colours.
type table struct {
	head  []string
	rows  [][]string
	state int // column that is coloured by state; -1 is none
}

func newTable(stateColumn int, head ...string) *table { return &table{head: head, state: stateColumn} }

func (t *table) row(cells ...string) {
	for i := range cells {
		if cells[i] = clean(cells[i]); cells[i] == "" {
			cells[i] = "-"
		}
	}
	t.rows = append(t.rows, cells)
}

func (t *table) write(w io.Writer, s style) error {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	line := func(cells []string, paint func(int, string) string) {
		for i, c := range cells {
			b.WriteString(paint(i, c))
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+2))
			}
		}
		b.WriteByte('\n')
	}
	line(t.head, func(_ int, c string) string { return s.bold(c) })
	for _, row := range t.rows {
		line(row, func(i int, c string) string {
			if i == t.state {
				return s.state(c)
			}
			return c
		})
	}
	_, err := io.WriteString(w, b.String())
	return err
}
