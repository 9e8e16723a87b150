package engine

import (
	"io/fs"
	"os"

	expsys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
)

// Quota limits what may lie in a guest's root. 0 is no limit.
type Quota struct {
	Bytes int64 // lengths of all files together, holes too
	Files int64 // files and folders
}

// noSpace is what a guest gets beyond its quota. wazero knows no ENOSPC: whatever it does not know it turns into an I/O error.
const noSpace = expsys.EIO

// usage is what lies in a root, held to a quota.
type usage struct {
	most   Quota
	bytes  int64
	files  int64
	denied bool // something was refused
}

// count takes in what was put there for the guest.
func (u *usage) count(root *os.Root) error {
	if u.most == (Quota{}) {
		return nil
	}
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		u.files++
		if !d.Type().IsRegular() {
			return nil
		}
		st, err := d.Info()
		if err == nil {
			u.bytes += st.Size()
		}
		return err
	})
}

// addFile takes one more file or folder in, or says no.
func (u *usage) addFile() bool {
	if u.most.Files > 0 && u.files >= u.most.Files {
		u.denied = true
		return false
	}
	u.files++
	return true
}

// grow takes n more bytes in, or says no. Fewer than none are given back.
func (u *usage) grow(n int64) bool {
	if n > 0 && u.room() < n {
		u.denied = true
		return false
	}
	u.bytes += n
	return true
}

// room is how many more bytes there may be.
func (u *usage) room() int64 {
	if u.most.Bytes == 0 {
		return 1<<63 - 1
	}
	return max(0, u.most.Bytes-u.bytes)
}

func (u *usage) shrink(n int64) { u.bytes -= n }

// reserve pays for writing buf at an offset, -1 is the end of the file, and gives as much of it as there is room for.
func (f *boxFile) reserve(buf []byte, at int64) ([]byte, expsys.Errno) {
	u := &f.box.use
	if u.most.Bytes == 0 || len(buf) == 0 {
		return buf, 0
	}
	st, err := f.f.Stat()
	if err != nil {
		return nil, errno(err)
	}
	size := st.Size()
	if at < 0 {
		at = size
	}
	if at > 1<<62 {
		return nil, noSpace
	}
	fits := size + u.room() - at // where room is no limit, this may wrap around: see above
	if fits < int64(len(buf)) {
		u.denied = true
		if fits <= 0 {
			return nil, noSpace
		}
		buf = buf[:fits] // the next write is refused
	}
	u.grow(max(0, at+int64(len(buf))-size))
	return buf, 0
}

// gone gives back what a file that was removed has taken, unless it is open still: then it is given back when it is closed.
func (b *box) gone(st fs.FileInfo) {
	b.use.files--
	if b.same != nil {
		b.same.forget(st)
	}
	if !st.Mode().IsRegular() || b.use.most.Bytes == 0 {
		return
	}
	for f := range b.open {
		if o, err := f.f.Stat(); err == nil && os.SameFile(o, st) {
			return
		}
	}
	b.use.shrink(st.Size())
}

// closing gives back what a file takes that has been removed, and that is being closed by the last that had it open. It is not
// among the open ones any longer.
func (b *box) closing(f *os.File) {
	if b.use.most.Bytes == 0 {
		return
	}
	if st, err := f.Stat(); err == nil && links(st) == 0 {
		b.use.files++ // it was given back when the file was removed
		b.gone(st)
	}
}

func links(st fs.FileInfo) uint64 { return sys.NewStat_t(st).Nlink }
