package container

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/stage"
	"github.com/saki-run/saki/api"
)

// Sandbox is where a container finds its staged files; the variable SAKI_SANDBOX says so too.
const Sandbox = "/mnt/saki"

// capabilities are what is left of root in a container: what the entry points of common images need to give up the rest.
var capabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"}

// name is that of an attempt's container. It is the lock that keeps one attempt from having two.
func (r *Runner) name(t *api.Task) string {
	return fmt.Sprintf("saki-%s-%s-%d", r.cfg.Agent, t.ID, t.Attempt)
}

// create makes the container, fetching the image when there is none. refused is the outcome of a task that cannot be made.
func (r *Runner) create(ctx context.Context, t *api.Task, s stage.Staged) (id string, refused *api.Outcome, err error) {
	mounts, err := r.mounts(t.Spec.Container.Volumes, s.Box)
	if err != nil {
		o := api.Fail(api.ReasonVolumeRefused, err.Error())
		return "", &o, nil
	}
	c, h := r.config(t, s), r.hostConfig(t, mounts)
	pulled, removed := false, false
	for {
		made, err := r.createOnce(ctx, c, h, r.name(t))
		switch {
		case err == nil:
			return made.ID, nil, nil
		case notFound(err) && !pulled:
			pulled = true
			if err := r.pull(ctx, c.Image); err != nil {
				if ctx.Err() != nil || !said(err) && !errors.Is(err, errPull) {
					return "", nil, err
				}
				o := api.Fail(api.ReasonImageNotFound, fmt.Sprintf("image %s: %v", c.Image, err))
				return "", &o, nil
			}
		case conflict(err) && !removed:
			// An agent that died before it recorded the handle. The container had no effect yet, or is what was to be replaced.
			removed = true
			if err := r.clear(ctx, r.name(t)); err != nil {
				return "", nil, err
			}
		case said(err):
			o := api.Fail(api.ReasonLaunchFailed, err.Error())
			return "", &o, nil
		default:
			return "", nil, err
		}
	}
}

// createOnce is not cancelled half-way: the daemon would have made a container that nobody knows.
func (r *Runner) createOnce(ctx context.Context, c *container.Config, h *container.HostConfig, name string) (container.CreateResponse, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callFor)
	defer cancel()
	return r.docker.ContainerCreate(ctx, c, h, nil, nil, name)
}

// clear removes a container and waits until its name is free, even if its removal is under way already.
func (r *Runner) clear(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callFor)
	defer cancel()
	gone, errs := r.docker.ContainerWait(ctx, name, container.WaitConditionRemoved)
	if err := r.remove(ctx, name); err != nil {
		return err
	}
	select {
	case <-gone:
		return nil
	case err := <-errs:
		if notFound(err) {
			return nil
		}
		return fmt.Errorf("remove an older container %s: %w", name, err)
	}
}

// errPull says that the daemon could not get an image.
var errPull = errors.New("pull")

// pull fetches an image. Tasks that need the same one share the work.
func (r *Runner) pull(ctx context.Context, ref string) error {
	done := r.pulls.DoChan(ref, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.PullTimeout)
		defer cancel()
		body, err := r.docker.ImagePull(ctx, ref, image.PullOptions{})
		if err != nil {
			return nil, err
		}
		defer body.Close()
		return nil, pulled(body)
	})
	select {
	case res := <-done:
		return res.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pulled reads the daemon's report of a pull to its end.
func pulled(body io.Reader) error {
	dec := json.NewDecoder(body)
	for {
		var m struct {
			Error string `json:"error"`
		}
		switch err := dec.Decode(&m); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", errPull, err)
		case m.Error != "":
			return fmt.Errorf("%w: %s", errPull, m.Error)
		}
	}
}

func (r *Runner) config(t *api.Task, s stage.Staged) *container.Config {
	spec := t.Spec.Container
	c := &container.Config{
		Image: spec.Image, Cmd: spec.Command, User: spec.User, WorkingDir: spec.Workdir,
		Labels: map[string]string{
			LabelCluster: r.cfg.Cluster, LabelAgent: r.cfg.Agent, LabelRole: RoleTask,
			LabelTask: string(t.ID), LabelAttempt: strconv.FormatUint(uint64(t.Attempt), 10),
		},
		ExposedPorts: nat.PortSet{},
	}
	env := runner.Env(t)
	env["SAKI_SANDBOX"] = cmp.Or(t.Spec.Env["SAKI_SANDBOX"], Sandbox)
	for k, v := range env {
		c.Env = append(c.Env, k+"="+v)
	}
	slices.Sort(c.Env)
	for _, p := range spec.Ports {
		c.ExposedPorts[port(p)] = struct{}{}
	}
	if s.Stdin != "" {
		c.AttachStdin, c.OpenStdin, c.StdinOnce = true, true, true
	}
	return c
}

func port(p api.PortMapping) nat.Port {
	return nat.Port(fmt.Sprintf("%d/%s", p.Container, cmp.Or(p.Protocol, "tcp")))
}

// logSize is the size of a container's log, which is read again after a restart of the agent: JSON makes text longer, and
// there are two streams.
func logSize(maxOutput api.Bytes) string {
	return strconv.FormatInt(int64(max(api.MiB, 4*maxOutput)), 10)
}

func (r *Runner) hostConfig(t *api.Task, mounts []mount.Mount) *container.HostConfig {
	spec, res := t.Spec.Container, t.Spec.Resources
	h := &container.HostConfig{
		NetworkMode:  container.NetworkMode(cmp.Or(spec.Network, "bridge")),
		PortBindings: nat.PortMap{},
		Mounts:       mounts,
		CapDrop:      []string{"ALL"},
		CapAdd:       capabilities,
		SecurityOpt:  []string{"no-new-privileges"},
		LogConfig:    container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": logSize(t.Spec.MaxOutput), "max-file": "2"}},
		Resources: container.Resources{
			CPUShares: max(2, int64(res.CPUs)*1024/1000), Memory: int64(res.Mem), MemorySwap: int64(res.Mem), PidsLimit: &r.cfg.MaxPIDs,
		},
	}
	if !late(res.CPUs) {
		h.NanoCPUs = int64(res.CPUs) * 1e6
	}
	for _, p := range spec.Ports {
		if spec.Network == "host" || p.Index >= len(t.Ports) {
			continue
		}
		h.PortBindings[port(p)] = append(h.PortBindings[port(p)], nat.PortBinding{
			HostIP: r.cfg.HostIP.String(), HostPort: strconv.Itoa(int(t.Ports[p.Index])),
		})
	}
	return h
}

// late reports whether a limit of the processor is set only once the container runs. What sets a container up runs within its
// limits, and less than one processor makes it slow: a tenth of one adds 120 ms to a start of 360. Until then the container
// has its share only.
func late(cpus api.Milli) bool { return cpus < 1000 }

// mounts gives what a container sees of this machine: its sandbox, and the folders that the agent allows.
func (r *Runner) mounts(volumes []api.Volume, box string) ([]mount.Mount, error) {
	ms := []mount.Mount{{Type: mount.TypeBind, Source: box, Target: Sandbox}}
	for _, v := range volumes {
		host, err := r.allowed(v.Host)
		if err != nil {
			return nil, err
		}
		ms = append(ms, mount.Mount{Type: mount.TypeBind, Source: host, Target: v.Container, ReadOnly: v.ReadOnly})
	}
	return ms, nil
}

// allowed resolves a folder and checks that it lies in one of the allowed ones, whatever links lead there.
func (r *Runner) allowed(dir string) (string, error) {
	host, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("volume %s: %w", api.Quote(dir), err)
	}
	if st, err := os.Stat(host); err != nil || !st.IsDir() {
		return "", fmt.Errorf("volume %s is not a folder", api.Quote(dir))
	}
	for _, p := range r.cfg.AllowVolumes {
		p, err := filepath.EvalSymlinks(p)
		if err != nil {
			continue // an allowed folder that does not exist allows nothing
		}
		if host == p || strings.HasPrefix(host, strings.TrimSuffix(p, "/")+"/") {
			return host, nil
		}
	}
	return "", fmt.Errorf("volume %s: this agent does not allow the folder %s; start it with --allow-volume", api.Quote(dir), host)
}
