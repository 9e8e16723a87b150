package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

func (a *app) nodeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "node COMMAND", Short: "List, inspect, drain and undrain agents", Example: "saki node ls\nsaki node drain a1"}
	cmd.AddCommand(a.nodeList(), a.nodeInspect(),
		a.nodeChange("drain", "Let an agent take no new tasks", func(c *client.Client) nodeVerb { return c.Drain }),
		a.nodeChange("undrain", "Let a drained agent take tasks again", func(c *client.Client) nodeVerb { return c.Undrain }))
	return cmd
}

func (a *app) nodeList() *cobra.Command {
	cmd := &cobra.Command{Use: "ls [flags]", Short: "List agents", Args: noArgs}
	a.reaches(cmd)
	a.formats(cmd, lists...)
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, _ []string) error {
		nodes, err := c.Nodes(ctx)
		if err != nil {
			return err
		}
		return a.show(nodes, func(w io.Writer) error { return a.nodeTable(w, nodes) }, func(w io.Writer) { nodeNames(w, nodes) })
	})
	return cmd
}

func nodeNames(w io.Writer, nodes []api.Node) {
	for i := range nodes {
		fmt.Fprintln(w, nodes[i].Name)
	}
}

func (a *app) nodeTable(w io.Writer, nodes []api.Node) error {
	t := newTable(1, "NAME", "STATE", "CPU", "MEM", "TASKS", "RUNS", "EXECUTOR", "VERSION", "AGE")
	for i := range nodes {
		n := &nodes[i]
		runs := make([]string, len(n.Runtimes))
		for i, r := range n.Runtimes {
			runs[i] = string(r)
		}
		t.row(n.Name, string(n.State), n.Used.CPUs.String()+"/"+n.Total.CPUs.String(), n.Used.Mem.String()+"/"+n.Total.Mem.String(),
			fmt.Sprint(n.Tasks), strings.Join(runs, ","), n.Executor, n.Version, a.age(n.Since))
	}
	return t.write(w, a.style(a.env.StdoutTTY))
}

func (a *app) nodeInspect() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect NODE [flags]", Short: "Show all that is known of an agent", Args: oneArg("the name or id of one agent"), ValidArgsFunction: a.completeNodes,
	}
	a.reaches(cmd)
	a.formats(cmd, lists...)
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, args []string) error {
		n, err := c.Node(ctx, args[0])
		if err != nil {
			return err
		}
		return a.show(n, func(w io.Writer) error { a.nodeDetails(w, n); return nil }, func(w io.Writer) { fmt.Fprintln(w, n.Name) })
	})
	return cmd
}

func (a *app) nodeDetails(w io.Writer, n *api.Node) {
	s := a.style(a.env.StdoutTTY)
	line := func(key, text string) {
		if text != "" {
			fmt.Fprintf(w, "%s %s\n", s.dim(fmt.Sprintf("%-10s", key)), text)
		}
	}
	line("name", clean(n.Name))
	line("id", clean(string(n.ID)))
	line("state", s.state(string(n.State)))
	line("address", clean(n.Addr))
	line("total", n.Total.String())
	line("used", fmt.Sprintf("%s by %s", n.Used, plural(n.Tasks, "task")))
	line("executor", clean(n.Executor))
	line("version", clean(n.Version))
	line("age", a.age(n.Since))
	for _, k := range slices.Sorted(maps.Keys(n.Attributes)) {
		line("attribute", clean(k+"="+n.Attributes[k]))
	}
	for _, text := range n.Notices {
		line("notice", s.warn(clean(text)))
	}
}

type nodeVerb = func(context.Context, string) (*api.Node, error)

func (a *app) nodeChange(name, short string, verb func(*client.Client) nodeVerb) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " NODE... [flags]", Short: short, Args: someArgs("the name or id of an agent"), ValidArgsFunction: a.completeNodes,
	}
	a.reaches(cmd)
	a.formats(cmd, lists...)
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, args []string) error {
		nodes := make([]api.Node, len(args))
		for i, arg := range args {
			n, err := verb(c)(ctx, arg)
			if err != nil {
				return err
			}
			nodes[i] = *n
		}
		return a.show(nodes, func(w io.Writer) error {
			for i := range nodes {
				fmt.Fprintf(w, "%s is %s, with %s\n", clean(nodes[i].Name), nodes[i].State, plural(nodes[i].Tasks, "task"))
			}
			return nil
		}, func(w io.Writer) { nodeNames(w, nodes) })
	})
	return cmd
}

func (a *app) clusterCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster COMMAND", Short: "See how the cluster is", Example: "saki cluster status"}
	status := &cobra.Command{Use: "status [flags]", Short: "Show leader, masters, nodes, tasks and resources", Args: noArgs}
	a.reaches(status)
	a.formats(status, "table", "json", "yaml")
	status.RunE = a.do(func(ctx context.Context, c *client.Client, _ []string) error {
		st, err := c.Cluster(ctx)
		if err != nil {
			return err
		}
		return a.show(st, func(w io.Writer) error { return a.statusTable(w, st) }, nil)
	})
	cmd.AddCommand(status)
	return cmd
}

func (a *app) statusTable(w io.Writer, st *api.ClusterStatus) error {
	s := a.style(a.env.StdoutTTY)
	leader := s.bad("none")
	if st.Leader != nil {
		leader = clean(st.Leader.Name)
	}
	fmt.Fprintf(w, "cluster  %s, version %s\nleader   %s, term %d, index %d\n", clean(st.Cluster), clean(st.Version), leader, st.Term, st.Index)
	fmt.Fprintf(w, "nodes    %s\ntasks    %s\nmodules  %d\n", counts(st.Nodes), counts(st.Tasks), st.Modules)
	fmt.Fprintf(w, "used     cpus %s of %s, mem %s of %s\n\n", st.Used.CPUs, st.Total.CPUs, st.Used.Mem, st.Total.Mem)
	t := newTable(-1, "MASTER", "ROLE", "ALIVE", "ADDR", "RAFT")
	for _, m := range st.Masters {
		role, alive := "follower", "yes"
		if m.Leader {
			role = "leader"
		}
		if !m.Alive {
			alive = "no"
		}
		t.row(m.Name, role, alive, m.Addr, m.Raft)
	}
	return t.write(w, s)
}

// counts writes "3 ready, 1 lost".
func counts[K ~string](m map[K]int) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] > 0 {
			out = append(out, fmt.Sprintf("%d %s", m[k], k))
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

func (a *app) eventsCommand() *cobra.Command {
	var follow bool
	var since uint64
	cmd := &cobra.Command{
		Use: "events [flags]", Short: "Show what happens in the cluster", Args: noArgs,
		Example: "saki events -f\nsaki events -o json | jq .type",
	}
	fs := a.reaches(cmd).Flags()
	fs.BoolVarP(&follow, "follow", "f", false, "go on until Ctrl-C")
	fs.Uint64Var(&since, "since", 0, "only after this index of the log")
	a.formats(cmd, "table", "json")
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, _ []string) error {
		enc := json.NewEncoder(a.env.Stdout)
		s := a.style(a.env.StdoutTTY)
		return c.Events(ctx, since, follow, func(e api.Event) error {
			if a.output == "json" {
				return enc.Encode(e)
			}
			_, err := fmt.Fprintln(a.env.Stdout, eventLine(e, s))
			return err
		})
	})
	return cmd
}

func eventLine(e api.Event, s style) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %7d %-15s", e.Time.UTC().Format("15:04:05.000"), e.Index, e.Type)
	for i, part := range []string{string(e.State), string(e.Task), e.Name, string(e.Reason), e.Module, e.Node, e.Message} {
		if part = clean(part); part != "" && i == 0 {
			part = s.state(part)
		}
		if part != "" {
			out.WriteString(" " + part)
		}
	}
	return out.String()
}
