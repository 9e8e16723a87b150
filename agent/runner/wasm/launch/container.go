package launch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// inside is where an executor's folder is in its container.
const inside = "/saki"

// tmpSize is the size of /tmp in a container. Nothing of ours writes there.
const tmpSize = 16 << 20

// nofile is how many files a container may have open. Daemons often have a limit of 20,000 themselves and cannot give more.
const nofile = 8192

// container describes a space's container. What is in it can read and write one folder, talk to whoever listens there, and use
// up what it was given; nothing else.
func (d *Docker) container(s Space, hash string) (*container.Config, *container.HostConfig, error) {
	source, err := d.hostPath(s.Dir)
	if err != nil {
		return nil, nil, err
	}
	conf := &container.Config{
		Image: imageName(hash),
		User:  d.user(),
		Entrypoint: []string{
			"/bin/saki", "executor", "--dir", inside, "--workers", strconv.Itoa(d.cfg.Options.Workers),
			"--memory", strconv.FormatInt(d.cfg.Options.WorkerMem, 10),
		},
		WorkingDir:      inside,
		Hostname:        "executor",
		NetworkDisabled: true,
	}
	pids := d.cfg.Pids
	host := &container.HostConfig{
		ReadonlyRootfs: true,
		Tmpfs:          map[string]string{"/tmp": fmt.Sprintf("rw,noexec,nosuid,nodev,size=%d,mode=1777", tmpSize)},
		// The propagation is left to the daemon: private, but for folders in its own volumes, where it insists on slave.
		Mounts:      []mount.Mount{{Type: mount.TypeBind, Source: source, Target: inside}},
		CapDrop:     []string{"ALL"},
		SecurityOpt: []string{"no-new-privileges"}, // seccomp stays the daemon's default
		NetworkMode: "none",
		IpcMode:     "private",
		OomScoreAdj: 200, // before the agent and the rest of the machine
		LogConfig:   container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}},
		Resources: container.Resources{
			NanoCPUs: int64(d.cfg.CPUs * 1e9), Memory: d.cfg.Memory, MemorySwap: d.cfg.Memory, PidsLimit: &pids,
			Ulimits: []*container.Ulimit{{Name: "nofile", Soft: nofile, Hard: nofile}, {Name: "core", Soft: 0, Hard: 0}},
		},
	}
	b, err := json.Marshal([]any{conf, host})
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(b)
	conf.Labels = map[string]string{
		labelCluster: d.cfg.Cluster, labelAgent: d.cfg.Agent, labelNamespace: s.Namespace, labelRole: roleExecutor,
		labelBinary: hash, labelConfig: hex.EncodeToString(sum[:6]),
	}
	return conf, host, nil
}

// containerRun is an executor in a container.
type containerRun struct {
	d       *Docker
	id      string
	adopted bool
	done    chan struct{}
	ended   string // set before done is closed
	release context.CancelFunc
}

var _ Executor = (*containerRun)(nil)

func (c *containerRun) Adopted() bool         { return c.adopted }
func (c *containerRun) Done() <-chan struct{} { return c.done }
func (c *containerRun) Ended() string         { return c.ended }
func (c *containerRun) Release()              { c.release() }

// watch waits for a container's end until it is released.
func (d *Docker) watch(id string, adopted bool) *containerRun {
	ctx, cancel := context.WithCancel(context.Background())
	c := &containerRun{d: d, id: id, adopted: adopted, done: make(chan struct{}), release: cancel}
	go c.wait(ctx)
	return c
}

// daemonBack is how long a daemon that went away may take to come back before its containers are taken for dead. They may well
// live on without it.
const daemonBack = time.Minute

// wait closes done when the container has ended. An error of the daemon says nothing of the container: it is asked again.
func (c *containerRun) wait(ctx context.Context) {
	var silent time.Duration
	for ctx.Err() == nil {
		status, errs := c.d.cli.ContainerWait(ctx, c.id, container.WaitConditionNotRunning)
		select {
		case <-status:
			c.end(c.how(ctx))
			return
		case err := <-errs:
			if ctx.Err() != nil {
				return
			}
			if errdefs.IsNotFound(err) {
				c.end("the executor container was removed")
				return
			}
			if silent >= daemonBack {
				c.end("the Docker daemon went away: " + err.Error())
				return
			}
		}
		const pause = time.Second
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			silent += pause
		}
	}
}

func (c *containerRun) end(how string) {
	c.ended = how
	close(c.done)
}

// how says how the container ended.
func (c *containerRun) how(ctx context.Context) string {
	in, err := c.d.cli.ContainerInspect(ctx, c.id)
	switch {
	case errdefs.IsNotFound(err):
		return "the executor container was removed"
	case err != nil || in.State == nil:
		return "the executor container has ended"
	case in.State.OOMKilled:
		return fmt.Sprintf("the executor container ran out of memory (exit code %d)", in.State.ExitCode)
	}
	return fmt.Sprintf("the executor container ended with exit code %d; see docker logs %s", in.State.ExitCode, c.id[:12])
}

// Stop implements [Executor].
func (c *containerRun) Stop(ctx context.Context) error {
	defer c.release()
	seconds := int(stopWithin / time.Second)
	if err := c.d.cli.ContainerStop(ctx, c.id, container.StopOptions{Timeout: &seconds}); err != nil && !errdefs.IsNotFound(err) {
		c.d.cfg.Log.Warn("executor container does not stop", "container", c.id[:12], "err", err)
	}
	err := c.d.cli.ContainerRemove(ctx, c.id, container.RemoveOptions{Force: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove executor container: %w", err)
	}
	return nil
}
