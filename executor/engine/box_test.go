package engine

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	expsys "github.com/tetratelabs/wazero/experimental/sys"
	"golang.org/x/sys/unix"
)

func newTestBox(t *testing.T) (*box, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "task", "box")
	b := newBox(context.Background(), &Invocation{Dir: dir})
	t.Cleanup(b.close)
	return b, dir
}

func mustOpen(t *testing.T, b *box, name string, flag expsys.Oflag) expsys.File {
	t.Helper()
	f, eno := b.OpenFile(name, flag, 0o644)
	if eno != 0 {
		t.Fatalf("open %s: %v", name, eno)
	}
	return f
}

func TestABoxIsMadeWhenItIsUsed(t *testing.T) {
	b, dir := newTestBox(t)
	root := mustOpen(t, b, ".", expsys.O_RDONLY)
	if isDir, eno := root.IsDir(); !isDir || eno != 0 {
		t.Errorf("got %v, %v", isDir, eno)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Fatalf("the folder was made too early: %v", err)
	}
	if _, eno := root.Readdir(-1); eno != 0 {
		t.Fatal(eno)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}

func TestFilesInABox(t *testing.T) {
	b, dir := newTestBox(t)
	if eno := b.Mkdir("sub", 0o755); eno != 0 {
		t.Fatal(eno)
	}
	f := mustOpen(t, b, "sub/a", expsys.O_RDWR|expsys.O_CREAT)
	if n, eno := f.Write([]byte("hello world")); n != 11 || eno != 0 {
		t.Fatal(n, eno)
	}
	if n, eno := f.Pwrite([]byte("J"), 0); n != 1 || eno != 0 {
		t.Fatal(n, eno)
	}
	if eno := f.Truncate(5); eno != 0 {
		t.Fatal(eno)
	}
	if _, eno := f.Seek(1, io.SeekStart); eno != 0 {
		t.Fatal(eno)
	}
	buf := make([]byte, 10)
	if n, eno := f.Read(buf); string(buf[:n]) != "ello" || eno != 0 {
		t.Errorf("read %q, %v", buf[:n], eno)
	}
	if n, eno := f.Read(buf); n != 0 || eno != 0 {
		t.Errorf("at the end: %d, %v", n, eno)
	}
	if eno := f.Utimens(expsys.UTIME_OMIT, 5e9); eno != 0 {
		t.Error(eno)
	}
	if st, eno := f.Stat(); eno != 0 || st.Size != 5 || st.Mtim != 5e9 || st.Ino == 0 {
		t.Errorf("got %+v, %v", st, eno)
	}
	if eno := f.SetAppend(true); eno != 0 || !f.IsAppend() {
		t.Error(eno)
	}
	if _, eno := f.Seek(0, io.SeekStart); eno != 0 {
		t.Error(eno)
	}
	if _, eno := f.Write([]byte("!")); eno != 0 {
		t.Error(eno)
	}
	if eno := f.Close(); eno != 0 {
		t.Error(eno)
	}
	if eno := b.Rename("sub/a", "sub/b"); eno != 0 {
		t.Error(eno)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "sub", "b")); string(got) != "Jello!" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	for want, got := range map[expsys.Errno]expsys.Errno{
		expsys.ENOTEMPTY: b.Rmdir("sub"),
		expsys.EISDIR:    b.Unlink("sub"),
		expsys.ENOTDIR:   b.Rmdir("sub/b"),
		expsys.EEXIST:    b.Mkdir("sub", 0o755),
		expsys.ENOENT:    b.Unlink("sub/zzz"),
	} {
		if got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if eno := b.Unlink("sub/b"); eno != 0 {
		t.Error(eno)
	}
	if eno := b.Rmdir("sub"); eno != 0 {
		t.Error(eno)
	}
}

func TestAFolderIsReadInParts(t *testing.T) {
	b, dir := newTestBox(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := mustOpen(t, b, ".", expsys.O_RDONLY|expsys.O_DIRECTORY)
	for range 2 { // the second time after a rewind
		var names []string
		for {
			ents, eno := d.Readdir(2)
			if eno != 0 {
				t.Fatal(eno)
			}
			if len(ents) == 0 {
				break
			}
			for _, e := range ents {
				names = append(names, e.Name)
				if e.Ino == 0 || e.Type != 0 {
					t.Errorf("got %+v", e)
				}
			}
		}
		slices.Sort(names)
		if !slices.Equal(names, []string{"a", "b", "c"}) {
			t.Errorf("got %v", names)
		}
		if _, eno := d.Seek(0, io.SeekStart); eno != 0 {
			t.Fatal(eno)
		}
	}
}

// TestNothingLeadsOutOfABox puts things into a folder that a guest could not make itself.
func TestNothingLeadsOutOfABox(t *testing.T) {
	b, dir := newTestBox(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"abs": outside, "up": "../../..", "etc": "/etc", "in": "plain", "loop": "loop",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte("plain"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"abs", "up", "up/x", "etc/passwd", "etc", "loop"} {
		if f, eno := b.OpenFile(name, expsys.O_RDONLY, 0); eno == 0 {
			f.Close()
			t.Errorf("%s was opened", name)
		}
		if _, eno := b.Stat(name); eno == 0 {
			t.Errorf("%s has a stat", name)
		}
	}
	for _, name := range []string{"../x", "/../x", "sub/../../x", "etc/x"} {
		if f, eno := b.OpenFile(name, expsys.O_RDWR|expsys.O_CREAT, 0o644); eno == 0 {
			f.Close()
			if _, err := os.Stat(filepath.Join(dir, "x")); err != nil {
				t.Errorf("%s was made outside", name)
			}
		}
	}
	if f := mustOpen(t, b, "in", expsys.O_RDONLY); f != nil { // a link that stays inside is harmless
		f.Close()
	}
	if _, eno := b.OpenFile("in", expsys.O_RDONLY|expsys.O_NOFOLLOW, 0); eno != expsys.ELOOP {
		t.Errorf("a link that is not to be followed: %v", eno)
	}
	if _, eno := b.OpenFile("fifo", expsys.O_RDONLY, 0); eno != expsys.EPERM {
		t.Errorf("a pipe: %v", eno)
	}
	if b.Symlink("/etc", "mine") != expsys.EPERM || b.Link("plain", "mine") != expsys.EPERM {
		t.Error("a link was made")
	}
	if eno := b.Rename("plain", "up/plain"); eno == 0 {
		t.Error("a file was moved out")
	}
}

func TestAGuestCannotOpenFilesWithoutEnd(t *testing.T) {
	b, _ := newTestBox(t)
	var last expsys.Errno
	for i := 0; i <= maxOpen && last == 0; i++ {
		_, last = b.OpenFile("a", expsys.O_RDWR|expsys.O_CREAT, fs.FileMode(0o644))
	}
	if last == 0 {
		t.Errorf("%d files are open", len(b.open))
	}
	b.close()
}
