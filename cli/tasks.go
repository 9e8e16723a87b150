package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

func (a *app) psCommand() *cobra.Command {
	var f client.TaskFilter
	var all bool
	var states, labels []string
	cmd := &cobra.Command{
		Use: "ps [flags]", Short: "List tasks, the newest first", Aliases: []string{"ls"}, Args: noArgs,
		Example: "saki ps                       # what waits or runs\nsaki ps -a --name etl\nsaki kill $(saki ps -q --label team=a)",
	}
	fs := a.reaches(cmd).Flags()
	fs.BoolVarP(&all, "all", "a", false, "ended tasks, too")
	fs.StringSliceVar(&states, "state", nil, "only these `states`, with commas")
	fs.StringVarP(&f.Namespace, "namespace", "n", "", "only this `namespace`")
	fs.StringVar(&f.Name, "name", "", "only tasks of this `name`")
	fs.StringArrayVar(&labels, "label", nil, "only tasks with this label (`K=V`)")
	fs.IntVar(&f.Limit, "limit", 0, "at most `N` (default: the master's)")
	a.formats(cmd, lists...)
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, _ []string) error {
		var err error
		if f.Labels, err = pairs("--label", labels); err != nil {
			return err
		}
		if f.States, err = parseStates(states); err != nil {
			return err
		}
		if len(f.States) == 0 && !all {
			f.States = []api.State{api.Pending, api.Placed, api.Running}
		}
		tasks, err := c.Tasks(ctx, f)
		if err != nil {
			return err
		}
		return a.show(tasks, func(w io.Writer) error { return a.taskTable(w, tasks) }, func(w io.Writer) { names(w, tasks) })
	})
	return cmd
}

func parseStates(in []string) ([]api.State, error) {
	known := []string{"pending", "placed", "running", "finished", "failed", "killed", "lost"}
	var out []api.State
	for _, s := range in {
		if !slices.Contains(known, s) {
			e := usage("unknown state %s", api.Quote(s))
			if best := api.Closest(s, known); best != "" {
				return nil, e.hint("did you mean %q?", best)
			}
			return nil, e.hint("known are %s", strings.Join(known, ", "))
		}
		out = append(out, api.State(s))
	}
	return out, nil
}

func (a *app) taskTable(w io.Writer, tasks []api.Task) error {
	t := newTable(3, "ID", "NAME", "WHAT", "STATE", "EXIT", "NODE", "TRIES", "AGE")
	for i := range tasks {
		task := &tasks[i]
		exit := ""
		if task.State.Terminal() && task.Outcome != nil {
			exit = fmt.Sprint(exitCode(task))
		}
		t.row(string(task.ID), task.Spec.Name, what(task.Spec), string(task.State), exit, task.NodeName, fmt.Sprint(task.Attempt), a.age(task.Submitted))
	}
	return t.write(w, a.style(a.env.StdoutTTY))
}

// what says in a few words what a task runs.
func what(s *api.Spec) string {
	var text string
	switch {
	case s.Wasm != nil:
		text = s.Wasm.Module
		if d, err := api.ParseDigest(text); err == nil {
			text = d.Short()
		}
		text = "wasm " + text
	case s.Container != nil:
		text = "image " + s.Container.Image
	case s.Shell != nil && s.Shell.Script != "":
		text = "sh " + s.Shell.Script
	case s.Shell != nil:
		text = "sh " + strings.Join(s.Shell.Argv, " ")
	}
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 32 {
		text = string(r[:31]) + "…"
	}
	return text
}

func (a *app) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect ID... [flags]", Short: "Show all that is known of a task", Args: someArgs("the id of a task"),
		Example: "saki inspect last\nsaki inspect 7f3k -o json", ValidArgsFunction: a.completeTasks,
	}
	a.reaches(cmd)
	a.formats(cmd, lists...)
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, ids []string) error {
		tasks := make([]api.Task, len(ids))
		for i, id := range ids {
			t, err := c.Task(ctx, id)
			if err != nil {
				return err
			}
			tasks[i] = *t
		}
		var v any = tasks
		if len(tasks) == 1 {
			v = tasks[0]
		}
		return a.show(v, func(w io.Writer) error {
			for i := range tasks {
				if i > 0 {
					fmt.Fprintln(w)
				}
				a.taskDetails(w, &tasks[i])
			}
			return nil
		}, func(w io.Writer) { names(w, tasks) })
	})
	return cmd
}

func (a *app) taskDetails(w io.Writer, t *api.Task) {
	s := a.style(a.env.StdoutTTY)
	line := func(key, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			fmt.Fprintf(w, "%s %s\n", s.dim(fmt.Sprintf("%-11s", key)), text)
		}
	}
	line("id", "%s", t.ID)
	line("name", "%s", clean(t.Spec.Name))
	line("runs", "%s", clean(what(t.Spec)))
	state := s.state(string(t.State))
	if t.Reason != "" {
		state += fmt.Sprintf(" (%s)", t.Reason)
	}
	if t.State.Terminal() {
		state += fmt.Sprintf(", exit code %d", exitCode(t))
	}
	line("state", "%s", state)
	line("message", "%s", clean(t.Message))
	if t.Reason != api.ReasonExit {
		line("meaning", "%s", t.Reason.Sentence())
	}
	if t.Attempt > 0 {
		line("attempt", "%d on %s", t.Attempt, clean(t.NodeName))
	}
	r := t.Spec.Resources
	line("wants", "cpus %s  mem %s  disk %s  ports %d", r.CPUs, r.Mem, r.Disk, r.Ports)
	if len(t.Ports) > 0 {
		line("ports", "%s", strings.Trim(fmt.Sprint(t.Ports), "[]"))
	}
	for _, c := range t.Spec.Constraints {
		line("constraint", "%s", clean(c.String()))
	}
	line("submitted", "%s (%s ago)", t.Submitted.UTC().Format("2006-01-02T15:04:05Z"), a.age(t.Submitted))
	if !t.StartedAt.IsZero() && !t.EndedAt.IsZero() {
		line("ran", "%s", t.EndedAt.Sub(t.StartedAt))
	}
	if t.Outcome != nil && t.State.Terminal() { // else it is of an earlier attempt
		line("receipt", "%s", receipt(t, s))
	}
	for _, h := range t.History {
		line("earlier", "attempt %d on %s: %s (%s) %s", h.Number, clean(h.NodeName), h.State, h.Reason, clean(h.Message))
	}
}

func (a *app) killCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "kill ID... [flags]", Short: "Ask for the end of tasks", Args: someArgs("the id of a task"),
		Example: "saki kill 7f3k\nsaki kill last --force", ValidArgsFunction: a.completeTasks,
	}
	a.reaches(cmd).Flags().BoolVar(&force, "force", false, "without the grace period")
	a.formats(cmd, lists...)
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, ids []string) error {
		var tasks []api.Task
		var failed error
		for _, id := range ids {
			t, err := c.Kill(ctx, id, force)
			if err != nil {
				if failed != nil {
					a.showError(failed)
				}
				failed = err
				continue
			}
			tasks = append(tasks, *t)
		}
		if len(tasks) == 0 {
			return failed
		}
		err := a.show(tasks, func(w io.Writer) error {
			for i := range tasks {
				if tasks[i].State.Terminal() {
					fmt.Fprintf(w, "%s %s\n", tasks[i].ID, tasks[i].State)
				} else {
					fmt.Fprintf(w, "%s is being killed\n", tasks[i].ID)
				}
			}
			return nil
		}, func(w io.Writer) { names(w, tasks) })
		if err != nil {
			return err
		}
		return failed
	})
	return cmd
}

func (a *app) explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain ID [flags]", Short: "Say why a task waits, or how it ended, node by node", Args: oneArg("the id of one task"),
		Example: "saki explain last", ValidArgsFunction: a.completeTasks,
	}
	a.reaches(cmd)
	a.formats(cmd, "table", "json", "yaml")
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, ids []string) error {
		e, err := c.Explain(ctx, ids[0])
		if err != nil {
			return err
		}
		return a.show(e, func(w io.Writer) error { a.explanation(w, e); return nil }, nil)
	})
	return cmd
}

// explanation shows the summary, then each node with what it lacks.
func (a *app) explanation(w io.Writer, e *api.Explanation) {
	s := a.style(a.env.StdoutTTY)
	mark, id := s.warn("…"), ""
	if t := e.Task; t != nil {
		if !strings.Contains(e.Summary, string(t.ID)) {
			id = string(t.ID) + ": "
		}
		switch t.State {
		case api.Finished:
			mark = s.good("✓")
		case api.Failed, api.Lost, api.Killed:
			mark = s.bad("✗")
		}
	}
	fmt.Fprintf(w, "%s %s%s\n", mark, id, clean(e.Summary))
	node, thing := 0, 0
	for _, n := range e.Nodes {
		node = max(node, len(n.Node))
		for _, g := range n.Gaps {
			thing = max(thing, len(g.What))
		}
	}
	for _, n := range e.Nodes {
		if len(n.Gaps) == 0 {
			fmt.Fprintf(w, "    %-*s  %s\n", node, clean(n.Node), s.good("fits"))
		}
		for i, g := range n.Gaps {
			name := clean(n.Node)
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(w, "    %-*s  %-*s  %s\n", node, name, thing, clean(g.What), clean(g.Why))
		}
	}
	if e.Hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", clean(e.Hint))
	}
}
