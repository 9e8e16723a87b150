package launch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
)

// Labels of the containers. They are what a container is known by; its name is only a lock against a second one.
const (
	labelCluster   = "saki.cluster"
	labelAgent     = "saki.agent"
	labelNamespace = "saki.namespace"
	labelRole      = "saki.role"
	labelBinary    = "saki.binary" // hash of the program in it
	labelConfig    = "saki.config" // hash of how it was made
	roleExecutor   = "executor"
)

// unprivileged is the user and group in the containers of an agent that is root.
const unprivileged = 65532

// DockerConfig configures a [Docker].
type DockerConfig struct {
	Cluster string // id of the cluster
	Agent   string // id of the agent
	Root    string // the folder that holds the folders of the spaces
	// HostRoot is Root as the Docker daemon sees it. Default: Root. An agent that runs in a container itself has its data
	// folder mounted at the same path, or says here where it is.
	HostRoot string
	// Exe is the program put into the image: a static Linux binary. Default: this one.
	Exe     string
	Options Options
	// CPUs is how many processors an executor may use; 0 is no limit.
	CPUs float64
	// Memory is what an executor may use, in bytes, swap included; 0 is no limit.
	Memory int64
	// Pids is how many processes and threads an executor may have. Default 512.
	Pids int64
	// Progress is told what takes long, such as the image being built. Default: it is logged.
	Progress func(what string)
	Log      *slog.Logger
}

// Docker starts executors in containers that hold nothing but this program, and that can reach nothing but one folder and the
// socket in it. It is safe for concurrent use.
type Docker struct {
	cfg DockerConfig
	cli *client.Client

	mu   sync.Mutex // guards what follows, and lets one caller at a time build the image
	hash string     // of the program

	image atomic.Pointer[string] // once it is there
}

var _ Launcher = (*Docker)(nil)

// NewDocker makes a Docker launcher. The daemon is the one that the environment names (DOCKER_HOST and so on), by default the
// local one; it is not talked to yet.
func NewDocker(cfg DockerConfig) (*Docker, error) {
	if cfg.Cluster == "" || cfg.Agent == "" || cfg.Root == "" || cfg.Log == nil {
		return nil, errors.New("docker launcher: Cluster, Agent, Root and Log are required")
	}
	if cfg.HostRoot == "" {
		cfg.HostRoot = cfg.Root
	}
	if cfg.Pids == 0 {
		cfg.Pids = 512
	}
	if cfg.Options.Workers == 0 {
		cfg.Options.Workers = 2
	}
	if cfg.Progress == nil {
		cfg.Progress = func(what string) { cfg.Log.Info(what) }
	}
	if cfg.Exe == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		cfg.Exe = exe
	}
	cli, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	return &Docker{cfg: cfg, cli: cli}, nil
}

// Name implements [Launcher].
func (*Docker) Name() string { return "docker" }

// SharesPaths implements [Launcher].
func (*Docker) SharesPaths() bool { return false }

// Owner implements [Launcher].
func (*Docker) Owner() (uid, gid int) {
	if os.Getuid() == 0 {
		return unprivileged, unprivileged
	}
	return -1, -1
}

// Close lets go of the connection to the daemon.
func (d *Docker) Close() error { return d.cli.Close() }

// Check implements [Launcher].
func (d *Docker) Check(ctx context.Context) error {
	if err := checkStatic(d.cfg.Exe); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := d.cli.Ping(ctx); err != nil {
		return fmt.Errorf("the Docker daemon does not answer (%w); start it, or run the agent with --executor process", err)
	}
	return nil
}

// filter finds this agent's executors.
func (d *Docker) filter(ns string) filters.Args {
	f := filters.NewArgs(
		filters.Arg("label", labelCluster+"="+d.cfg.Cluster),
		filters.Arg("label", labelAgent+"="+d.cfg.Agent),
		filters.Arg("label", labelRole+"="+roleExecutor),
	)
	if ns != "" {
		f.Add("label", labelNamespace+"="+ns)
	}
	return f
}

// Running implements [Launcher].
func (d *Docker) Running(ctx context.Context) ([]string, error) {
	list, err := d.cli.ContainerList(ctx, container.ListOptions{Filters: d.filter("")})
	if err != nil {
		return nil, fmt.Errorf("list executors: %w", err)
	}
	var out []string
	for _, c := range list {
		out = append(out, c.Labels[labelNamespace])
	}
	return out, nil
}

// Ensure implements [Launcher].
func (d *Docker) Ensure(ctx context.Context, s Space) (Executor, error) {
	hash, err := d.ensureImage(ctx)
	if err != nil {
		return nil, err
	}
	conf, host, err := d.container(s, hash)
	if err != nil {
		return nil, err
	}
	// The one before it may be on its way out: it is not listed any longer and still has the name.
	const tries, pause = 30, 100 * time.Millisecond
	for try := 1; ; try++ {
		id, err := d.adopt(ctx, s.Namespace, conf.Labels)
		if err != nil {
			return nil, err
		}
		if id != "" {
			return d.watch(id, true), nil
		}
		name := d.containerName(s.Namespace)
		made, err := d.cli.ContainerCreate(ctx, conf, host, nil, nil, name)
		switch {
		case err == nil:
			if err := d.cli.ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
				d.remove(made.ID)
				return nil, fmt.Errorf("start executor container: %w", err)
			}
			return d.watch(made.ID, false), nil
		case !errdefs.IsConflict(err):
			return nil, fmt.Errorf("create executor container: %w", err)
		case try == tries:
			return nil, fmt.Errorf("another container has the name %s; remove it: docker rm -f %s", name, name)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// adopt gives the container of the namespace that runs and is as wanted. All others are removed.
func (d *Docker) adopt(ctx context.Context, ns string, want map[string]string) (id string, err error) {
	list, err := d.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: d.filter(ns)})
	if err != nil {
		return "", fmt.Errorf("look for executor container: %w", err)
	}
	for _, c := range list {
		same := c.Labels[labelBinary] == want[labelBinary] && c.Labels[labelConfig] == want[labelConfig]
		if id == "" && same && c.State == container.StateRunning {
			id = c.ID
			continue
		}
		d.cfg.Log.Info("executor container is replaced", "namespace", ns, "container", c.ID[:12], "state", c.State, "same", same)
		err := d.cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true})
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) { // somebody else is at it
			return "", fmt.Errorf("remove old executor container: %w", err)
		}
	}
	return id, nil
}

// containerName is the same for every executor of a namespace and agent, so that there is never a second one.
func (d *Docker) containerName(ns string) string {
	clean := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' {
				return r
			}
			return '_'
		}, s)
	}
	return "saki-" + clean(d.cfg.Cluster) + "-" + clean(d.cfg.Agent) + "-" + clean(ns)
}

// hostPath is a space's folder as the daemon sees it.
func (d *Docker) hostPath(dir string) (string, error) {
	rel, err := filepath.Rel(d.cfg.Root, dir)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("folder %s is not in %s", dir, d.cfg.Root)
	}
	return filepath.Join(d.cfg.HostRoot, rel), nil
}

func (d *Docker) user() string {
	if uid, gid := d.Owner(); uid >= 0 {
		return strconv.Itoa(uid) + ":" + strconv.Itoa(gid)
	}
	return strconv.Itoa(os.Getuid()) + ":" + strconv.Itoa(os.Getgid())
}

// remove removes a container in the background of an error.
func (d *Docker) remove(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := d.cli.ContainerRemove(ctx, id, container.RemoveOptions{Force: true}); err != nil && !errdefs.IsNotFound(err) {
		d.cfg.Log.Warn("container cannot be removed", "container", id, "err", err)
	}
}
