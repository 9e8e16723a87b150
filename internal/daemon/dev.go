package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/cli"
)

// Dev is saki dev: a whole cluster in this process. Each member is what saki master and saki agent run, and they find each
// other by gossip as they would on many machines.
func Dev(v api.Version) func(context.Context, cli.DevConfig) error {
	return func(ctx context.Context, c cli.DevConfig) error {
		dir, remove, err := devDir(c.DataDir)
		if err != nil {
			return err
		}
		return errors.Join(dev(ctx, c, v, dir), remove())
	}
}

// devDir gives the folder of the cluster and what removes it at the end, when it is a temporary one.
func devDir(dir string) (string, func() error, error) {
	if dir != "" {
		return dir, func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "saki-dev-")
	if err != nil {
		return "", nil, err
	}
	// Executors that run as another user pass through.
	return dir, func() error { return os.RemoveAll(dir) }, os.Chmod(dir, 0o711)
}

func dev(ctx context.Context, c cli.DevConfig, v api.Version, dir string) error {
	go trimMemory(ctx)
	log := newLog(c.Log, c.LogLevel)
	ports, err := devPorts(c.Addr)
	if err != nil {
		return err
	}
	var masters []*masterNode
	var join []string
	for i := range c.Masters {
		m := cli.MasterConfig{
			Name: fmt.Sprintf("m%d", i+1), DataDir: filepath.Join(dir, fmt.Sprintf("m%d", i+1)), Cluster: "dev",
			Addr: ports(10 * i), Raft: ports(10*i - 1), Gossip: ports.any(), BootstrapExpect: c.Masters, Join: join, NodeGrace: c.NodeGrace,
		}
		if c.Masters == 1 {
			m.Raft = ports.any() // nobody dials it
		}
		n, err := newMaster(ctx, m, v, log.With("master", m.Name))
		if err != nil {
			return devHint(err)
		}
		masters = append(masters, n)
		join = append(join, n.member.Addr())
	}
	var agents []*agentNode
	for i := range c.Agents {
		a := cli.AgentConfig{
			Name: fmt.Sprintf("a%d", i+1), DataDir: filepath.Join(dir, fmt.Sprintf("a%d", i+1)), Cluster: "dev",
			Addr: ports(10*i + 1), Gossip: ports.any(), Join: join, Executor: c.Executor, RegistrationTimeout: time.Minute,
			Runtimes: []api.Kind{api.Wasm, api.Container, api.Shell}, Resources: api.Resources{Ports: portShare(i, c.Agents)},
			ResourcesGiven: map[string]bool{"ports": true}, Progress: c.Progress,
		}
		n, err := newAgent(ctx, a, v, true, log.With("agent", a.Name))
		if err != nil {
			return devHint(err)
		}
		agents = append(agents, n)
	}
	return runDev(ctx, c, log, masters, agents)
}

// runDev runs everything until ctx ends. The agents end first, so that the masters learn what became of their tasks.
func runDev(ctx context.Context, c cli.DevConfig, log *slog.Logger, masters []*masterNode, agents []*agentNode) error {
	keep, stopMasters := context.WithCancel(context.WithoutCancel(ctx))
	defer stopMasters()
	mg, mctx := errgroup.WithContext(keep)
	for _, m := range masters {
		mg.Go(func() error { return m.Run(mctx) })
	}
	ag, actx := errgroup.WithContext(ctx)
	for _, a := range agents {
		ag.Go(func() error { return a.Run(actx) })
	}
	ag.Go(func() error {
		select {
		case <-mctx.Done(): // a master broke
			return context.Cause(mctx)
		case <-actx.Done():
			return nil
		}
	})
	ag.Go(func() error {
		if devReady(actx, masters, agents) {
			c.Ready("http://" + masters[0].addr)
		}
		return nil
	})
	err := ag.Wait()
	stopMasters()
	err = errors.Join(err, mg.Wait())
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	log.Debug("dev ended", "error", err)
	return err
}

// devReady waits until tasks can run, and reports whether that came to be.
func devReady(ctx context.Context, masters []*masterNode, agents []*agentNode) bool {
	for _, a := range agents {
		select {
		case <-a.warm: //nolint:errcheck // an executor that cannot start is in the log and in the node's notices; the rest works
		case <-ctx.Done():
			return false
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, m := range masters {
			if m.Leading() && len(m.ReadyNodes()) >= len(agents) {
				return true
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// devPorts gives addresses relative to the first master's port.
type portPlan func(offset int) string

func devPorts(addr string) (portPlan, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalidArgument, "--addr %s is not host:port", api.Quote(addr)).WithHint("for example --addr 127.0.0.1:5050")
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port > 65000 {
		return nil, api.Errorf(api.CodeInvalidArgument, "--addr has the port %s; it must be from 0 to 65000", api.Quote(text))
	}
	return func(offset int) string {
		if port == 0 || offset == anyPort {
			return net.JoinHostPort(host, "0")
		}
		return net.JoinHostPort(host, strconv.Itoa(port+offset))
	}, nil
}

const anyPort = -1 << 20

// any gives an address with a port that the system picks.
func (p portPlan) any() string { return p(anyPort) }

// portShare divides the ports for tasks among the agents of one machine.
func portShare(i, n int) api.Ports {
	first, last := int(defaultPorts[0].First), int(defaultPorts[0].Last)
	each := (last - first + 1) / n
	return api.Ports{{First: uint16(first + i*each), Last: uint16(first + (i+1)*each - 1)}}
}

// devHint replaces the hint of an address in use by one that fits saki dev.
func devHint(err error) error {
	if e, ok := errors.AsType[*api.Error](err); ok && e.Code == api.CodeInUse {
		return e.WithHint("another saki dev may be running; use it, stop it, or choose another port with --addr 127.0.0.1:PORT")
	}
	return err
}
