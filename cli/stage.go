package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

// staging is what has to be in the cluster before a task can be submitted. Reading and checking come first, uploading
// after: nothing is sent for a spec that is wrong.
type staging struct {
	a       *app
	modules []localModule
	blobs   []localBlob
}

type localModule struct {
	name   string
	digest api.Digest
	wasm   []byte
}

type localBlob struct {
	name   string
	digest api.Digest
	open   client.Content
}

// module resolves what a person calls a module: the digest of a local file, which is remembered for the upload, or the
// reference itself. dir is where relative paths begin.
func (s *staging) module(ref, dir string) (string, error) {
	if strings.HasPrefix(ref, "oci://") {
		return "", api.Errorf(api.CodeInvalidArgument, "modules are not pulled from registries by saki run").
			WithHint("fetch the module first, for example with oras pull, and name the file")
	}
	path := ref
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	st, err := os.Stat(path)
	switch {
	case err == nil && !st.IsDir():
		m, err := readModule(path)
		if err != nil {
			return "", err
		}
		s.modules = append(s.modules, m)
		return string(m.digest), nil
	case isPath(ref):
		if err == nil {
			return "", api.Errorf(api.CodeModuleNotFound, "%s is a folder, not a wasm module", ref).WithHint("name the .wasm file inside it")
		}
		return "", moduleFileError(ref, err)
	}
	r, err := api.ParseModuleRef(ref)
	if err != nil {
		return "", api.Errorf(api.CodeModuleNotFound, "there is no file %s, and it is no name of a module either", api.Quote(ref)).
			WithHint("name a .wasm file, a pushed module as name:tag, or sha256: and 64 hex digits")
	}
	return r.String(), nil
}

// isPath reports whether a reference can only be a file.
func isPath(ref string) bool {
	return strings.ContainsRune(ref, '/') || strings.HasSuffix(ref, ".wasm") || strings.HasPrefix(ref, ".")
}

func moduleFileError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.CodeModuleNotFound, "there is no file %s", api.Quote(path)).
			WithHint("check the path; a module that was pushed is named without / and .wasm, such as hello:1.2")
	}
	return fileError(path, err)
}

func fileError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.CodeNotFound, "there is no file %s", api.Quote(path)).WithHint("check the path")
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return api.Errorf(api.CodeInvalidArgument, "read %s: %v", api.Quote(path), err)
}

// readModule reads a wasm file and refuses what obviously is none, so that it is not uploaded first.
func readModule(path string) (localModule, error) {
	f, err := os.Open(path)
	if err != nil {
		return localModule{}, moduleFileError(path, err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > int64(api.MaxModule) {
		return localModule{}, api.Errorf(api.CodeTooLarge, "%s is %s; a module is at most %s", path, api.Bytes(st.Size()), api.MaxModule).
			WithHint("strip debug information, for example with wasm-strip or -ldflags='-s -w'")
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(api.MaxModule)+1))
	if err != nil {
		return localModule{}, fileError(path, err)
	}
	if err := checkMagic(path, b); err != nil {
		return localModule{}, err
	}
	return localModule{name: filepath.Base(path), digest: api.DigestOf(sha256.Sum256(b)), wasm: b}, nil
}

// checkMagic looks at the first eight bytes alone; the masters look at the rest.
func checkMagic(path string, b []byte) error {
	name := filepath.Base(path)
	switch {
	case len(b) == 0:
		return api.Errorf(api.CodeInvalidModule, "%s is empty", name).WithHint("build it again")
	case bytes.HasPrefix(b, []byte("\x00asm\x0d\x00\x01\x00")):
		return api.Errorf(api.CodeComponentNotSupported, "%s is a WebAssembly component; saki runs core modules (WASI preview 1)", name).
			WithHint("rebuild for wasm32-wasip1, e.g. GOOS=wasip1 GOARCH=wasm go build")
	case bytes.HasPrefix(b, []byte("(module")) || bytes.HasPrefix(b, []byte("(component")):
		return api.Errorf(api.CodeInvalidModule, "%s is the text form of WebAssembly", name).WithHint("translate it with wat2wasm")
	case bytes.HasPrefix(b, []byte("\x7fELF")) || bytes.HasPrefix(b, []byte("#!")):
		return api.Errorf(api.CodeInvalidModule, "%s is a native program, not a wasm module", name).
			WithHint("build it for wasm32-wasip1, or run it with --shell")
	case len(b) < 8 && bytes.HasPrefix([]byte("\x00asm\x01\x00\x00\x00"), b):
		return api.Errorf(api.CodeInvalidModule, "%s ends after %d bytes", name, len(b)).WithHint("the file is cut off; copy or build it again")
	case !bytes.HasPrefix(b, []byte("\x00asm")):
		return api.Errorf(api.CodeInvalidModule, "%s is not a wasm module", name).WithHint("a module begins with the bytes 00 61 73 6d")
	}
	return nil
}

// file stages a local file for the sandbox. entry is LOCAL or LOCAL:GUEST.
func (s *staging) file(entry, dir string) (api.File, error) {
	local, guest, ok := strings.Cut(entry, ":")
	if !ok || guest == "" {
		guest = filepath.Base(local)
	}
	if !filepath.IsAbs(local) {
		local = filepath.Join(dir, local)
	}
	f, err := os.Open(local)
	if err != nil {
		return api.File{}, fileError(local, err)
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return api.File{}, fileError(local, err)
	case !st.Mode().IsRegular():
		return api.File{}, api.Errorf(api.CodeInvalidArgument, "%s is not a plain file", api.Quote(local)).WithHint("name files one by one, or pack a folder with tar")
	case st.Size() > int64(api.MaxBlob):
		return api.File{}, api.Errorf(api.CodeTooLarge, "%s is %s; a staged file is at most %s", api.Quote(local), api.Bytes(st.Size()), api.MaxBlob)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return api.File{}, fileError(local, err)
	}
	content, err := client.File(local)
	if err != nil {
		return api.File{}, fileError(local, err)
	}
	d := api.DigestOf([32]byte(h.Sum(nil)))
	s.blobs = append(s.blobs, localBlob{filepath.Base(local), d, content})
	out := api.File{Path: guest, Blob: d}
	if st.Mode()&0o111 != 0 {
		out.Mode = 0o755
	}
	return out, nil
}

// upload sends what the cluster does not hold yet.
func (s *staging) upload(ctx context.Context, c *client.Client) error {
	for _, m := range s.modules {
		if has, err := c.HasModule(ctx, string(m.digest)); err != nil || has {
			if err != nil {
				return err
			}
			continue
		}
		if _, err := c.PushModule(ctx, s.a.shown(m.name, client.Bytes(m.wasm)), ""); err != nil {
			return err
		}
	}
	for _, b := range s.blobs {
		if has, err := c.HasBlob(ctx, b.digest); err != nil || has {
			if err != nil {
				return err
			}
			continue
		}
		info, err := c.PushBlob(ctx, s.a.shown(b.name, b.open))
		if err != nil {
			return err
		}
		if info.Digest != b.digest {
			return api.Errorf(api.CodeDigestMismatch, "%s changed while it was being sent", b.name).WithHint("try again")
		}
	}
	return nil
}

// stdin puts this process's stdin into the spec: inline when it is short, else as a blob.
func (a *app) stdin(ctx context.Context, c *client.Client, spec *api.Spec) error {
	head, err := io.ReadAll(io.LimitReader(a.env.Stdin, int64(api.MaxInlineStdin)+1))
	if err != nil {
		return fileError("stdin", err)
	}
	if len(head) <= int(api.MaxInlineStdin) {
		spec.Stdin = head
		return nil
	}
	info, err := c.PushBlob(ctx, a.shown("stdin", client.Stream(io.MultiReader(bytes.NewReader(head), a.env.Stdin))))
	if err != nil {
		return err
	}
	spec.StdinBlob = info.Digest
	return nil
}
