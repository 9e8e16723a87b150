package wasm

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/wasm/launch"
	"github.com/saki-run/saki/api"
)

// docker is a bench whose executors are containers, and the daemon.
type docker struct {
	*bench
	cli     *client.Client
	cluster string
}

func newDocker(t *testing.T) *docker {
	t.Helper()
	if testing.Short() {
		t.Skip("containers take seconds")
	}
	cli, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := cli.Ping(ctx); err != nil {
		t.Skipf("no Docker daemon answers: %v", err)
	}
	exe := filepath.Join(t.TempDir(), "saki")
	build := exec.Command("go", "build", "-o", exe, "./testdata/saki")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	hash := api.DigestOf(sha256.Sum256(program)).Short()
	t.Cleanup(func() { _, _ = cli.ImageRemove(context.Background(), "saki-executor:"+hash, image.RemoveOptions{}) })
	d := &docker{cli: cli, cluster: "test-" + strings.ToLower(rand.Text()[:8])}
	t.Cleanup(d.clean)
	d.bench = newBenchWith(t, t.TempDir(), func(root string) launch.Launcher {
		l, err := launch.NewDocker(launch.DockerConfig{
			Cluster: d.cluster, Agent: "a1", Root: root, Exe: exe, Log: testLog(),
			Options: launch.Options{Workers: 2}, CPUs: 1, Memory: 256 << 20, Pids: 128,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	})
	return d
}

// list gives the containers of the test's cluster.
func (d *docker) list(ctx context.Context) []container.Summary {
	list, err := d.cli.ContainerList(ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", "saki.cluster="+d.cluster)),
	})
	if err != nil {
		d.Error(err)
	}
	return list
}

// clean removes what a failed test has left.
func (d *docker) clean() {
	ctx := context.Background()
	for _, c := range d.list(ctx) {
		_ = d.cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true})
	}
}

func TestTasksRunInAHardenedContainer(t *testing.T) {
	d := newDocker(t)
	if out := d.run(d.task("hello", "you")); out.State != api.Finished || !strings.Contains(string(out.Stdout), "you") {
		t.Fatalf("got %+v", out)
	}
	if out := d.run(d.task("hello", "you")); !out.Receipt.Warm {
		t.Errorf("the second run was cold: %+v", out)
	}
	staged := d.task("cat", "in/a.txt")
	staged.Spec.Files = []api.File{{Path: "in/a.txt", Blob: d.push([]byte("staged\n"))}}
	if out := d.run(staged); string(out.Stdout) != "staged\n" {
		t.Errorf("got %+v", out)
	}
	written := d.task("write", "out.txt")
	written.Spec.StdinBlob = d.push([]byte("from stdin"))
	x := d.io(written)
	if out, err := d.Run(t.Context(), written, x.IO); err != nil || out.State != api.Finished {
		t.Fatalf("got %+v, %v", out, err)
	}
	if got, err := os.ReadFile(filepath.Join(x.Dir, "box", "out.txt")); err != nil || string(got) != "from stdin" {
		t.Errorf("the file holds %q, %v", got, err)
	}

	list := d.list(t.Context())
	if len(list) != 1 {
		t.Fatalf("%d containers, want one", len(list))
	}
	in, err := d.cli.ContainerInspect(t.Context(), list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if c := d.Probe(t.Context()); !c.OK || !strings.HasPrefix(c.Executor, "docker (") || c.Attributes["executor.image"] != in.Config.Image {
		t.Errorf("got %+v; the image is %s", c, in.Config.Image)
	}
	h := in.HostConfig
	for what, ok := range map[string]bool{
		"read-only":          h.ReadonlyRootfs,
		"no capabilities":    len(h.CapDrop) == 1 && h.CapDrop[0] == "ALL",
		"no new privileges":  len(h.SecurityOpt) == 1 && h.SecurityOpt[0] == "no-new-privileges",
		"no network":         h.NetworkMode == "none",
		"limited memory":     h.Memory == 256<<20 && h.MemorySwap == h.Memory,
		"limited processes":  h.PidsLimit != nil && *h.PidsLimit == 128,
		"limited processors": h.NanoCPUs == 1e9,
		"not root":           in.Config.User != "" && !strings.HasPrefix(in.Config.User, "0"),
		"one mount":          len(h.Mounts) == 1 && h.Mounts[0].Target == "/saki",
		"open /tmp":          strings.Contains(h.Tmpfs["/tmp"], "mode=1777") && strings.Contains(h.Tmpfs["/tmp"], "noexec"),
	} {
		if !ok {
			t.Errorf("the container is not as it should be: %s", what)
		}
	}
	if err := d.Close(t.Context(), false); err != nil {
		t.Error(err)
	}
	if left := d.list(t.Context()); len(left) != 0 {
		t.Errorf("%d containers are left", len(left))
	}
}

func TestAKilledContainerLosesItsTasksAndIsReplaced(t *testing.T) {
	d := newDocker(t)
	_, done := d.begin(t.Context(), d.task("sleep", "60000"))
	if err := d.cli.ContainerKill(t.Context(), d.list(t.Context())[0].ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if r.err != nil || r.State != api.Lost || r.Reason != api.ReasonExecutorLost || !strings.Contains(r.Message, "137") {
		t.Errorf("got %+v", r)
	}
	if out := d.run(d.task("hello")); out.State != api.Finished {
		t.Errorf("afterwards: %+v", out)
	}
}

func TestAContainerThatIsStoppedIsReplacedAtOnce(t *testing.T) {
	d := newDocker(t)
	d.run(d.task("hello"))
	sp, err := d.space("default")
	if err != nil {
		t.Fatal(err)
	}
	sp.restart(t.Context(), "a test")
	if out := d.run(d.task("hello")); out.State != api.Finished {
		t.Errorf("afterwards: %+v", out)
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.launchErr != nil {
		t.Error(sp.launchErr)
	}
}

func TestContainersOutliveTheAgent(t *testing.T) {
	d := newDocker(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	task := d.task("sleep", "500")
	x, done := d.begin(ctx, task)
	cancel(runner.ErrDetach)
	if r := <-done; !errors.Is(r.err, runner.ErrDetach) {
		t.Fatalf("got %+v", r)
	}
	if err := d.Close(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	before := d.list(t.Context())
	d.Runner = d.open()
	if err := d.Adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := d.Reattach(t.Context(), task, *x.handle.Load(), d.io(task).IO)
	if err != nil || out.State != api.Finished {
		t.Errorf("got %+v, %v", out, err)
	}
	if after := d.list(t.Context()); len(before) != 1 || len(after) != 1 || before[0].ID != after[0].ID {
		t.Errorf("containers before %v, after %v", before, after)
	}
}

func TestAProgramWithSharedLibrariesIsRefused(t *testing.T) {
	l, err := launch.NewDocker(launch.DockerConfig{Cluster: "c", Agent: "a", Root: t.TempDir(), Exe: "/bin/sh", Log: testLog()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Check(t.Context()); !errors.Is(err, launch.ErrUnsuitable) || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("got %v", err)
	}
}
