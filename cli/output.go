package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
)

// formatFlag is the value of -o: one of the formats that a command knows.
type formatFlag struct {
	value *string
	known []string
}

func (f formatFlag) String() string { return *f.value }
func (f formatFlag) Type() string   { return strings.Join(f.known, "|") }

func (f formatFlag) Set(s string) error {
	if slices.Contains(f.known, s) {
		*f.value = s
		return nil
	}
	e := api.Errorf(api.CodeInvalidArgument, "unknown value %s", api.Quote(s)).WithHint("use %s", strings.Join(f.known, ", "))
	if best := api.Closest(s, f.known); best != "" {
		e = e.WithHint("did you mean %q? known are %s", best, strings.Join(f.known, ", "))
	}
	return e
}

// formats gives a command the flag -o. The first format is the default.
func (a *app) formats(cmd *cobra.Command, known ...string) {
	a.output = known[0]
	cmd.Flags().VarP(formatFlag{&a.output, known}, "output", "o", "how to print the result")
	if known[len(known)-1] == "name" {
		cmd.Flags().BoolVarP(&a.quiet, "quiet", "q", false, "print ids or names only; as -o name")
	}
}

// lists are the formats of every command that shows things.
var lists = []string{"table", "json", "yaml", "name"}

// show prints v as -o says: tbl and name do it for people and for shells.
func (a *app) show(v any, tbl func(w io.Writer) error, name func(w io.Writer)) error {
	w := a.env.Stdout
	switch {
	case a.output == "json":
		return writeJSON(w, v)
	case a.output == "yaml":
		return writeYAML(w, v)
	case a.quiet || a.output == "name":
		name(w)
		return nil
	}
	return tbl(w)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func writeYAML(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if b, err = yaml.JSONToYAML(b); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	_, err = w.Write(append(bytes.TrimRight(b, "\n"), '\n'))
	return err
}

// age says how long ago t was, in one unit.
func (a *app) age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return short(a.env.Now().Sub(t))
}

// short writes a span in its largest unit that is at least two of it: 95s, 12m, 30h, 4d.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// millis writes nanoseconds as milliseconds, as receipts have them.
func millis(ns int64) string { return fmt.Sprintf("%.2fms", float64(ns)/1e6) }

// plural gives "1 task" or "2 tasks".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
