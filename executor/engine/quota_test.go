package engine

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	expsys "github.com/tetratelabs/wazero/experimental/sys"
	"golang.org/x/sys/unix"
)

func newQuotaBox(t *testing.T, q Quota) *box {
	t.Helper()
	b := newBox(context.Background(), &Invocation{Dir: filepath.Join(t.TempDir(), "box"), Disk: q})
	t.Cleanup(b.close)
	return b
}

const rwCreate = expsys.O_RDWR | expsys.O_CREAT

// write expects that n of size bytes are written.
func write(t *testing.T, f expsys.File, size, n int) {
	t.Helper()
	got, eno := f.Write(make([]byte, size))
	if got != n || (eno != 0) != (n == 0 && size > 0) {
		t.Errorf("wrote %d of %d, %v; want %d", got, size, eno, n)
	}
}

func TestAQuotaOfBytesHoldsForEveryWayToGrow(t *testing.T) {
	b := newQuotaBox(t, Quota{Bytes: 1000})
	f := mustOpen(t, b, "f", rwCreate)
	write(t, f, 600, 600)
	if _, eno := f.Seek(0, 0); eno != 0 {
		t.Fatal(eno)
	}
	write(t, f, 600, 600) // over itself: nothing grows
	write(t, f, 600, 400)
	write(t, f, 1, 0)
	if n, eno := f.Pwrite([]byte("xx"), 999); n != 1 || eno != 0 {
		t.Errorf("pwrite across the end: %d, %v", n, eno)
	}
	if _, eno := f.Pwrite([]byte("x"), 1<<40); eno != noSpace {
		t.Errorf("a hole of a terabyte: %v", eno)
	}
	if eno := f.Truncate(1001); eno != noSpace {
		t.Errorf("truncate to more: %v", eno)
	}
	if eno := f.Truncate(100); eno != 0 {
		t.Error(eno)
	}
	g := mustOpen(t, b, "g", rwCreate|expsys.O_APPEND)
	write(t, g, 1000, 900)
	if !b.use.denied {
		t.Error("nobody noted that something was refused")
	}
	_ = mustOpen(t, b, "g", rwCreate|expsys.O_TRUNC)
	if b.use.bytes != 100 {
		t.Errorf("%d bytes are counted, want 100", b.use.bytes)
	}
}

func TestAFileThatIsRemovedAndOpenStillCounts(t *testing.T) {
	b := newQuotaBox(t, Quota{Bytes: 1000})
	f, again := mustOpen(t, b, "f", rwCreate), mustOpen(t, b, "f", rwCreate)
	write(t, f, 1000, 1000)
	if eno := b.Unlink("f"); eno != 0 {
		t.Fatal(eno)
	}
	g := mustOpen(t, b, "g", rwCreate)
	write(t, g, 1, 0)
	_ = f.Close()
	write(t, g, 1, 0)
	_ = again.Close()
	write(t, g, 1000, 1000)
	h := mustOpen(t, b, "h", rwCreate)
	_ = g.Close()
	if eno := b.Rename("h", "g"); eno != 0 {
		t.Fatal(eno)
	}
	write(t, h, 1000, 1000)
	if b.use.files != 1 {
		t.Errorf("%d files are counted, want 1", b.use.files)
	}
}

func TestAQuotaOfFilesCountsFoldersAndWhatWasStaged(t *testing.T) {
	b := newQuotaBox(t, Quota{Bytes: 1000, Files: 4})
	if err := os.MkdirAll(filepath.Join(b.dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "in", "staged"), make([]byte, 990), 0o644); err != nil {
		t.Fatal(err)
	}
	if eno := b.Mkdir("d", 0o755); eno != 0 {
		t.Fatal(eno)
	}
	f := mustOpen(t, b, "f", rwCreate)
	write(t, f, 20, 10)
	if _, eno := b.OpenFile("g", rwCreate, 0o644); eno != noSpace {
		t.Errorf("a fifth file: %v", eno)
	}
	if eno := b.Mkdir("e", 0o755); eno != noSpace {
		t.Errorf("a fifth folder: %v", eno)
	}
	if eno := b.Rmdir("d"); eno != 0 {
		t.Error(eno)
	}
	if eno := b.Mkdir("f", 0o755); eno == 0 { // it fails, and must not count
		t.Error("a folder was made where a file is")
	}
	_ = mustOpen(t, b, "g", rwCreate)
	for i := range 3 {
		if _, eno := b.OpenFile("g"+strconv.Itoa(i), rwCreate, 0o644); eno != noSpace {
			t.Errorf("again a fifth: %v", eno)
		}
	}
}

func TestABoxHoldsNoPipesAndDevices(t *testing.T) {
	b := newQuotaBox(t, Quota{})
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(b.dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(b.dir, "zero")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "zero"} {
		if _, eno := b.OpenFile(name, expsys.O_RDONLY, 0); eno == 0 {
			t.Errorf("%s was opened", name)
		}
	}
	if b.Link("a", "b") == 0 || b.Symlink("a", "b") == 0 {
		t.Error("a guest has made a link")
	}
}
