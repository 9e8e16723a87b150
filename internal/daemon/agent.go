package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/saki-run/saki/agent"
	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/container"
	"github.com/saki-run/saki/agent/runner/shell"
	"github.com/saki-run/saki/agent/runner/wasm"
	"github.com/saki-run/saki/agent/runner/wasm/launch"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/blob"
	"github.com/saki-run/saki/cli"
	"github.com/saki-run/saki/gossip"
	"github.com/saki-run/saki/internal/netx"
)

// agentNode is an agent with all it needs.
type agentNode struct {
	*agent.Agent
	member *member
	home   *agent.Home
	blobs  *blob.Store
	wasm   *wasm.Runner // nil when it runs no wasm
	web    net.Listener
	log    *slog.Logger
	warm   chan error // gets one value once the default executor is ready or cannot be had
}

// newAgent takes the addresses and the data directory. end says that tasks and executors end with it.
func newAgent(ctx context.Context, c cli.AgentConfig, v api.Version, end bool, log *slog.Logger) (_ *agentNode, err error) {
	n := &agentNode{log: log, warm: make(chan error, 1)}
	var undo []func() error
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(undo) {
				err = errors.Join(err, f())
			}
		}
	}()
	if n.home, err = agent.OpenHome(c.DataDir); err != nil {
		return nil, err
	}
	undo = append(undo, n.home.Close)
	if n.blobs, err = blob.Open(filepath.Join(n.home.Dir, "blobs")); err != nil {
		return nil, err
	}
	undo = append(undo, n.blobs.Close)
	if n.web, err = listen(ctx, c.Addr, "another saki runs there; stop it, or choose another address with --addr"); err != nil {
		return nil, err
	}
	undo = append(undo, n.web.Close)
	if c.Resources, err = detect(c.Resources, c.ResourcesGiven, n.home.Dir); err != nil {
		return nil, err
	}
	runners, err := n.runners(ctx, c)
	if err != nil {
		return nil, err
	}
	n.member, err = newMember(memberConfig{
		self: gossip.Member{Name: c.Name, Role: roleAgent, API: n.web.Addr().String(), Cluster: c.Cluster},
		bind: c.Gossip, join: c.Join, key: c.GossipKey, logger: log,
	})
	if err != nil {
		return nil, err
	}
	n.Agent, err = agent.New(agent.Config{
		Home: n.home, Name: c.Name, Addr: n.web.Addr().String(), Total: c.Resources, Attributes: c.Attributes, Version: v.Version,
		Runners: runners, Masters: n.member.masterAddrs, Blobs: n.blobs, EndTasks: end, Now: time.Now, Log: log,
	})
	return n, err
}

// runners makes the runners of the kinds that were asked for.
func (n *agentNode) runners(ctx context.Context, c cli.AgentConfig) (map[api.Kind]runner.Runner, error) {
	id := c.Name + "-" + string(n.home.ID[:8]) // tells agents of one name on one machine apart
	out := map[api.Kind]runner.Runner{}
	for _, k := range c.Runtimes {
		var r runner.Runner
		var err error
		switch k {
		case api.Wasm:
			r, err = n.wasmRunner(ctx, c, id)
		case api.Shell:
			r, err = shell.New(shell.Config{Name: id, Log: n.log.With("part", "shell")})
		case api.Container:
			cc := container.Config{Cluster: c.Cluster, Agent: id, AllowVolumes: c.AllowVolumes, Log: n.log.With("part", "container")}
			if host, _, err := net.SplitHostPort(c.Addr); err == nil && !netx.IsLoopback(c.Addr) {
				if ip, err := netip.ParseAddr(host); err == nil {
					cc.HostIP = ip
				}
			}
			r, err = container.New(cc)
		}
		if err != nil {
			return nil, fmt.Errorf("%s runner: %w", k, err)
		}
		out[k] = r
	}
	return out, nil
}

func (n *agentNode) wasmRunner(ctx context.Context, c cli.AgentConfig, id string) (runner.Runner, error) {
	l, err := n.launcher(ctx, c, id)
	if err != nil {
		return nil, err
	}
	n.wasm, err = wasm.New(wasm.Config{
		Root: n.home.Namespaces(), Launcher: l, RegistrationTimeout: c.RegistrationTimeout,
		AllowInterpreter: c.AllowInterpreter, Log: n.log.With("part", "wasm"),
	})
	return n.wasm, err
}

// launcher decides where executors live. With auto it is a container where there is a Docker daemon.
func (n *agentNode) launcher(ctx context.Context, c cli.AgentConfig, id string) (launch.Launcher, error) {
	options := launch.Options{WorkerMem: int64(max(256*api.MiB, c.Resources.Mem/4))} // of Go's heap; guests' memory lies outside
	process := &launch.Process{Root: n.home.Namespaces(), Options: options, Log: n.log.With("part", "executor")}
	if c.Executor == "process" {
		return process, nil
	}
	docker, err := launch.NewDocker(launch.DockerConfig{
		Cluster: c.Cluster, Agent: id, Root: n.home.Namespaces(), Options: options,
		// An agent may offer more processors than there are; Docker takes no such limit.
		CPUs: min(float64(c.Resources.CPUs)/1000, float64(runtime.NumCPU())), Memory: int64(c.Resources.Mem), Log: n.log.With("part", "executor"), Progress: c.Progress,
	})
	if err == nil {
		check, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		err = docker.Check(check)
	}
	if err == nil {
		return docker, nil
	}
	if c.Executor == "docker" {
		return nil, api.Errorf(api.CodeUnavailable, "executors cannot run in Docker: %v", err).
			WithHint("start Docker, or run wasm in plain processes with --executor process")
	}
	n.log.Warn("no Docker: wasm runs in plain processes, and container tasks are off", "error", err)
	return process, nil
}

// Run works until ctx ends.
func (n *agentNode) Run(ctx context.Context) error {
	if n.wasm != nil {
		if err := n.wasm.Adopt(ctx); err != nil {
			n.log.Warn("executors of an earlier process were not found", "error", err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.member.Run(ctx) })
	g.Go(func() error { return n.Agent.Run(ctx) })
	g.Go(func() error { return serve(ctx, n.web, n.Handler(), n.log) })
	g.Go(func() error {
		n.warm <- n.warmUp(ctx)
		return nil
	})
	return errors.Join(g.Wait(), n.blobs.Close(), n.home.Close())
}

// warmUp starts the executor of the default namespace, so that the first task finds it.
func (n *agentNode) warmUp(ctx context.Context) error {
	if n.wasm == nil {
		return nil
	}
	err := n.wasm.Warm(ctx, api.DefaultNamespace)
	if err != nil && ctx.Err() == nil {
		n.log.Error("the wasm executor did not start", "error", err)
	}
	n.Refresh(ctx)
	return err
}

// Agent is saki agent.
func Agent(v api.Version) func(context.Context, cli.AgentConfig) error {
	return func(ctx context.Context, c cli.AgentConfig) error {
		log := newLog(c.Log, c.LogLevel).With("agent", c.Name)
		go trimMemory(ctx)
		warnOpen(log, c.GossipKey, c.Addr, c.Gossip)
		n, err := newAgent(ctx, c, v, false, log)
		if err != nil {
			return err
		}
		log.Info("agent started", "api", n.web.Addr().String(), "gossip", n.member.Addr(), "id", n.home.ID)
		return n.Run(ctx)
	}
}
