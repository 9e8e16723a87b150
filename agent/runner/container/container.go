// Package container runs tasks in Docker containers. The daemon is the supervisor: containers live on without the agent, and
// are found again by their id and their labels.
package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/singleflight"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
)

// Labels of every container that Saki makes. Containers are recognised by them, never by name.
const (
	LabelCluster = "saki.cluster"
	LabelAgent   = "saki.agent"
	LabelRole    = "saki.role" // RoleTask for those of this package
	LabelTask    = "saki.task"
	LabelAttempt = "saki.attempt"

	RoleTask = "task"
)

// probeFor is how long Probe waits for the daemon.
const probeFor = 2 * time.Second

// callFor is how long a call that the daemon answers at once may take.
const callFor = 30 * time.Second

// Docker is what is asked of the Docker client.
type Docker interface {
	DaemonHost() string
	Ping(ctx context.Context) (types.Ping, error)
	ImagePull(ctx context.Context, ref string, o image.PullOptions) (io.ReadCloser, error)
	ContainerCreate(ctx context.Context, c *container.Config, h *container.HostConfig, n *network.NetworkingConfig, p *ocispec.Platform, name string) (container.CreateResponse, error)
	ContainerAttach(ctx context.Context, id string, o container.AttachOptions) (types.HijackedResponse, error)
	ContainerStart(ctx context.Context, id string, o container.StartOptions) error
	ContainerWait(ctx context.Context, id string, c container.WaitCondition) (<-chan container.WaitResponse, <-chan error)
	ContainerLogs(ctx context.Context, id string, o container.LogsOptions) (io.ReadCloser, error)
	ContainerUpdate(ctx context.Context, id string, c container.UpdateConfig) (container.UpdateResponse, error)
	ContainerKill(ctx context.Context, id, signal string) error
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	Events(ctx context.Context, o events.ListOptions) (<-chan events.Message, <-chan error)
	ContainerList(ctx context.Context, o container.ListOptions) ([]container.Summary, error)
	ContainerRemove(ctx context.Context, id string, o container.RemoveOptions) error
}

var _ Docker = (*client.Client)(nil)

// Config tells New what to make.
type Config struct {
	// Docker is the daemon. Default: the one that DOCKER_HOST and its kin name.
	Docker Docker
	// Cluster and Agent go into the labels. Required: an agent removes what carries both and is not its own any more.
	Cluster, Agent string
	// HostIP is where ports of tasks are published. Default 127.0.0.1.
	HostIP netip.Addr
	// AllowVolumes are the folders that tasks may mount, with all below them. Default: none.
	AllowVolumes []string
	// MaxPIDs is the most processes and threads of one task. Default 1024.
	MaxPIDs int64
	// PullTimeout is how long an image may take to arrive. Default 10 minutes.
	PullTimeout time.Duration
	// Patience is how long the daemon may be gone before a running attempt is given up. Default 60 s.
	Patience time.Duration
	// Log takes what an operator would care about. Default: nothing.
	Log *slog.Logger
}

// Runner runs container tasks. It is safe for concurrent use.
type Runner struct {
	cfg    Config
	docker Docker
	pulls  singleflight.Group
	after  sync.WaitGroup // removals that no outcome waits for
}

var (
	_ runner.Runner     = (*Runner)(nil)
	_ runner.Reattacher = (*Runner)(nil)
	_ runner.Closer     = (*Runner)(nil)
	_ runner.Sweeper    = (*Runner)(nil)
)

// New makes a Runner. It does not ask whether there is a daemon: Probe does.
func New(cfg Config) (*Runner, error) {
	if cfg.Cluster == "" || cfg.Agent == "" {
		return nil, errors.New("container runner: the labels need a cluster and an agent")
	}
	if cfg.Docker == nil {
		c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
		if err != nil {
			return nil, fmt.Errorf("container runner: %w", err)
		}
		cfg.Docker = c
	}
	if !cfg.HostIP.IsValid() {
		cfg.HostIP = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if cfg.MaxPIDs == 0 {
		cfg.MaxPIDs = 1024
	}
	if cfg.PullTimeout == 0 {
		cfg.PullTimeout = 10 * time.Minute
	}
	if cfg.Patience == 0 {
		cfg.Patience = time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Runner{cfg: cfg, docker: cfg.Docker}, nil
}

// Probe implements [runner.Runner].
func (r *Runner) Probe(ctx context.Context) runner.Capability {
	ctx, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	p, err := r.docker.Ping(ctx)
	if err != nil {
		return runner.Capability{
			Kind:   api.Container,
			Notice: fmt.Sprintf("no Docker daemon at %s: container tasks are off; start Docker or set DOCKER_HOST", r.docker.DaemonHost()),
		}
	}
	return runner.Capability{Kind: api.Container, OK: true, Attributes: map[string]string{"docker.api": p.APIVersion}}
}

// Sweep removes the containers that earlier processes of this agent left behind: those of attempts that known does not know.
// It is for the start of an agent, after it has read its journal.
func (r *Runner) Sweep(ctx context.Context, known func(task api.TaskID, attempt uint32) bool) error {
	list, err := r.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", LabelCluster+"="+r.cfg.Cluster),
		filters.Arg("label", LabelAgent+"="+r.cfg.Agent),
		filters.Arg("label", LabelRole+"="+RoleTask),
	)})
	if err != nil {
		return fmt.Errorf("sweep containers: %w", err)
	}
	var errs []error
	for _, c := range list {
		n, err := strconv.ParseUint(c.Labels[LabelAttempt], 10, 32)
		if err == nil && known(api.TaskID(c.Labels[LabelTask]), uint32(n)) {
			continue
		}
		r.cfg.Log.Info("removing a container that nobody knows", "container", c.ID, "task", c.Labels[LabelTask])
		errs = append(errs, r.remove(ctx, c.ID))
	}
	return errors.Join(errs...)
}

// Close implements [runner.Closer].
func (r *Runner) Close(ctx context.Context, keep bool) error {
	done := make(chan struct{})
	go func() { r.after.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("wait for containers to be removed: %w", context.Cause(ctx))
	}
	if keep {
		return nil
	}
	err := r.Sweep(ctx, func(api.TaskID, uint32) bool { return false })
	if client.IsErrConnectionFailed(err) { // on most machines without a daemon there never was one
		r.cfg.Log.Debug("no Docker daemon to remove containers from", "error", err)
		return nil
	}
	return err
}

// remove removes a container, running or not, with its anonymous volumes. One that is gone or going is no error.
func (r *Runner) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callFor)
	defer cancel()
	err := r.docker.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || notFound(err) || conflict(err) {
		return nil
	}
	return fmt.Errorf("remove container %.12s: %w", id, err)
}
