package engine

import (
	"io/fs"

	"github.com/tetratelabs/wazero/sys"
)

// sameness hides what files tell of the machine: devices, numbers of inodes, times.
type sameness struct {
	seen map[inode]sys.Inode
	last sys.Inode
}

type inode struct {
	dev uint64
	ino sys.Inode
}

// stat is what the guest may know of a file.
func (b *box) stat(fi fs.FileInfo) sys.Stat_t {
	st := sys.NewStat_t(fi)
	if b.same == nil {
		return st
	}
	if b.same.seen == nil {
		b.same.seen = map[inode]sys.Inode{}
	}
	k := inode{st.Dev, st.Ino}
	n, ok := b.same.seen[k]
	if !ok {
		b.same.last++
		n = b.same.last
		b.same.seen[k] = n
	}
	const then = Epoch * 1_000_000_000
	st.Dev, st.Ino, st.Atim, st.Mtim, st.Ctim = 1, n, then, then, then
	if fi.IsDir() {
		st.Size, st.Nlink = 0, 1
	}
	return st
}

// forget is for a file that was removed: the machine may give its number to another.
func (s *sameness) forget(fi fs.FileInfo) {
	st := sys.NewStat_t(fi)
	delete(s.seen, inode{st.Dev, st.Ino})
}
