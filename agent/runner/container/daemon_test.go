package container_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	types "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/docker/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/container"
	"github.com/saki-run/saki/api"
)

// cable is a way to the daemon that can be cut.
type cable struct {
	path, to string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
	tries atomic.Int64 // connections refused
}

func newCable(t *testing.T) (*cable, *client.Client) {
	t.Helper()
	need(t)
	d, _ := docker()
	to, ok := strings.CutPrefix(d.DaemonHost(), "unix://")
	if !ok {
		t.Skipf("the daemon at %s is not behind a unix socket", d.DaemonHost())
	}
	c := &cable{path: filepath.Join(t.TempDir(), "d.sock"), to: to, conns: map[net.Conn]bool{}}
	l, err := net.Listen("unix", c.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(conn)
		}
	}()
	cl, err := client.NewClientWithOpts(client.WithHost("unix://"+c.path), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.set(false); cl.Close() })
	return c, cl
}

func (c *cable) carry(a net.Conn) {
	defer a.Close()
	b, err := net.Dial("unix", c.to)
	if err != nil {
		return
	}
	defer b.Close()
	c.mu.Lock()
	if c.cut {
		c.mu.Unlock()
		c.tries.Add(1)
		return
	}
	c.conns[a], c.conns[b] = true, true
	c.mu.Unlock()
	go func() {
		io.Copy(b, a)
		b.(*net.UnixConn).CloseWrite()
	}()
	io.Copy(a, b)
	c.mu.Lock()
	delete(c.conns, a)
	delete(c.conns, b)
	c.mu.Unlock()
}

// set cuts the cable or mends it.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for conn := range c.conns {
			conn.Close()
		}
	}
}

type result struct {
	o   api.Outcome
	err error
}

func TestADaemonThatComesBackTellsTheTrueEnd(t *testing.T) {
	for name, duringCut := range map[string]bool{"the task ends while the daemon is away": true, "the task ends after": false} {
		t.Run(name, func(t *testing.T) {
			c, d := newCable(t)
			ref := need(t)
			r := newRunner(t, container.Config{Docker: d})
			at := place(t)
			done, res := make(chan struct{}), result{}
			go func() {
				defer close(done)
				res.o, res.err = r.Run(t.Context(), task("x", spec(ref, "gate", "go", "9")), at)
			}()
			ready(t, at.Dir, done)
			open := func() {
				if err := os.WriteFile(filepath.Join(at.Dir, "box", "go"), nil, 0o666); err != nil {
					t.Error(err)
				}
			}
			c.set(true)
			if duringCut {
				open()
			}
			for c.tries.Load() == 0 { // until the runner has noticed and tried in vain
				select {
				case <-done:
					t.Fatalf("it ended with %+v, %v", res.o, res.err)
				case <-time.After(time.Millisecond):
				}
			}
			c.set(false)
			if !duringCut {
				open()
			}
			<-done
			if res.err != nil || res.o.ExitCode != 9 || string(res.o.Stdout) != "ready\n" {
				t.Errorf("got %+v, %v", res.o, res.err)
			}
		})
	}
}

func TestADaemonThatStaysAwayIsGivenUpAfterPatience(t *testing.T) {
	c, d := newCable(t)
	ref := need(t)
	r := newRunner(t, container.Config{Docker: d, Patience: 200 * time.Millisecond})
	at := place(t)
	done, res := make(chan struct{}), result{}
	go func() {
		defer close(done)
		res.o, res.err = r.Run(t.Context(), task("x", spec(ref, "wait")), at)
	}()
	ready(t, at.Dir, done)
	c.set(true)
	<-done
	if res.err == nil {
		t.Errorf("got %+v without an error", res.o)
	}
	c.set(false)
}

func TestAnAttemptIsDetachedFromADaemonThatIsAway(t *testing.T) {
	c, d := newCable(t)
	ref := need(t)
	r := newRunner(t, container.Config{Docker: d})
	at := place(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	done, res := make(chan struct{}), result{}
	go func() {
		defer close(done)
		res.o, res.err = r.Run(ctx, task("x", spec(ref, "wait")), at)
	}()
	ready(t, at.Dir, done)
	c.set(true)
	cancel(runner.ErrDetach)
	<-done
	c.set(false)
	if !errors.Is(res.err, runner.ErrDetach) {
		t.Errorf("got %+v, %v", res.o, res.err)
	}
}

// absent is a daemon that has no image until it is pulled.
type absent struct {
	container.Docker
	report string // of a pull
	pulls  atomic.Int64
}

func (a *absent) ImagePull(context.Context, string, image.PullOptions) (io.ReadCloser, error) {
	a.pulls.Add(1)
	return io.NopCloser(strings.NewReader(a.report)), nil
}

func (a *absent) ContainerCreate(ctx context.Context, c *types.Config, h *types.HostConfig, n *network.NetworkingConfig, p *ocispec.Platform, name string) (types.CreateResponse, error) {
	if a.pulls.Load() == 0 {
		return types.CreateResponse{}, errdefs.NotFound(errors.New("No such image"))
	}
	return a.Docker.ContainerCreate(ctx, c, h, n, p, name)
}

func TestAnAbsentImageIsPulled(t *testing.T) {
	ref := need(t)
	d, _ := docker()
	a := &absent{Docker: d, report: `{"status":"Pulling"}` + "\n" + `{"status":"Downloaded newer image"}`}
	r := newRunner(t, container.Config{Docker: a})
	if o := run(t, r, task("x", spec(ref))); string(o.Stdout) != "hi\n" || a.pulls.Load() != 1 {
		t.Errorf("got %+v after %d pulls", o, a.pulls.Load())
	}
	if o := run(t, r, task("y", spec(ref))); string(o.Stdout) != "hi\n" || a.pulls.Load() != 1 {
		t.Errorf("a local image: got %+v after %d pulls", o, a.pulls.Load())
	}
	bad := &absent{Docker: d, report: `{"status":"Pulling"}` + "\n" + `{"error":"manifest unknown"}`}
	r = newRunner(t, container.Config{Docker: bad})
	if o := run(t, r, task("x", spec(ref))); o.Reason != api.ReasonImageNotFound || !strings.Contains(o.Message, "manifest unknown") {
		t.Errorf("a pull that fails: got %+v", o)
	}
}

// forgetful is a daemon that learns of memory running out only after the end.
type forgetful struct{ container.Docker }

func (f forgetful) ContainerInspect(ctx context.Context, id string) (types.InspectResponse, error) {
	c, err := f.Docker.ContainerInspect(ctx, id)
	if err == nil {
		c.State.OOMKilled = false
	}
	return c, err
}

func TestRunningOutOfMemoryIsToldFromAKillBySomebodyElse(t *testing.T) {
	ref := need(t)
	d, _ := docker()
	r := newRunner(t, container.Config{Docker: forgetful{d}})
	s := spec(ref, "memory")
	s.Resources.Mem = 32 * api.MiB
	if o := run(t, r, task("x", s)); o.Reason != api.ReasonMemoryLimit || o.ExitCode != 137 {
		t.Errorf("out of memory: got %+v", o)
	}

	at := place(t)
	done, res := make(chan struct{}), result{}
	go func() {
		defer close(done)
		res.o, res.err = r.Run(t.Context(), task("y", spec(ref, "wait")), at)
	}()
	ready(t, at.Dir, done)
	list, err := d.ContainerList(t.Context(), types.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "saki.task=y"), filters.Arg("label", "saki.cluster=test"))})
	if err != nil || len(list) == 0 {
		t.Fatalf("got %v, %v", list, err)
	}
	for _, c := range list {
		if strings.HasPrefix(c.Labels["saki.agent"], fmt.Sprintf("test-%d-", os.Getpid())) {
			if err := d.ContainerKill(t.Context(), c.ID, "SIGKILL"); err != nil {
				t.Fatal(err)
			}
		}
	}
	<-done
	if res.err != nil || res.o.State != api.Failed || res.o.Reason != api.ReasonSignal || res.o.Signal != 9 || res.o.ExitCode != 137 {
		t.Errorf("killed by somebody else: got %+v, %v", res.o, res.err)
	}
}
