package blob

import "path/filepath"

// Path gives the file that holds the blob, for readers that need a name rather than a stream, and whether it is here. The file
// is never to be changed.
func (s *Store) Path(digest string) (string, bool) {
	if !s.Has(digest) {
		return "", false
	}
	return filepath.Join(s.root.Name(), path(digest)), true
}
