// Package blob keeps byte strings on disk under the SHA-256 of their content: modules and large outputs.
//
// A digest is "sha256:" and 64 lower-case hex digits. What is stored never changes, so a reader needs no lock and a copy
// from any peer is as good as ours once its digest matches.
package blob

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

var (
	// ErrNotFound says that no blob of that digest is here, or, from a [Fetcher], with any peer.
	ErrNotFound = errors.New("blob not found")
	// ErrTooLarge says that a blob is over the limit that was given. Nothing was kept.
	ErrTooLarge = errors.New("blob is too large")
	// ErrDigestMismatch says that content has another digest than was promised. Nothing was kept.
	ErrDigestMismatch = errors.New("content does not match its digest")
	// ErrBadDigest says that a string is not a digest.
	ErrBadDigest = errors.New("not a sha256 digest")
)

const prefix = "sha256:"

// Check returns an error that wraps ErrBadDigest unless digest has the one accepted form. Only checked digests are ever
// made part of a path.
func Check(digest string) error {
	h, ok := strings.CutPrefix(digest, prefix)
	if !ok || len(h) != 2*sha256.Size || strings.Trim(h, "0123456789abcdef") != "" {
		return fmt.Errorf("%w: %.80q", ErrBadDigest, digest)
	}
	return nil
}

// Sum returns the digest of b.
func Sum(b []byte) string {
	s := sha256.Sum256(b)
	return prefix + hex.EncodeToString(s[:])
}

// Info describes one stored blob.
type Info struct {
	Digest string
	Size   int64     // bytes
	Stored time.Time // when it came here
}

// Store is a directory of blobs. Safe for concurrent use, also of the same digest.
type Store struct {
	root *os.Root
}

// Open opens the store in dir, making the directory if need be, and removes what a crash left half written. One process
// at a time may have it open.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "sha256"), 0o700); err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	s := &Store{root: root}
	left, err := fs.ReadDir(root.FS(), "tmp")
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	for _, e := range left {
		if err := root.Remove("tmp/" + e.Name()); err != nil {
			root.Close()
			return nil, fmt.Errorf("clean blob store: %w", err)
		}
	}
	return s, nil
}

// Close releases the directory. Readers that are open go on.
func (s *Store) Close() error { return s.root.Close() }

// Put stores what r gives, up to limit bytes, and returns its digest and size once it is on disk. If want is not empty the
// content must have that digest. ErrTooLarge comes after at most limit+1 bytes were read. A blob that is here already
// is not written again, but r is read and checked all the same.
func (s *Store) Put(r io.Reader, want string, limit int64) (digest string, size int64, err error) {
	if want != "" {
		if err := Check(want); err != nil {
			return "", 0, err
		}
	}
	tmp := "tmp/" + rand.Text()
	f, err := s.root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", 0, fmt.Errorf("put blob: %w", err)
	}
	defer func() {
		if err != nil {
			_ = s.root.Remove(tmp) // or else at the next Open
		}
	}()
	digest, size, err = receive(f, r, want, limit)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return "", 0, fmt.Errorf("put blob: %w", err)
	}
	name := path(digest)
	if err := s.root.Mkdir(filepath.Dir(name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", 0, fmt.Errorf("put blob: %w", err)
	}
	// Another Put of the same content may have been quicker; replacing its file by an equal one harms nobody.
	if err := s.root.Rename(tmp, name); err != nil {
		return "", 0, fmt.Errorf("put blob: %w", err)
	}
	for _, dir := range []string{filepath.Dir(name), "sha256"} {
		if err := s.syncDir(dir); err != nil {
			return "", 0, fmt.Errorf("put blob: %w", err)
		}
	}
	return digest, size, nil
}

// receive copies r to w, counting and summing.
func receive(w io.Writer, r io.Reader, want string, limit int64) (string, int64, error) {
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(r, limit))
	if err != nil {
		return "", 0, err
	}
	if n == limit { // the reader may be at its end, or not
		k, err := io.CopyN(io.Discard, r, 1)
		if k > 0 {
			return "", 0, fmt.Errorf("%w: over %d bytes", ErrTooLarge, limit)
		}
		if !errors.Is(err, io.EOF) {
			return "", 0, err
		}
	}
	got := digestOf(sum)
	if want != "" && got != want {
		return "", 0, fmt.Errorf("%w: got %s, want %s", ErrDigestMismatch, got, want)
	}
	return got, n, nil
}

// Has says whether the blob is here.
func (s *Store) Has(digest string) bool {
	_, err := s.Stat(digest)
	return err == nil
}

// Stat describes a blob, or gives ErrNotFound.
func (s *Store) Stat(digest string) (Info, error) {
	if err := Check(digest); err != nil {
		return Info{}, err
	}
	fi, err := s.root.Stat(path(digest))
	if err != nil {
		return Info{}, missing("stat", digest, err)
	}
	return Info{Digest: digest, Size: fi.Size(), Stored: fi.ModTime()}, nil
}

// Open opens a blob for reading and returns its size. The reader stays good if the blob is deleted. It does not check the
// content; see [Store.Verify] and [Store.Read].
func (s *Store) Open(digest string) (io.ReadSeekCloser, int64, error) {
	if err := Check(digest); err != nil {
		return nil, 0, err
	}
	f, err := s.root.Open(path(digest))
	if err != nil {
		return nil, 0, missing("open", digest, err)
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("open blob %s: %w", digest, err)
	}
	return f, fi.Size(), nil
}

// Read returns the whole content of a blob after checking it against its digest. One that changed on disk gives
// ErrDigestMismatch.
func (s *Store) Read(digest string) ([]byte, error) {
	f, size, err := s.Open(digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("read blob %s: %w", digest, err)
	}
	if got := Sum(b); got != digest {
		return nil, fmt.Errorf("read blob %s: %w: it changed on disk to %s", digest, ErrDigestMismatch, got)
	}
	return b, nil
}

// Verify reads a blob and checks it, without keeping it in memory. The blob stays where it is; deleting a damaged one is
// up to the caller.
func (s *Store) Verify(digest string) error {
	f, size, err := s.Open(digest)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, err := receive(io.Discard, f, digest, size); err != nil {
		return fmt.Errorf("verify blob %s: %w", digest, err)
	}
	return nil
}

// Delete removes a blob. One that is not here gives ErrNotFound.
func (s *Store) Delete(digest string) error {
	if err := Check(digest); err != nil {
		return err
	}
	if err := s.root.Remove(path(digest)); err != nil {
		return missing("delete", digest, err)
	}
	return nil
}

// List returns all blobs in the order of their digests. Files that are not blobs are left out.
func (s *Store) List() ([]Info, error) {
	var out []Info
	err := fs.WalkDir(s.root.FS(), "sha256", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		digest := prefix + filepath.Base(name)
		if Check(digest) != nil || filepath.ToSlash(path(digest)) != name {
			return nil
		}
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		out = append(out, Info{Digest: digest, Size: fi.Size(), Stored: fi.ModTime()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.Digest, b.Digest) })
	return out, nil
}

func (s *Store) syncDir(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// path is where a checked digest is kept: sha256/ab/abcd…
func path(digest string) string {
	h := strings.TrimPrefix(digest, prefix)
	return filepath.Join("sha256", h[:2], h)
}

func digestOf(h hash.Hash) string { return prefix + hex.EncodeToString(h.Sum(nil)) }

func missing(what, digest string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	return fmt.Errorf("%s blob %s: %w", what, digest, err)
}
