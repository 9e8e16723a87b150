package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/cli"
	"github.com/saki-run/saki/gossip"
	"github.com/saki-run/saki/master"
	"github.com/saki-run/saki/master/core"
)

// masterNode is a master with all it needs.
type masterNode struct {
	*master.Master
	member *member
	web    net.Listener
	log    *slog.Logger
	addr   string
}

// newMaster takes the addresses and the data directory.
func newMaster(ctx context.Context, c cli.MasterConfig, v api.Version, log *slog.Logger) (_ *masterNode, err error) {
	n := &masterNode{log: log}
	hint := "another saki runs there; stop it, or choose another address"
	if n.web, err = listen(ctx, c.Addr, hint+" with --addr"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.web.Close()
		}
	}()
	n.addr = n.web.Addr().String()
	raft, err := listen(ctx, c.Raft, hint+" with --raft")
	if err != nil {
		return nil, err
	}
	n.member, err = newMember(memberConfig{
		self: gossip.Member{Name: c.Name, Role: roleMaster, API: n.addr, Raft: raft.Addr().String(), Cluster: c.Cluster},
		bind: c.Gossip, join: c.Join, key: c.GossipKey, logger: log,
	})
	if err != nil {
		return nil, errors.Join(err, raft.Close())
	}
	n.Master, err = master.New(master.Config{
		Name: c.Name, Cluster: c.Cluster, DataDir: c.DataDir, API: n.addr, Raft: raft, Expect: c.BootstrapExpect,
		Peers: n.member.masters, Announce: n.member.announce, Keeping: keeping(c), NodeGrace: c.NodeGrace, Version: v, Log: log,
	})
	if err != nil {
		return nil, errors.Join(err, raft.Close())
	}
	return n, nil
}

func keeping(c cli.MasterConfig) core.Keeping {
	k := master.DefaultKeeping
	if c.KeepTasks > 0 {
		k.Tasks = c.KeepTasks
	}
	if c.KeepFor > 0 {
		k.For = c.KeepFor
		k.Keyed = max(k.Keyed, k.For)
	}
	return k
}

// Run works until ctx ends or the master breaks.
func (n *masterNode) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.member.Run(ctx) })
	g.Go(func() error { return n.Master.Run(ctx) })
	g.Go(func() error { return serve(ctx, n.web, n.Handler(), n.log) })
	return g.Wait()
}

// Master is saki master.
func Master(v api.Version) func(context.Context, cli.MasterConfig) error {
	return func(ctx context.Context, c cli.MasterConfig) error {
		log := newLog(c.Log, c.LogLevel).With("master", c.Name)
		go trimMemory(ctx)
		warnOpen(log, c.GossipKey, c.Addr, c.Raft, c.Gossip)
		n, err := newMaster(ctx, c, v, log)
		if err != nil {
			return err
		}
		log.Info("master started", "api", n.addr, "raft", c.Raft, "gossip", n.member.Addr(), "time", time.Now().UTC().Format(time.RFC3339))
		return diskFull(n.Run(ctx), c.DataDir)
	}
}

// diskFull adds what to do to the error of a master that stopped because it could not write.
func diskFull(err error, dir string) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return api.Errorf(api.CodeNoSpace, "the disk that holds %s is full: %v", dir, err).
		WithHint("make room and start the master again; nothing that it has accepted is lost")
}
