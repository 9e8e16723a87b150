package container_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	types "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/saki-run/saki/agent/logs"
	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/container"
	"github.com/saki-run/saki/api"
)

func task(id string, s *api.Spec) *api.Task {
	c := s.WithDefaults()
	return &api.Task{ID: api.TaskID(id), Attempt: 1, Spec: &c}
}

func place(t testing.TB) runner.IO {
	return runner.IO{Dir: filepath.Join(t.TempDir(), "attempt"), Handle: func([]byte) error { return nil }}
}

func run(t *testing.T, r *container.Runner, tk *api.Task) api.Outcome {
	t.Helper()
	o, err := r.Run(t.Context(), tk, place(t))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// ready waits until the task in dir has printed something.
func ready(t *testing.T, dir string, done <-chan struct{}) {
	t.Helper()
	if err := logs.Follow(t.Context(), filepath.Join(dir, "stdout"), 0, done, seen{}); !errors.Is(err, errSeen) {
		t.Fatalf("the task printed nothing: %v", err)
	}
}

var errSeen = errors.New("seen")

type seen struct{}

func (seen) Write([]byte) (int, error) { return 0, errSeen }

func TestARunnerWithoutADaemonClosesWell(t *testing.T) {
	d, err := client.NewClientWithOpts(client.WithHost("unix:///nonexistent"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(t, container.Config{Docker: d})
	if c := r.Probe(t.Context()); c.OK || c.Notice == "" {
		t.Errorf("got %+v", c)
	}
	if err := r.Close(t.Context(), false); err != nil {
		t.Error(err)
	}
}

func TestAnImageThatDoesNotExistIsNamedWithTheDaemonsWords(t *testing.T) {
	need(t)
	r := newRunner(t, container.Config{})
	for _, image := range []string{"localhost:1/no/such:image", "UPPER:case"} {
		o := run(t, r, task("x", spec(image)))
		if o.Reason != api.ReasonImageNotFound && o.Reason != api.ReasonLaunchFailed || !strings.Contains(o.Message, image) && !strings.Contains(o.Message, "reference") {
			t.Errorf("%s: got %+v", image, o)
		}
	}
	o := run(t, r, task("x", spec("localhost:1/no/such:image")))
	if o.Reason != api.ReasonImageNotFound || o.ExitCode != 127 {
		t.Errorf("got %+v", o)
	}
}

func TestOnlyAllowedFoldersAreMounted(t *testing.T) {
	ref := need(t)
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	mk := func(p string) string {
		p = filepath.Join(root, p)
		if err := os.MkdirAll(p, 0o777); err != nil {
			t.Fatal(err)
		}
		return p
	}
	allowed, other := mk("allowed/deep"), mk("allowed-not")
	os.WriteFile(filepath.Join(allowed, "file"), nil, 0o644)
	escape := filepath.Join(root, "allowed", "escape")
	alias := filepath.Join(root, "alias")
	if err := errors.Join(os.Symlink(other, escape), os.Symlink(allowed, alias)); err != nil {
		t.Fatal(err)
	}
	r := newRunner(t, container.Config{AllowVolumes: []string{filepath.Join(root, "allowed"), "/no/such/folder"}})
	mount := func(host string, readOnly bool, command ...string) api.Outcome {
		s := spec(ref, command...)
		s.Container.Volumes = []api.Volume{{Host: host, Container: "/data", ReadOnly: readOnly}}
		return run(t, r, task("x", s))
	}
	for _, host := range []string{other, escape, "/", root, filepath.Join(root, "none"), "/var/run/docker.sock", filepath.Join(allowed, "file")} {
		if o := mount(host, false, "ls", "/data"); o.Reason != api.ReasonVolumeRefused || o.ExitCode != 125 || !strings.Contains(o.Message, host) {
			t.Errorf("%s: got %+v", host, o)
		}
	}
	for _, host := range []string{allowed, alias} {
		if o := mount(host, false, "ls", "/data"); string(o.Stdout) != "file\n" {
			t.Errorf("%s: got %+v", host, o)
		}
	}
	if o := mount(allowed, true, "touch", "/data/new"); o.State != api.Failed || !strings.Contains(string(o.Stderr), "read-only") {
		t.Errorf("writing to a read-only volume: %+v, %s", o, o.Stderr)
	}
	if o := mount(allowed, false, "touch", "/data/new"); o.State != api.Finished {
		t.Errorf("writing to a volume: %+v, %s", o, o.Stderr)
	}
}

func TestATaskHasFewPrivilegesAndItsLimits(t *testing.T) {
	ref := need(t)
	agent := newName()
	r := newRunner(t, container.Config{Agent: agent})
	s := spec(ref, "self")
	s.Container.User = "4242:4242"
	o := run(t, r, task("x", s))
	for _, line := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "Uid: 4242"} {
		if !strings.Contains(string(o.Stdout), line+"\n") {
			t.Errorf("%q is not in\n%s", line, o.Stdout)
		}
	}

	at := place(t)
	done := make(chan struct{})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer func() { cancel(&runner.Stop{Force: true}); <-done }()
	go func() { defer close(done); r.Run(ctx, task("limits", spec(ref, "wait")), at) }()
	ready(t, at.Dir, done)
	c := find(t, agent)[0]
	for c.HostConfig.NanoCPUs == 0 && t.Context().Err() == nil { // it is set a moment after the start
		c = find(t, agent)[0]
	}
	h := c.HostConfig
	if h.Memory != int64(128*api.MiB) || h.MemorySwap != h.Memory || h.NanoCPUs != 100e6 || h.CPUShares != 102 || *h.PidsLimit != 1024 || h.Privileged {
		t.Errorf("the host config is %+v", h.Resources)
	}
	for k, v := range map[string]string{"saki.cluster": "test", "saki.agent": agent, "saki.role": "task", "saki.task": "limits", "saki.attempt": "1"} {
		if c.Config.Labels[k] != v {
			t.Errorf("label %s is %q, want %q", k, c.Config.Labels[k], v)
		}
	}
}

func find(t *testing.T, agent string) []types.InspectResponse {
	t.Helper()
	d, _ := docker()
	list, err := d.ContainerList(t.Context(), types.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "saki.agent="+agent))})
	if err != nil {
		t.Fatal(err)
	}
	var out []types.InspectResponse
	for _, s := range list {
		c, err := d.ContainerInspect(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func TestAUserOfTheImageReadsAndWritesTheSandbox(t *testing.T) {
	ref := need(t)
	r := newRunner(t, container.Config{})
	s := spec(ref, "touch", container.Sandbox+"/made")
	s.Container.User = "4242"
	at := place(t)
	if o, err := r.Run(t.Context(), task("x", s), at); err != nil || o.State != api.Finished {
		t.Fatalf("got %+v %s, %v", o, o.Stderr, err)
	}
	if _, err := os.Stat(filepath.Join(at.Dir, "box", "made")); err != nil {
		t.Error(err)
	}
}

func TestPortsArePublishedWhereTheAgentSays(t *testing.T) {
	ref := need(t)
	agent := newName()
	r := newRunner(t, container.Config{Agent: agent})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	s := spec(ref, "wait")
	s.Container.Network = ""
	s.Container.Ports = []api.PortMapping{{Container: 80, Index: 0}}
	tk := task("x", s)
	tk.Ports = []uint16{port}
	at := place(t)
	done := make(chan struct{})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { defer close(done); r.Run(ctx, tk, at) }()
	ready(t, at.Dir, done)
	got := find(t, agent)[0].NetworkSettings.Ports["80/tcp"]
	if len(got) != 1 || got[0].HostIP != "127.0.0.1" || got[0].HostPort != fmt.Sprint(port) {
		t.Errorf("published: %v, want 127.0.0.1:%d", got, port)
	}
	// A second task with the same port cannot start, and says why.
	tk2 := task("y", s)
	tk2.Ports = tk.Ports
	if o := run(t, r, tk2); o.Reason != api.ReasonLaunchFailed || !strings.Contains(o.Message, "port") {
		t.Errorf("the same port again: %+v", o)
	}
	cancel(&runner.Stop{Reason: api.ReasonUserKill, Force: true})
	<-done
}

func TestALeftoverOfTheSameAttemptIsReplaced(t *testing.T) {
	ref := need(t)
	agent := newName()
	r := newRunner(t, container.Config{Agent: agent})
	died := errors.New("the agent died before it recorded the handle")
	at := place(t)
	d, _ := docker()
	at.Handle = func([]byte) error {
		// The runner removes the container of a handle that cannot be recorded; a dead agent does not.
		_, err := d.ContainerCreate(t.Context(), &types.Config{Image: ref, Labels: map[string]string{"saki.cluster": "test", "saki.agent": agent, "saki.role": "task"}}, nil, nil, nil, "saki-"+agent+"-y-1")
		return errors.Join(died, err)
	}
	if _, err := r.Run(t.Context(), task("x", spec(ref)), at); !errors.Is(err, died) {
		t.Fatalf("got %v", err)
	}
	if o := run(t, r, task("y", spec(ref))); string(o.Stdout) != "hi\n" {
		t.Errorf("got %+v", o)
	}
	if err := r.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if left := find(t, agent); len(left) != 0 {
		t.Errorf("%d containers are left", len(left))
	}
}

func TestSweepRemovesWhatNobodyKnows(t *testing.T) {
	ref := need(t)
	agent := newName()
	first := newRunner(t, container.Config{Agent: agent})
	for _, id := range []string{"known", "unknown"} {
		at := place(t)
		ctx, detach := context.WithCancelCause(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); first.Run(ctx, task(id, spec(ref, "wait")), at) }()
		ready(t, at.Dir, done)
		detach(runner.ErrDetach)
		<-done
	}
	// A container of another agent of the same cluster is none of our business.
	d, _ := docker()
	other, err := d.ContainerCreate(t.Context(), &types.Config{Image: ref, Labels: map[string]string{"saki.cluster": "test", "saki.agent": agent + "x", "saki.role": "task"}}, nil, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.ContainerRemove(context.Background(), other.ID, types.RemoveOptions{Force: true})

	second := newRunner(t, container.Config{Agent: agent})
	if err := second.Sweep(t.Context(), func(id api.TaskID, n uint32) bool { return id == "known" && n == 1 }); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, c := range append(find(t, agent), find(t, agent+"x")...) {
		left = append(left, c.Config.Labels["saki.task"])
	}
	if want := []string{"known", ""}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

func TestWithoutADaemonTheProbeSaysWhatToDo(t *testing.T) {
	c, err := client.NewClientWithOpts(client.WithHost("unix:///no/such/docker.sock"), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	r, err := container.New(container.Config{Docker: c, Cluster: "test", Agent: "none"})
	if err != nil {
		t.Fatal(err)
	}
	want := "no Docker daemon at unix:///no/such/docker.sock: container tasks are off; start Docker or set DOCKER_HOST"
	if p := r.Probe(t.Context()); p.OK || p.Notice != want {
		t.Errorf("got %+v", p)
	}
	if o, err := r.Run(t.Context(), task("x", spec("any")), place(t)); err == nil {
		t.Errorf("a task ran without a daemon: %+v", o)
	}
}

func TestALabelIsNeeded(t *testing.T) {
	if _, err := container.New(container.Config{Cluster: "c"}); err == nil {
		t.Error("a runner without an agent's name was made; it would sweep everybody's containers")
	}
}

// BenchmarkRun compares the runner with the docker command under the same limits, taking turns.
func BenchmarkRun(b *testing.B) {
	ref := need(b)
	for _, c := range []struct{ network, cpus string }{{"none", "0.1"}, {"none", "1"}, {"bridge", "1"}} {
		b.Run(c.network+", "+c.cpus+" cpus", func(b *testing.B) {
			r := newRunner(b, container.Config{})
			cpus, err := api.ParseMilli(c.cpus)
			if err != nil {
				b.Fatal(err)
			}
			var ours, theirs []time.Duration
			i := 0
			for b.Loop() {
				i++
				s := spec(ref)
				s.Container.Network, s.Resources.CPUs = c.network, cpus
				begun := time.Now()
				if o, err := r.Run(b.Context(), task(fmt.Sprint("b", i), s), place(b)); err != nil || string(o.Stdout) != "hi\n" {
					b.Fatalf("got %+v, %v", o, err)
				}
				ours = append(ours, time.Since(begun))
				if err := r.Close(b.Context(), true); err != nil { // the removal is not to slow docker down
					b.Fatal(err)
				}
				begun = time.Now()
				out, err := exec.Command("docker", "run", "--rm", "--network", c.network, "--cpus", c.cpus, "--memory", "128m", ref, "/guest").Output()
				if err != nil || string(out) != "hi\n" {
					b.Fatalf("got %q, %v", out, err)
				}
				theirs = append(theirs, time.Since(begun))
			}
			slices.Sort(ours)
			slices.Sort(theirs)
			b.ReportMetric(float64(ours[len(ours)/2].Milliseconds()), "runner-p50-ms")
			b.ReportMetric(float64(theirs[len(theirs)/2].Milliseconds()), "docker-run-p50-ms")
		})
	}
}
