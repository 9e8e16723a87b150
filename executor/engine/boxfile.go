package engine

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	expsys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
	"golang.org/x/sys/unix"
)

// offset is int64 by a name of its own: vet holds every Seek(int64, int) to be an [io.Seeker].
type offset = int64

// boxFile is a plain file that a guest has opened.
type boxFile struct {
	expsys.UnimplementedFile
	box    *box
	f      *os.File
	append bool
}

var _ expsys.File = (*boxFile)(nil)

// Dev implements [expsys.File].
func (f *boxFile) Dev() (uint64, expsys.Errno) {
	st, eno := f.Stat()
	return st.Dev, eno
}

// Ino implements [expsys.File].
func (f *boxFile) Ino() (sys.Inode, expsys.Errno) {
	st, eno := f.Stat()
	return st.Ino, eno
}

// IsAppend implements [expsys.File].
func (f *boxFile) IsAppend() bool { return f.append }

// SetAppend implements [expsys.File].
func (f *boxFile) SetAppend(on bool) expsys.Errno {
	flags, err := unix.FcntlInt(f.f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return errno(err)
	}
	flags &^= unix.O_APPEND
	if on {
		flags |= unix.O_APPEND
	}
	if _, err := unix.FcntlInt(f.f.Fd(), unix.F_SETFL, flags); err != nil {
		return errno(err)
	}
	f.append = on
	return 0
}

// Stat implements [expsys.File].
func (f *boxFile) Stat() (sys.Stat_t, expsys.Errno) {
	st, err := f.f.Stat()
	if err != nil {
		return sys.Stat_t{}, errno(err)
	}
	return f.box.stat(st), 0
}

// Read implements [expsys.File].
func (f *boxFile) Read(buf []byte) (int, expsys.Errno) {
	stopIfDone(f.box.ctx)
	return ended(f.f.Read(buf))
}

// Pread implements [expsys.File].
func (f *boxFile) Pread(buf []byte, off int64) (int, expsys.Errno) {
	stopIfDone(f.box.ctx)
	return ended(f.f.ReadAt(buf, off))
}

func ended(n int, err error) (int, expsys.Errno) {
	if err == io.EOF { //nolint:errorlint // files give it bare
		err = nil
	}
	return n, errno(err)
}

// Seek implements [expsys.File].
func (f *boxFile) Seek(off offset, whence int) (int64, expsys.Errno) {
	if whence < io.SeekStart || whence > io.SeekEnd {
		return 0, expsys.EINVAL
	}
	n, err := f.f.Seek(off, whence)
	return n, errno(err)
}

// Write implements [expsys.File].
func (f *boxFile) Write(buf []byte) (int, expsys.Errno) {
	stopIfDone(f.box.ctx)
	at := int64(-1) // the end
	if !f.append {
		var err error
		if at, err = f.f.Seek(0, io.SeekCurrent); err != nil {
			return 0, errno(err)
		}
	}
	buf, eno := f.reserve(buf, at)
	if eno != 0 {
		return 0, eno
	}
	n, err := f.f.Write(buf)
	return n, errno(err)
}

// Pwrite implements [expsys.File].
func (f *boxFile) Pwrite(buf []byte, off int64) (int, expsys.Errno) {
	stopIfDone(f.box.ctx)
	if len(buf) == 0 {
		return 0, 0
	}
	if off < 0 {
		return 0, expsys.EINVAL
	}
	if f.append { // Linux appends, whatever the offset
		return f.Write(buf)
	}
	buf, eno := f.reserve(buf, off)
	if eno != 0 {
		return 0, eno
	}
	n, err := unix.Pwrite(int(f.f.Fd()), buf, off) // os refuses it for files opened to append
	return max(n, 0), errno(err)
}

// Truncate implements [expsys.File].
func (f *boxFile) Truncate(size int64) expsys.Errno {
	if size < 0 {
		return expsys.EINVAL
	}
	st, err := f.f.Stat()
	if err != nil {
		return errno(err)
	}
	if !f.box.use.grow(size - st.Size()) {
		return noSpace
	}
	return errno(f.f.Truncate(size))
}

// Sync implements [expsys.File].
func (f *boxFile) Sync() expsys.Errno { return errno(f.f.Sync()) }

// Datasync implements [expsys.File].
func (f *boxFile) Datasync() expsys.Errno { return errno(unix.Fdatasync(int(f.f.Fd()))) }

// Utimens implements [expsys.File].
func (f *boxFile) Utimens(atim, mtim int64) expsys.Errno {
	ts := []unix.Timespec{timespec(atim), timespec(mtim)}
	return errno(unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.f.Fd())), ts, 0))
}

func timespec(ns int64) unix.Timespec {
	if ns == expsys.UTIME_OMIT {
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return unix.NsecToTimespec(ns)
}

// Close implements [expsys.File].
func (f *boxFile) Close() expsys.Errno {
	delete(f.box.open, f)
	f.box.closing(f.f)
	return errno(f.f.Close())
}

// boxDir is a folder that a guest has opened. It is read when the guest asks for its entries, and not opened before.
type boxDir struct {
	expsys.DirFile
	box   *box
	name  string
	left  []expsys.Dirent
	begun bool
}

var _ expsys.File = (*boxDir)(nil)

// Dev implements [expsys.File].
func (d *boxDir) Dev() (uint64, expsys.Errno) {
	st, eno := d.Stat()
	return st.Dev, eno
}

// Ino implements [expsys.File].
func (d *boxDir) Ino() (sys.Inode, expsys.Errno) {
	st, eno := d.Stat()
	return st.Ino, eno
}

// Stat implements [expsys.File].
func (d *boxDir) Stat() (sys.Stat_t, expsys.Errno) { return d.box.Stat(d.name) }

// Seek implements [expsys.File]: back to the start is all there is.
func (d *boxDir) Seek(off offset, whence int) (int64, expsys.Errno) {
	if off != 0 || whence != io.SeekStart {
		return 0, expsys.EINVAL
	}
	d.left, d.begun = nil, false
	return 0, 0
}

// Readdir implements [expsys.File].
func (d *boxDir) Readdir(n int) ([]expsys.Dirent, expsys.Errno) {
	if !d.begun {
		if eno := d.readAll(); eno != 0 {
			return nil, eno
		}
		d.begun = true
	}
	if n < 0 || n > len(d.left) {
		n = len(d.left)
	}
	out := d.left[:n:n]
	d.left = d.left[n:]
	return out, 0
}

func (d *boxDir) readAll() expsys.Errno {
	root, eno := d.box.enter()
	if eno != 0 {
		return eno
	}
	f, err := root.Open(d.name)
	if err != nil {
		return errno(err)
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return errno(err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	d.left = make([]expsys.Dirent, 0, len(entries))
	for _, e := range entries {
		st, err := root.Lstat(path.Join(d.name, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went away meanwhile
		}
		if err != nil {
			return errno(err)
		}
		d.left = append(d.left, expsys.Dirent{Name: e.Name(), Type: e.Type(), Ino: d.box.stat(st).Ino})
	}
	return 0
}

// Sync implements [expsys.File].
func (*boxDir) Sync() expsys.Errno { return 0 }

// Datasync implements [expsys.File].
func (*boxDir) Datasync() expsys.Errno { return 0 }

// Utimens implements [expsys.File].
func (d *boxDir) Utimens(atim, mtim int64) expsys.Errno { return d.box.Utimens(d.name, atim, mtim) }

// Close implements [expsys.File].
func (*boxDir) Close() expsys.Errno { return 0 }
