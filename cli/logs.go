package cli

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

func (a *app) logsCommand() *cobra.Command {
	var follow bool
	var attempt uint32
	stream := "both"
	cmd := &cobra.Command{
		Use: "logs [-f] ID [flags]", Short: "Show what a task has written", Args: oneArg("the id of one task"),
		Example: "saki logs last\nsaki logs -f 7f3k\nsaki logs --stream stderr 7f3k 2>/dev/null", ValidArgsFunction: a.completeTasks,
		Long: "The task's stdout goes to stdout and its stderr to stderr.",
	}
	fs := a.reaches(cmd).Flags()
	fs.BoolVarP(&follow, "follow", "f", false, "go on until the task has ended")
	fs.Var(formatFlag{&stream, []string{"both", "stdout", "stderr"}}, "stream", "which of them; one alone goes to stdout")
	fs.Uint32Var(&attempt, "attempt", 0, "of attempt `N` (default: the last)")
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, ids []string) error {
		o := client.LogOptions{Attempt: attempt}
		if stream != "both" {
			o.Stream = stream
			return a.log(ctx, c, ids[0], o, follow, a.env.Stdout)
		}
		t, err := c.Task(ctx, ids[0]) // both streams of the same task, whatever "last" means a moment later
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		var errs [2]error
		for i, w := range []io.Writer{a.env.Stdout, a.env.Stderr} {
			o := o
			o.Stream = []string{"stdout", "stderr"}[i]
			if !follow { // in order, so that they do not mix
				if errs[i] = a.log(ctx, c, string(t.ID), o, false, w); errs[i] != nil {
					return errs[i]
				}
				continue
			}
			wg.Go(func() { errs[i] = a.log(ctx, c, string(t.ID), o, true, w) })
		}
		wg.Wait()
		if errs[0] != nil {
			return errs[0]
		}
		return errs[1]
	})
	return cmd
}

func (a *app) log(ctx context.Context, c *client.Client, id string, o client.LogOptions, follow bool, w io.Writer) error {
	if follow {
		return c.FollowLogs(ctx, id, o, w)
	}
	body, err := c.Logs(ctx, id, o)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, body); err != nil {
		return api.Errorf(api.CodeUnreachable, "the log broke off: %v", err).WithHint("try again")
	}
	return nil
}

func (a *app) waitCommand() *cobra.Command {
	var timeout spanFlag
	cmd := &cobra.Command{
		Use: "wait ID... [flags]", Short: "Wait for tasks to end; the exit code is theirs", Args: someArgs("the id of a task"),
		Example: "saki wait last\nsaki wait 7f3k 8g4m --timeout 1m; echo $?", ValidArgsFunction: a.completeTasks,
		Annotations: map[string]string{asTask: "yes"},
		Long:        "The exit code is the first that is not 0, in the order given; see saki help exit-codes.",
	}
	a.reaches(cmd).Flags().Var(&timeout, "timeout", "give up after so long, with exit code 124")
	a.formats(cmd, lists...)
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, ids []string) error {
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(timeout),
				api.Errorf(api.CodeTimeout, "not all tasks ended within %s", api.Duration(timeout)).WithHint("they go on; see saki ps"))
			defer cancel()
		}
		tasks, errs := make([]*api.Task, len(ids)), make([]error, len(ids))
		var wg sync.WaitGroup
		for i, id := range ids {
			wg.Go(func() { tasks[i], errs[i] = c.Wait(ctx, id) })
		}
		wg.Wait()
		var list []api.Task
		for i := range ids {
			if errs[i] != nil {
				return errs[i]
			}
			list = append(list, *tasks[i])
		}
		err := a.show(list, func(w io.Writer) error { return a.taskTable(w, list) }, func(w io.Writer) { names(w, list) })
		for i := range list {
			if code := exitCode(&list[i]); code != 0 && err == nil {
				return &ExitError{code}
			}
		}
		return err
	})
	return cmd
}
