package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/saki-run/saki/api"
)

// help prints the help of a command: what it is, examples, then the rest. It keeps to one screen.
func (a *app) help(cmd *cobra.Command) {
	s := a.style(a.env.StdoutTTY)
	var b strings.Builder
	if cmd.Annotations[isTopic] != "" {
		fmt.Fprint(a.env.Stdout, strings.TrimLeft(cmd.Long, "\n"))
		return
	}
	fmt.Fprintf(&b, "%s.\n", cmd.Short)
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\n%s\n%s\n", s.bold("Examples:"), indent(cmd.Example))
	}
	fmt.Fprintf(&b, "\n%s %s\n", s.bold("Usage:"), useLine(cmd))
	if cmd.Long != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.Trim(cmd.Long, "\n"))
	}
	helpCommands(&b, s, cmd)
	if cmd.Annotations[ownFlagHelp] == "" {
		helpFlags(&b, s, cmd)
	}
	if !cmd.HasParent() {
		b.WriteString("\nSAKI_ADDR holds the masters' URLs. See also: saki help exit-codes, spec, environment.\n")
	}
	fmt.Fprint(a.env.Stdout, b.String())
}

// ownFlagHelp marks commands whose Long tells their flags.
const ownFlagHelp = "own-flag-help"

func useLine(cmd *cobra.Command) string {
	line := strings.TrimSuffix(cmd.UseLine(), " [flags]")
	if cmd.HasAvailableFlags() && !cmd.HasAvailableSubCommands() && !strings.Contains(line, "[flags]") {
		line += " [flags]"
	}
	return line
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

func helpCommands(b *strings.Builder, s style, cmd *cobra.Command) {
	list := func(title, group string) {
		first := true
		for _, c := range cmd.Commands() {
			if c.Hidden || c.GroupID != group || c.Annotations[isTopic] != "" || c.Name() == "help" {
				continue
			}
			if first {
				fmt.Fprintf(b, "\n%s\n", s.bold(title))
				first = false
			}
			fmt.Fprintf(b, "  %-11s %s\n", c.Name(), c.Short)
		}
	}
	for _, g := range cmd.Groups() {
		list(g.Title, g.ID)
	}
	list("Commands:", "")
}

func helpFlags(b *strings.Builder, s style, cmd *cobra.Command) {
	type line struct{ left, right string }
	var lines []line
	width := 0
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		l := "    --" + f.Name
		if f.Shorthand != "" {
			l = "-" + f.Shorthand + ", --" + f.Name
		}
		kind, text := pflag.UnquoteUsage(f)
		if kind == "int" || kind == "uint" {
			kind = "N"
		}
		if kind != "" {
			l += " " + kind
		}
		if d := f.DefValue; d != "" && d != "false" && d != "0" && d != "[]" && d != "0s" && !strings.Contains(text, "default") {
			text += " (default " + strings.Trim(d, "[]") + ")"
		}
		lines = append(lines, line{l, text})
		width = max(width, len(l))
	})
	if len(lines) == 0 || cmd.HasAvailableSubCommands() {
		return
	}
	fmt.Fprintf(b, "\n%s\n", s.bold("Flags:"))
	for _, l := range lines {
		fmt.Fprintf(b, "  %-*s  %s\n", width, l.left, l.right)
	}
}

// helpCommand is saki help COMMAND or TOPIC.
func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND | TOPIC]", Short: "Help about a command or a topic", Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				var names []string
				for _, c := range root.Commands() {
					names = append(names, c.Name())
				}
				word := slices.Concat(rest, args)[0]
				e := usage("there is no help about %s", api.Quote(word))
				if best := api.Closest(word, names); best != "" {
					return e.hint("did you mean %q?", "saki help "+best)
				}
				return e.hint("see saki -h")
			}
			a.help(cmd)
			return nil
		},
	}
}
