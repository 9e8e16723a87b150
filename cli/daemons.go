package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
)

// Daemons are the programs inside saki that other packages provide. One that is nil is told to be missing from this build.
// Each runs until ctx ends; returning an [*ExitError] sets the exit code without a message.
type Daemons struct {
	Dev    func(ctx context.Context, c DevConfig) error
	Master func(ctx context.Context, c MasterConfig) error
	Agent  func(ctx context.Context, c AgentConfig) error

	// Replay runs an ended wasm task again in this process. An error says that it could not be run.
	Replay func(ctx context.Context, c ReplayConfig) (api.Outcome, error)

	// These get their arguments as they are, and are started before any command line is parsed.
	Executor func(ctx context.Context, args []string) error
	Worker   func(ctx context.Context, args []string) error
	Shim     func(ctx context.Context, args []string) error
	WasmOnce func(ctx context.Context, args []string) error // runs the module args[0] once in this process; for saki bench
}

// raw gives the program that reads its arguments itself, or nil.
func (d Daemons) raw(name string) func(context.Context, []string) error {
	switch name {
	case "noop": // what saki bench runs in a container: the smallest task there is
		return func(context.Context, []string) error { return nil }
	case "executor":
		return d.Executor
	case "worker":
		return d.Worker
	case "shim":
		return d.Shim
	case "wasm-once":
		return d.WasmOnce
	}
	return nil
}

// DevConfig is what saki dev was asked for.
type DevConfig struct {
	Masters   int
	Agents    int
	Addr      string // host:port of the first master's API
	DataDir   string // "": a temporary one, removed at the end
	Executor  string // auto, docker or process
	NodeGrace time.Duration
	LogLevel  slog.Level
	Log       io.Writer

	// Progress is told what takes a while, such as the building of an image. nil: it goes to the log.
	Progress func(what string)

	// Ready is to be called once tasks can run, with the URL of the first master.
	Ready func(url string)
}

// MasterConfig is what saki master was asked for.
type MasterConfig struct {
	Name            string
	DataDir         string
	Addr            string // host:port of the API
	Raft            string // host:port
	Gossip          string // host:port
	BootstrapExpect int    // masters of a new cluster; 0 joins one that exists
	Join            []string
	GossipKey       []byte // 16, 24 or 32 bytes, or nil
	Cluster         string
	KeepTasks       int           // ended tasks that are remembered
	KeepFor         time.Duration // how long they are
	NodeGrace       time.Duration // before a node that is away is given up
	LogLevel        slog.Level
	Log             io.Writer
}

// AgentConfig is what saki agent was asked for.
type AgentConfig struct {
	Name                string
	DataDir             string
	Addr                string // host:port of the agent's HTTP API
	Gossip              string // host:port
	Join                []string
	GossipKey           []byte
	Cluster             string
	Resources           api.Resources
	ResourcesGiven      map[string]bool // which of them; the others are the agent's to find out
	Attributes          map[string]string
	Executor            string // auto, docker or process
	Runtimes            []api.Kind
	RegistrationTimeout time.Duration // of executors
	AllowVolumes        []string      // host folders that containers may mount
	AllowInterpreter    bool
	LogLevel            slog.Level
	Log                 io.Writer
	Progress            func(what string) // as for DevConfig
}

func (a *app) daemonCommands() []*cobra.Command {
	cmds := []*cobra.Command{a.devCommand(), a.masterCommand(), a.agentCommand()}
	for _, c := range cmds {
		c.GroupID, c.Args = "daemons", noArgs
		c.Annotations = map[string]string{isDaemon: "yes"}
		c.Flags().StringVar(&a.config, "config", "", "YAML `file` with these flags as keys")
	}
	for _, name := range []string{"executor", "worker", "shim", "wasm-once"} {
		cmds = append(cmds, &cobra.Command{
			Use: name, Short: "Started by saki itself", Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error { return missing(name) },
		})
	}
	return cmds
}

func missing(name string) error {
	return api.Errorf(api.CodeUnavailable, "this build of saki has no %s", name)
}

func (a *app) devCommand() *cobra.Command {
	var d DevConfig
	cmd := &cobra.Command{
		Use: "dev [flags]", Short: "Run a whole cluster on this machine, until Ctrl-C",
		Example: "saki dev\nsaki dev --masters 3 --agents 2 --data-dir ./cluster",
	}
	f := cmd.Flags()
	f.IntVar(&d.Masters, "masters", 1, "how many masters: 1, 3 or 5")
	f.IntVar(&d.Agents, "agents", 1, "how many agents")
	f.StringVar(&d.Addr, "addr", "127.0.0.1:5050", "`host:port` of the first master")
	f.StringVar(&d.DataDir, "data-dir", "", "`folder` to keep the cluster in (default: a temporary one)")
	executorFlag(cmd, &d.Executor)
	f.DurationVar(&d.NodeGrace, "node-grace", defaultNodeGrace, "how long an agent may be away before its tasks run elsewhere")
	level := levelFlag(cmd, slog.LevelWarn)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case d.Masters != 1 && d.Masters != 3 && d.Masters != 5:
			return usage("--masters is %d", d.Masters).hint("a Raft group has 1, 3 or 5 members")
		case d.Agents < 0 || d.Agents > 100:
			return usage("--agents is %d; it must be from 0 to 100", d.Agents)
		case a.env.Daemons.Dev == nil:
			return missing("dev")
		}
		d.LogLevel, d.Log = level.Level(), a.env.Stderr
		d.Progress = func(what string) { fmt.Fprintln(a.env.Stderr, what) }
		d.Ready = func(url string) { fmt.Fprintln(a.env.Stdout, "ready", url) }
		return a.serve(cmd, func(ctx context.Context) error { return a.env.Daemons.Dev(ctx, d) })
	}
	return cmd
}

const defaultNodeGrace = 30 * time.Second

func (a *app) masterCommand() *cobra.Command {
	var m MasterConfig
	var key string
	cmd := &cobra.Command{
		Use: "master --name NAME --data-dir DIR [flags]", Short: "Run a master: a member of the Raft group",
		Example: "saki master --name m1 --data-dir /var/lib/saki --bootstrap-expect 1\n" +
			"saki master --name m2 --data-dir /var/lib/saki --addr 10.0.0.2:5050 --raft 10.0.0.2:5049 \\\n" +
			"    --gossip 10.0.0.2:7946 --bootstrap-expect 3 --join 10.0.0.1:7946,10.0.0.3:7946",
	}
	f := cmd.Flags()
	a.memberFlags(cmd, &m.Name, &m.DataDir, &m.Gossip, &m.Join, &key, &m.Cluster)
	f.StringVar(&m.Addr, "addr", "127.0.0.1:5050", "`host:port` of the HTTP API")
	f.StringVar(&m.Raft, "raft", "127.0.0.1:5049", "`host:port` for the other masters")
	f.IntVar(&m.BootstrapExpect, "bootstrap-expect", 1, "masters that a new cluster waits for; 0 joins an old one")
	f.IntVar(&m.KeepTasks, "keep-tasks", 10_000, "how many ended tasks to remember")
	f.DurationVar(&m.KeepFor, "keep-for", 24*time.Hour, "how long to remember them")
	f.DurationVar(&m.NodeGrace, "node-grace", defaultNodeGrace, "how long an agent may be away before its tasks run elsewhere")
	level := levelFlag(cmd, slog.LevelInfo)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if m.GossipKey, err = checkMember(m.Name, m.DataDir, key, m.Cluster); err != nil {
			return err
		}
		if len(m.Join) > 0 && !cmd.Flags().Changed("bootstrap-expect") {
			m.BootstrapExpect = 0
		}
		switch {
		case m.BootstrapExpect < 0 || m.BootstrapExpect > 9:
			return usage("--bootstrap-expect is %d; it must be from 0 to 9", m.BootstrapExpect)
		case m.KeepTasks < 0 || m.KeepFor < 0 || m.NodeGrace < 0:
			return usage("--keep-tasks, --keep-for and --node-grace must not be negative")
		case a.env.Daemons.Master == nil:
			return missing("master")
		}
		m.LogLevel, m.Log = level.Level(), a.env.Stderr
		return a.serve(cmd, func(ctx context.Context) error { return a.env.Daemons.Master(ctx, m) })
	}
	return cmd
}

func (a *app) agentCommand() *cobra.Command {
	var g AgentConfig
	var key, resources, attributes string
	var runtimes []string
	cmd := &cobra.Command{
		Use: "agent --name NAME --data-dir DIR --join HOST:PORT [flags]", Short: "Run an agent: it runs tasks on this machine",
		Example: "saki agent --name a1 --data-dir /var/lib/saki --join 10.0.0.1:7946\n" +
			"saki agent --name a1 --data-dir /var/lib/saki --addr 10.0.0.9:5051 --gossip 10.0.0.9:7946 --join 10.0.0.1:7946 \\\n" +
			"    --resources 'cpus:4;mem:4096;ports:[8000-8100]' --attributes 'zone:a'",
	}
	f := cmd.Flags()
	a.memberFlags(cmd, &g.Name, &g.DataDir, &g.Gossip, &g.Join, &key, &g.Cluster)
	f.StringVar(&g.Addr, "addr", "127.0.0.1:5051", "`host:port` of the HTTP API")
	f.StringVar(&resources, "resources", "", "`what` tasks may use, as in the example (default: the machine's)")
	f.StringVar(&attributes, "attributes", "", "`pairs` for constraints, as 'zone:a;gpu:no'")
	executorFlag(cmd, &g.Executor)
	f.StringSliceVar(&runtimes, "runtimes", []string{"wasm", "container", "shell"}, "`kinds` of task to run")
	f.DurationVar(&g.RegistrationTimeout, "executor_registration_timeout", time.Minute, "how long an executor may take to start")
	f.StringSliceVar(&g.AllowVolumes, "allow-volume", nil, "host `folder` that containers may mount")
	f.BoolVar(&g.AllowInterpreter, "allow-interpreter", false, "run wasm even where it cannot be compiled (slow)")
	level := levelFlag(cmd, slog.LevelInfo)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if g.GossipKey, err = checkMember(g.Name, g.DataDir, key, g.Cluster); err != nil {
			return err
		}
		if g.Resources, g.ResourcesGiven, err = api.ParseResources(resources); err != nil {
			return err
		}
		if g.Attributes, err = api.ParseAttributes(attributes); err != nil {
			return err
		}
		for _, r := range runtimes {
			k := api.Kind(strings.TrimSpace(r))
			if k != api.Wasm && k != api.Container && k != api.Shell {
				return usage("unknown runtime %s", api.Quote(r)).hint("known are wasm, container and shell")
			}
			g.Runtimes = append(g.Runtimes, k)
		}
		if a.env.Daemons.Agent == nil {
			return missing("agent")
		}
		g.LogLevel, g.Log = level.Level(), a.env.Stderr
		return a.serve(cmd, func(ctx context.Context) error { return a.env.Daemons.Agent(ctx, g) })
	}
	return cmd
}

// memberFlags are what masters and agents have in common.
func (a *app) memberFlags(cmd *cobra.Command, name, dataDir, gossip *string, join *[]string, key, cluster *string) {
	f := cmd.Flags()
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	f.StringVar(name, "name", host, "`name` in the cluster, for good")
	f.StringVar(dataDir, "data-dir", "", "`folder` of its own")
	f.StringVar(gossip, "gossip", "127.0.0.1:7946", "`host:port` for gossip")
	f.StringSliceVar(join, "join", nil, "gossip `host:port` of members to join, with commas")
	f.StringVar(key, "gossip-key", "", "`secret` of the gossip: 16, 24 or 32 bytes in base64")
	f.StringVar(cluster, "cluster", "saki", "`name` of the cluster; others are not let in")
}

func checkMember(name, dataDir, key, cluster string) ([]byte, error) {
	if err := api.CheckName("node", name); err != nil {
		return nil, err
	}
	if err := api.CheckName("cluster", cluster); err != nil {
		return nil, err
	}
	if dataDir == "" {
		return nil, usage("--data-dir is missing").hint("name a folder that only this process uses, such as --data-dir /var/lib/saki")
	}
	if key == "" {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key))
	if n := len(b); err != nil || n != 16 && n != 24 && n != 32 {
		return nil, usage("--gossip-key is not 16, 24 or 32 bytes in base64").hint("make one with: head -c 32 /dev/urandom | base64")
	}
	return b, nil
}

// executorFlag is how wasm tasks are kept apart from the machine.
func executorFlag(cmd *cobra.Command, v *string) {
	*v = "auto"
	cmd.Flags().Var(formatFlag{v, []string{"auto", "docker", "process"}}, "executor", "where wasm runs; auto is docker where there is one")
}

func levelFlag(cmd *cobra.Command, usual slog.Level) *slog.LevelVar {
	v := new(slog.LevelVar)
	v.Set(usual)
	cmd.Flags().Var(levelValue{v}, "log-level", "debug, info, warn or error")
	return v
}

type levelValue struct{ v *slog.LevelVar }

func (l levelValue) String() string {
	if l.v == nil {
		return ""
	}
	return strings.ToLower(l.v.Level().String())
}
func (l levelValue) Type() string { return "level" }
func (l levelValue) Set(s string) error {
	if err := l.v.UnmarshalText([]byte(s)); err != nil {
		return api.Errorf(api.CodeInvalidArgument, "%s is not a log level", api.Quote(s)).WithHint("use debug, info, warn or error")
	}
	return nil
}

// serve runs a daemon until it ends or a signal comes.
func (a *app) serve(cmd *cobra.Command, f func(context.Context) error) error {
	ctx, stop := a.env.untilSignal(cmd.Context())
	defer stop()
	err := f(ctx)
	if ctx.Err() != nil && (errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled)) {
		return nil // it was asked to stop, and did
	}
	return err
}
