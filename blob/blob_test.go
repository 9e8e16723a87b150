package blob_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/saki-run/saki/blob"
)

func open(t *testing.T, dir string) *blob.Store {
	t.Helper()
	s, err := blob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// file is where the store keeps a blob.
func file(dir, digest string) string {
	h := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(dir, "sha256", h[:2], h)
}

// noLeftovers checks that nothing half written is left.
func noLeftovers(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}

func TestWhatIsPutIsReadBackAlsoAfterAReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	content := []byte("hello")
	const want = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for _, promised := range []string{"", want, want} {
		digest, size, err := s.Put(bytes.NewReader(content), promised, 5)
		if err != nil || digest != want || size != 5 {
			t.Fatalf("put: %s, %d, %v", digest, size, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", "left"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	noLeftovers(t, dir)
	if b, err := s.Read(want); err != nil || !bytes.Equal(b, content) {
		t.Errorf("read: %q, %v", b, err)
	}
	if err := s.Verify(want); err != nil {
		t.Error(err)
	}
	r, size, err := s.Open(want)
	if err != nil || size != 5 {
		t.Fatalf("open: %d, %v", size, err)
	}
	defer r.Close()
	if err := iotest.TestReader(r, content); err != nil {
		t.Error(err)
	}
	if list, err := s.List(); err != nil || len(list) != 1 || list[0].Digest != want || list[0].Size != 5 {
		t.Errorf("list: %v, %v", list, err)
	}
	if info, err := s.Stat(want); err != nil || info.Size != 5 || info.Stored.IsZero() {
		t.Errorf("stat: %+v, %v", info, err)
	}
	if err := s.Delete(want); err != nil || s.Has(want) {
		t.Errorf("delete: %v, still here %v", err, s.Has(want))
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, content) {
		t.Errorf("an open reader after the delete: %q, %v", b, err)
	}
}

func TestPutRefusesAndKeepsNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for name, tc := range map[string]struct {
		r     io.Reader
		want  string
		limit int64
		err   error
	}{
		"one byte over the limit": {strings.NewReader("123456"), "", 5, blob.ErrTooLarge},
		"an endless stream":       {neverEnds{}, "", 1 << 20, blob.ErrTooLarge},
		"another content":         {strings.NewReader("12345"), blob.Sum([]byte("12346")), 5, blob.ErrDigestMismatch},
		"a short content":         {strings.NewReader("1234"), blob.Sum([]byte("12345")), 5, blob.ErrDigestMismatch},
		"a stream that breaks":    {iotest.TimeoutReader(neverEnds{}), "", 1 << 30, iotest.ErrTimeout},
		"a digest that is a path": {strings.NewReader("1"), "sha256:../../../etc/passwd", 5, blob.ErrBadDigest},
	} {
		if _, _, err := s.Put(tc.r, tc.want, tc.limit); !errors.Is(err, tc.err) {
			t.Errorf("%s: got %v, want %v", name, err, tc.err)
		}
		noLeftovers(t, dir)
	}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("list: %v, %v", list, err)
	}
	if _, size, err := s.Put(strings.NewReader(""), "", 0); err != nil || size != 0 {
		t.Errorf("an empty blob: %d, %v", size, err)
	}
}

type neverEnds struct{}

func (neverEnds) Read(p []byte) (int, error) { return len(p), nil }

func TestWhatIsNotHereIsNotFound(t *testing.T) {
	s := open(t, t.TempDir())
	absent := blob.Sum([]byte("absent"))
	for digest, want := range map[string]error{
		absent: blob.ErrNotFound, "": blob.ErrBadDigest, "sha256:": blob.ErrBadDigest, "md5:" + absent[7:]: blob.ErrBadDigest,
		strings.ToUpper(absent): blob.ErrBadDigest, absent + "0": blob.ErrBadDigest, absent[:70] + "/": blob.ErrBadDigest,
	} {
		_, errStat := s.Stat(digest)
		_, _, errOpen := s.Open(digest)
		_, errRead := s.Read(digest)
		for what, err := range map[string]error{
			"stat": errStat, "open": errOpen, "read": errRead, "verify": s.Verify(digest), "delete": s.Delete(digest),
		} {
			if !errors.Is(err, want) {
				t.Errorf("%s %q: got %v, want %v", what, digest, err, want)
			}
		}
		if s.Has(digest) {
			t.Errorf("has %q", digest)
		}
	}
}

func TestABlobThatChangedOnDiskIsFound(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for name, harm := range map[string][]byte{"flipped": []byte("hellO"), "cut": []byte("hell"), "empty": nil} {
		digest, _, err := s.Put(strings.NewReader("hello"), "", 5)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file(dir, digest), harm, 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := s.Read(digest); !errors.Is(err, blob.ErrDigestMismatch) {
			t.Errorf("%s: read %q, %v", name, b, err)
		}
		if err := s.Verify(digest); !errors.Is(err, blob.ErrDigestMismatch) {
			t.Errorf("%s: verify: %v", name, err)
		}
		if _, _, err := s.Put(strings.NewReader("hello"), digest, 5); err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(digest); err != nil {
			t.Errorf("%s: after it was put again: %v", name, err)
		}
	}
}

func TestHammerPutOpenDelete(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 40 {
				content := bytes.Repeat(fmt.Appendf(nil, "%d", i%5), 3000)
				digest, _, err := s.Put(bytes.NewReader(content), blob.Sum(content), 3000)
				if err != nil {
					t.Error(err)
					return
				}
				if b, err := s.Read(digest); err == nil && !bytes.Equal(b, content) || err != nil && !errors.Is(err, blob.ErrNotFound) {
					t.Errorf("read: %d bytes, %v", len(b), err)
				}
				if w == 0 && i%7 == 0 {
					if err := s.Delete(digest); err != nil && !errors.Is(err, blob.ErrNotFound) {
						t.Error(err)
					}
				}
				if _, err := s.List(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	noLeftovers(t, dir)
}

func FuzzCheck(f *testing.F) {
	f.Add(blob.Sum(nil))
	f.Add("sha256:..")
	f.Fuzz(func(t *testing.T, digest string) {
		if blob.Check(digest) == nil && (len(digest) != 71 || strings.ContainsAny(digest, "/\\. \x00")) {
			t.Fatalf("%q was accepted", digest)
		}
	})
}
