package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

// root builds the whole tree of commands. It is cheap: nothing is read or connected yet.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "saki COMMAND", Short: "Run small WebAssembly tasks in executors that are already warm, beside shell and container tasks",
		Example: "saki dev                                   # a cluster on this machine\n" +
			"saki run hello.wasm -- --name ada          # run a module; its output and exit code are yours\n" +
			"saki run --image alpine -- echo hi         # a container task\n" +
			"saki run --shell 'echo hi | wc -c'         # a shell task",
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if strings.HasPrefix(cmd.Name(), cobra.ShellCompRequestCmd) {
				return nil
			}
			return a.settings(cmd)
		},
	}
	root.AddGroup(
		&cobra.Group{ID: "tasks", Title: "Tasks:"}, &cobra.Group{ID: "cluster", Title: "Cluster:"},
		&cobra.Group{ID: "daemons", Title: "Daemons:"}, &cobra.Group{ID: "more", Title: "More:"},
	)
	a.add(root, "tasks", a.runCommand(), a.submitCommand(), a.psCommand(), a.inspectCommand(), a.logsCommand(), a.waitCommand(),
		a.killCommand(), a.explainCommand(), a.replayCommand())
	a.add(root, "cluster", a.moduleCommand(), a.nodeCommand(), a.clusterCommand(), a.eventsCommand(), a.benchCommand())
	root.AddCommand(a.daemonCommands()...)
	a.add(root, "more", a.completionCommand(root), a.versionCommand())
	addTopics(root)
	groupOnly(root)
	root.SetHelpCommand(a.helpCommand(root))
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { a.help(cmd) })
	root.SetFlagErrorFunc(flagError)
	return root
}

// add puts commands that talk to the cluster under parent.
func (a *app) add(parent *cobra.Command, group string, cmds ...*cobra.Command) {
	for _, c := range cmds {
		c.GroupID = group
		if c.HasSubCommands() {
			groupOnly(c)
		}
		parent.AddCommand(c)
	}
}

// reaches gives a command that talks to the cluster the flags for it.
func (a *app) reaches(cmd *cobra.Command) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&a.addr, "addr", "", "masters to talk to: `URLs` with commas (default "+client.DefaultAddr+")")
	f.StringVar(&a.config, "config", "", "YAML `file` with these flags as keys")
	return cmd
}

// groupOnly makes a command that only groups others: alone it shows its help, with an unknown word it suggests.
func groupOnly(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
}

func unknownCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	e := usage("unknown command %s for %q", api.Quote(word), cmd.CommandPath())
	if best := api.Closest(word, names); best != "" {
		return e.hint("did you mean %q?", cmd.CommandPath()+" "+best)
	}
	return e.hint("see %s -h", cmd.CommandPath())
}

// flagError turns an error of the flag parser into one with code and fix.
func flagError(cmd *cobra.Command, err error) error {
	if ne, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := ne.GetSpecifiedName()
		if ne.GetSpecifiedShortnames() != "" {
			return usage("unknown flag -%s for %q", name, cmd.CommandPath()).hint("see %s -h", cmd.CommandPath())
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		e := usage("unknown flag --%s for %q", name, cmd.CommandPath())
		if best := api.Closest(name, names); best != "" {
			return e.hint("did you mean --%s? what follows -- goes to the task as it is", best)
		}
		return e.hint("see %s -h; what follows -- goes to the task as it is", cmd.CommandPath())
	}
	if iv, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		where := "--" + iv.GetFlag().Name
		if e, ok := errors.AsType[*api.Error](err); ok {
			c := *e
			c.Message = where + ": " + e.Message
			return usageError{&c}
		}
		return usage("%s: %s is not a value it takes", where, api.Quote(iv.GetValue())).
			hint("it wants %s; see %s -h", kindOfFlag(iv.GetFlag()), cmd.CommandPath())
	}
	return usage("%v", err).hint("see %s -h", cmd.CommandPath())
}

func kindOfFlag(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "int", "int64", "uint", "uint16":
		return "a whole number"
	case "bool":
		return "true or false"
	case "duration":
		return "a duration such as 30s or 1m30s"
	}
	return "a " + f.Value.Type()
}

// noArgs, someArgs and oneArg say what is wrong with the number of arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no argument, and %s is one", cmd.CommandPath(), api.Quote(args[0])).hint("see %s -h", cmd.CommandPath())
	}
	return nil
}

func someArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage("%s needs %s", cmd.CommandPath(), what).hint("usage: %s", cmd.UseLine())
		}
		return noneEmpty(cmd, args)
	}
}

func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage("%s needs %s, and %d are given", cmd.CommandPath(), what, len(args)).hint("usage: %s", cmd.UseLine())
		}
		return noneEmpty(cmd, args)
	}
}

// noneEmpty refuses an argument that a shell made of a variable that is not set.
func noneEmpty(cmd *cobra.Command, args []string) error {
	if slices.Contains(args, "") {
		return usage("%s got an argument that is empty", cmd.CommandPath()).hint("is the variable set that it comes from?")
	}
	return nil
}
