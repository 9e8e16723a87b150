package container_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/container"
	"github.com/saki-run/saki/agent/runner/runnertest"
	"github.com/saki-run/saki/api"
)

// docker is the daemon that the tests use.
var docker = sync.OnceValues(func() (*client.Client, error) {
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err == nil {
		_, err = c.Ping(context.Background())
	}
	return c, err
})

// guest is an image of one static program, made here: no registry is needed.
var guest = sync.OnceValues(func() (string, error) {
	c, err := docker()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "guest")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "testdata/guest/main.go")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the guest: %w: %s", err, out)
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		return "", err
	}
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	if err := tw.WriteHeader(&tar.Header{Name: "guest", Mode: 0o755, Size: int64(len(b))}); err != nil {
		return "", err
	}
	if _, err := tw.Write(b); err != nil {
		return "", err
	}
	if err := tw.Close(); err != nil {
		return "", err
	}
	ref := fmt.Sprintf("saki-test-guest:%d", os.Getpid()) // another run of the tests removes its own only
	body, err := c.ImageImport(context.Background(), image.ImportSource{Source: &layer, SourceName: "-"}, ref,
		image.ImportOptions{Changes: []string{`CMD ["/guest"]`}})
	if err != nil {
		return "", err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return ref, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if ref, err := guest(); err == nil {
		c, _ := docker()
		_, _ = c.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true})
	}
	os.Exit(code)
}

// need skips a test where there is no daemon and gives the image.
func need(t testing.TB) string {
	t.Helper()
	if _, err := docker(); err != nil {
		t.Skipf("no Docker daemon answers: %v", err)
	}
	ref, err := guest()
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

var names atomic.Int64

func newName() string { return fmt.Sprintf("test-%d-%d", os.Getpid(), names.Add(1)) }

func newRunner(t testing.TB, cfg container.Config) *container.Runner {
	t.Helper()
	t.TempDir() // so that the folders of attempts are removed after the runner is closed
	cfg.Cluster = "test"
	if cfg.Agent == "" {
		cfg.Agent = newName()
	}
	r, err := container.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background(), false); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func spec(image string, command ...string) *api.Spec {
	return &api.Spec{Container: &api.ContainerSpec{Image: image, Command: append([]string{"/guest"}, command...), Network: "none"}}
}

func TestConformance(t *testing.T) {
	ref := need(t)
	agents := map[string]string{}
	runnertest.Run(t, runnertest.Harness{
		New: func(t *testing.T) runner.Runner {
			if agents[t.Name()] == "" {
				agents[t.Name()] = newName()
			}
			return newRunner(t, container.Config{Agent: agents[t.Name()]})
		},
		Task: func(b runnertest.Behaviour) *api.Spec {
			switch b := b.(type) {
			case runnertest.Exit:
				return spec(ref, "exit", strconv.Itoa(b.Code))
			case runnertest.Print:
				return spec(ref, "print", b.Stdout, b.Stderr)
			case runnertest.CatStdin:
				return spec(ref, "cat")
			case runnertest.PrintEnv:
				return spec(ref, "env")
			case runnertest.Sleep:
				return spec(ref, "wait", "143")
			case runnertest.IgnoreTerm:
				return spec(ref, "wait", "-1")
			case runnertest.ExitOnTerm:
				return spec(ref, "wait", "0")
			case runnertest.Gate:
				return spec(ref, "gate", b.Path, strconv.Itoa(b.Code))
			case runnertest.ReadFile:
				return spec(ref, "read", b.Path)
			case runnertest.BigOutput:
				return spec(ref, "big", strconv.Itoa(b.N))
			case runnertest.NotFound:
				s := spec(ref)
				s.Container.Command = []string{"/no/such/command"}
				return s
			case runnertest.UseMemory:
				return spec(ref, "memory")
			}
			return nil
		},
	})
}
