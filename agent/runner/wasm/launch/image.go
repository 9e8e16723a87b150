package launch

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
)

// repository is the name of the images. The tag is the hash of the program in it.
const repository = "saki-executor"

func imageName(hash string) string { return repository + ":" + hash }

// checkStatic reports why a program cannot be put into an empty image.
func checkStatic(path string) error {
	const fix = "build it with CGO_ENABLED=0 GOOS=linux, or run the agent with --executor process"
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s cannot run in a container: it is no Linux program (%s); %s: %w", path, runtime.GOOS, fix, ErrUnsuitable)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s cannot run in an empty container: it is linked to shared libraries; %s: %w", path, fix, ErrUnsuitable)
		}
	}
	return nil
}

// ensureImage makes the image of this program, unless there is one, and gives the program's hash. No registry is asked.
func (d *Docker) ensureImage(ctx context.Context) (_ string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() {
		if name := imageName(d.hash); err == nil {
			d.image.Store(&name)
		}
	}()
	if d.hash == "" {
		if err := checkStatic(d.cfg.Exe); err != nil {
			return "", err
		}
		hash, err := hashFile(d.cfg.Exe)
		if err != nil {
			return "", fmt.Errorf("executor image: %w", err)
		}
		d.hash = hash
	}
	_, err = d.cli.ImageInspect(ctx, imageName(d.hash))
	if err == nil {
		return d.hash, nil
	}
	if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("look for image %s: %w", imageName(d.hash), err)
	}
	d.cfg.Progress("building the executor's image " + imageName(d.hash) + " of this program")
	if err := d.importImage(ctx); err != nil {
		return "", fmt.Errorf("build image %s: %w", imageName(d.hash), err)
	}
	return d.hash, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)[:6]), nil
}

func (d *Docker) importImage(ctx context.Context) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeImage(w, d.cfg.Exe)) }()
	defer func() { _ = r.Close() }()
	answer, err := d.cli.ImageImport(ctx, image.ImportSource{Source: r, SourceName: "-"}, repository,
		image.ImportOptions{Tag: d.hash, Message: "saki executor"})
	if err != nil {
		return err
	}
	defer answer.Close()
	dec := json.NewDecoder(answer)
	for {
		var line struct {
			Error string `json:"error"`
		}
		err := dec.Decode(&line)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case line.Error != "":
			return errors.New(line.Error)
		}
	}
}

// writeImage writes the whole file system of the image as a tar archive: the program, and the folders that are mounted over.
func writeImage(w io.Writer, exe string) error {
	f, err := os.Open(exe)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	user := fmt.Sprintf("saki:x:%d:%d:saki:/:/bin/false\n", unprivileged, unprivileged)
	for _, e := range []struct {
		name string
		mode int64
		size int64
		body io.Reader
	}{
		{name: "bin/", mode: 0o755},
		{name: "bin/saki", mode: 0o755, size: st.Size(), body: f},
		{name: "etc/", mode: 0o755},
		{name: "etc/passwd", mode: 0o644, size: int64(len(user)), body: strings.NewReader(user)},
		{name: "proc/", mode: 0o755},
		{name: "saki/", mode: 0o755},
		{name: "tmp/", mode: 0o1777},
	} {
		h := &tar.Header{Name: e.name, Mode: e.mode, Size: e.size, ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
		if e.body == nil {
			h.Typeflag = tar.TypeDir
		}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if e.body != nil {
			if _, err := io.Copy(tw, e.body); err != nil {
				return err
			}
		}
	}
	return tw.Close()
}

// Image implements [Launcher]. The program in the image is /bin/saki; tasks may use it, since it is there without a registry.
func (d *Docker) Image() string {
	if name := d.image.Load(); name != nil {
		return *name
	}
	return ""
}
