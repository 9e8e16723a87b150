package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	expsys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/sys"
	"golang.org/x/sys/unix"
)

// maxOpen is how many files a guest may have open.
const maxOpen = 256

// box is a guest's root: one folder of the machine, through [os.Root], so that no path and no symbolic link leads out of it.
// wazero's own mounts promise no such thing. Guests can make neither links nor anything that is not a plain file or a folder.
//
// The folder is made when the guest first looks into it; most guests never do. A box belongs to its task's goroutine.
type box struct {
	expsys.UnimplementedFS
	ctx  context.Context
	dir  string
	root *os.Root
	open map[*boxFile]struct{}
	use  usage
	same *sameness // nil: files tell what the machine knows of them
}

var _ expsys.FS = (*box)(nil)

func newBox(ctx context.Context, inv *Invocation) *box {
	b := &box{ctx: ctx, dir: inv.Dir, use: usage{most: inv.Disk}}
	if inv.Deterministic {
		b.same = &sameness{}
	}
	return b
}

func (b *box) config() wazero.FSConfig {
	return wazero.NewFSConfig().(sysfs.FSConfig).WithSysFSMount(b, "/")
}

// close closes what the guest left open.
func (b *box) close() {
	for f := range b.open {
		_ = f.f.Close()
	}
	b.open = nil
	if b.root != nil {
		_ = b.root.Close()
		b.root = nil
	}
}

// enter gives the opened folder. A guest that is to end does not come back from it.
func (b *box) enter() (*os.Root, expsys.Errno) {
	stopIfDone(b.ctx)
	if b.root != nil {
		return b.root, 0
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return nil, errno(err)
	}
	root, err := os.OpenRoot(b.dir)
	if err != nil {
		return nil, errno(err)
	}
	b.root = root
	if err := b.use.count(root); err != nil {
		return nil, errno(err)
	}
	return root, 0
}

// clean makes a path relative to the box. Trailing slashes are kept: they say that a folder is meant.
func clean(p string) string {
	c := path.Clean("/" + p)[1:]
	if c == "" {
		return "."
	}
	if strings.HasSuffix(p, "/") {
		c += "/"
	}
	return c
}

// OpenFile implements [expsys.FS].
func (b *box) OpenFile(p string, flag expsys.Oflag, perm fs.FileMode) (expsys.File, expsys.Errno) {
	name := clean(p)
	if name == "." && flag&(expsys.O_RDWR|expsys.O_WRONLY|expsys.O_CREAT|expsys.O_TRUNC) == 0 {
		return &boxDir{box: b, name: "."}, 0 // every program begins with it
	}
	root, eno := b.enter()
	if eno != 0 {
		return nil, eno
	}
	if len(b.open) >= maxOpen {
		return nil, expsys.EBADF // as wazero itself when its table is full
	}
	var old fs.FileInfo
	isNew := false
	if flag&(expsys.O_CREAT|expsys.O_TRUNC) != 0 {
		var err error
		old, err = root.Stat(name)
		isNew = errors.Is(err, fs.ErrNotExist) && flag&expsys.O_CREAT != 0
	}
	if isNew && !b.use.addFile() {
		return nil, noSpace
	}
	if flag&expsys.O_NOFOLLOW != 0 {
		if st, err := root.Lstat(name); err == nil && st.Mode()&fs.ModeSymlink != 0 {
			return nil, expsys.ELOOP
		}
	}
	// Without O_NONBLOCK, opening a pipe that somebody left in the folder would wait for its other end.
	f, err := root.OpenFile(name, openFlags(flag)|unix.O_NONBLOCK, perm.Perm())
	if err != nil {
		if isNew {
			b.use.files--
		}
		return nil, errno(err)
	}
	if flag&expsys.O_TRUNC != 0 && old != nil && old.Mode().IsRegular() {
		b.use.shrink(old.Size())
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, errno(err)
	}
	switch {
	case st.IsDir():
		_ = f.Close() // it is opened again when it is read
		return &boxDir{box: b, name: strings.TrimSuffix(name, "/")}, 0
	case !st.Mode().IsRegular():
		_ = f.Close()
		return nil, expsys.EPERM
	case flag&expsys.O_DIRECTORY != 0:
		_ = f.Close()
		return nil, expsys.ENOTDIR
	}
	bf := &boxFile{box: b, f: f, append: flag&expsys.O_APPEND != 0}
	if b.open == nil {
		b.open = map[*boxFile]struct{}{}
	}
	b.open[bf] = struct{}{}
	return bf, 0
}

func openFlags(flag expsys.Oflag) int {
	var out int
	switch {
	case flag&expsys.O_RDWR != 0:
		out = os.O_RDWR
	case flag&expsys.O_WRONLY != 0:
		out = os.O_WRONLY
	}
	for _, m := range []struct {
		from expsys.Oflag
		to   int
	}{
		{expsys.O_APPEND, os.O_APPEND},
		{expsys.O_CREAT, os.O_CREATE},
		{expsys.O_EXCL, os.O_EXCL},
		{expsys.O_TRUNC, os.O_TRUNC},
		{expsys.O_SYNC | expsys.O_DSYNC | expsys.O_RSYNC, os.O_SYNC},
	} {
		if flag&m.from != 0 {
			out |= m.to
		}
	}
	return out
}

// Stat implements [expsys.FS].
func (b *box) Stat(p string) (sys.Stat_t, expsys.Errno) {
	root, eno := b.enter()
	if eno != 0 {
		return sys.Stat_t{}, eno
	}
	st, err := root.Stat(clean(p))
	if err != nil {
		return sys.Stat_t{}, errno(err)
	}
	return b.stat(st), 0
}

// Lstat implements [expsys.FS].
func (b *box) Lstat(p string) (sys.Stat_t, expsys.Errno) {
	root, eno := b.enter()
	if eno != 0 {
		return sys.Stat_t{}, eno
	}
	st, err := root.Lstat(clean(p))
	if err != nil {
		return sys.Stat_t{}, errno(err)
	}
	return b.stat(st), 0
}

// Mkdir implements [expsys.FS].
func (b *box) Mkdir(p string, perm fs.FileMode) expsys.Errno {
	return b.do(func(r *os.Root) error {
		if !b.use.addFile() {
			return unix.EDQUOT
		}
		err := r.Mkdir(strings.TrimSuffix(clean(p), "/"), perm.Perm())
		if err != nil {
			b.use.files--
		}
		return err
	})
}

// Chmod implements [expsys.FS].
func (b *box) Chmod(p string, perm fs.FileMode) expsys.Errno {
	return b.do(func(r *os.Root) error { return r.Chmod(clean(p), perm.Perm()) })
}

// Rename implements [expsys.FS].
func (b *box) Rename(from, to string) expsys.Errno {
	return b.do(func(r *os.Root) error {
		src, err1 := r.Lstat(clean(from))
		dst, err2 := r.Lstat(clean(to))
		err := r.Rename(clean(from), clean(to))
		if err == nil && err1 == nil && err2 == nil && !os.SameFile(src, dst) {
			b.gone(dst)
		}
		return err
	})
}

// Rmdir implements [expsys.FS].
func (b *box) Rmdir(p string) expsys.Errno {
	return b.do(func(r *os.Root) error {
		name := strings.TrimSuffix(clean(p), "/")
		st, err := r.Lstat(name)
		if err != nil {
			return err
		}
		if !st.IsDir() {
			return unix.ENOTDIR
		}
		if err := r.Remove(name); err != nil {
			return err
		}
		b.gone(st)
		return nil
	})
}

// Unlink implements [expsys.FS].
func (b *box) Unlink(p string) expsys.Errno {
	return b.do(func(r *os.Root) error {
		name := clean(p)
		st, err := r.Lstat(name)
		if err != nil {
			return err
		}
		if st.IsDir() {
			return unix.EISDIR
		}
		if err := r.Remove(name); err != nil {
			return err
		}
		b.gone(st)
		return nil
	})
}

// Readlink implements [expsys.FS].
func (b *box) Readlink(p string) (target string, eno expsys.Errno) {
	eno = b.do(func(r *os.Root) (err error) {
		target, err = r.Readlink(clean(p))
		return err
	})
	return target, eno
}

// Symlink implements [expsys.FS]. Guests make no links: whoever reads the folder after them would have to beware of them.
func (b *box) Symlink(_, _ string) expsys.Errno { return expsys.EPERM }

// Link implements [expsys.FS].
func (b *box) Link(_, _ string) expsys.Errno { return expsys.EPERM }

// Utimens implements [expsys.FS].
func (b *box) Utimens(p string, atim, mtim int64) expsys.Errno {
	return b.do(func(r *os.Root) error { return chtimes(r, clean(p), atim, mtim) })
}

func chtimes(r *os.Root, name string, atim, mtim int64) error {
	var a, m time.Time // the zero time leaves it as it is
	if atim != expsys.UTIME_OMIT {
		a = time.Unix(0, atim)
	}
	if mtim != expsys.UTIME_OMIT {
		m = time.Unix(0, mtim)
	}
	return r.Chtimes(name, a, m)
}

func (b *box) do(f func(*os.Root) error) expsys.Errno {
	root, eno := b.enter()
	if eno != 0 {
		return eno
	}
	return errno(f(root))
}

// errno translates. A path that would lead out of the box is not permitted.
func errno(err error) expsys.Errno {
	if err == nil {
		return 0
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok && strings.Contains(pe.Err.Error(), "escapes") {
		return expsys.EPERM
	}
	if le, ok := errors.AsType[*os.LinkError](err); ok && strings.Contains(le.Err.Error(), "escapes") {
		return expsys.EPERM
	}
	if le, ok := errors.AsType[*os.LinkError](err); ok {
		err = le.Err
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return noSpace
	}
	return expsys.UnwrapOSError(err)
}
