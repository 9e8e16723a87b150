//go:build e2e

package e2e

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

// label is on all that a lab makes itself; its value is the name of the run.
const label = "saki.e2e"

// lab is a network of its own on the Docker daemon, an image to start machines of, and what removes it all.
type lab struct {
	t      *testing.T
	docker *client.Client
	run    string // name of this run, and of its cluster
	image  string
	net    string
	subnet netip.Prefix
}

// newLab makes a lab that is removed at the end of the test.
func newLab(t *testing.T) *lab {
	t.Helper()
	d, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Ping(t.Context()); err != nil {
		t.Fatalf("these tests need a Docker daemon: %v", err)
	}
	l := &lab{t: t, docker: d, run: "e2e-" + strings.ToLower(rand.Text()[:8])}
	l.image = "saki-e2e:" + l.run
	t.Logf("run %s; should it be left behind, remove what carries the label %s=%s or saki.cluster=%s", l.run, label, l.run, l.run)
	t.Cleanup(l.remove)
	l.importImage()
	l.makeNetwork()
	return l
}

// must ends the test when the daemon refuses.
func (l *lab) must(what string, err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
}

// importImage makes the image of the machines: saki, a guest for tasks, and a folder for temporary files.
func (l *lab) importImage() {
	l.t.Helper()
	saki := filepath.Join("..", "..", "bin", "saki")
	if _, err := os.Stat(saki); err != nil {
		l.t.Fatalf("%v; build it with: make build", err)
	}
	guest := filepath.Join(l.t.TempDir(), "guest")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", guest, "testdata/guest/main.go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		l.t.Fatalf("build the guest: %v\n%s", err, out)
	}
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(writeImage(w, map[string]string{"saki": saki, "guest": guest})) }()
	body, err := l.docker.ImageImport(l.t.Context(), image.ImportSource{Source: r, SourceName: "-"}, l.image, image.ImportOptions{})
	l.must("import the image", err)
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var line struct {
			Error string `json:"error"`
		}
		if err := dec.Decode(&line); errors.Is(err, io.EOF) {
			return
		} else if err != nil || line.Error != "" {
			l.t.Fatalf("import the image: %v %s", err, line.Error)
		}
	}
}

// writeImage writes a file system with these programs in its root and an empty /tmp.
func writeImage(w io.Writer, programs map[string]string) error {
	tw := tar.NewWriter(w)
	if err := tw.WriteHeader(&tar.Header{Name: "tmp/", Mode: 0o1777, Typeflag: tar.TypeDir}); err != nil {
		return err
	}
	for name, path := range programs {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		if _, err := tw.Write(b); err != nil {
			return err
		}
	}
	return tw.Close()
}

// makeNetwork makes a bridge with a subnet that nobody has; containers can be given addresses only in one that was chosen.
func (l *lab) makeNetwork() {
	l.t.Helper()
	var err error
	for range 20 {
		n, _ := rand.Int(rand.Reader, big.NewInt(64*256))
		l.subnet = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(192 + n.Int64()/256), byte(n.Int64() % 256), 0}), 24)
		var made network.CreateResponse
		made, err = l.docker.NetworkCreate(l.t.Context(), l.run, network.CreateOptions{
			Driver: "bridge", Labels: map[string]string{label: l.run},
			IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: l.subnet.String()}}},
		})
		if err == nil {
			l.net = made.ID
			return
		}
	}
	l.t.Fatalf("make a network: %v", err)
}

// ip is the address of the n-th machine.
func (l *lab) ip(n int) netip.Addr {
	a := l.subnet.Addr().As4()
	a[3] = byte(n)
	return netip.AddrFrom4(a)
}

// machine is a container that stands for a machine.
type machine struct {
	lab  *lab
	name string
	id   string
	ip   netip.Addr
}

// volume makes a volume that is mounted into machines at the path it has on the host, so that what a machine tells the daemon
// of its files is true on both sides.
func (l *lab) volume(name string) mount.Mount {
	l.t.Helper()
	v, err := l.docker.VolumeCreate(l.t.Context(), volume.CreateOptions{Name: l.run + "-" + name, Labels: map[string]string{label: l.run}})
	l.must("make a volume", err)
	return mount.Mount{Type: mount.TypeVolume, Source: v.Name, Target: v.Mountpoint}
}

// start starts a machine that runs saki with args.
func (l *lab) start(name string, ip netip.Addr, mounts []mount.Mount, args ...string) *machine {
	l.t.Helper()
	made, err := l.docker.ContainerCreate(l.t.Context(),
		&container.Config{
			Image: l.image, Hostname: name, Entrypoint: []string{"/saki"}, Cmd: args, Labels: map[string]string{label: l.run},
		},
		&container.HostConfig{Mounts: mounts, NetworkMode: container.NetworkMode(l.net)},
		&network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{l.net: endpoint(ip)}}, nil, l.run+"-"+name)
	l.must("create "+name, err)
	m := &machine{lab: l, name: name, id: made.ID, ip: ip}
	m.power(true)
	return m
}

func endpoint(ip netip.Addr) *network.EndpointSettings {
	return &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: ip.String()}}
}

// power starts the machine, or kills it as a power cut does.
func (m *machine) power(on bool) {
	m.lab.t.Helper()
	if on {
		m.lab.must("start "+m.name, m.lab.docker.ContainerStart(m.lab.t.Context(), m.id, container.StartOptions{}))
		return
	}
	m.lab.must("kill "+m.name, m.lab.docker.ContainerKill(m.lab.t.Context(), m.id, "KILL"))
}

// restart ends saki politely and starts it again.
func (m *machine) restart() {
	m.lab.t.Helper()
	seconds := 10
	m.lab.must("restart "+m.name, m.lab.docker.ContainerRestart(m.lab.t.Context(), m.id, container.StopOptions{Timeout: &seconds}))
}

// plug connects the machine to the network with the address it always has, or pulls the cable.
func (m *machine) plug(in bool) {
	m.lab.t.Helper()
	if in {
		m.lab.must("connect "+m.name, m.lab.docker.NetworkConnect(m.lab.t.Context(), m.lab.net, m.id, endpoint(m.ip)))
		return
	}
	m.lab.must("disconnect "+m.name, m.lab.docker.NetworkDisconnect(m.lab.t.Context(), m.lab.net, m.id, true))
}

// containers lists the containers with all of these labels, running or not.
func (l *lab) containers(ctx context.Context, labels ...string) []container.Summary {
	l.t.Helper()
	f := filters.NewArgs()
	for _, v := range labels {
		f.Add("label", v)
	}
	list, err := l.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: f})
	if err != nil {
		l.t.Errorf("list containers: %v", err)
	}
	return list
}

// logs gives the end of what a machine has written.
func (m *machine) logs(lines int) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := m.lab.docker.ContainerLogs(ctx, m.id, container.LogsOptions{ShowStderr: true, Tail: fmt.Sprint(lines)})
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	var b strings.Builder
	header := make([]byte, 8) // of each frame: a byte that names the stream, and the length in the last four
	for {
		if _, err := io.ReadFull(r, header); err != nil {
			return b.String()
		}
		n := int64(header[4])<<24 | int64(header[5])<<16 | int64(header[6])<<8 | int64(header[7])
		if _, err := io.CopyN(&b, r, n); err != nil {
			return b.String()
		}
	}
}

// remove removes all that this run has made: machines first, since agents make containers for as long as they live.
func (l *lab) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	images := map[string]bool{l.image: true}
	for _, of := range []string{label + "=" + l.run, "saki.cluster=" + l.run} {
		for _, c := range l.containers(ctx, of) {
			images[c.Image] = true
			err := l.docker.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
			if err != nil && !errdefs.IsNotFound(err) {
				l.t.Errorf("remove container %s: %v", c.Names, err)
			}
		}
	}
	list, err := l.docker.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", label+"="+l.run))})
	if err != nil {
		l.t.Errorf("list volumes: %v", err)
	}
	for _, v := range list.Volumes {
		if err := l.docker.VolumeRemove(ctx, v.Name, false); err != nil {
			l.t.Errorf("remove volume: %v", err)
		}
	}
	if l.net != "" {
		if err := l.docker.NetworkRemove(ctx, l.net); err != nil {
			l.t.Errorf("remove network: %v", err)
		}
	}
	for ref := range images { // an executor's image may be in use by another cluster of the same program
		if _, err := l.docker.ImageRemove(ctx, ref, image.RemoveOptions{}); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			l.t.Errorf("remove image %s: %v", ref, err)
		}
	}
	l.docker.Close()
}
