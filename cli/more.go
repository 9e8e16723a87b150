package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

func (a *app) versionCommand() *cobra.Command {
	var short bool
	cmd := &cobra.Command{Use: "version [flags]", Short: "Show the version of this command", Args: noArgs}
	cmd.Flags().BoolVar(&short, "short", false, "the number alone")
	a.formats(cmd, "table", "json", "yaml")
	cmd.RunE = func(*cobra.Command, []string) error {
		v := a.env.Version
		return a.show(v, func(w io.Writer) error {
			if short {
				_, err := fmt.Fprintln(w, v.Version)
				return err
			}
			commit := ""
			if v.Commit != "" {
				commit = " (" + v.Commit + ")"
			}
			_, err := fmt.Fprintf(w, "saki %s%s %s %s/%s\n", v.Version, commit, v.Go, v.OS, v.Arch)
			return err
		}, nil)
	}
	return cmd
}

func (a *app) completionCommand(root *cobra.Command) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print a script that completes commands, ids and names",
		Example: "source <(saki completion bash)\nsaki completion fish > ~/.config/fish/completions/saki.fish",
		Args:    oneArg("the name of a shell: bash, zsh, fish or powershell"), ValidArgs: shells,
		RunE: func(_ *cobra.Command, args []string) error {
			w := a.env.Stdout
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(w)
			}
			e := usage("unknown shell %s", api.Quote(args[0]))
			if best := api.Closest(args[0], shells); best != "" {
				return e.hint("did you mean %q?", best)
			}
			return e.hint("known are bash, zsh, fish and powershell")
		},
	}
}

// completeWithin bounds a completion: a person waits for it between two key strokes.
const completeWithin = 500 * time.Millisecond

// complete asks the cluster for words; when that does not work, there are none.
func (a *app) complete(cmd *cobra.Command, words func(context.Context, *client.Client) []string) []string {
	if a.settings(cmd) != nil {
		return nil
	}
	addrs, err := client.ParseAddrs(a.addr)
	if err != nil {
		return nil
	}
	c, err := client.New(client.Config{Addrs: addrs, Patience: -1, ConnectPatience: -1})
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), completeWithin)
	defer cancel()
	return words(ctx, c)
}

func (a *app) completeTasks(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, func(ctx context.Context, c *client.Client) []string {
		out := []string{"last\tthe newest task"}
		tasks, _ := c.Tasks(ctx, client.TaskFilter{Limit: 50})
		for i := range tasks {
			out = append(out, fmt.Sprintf("%s\t%s %s", tasks[i].ID, tasks[i].State, clean(what(tasks[i].Spec))))
		}
		return out
	}), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeNodes(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, func(ctx context.Context, c *client.Client) []string {
		var out []string
		nodes, _ := c.Nodes(ctx)
		for i := range nodes {
			out = append(out, nodes[i].Name+"\t"+string(nodes[i].State))
		}
		return out
	}), cobra.ShellCompDirectiveNoFileComp
}

// completeModules gives tags, besides the files that the shell completes itself.
func (a *app) completeModules(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && cmd.Name() == "run" {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.complete(cmd, func(ctx context.Context, c *client.Client) []string {
		var out []string
		ms, _ := c.Modules(ctx)
		for _, m := range ms {
			out = append(out, m.Tags...)
		}
		return out
	}), cobra.ShellCompDirectiveDefault
}
