package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/saki-run/saki/master/raftlog/wal"
)

// Names that raft gives to what it keeps here.
const (
	keyVoteTerm = "LastVoteTerm"
	keyVoteCand = "LastVoteCand"
)

const stableMagic = "sakivot1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stable keeps the term and the vote in one small file, replaced as a whole.
//
// Raft writes the term of a vote and its candidate one after the other. A crash in between would leave the new term with
// the old candidate, whom the member would then grant a second vote (hashicorp/raft #661). So the term is held back until
// the candidate comes, and both are written at once.
type stable struct {
	path  string
	doom  *doom
	limit time.Duration

	mu   sync.Mutex // guards the fields below
	vals map[string][]byte
	term []byte // of a vote whose candidate has not come yet
}

var _ raft.StableStore = (*stable)(nil)

func openStable(path string, d *doom, limit time.Duration) (*stable, error) {
	s := &stable{path: path, doom: d, limit: limit, vals: map[string][]byte{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if s.vals, err = decodeStable(b); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

// fresh says that nothing was ever written.
func (s *stable) fresh() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.vals) == 0
}

func (s *stable) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.vals[string(key)]), nil
}

func (s *stable) GetUint64(key []byte) (uint64, error) {
	b, _ := s.Get(key)
	if b == nil {
		return 0, nil
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("%s is not a number", key)
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (s *stable) SetUint64(key []byte, v uint64) error {
	b := binary.LittleEndian.AppendUint64(nil, v)
	if string(key) == keyVoteTerm {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.term = b
		return nil
	}
	return s.Set(key, b)
}

// Set writes a value; one that cannot be written ends the node, as raft would panic or forget its vote.
func (s *stable) Set(key, val []byte) error {
	err := s.set(string(key), val)
	s.doom.park()
	if err != nil {
		s.doom.die(fmt.Errorf("write %s: %w", key, err))
	}
	return err
}

func (s *stable) set(key string, val []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(s.vals)
	next[key] = bytes.Clone(val)
	if key == keyVoteCand && s.term != nil {
		next[keyVoteTerm] = s.term
	}
	if maps.EqualFunc(s.vals, next, bytes.Equal) {
		return nil
	}
	defer s.doom.watch("write the vote", s.limit)()
	if err := replaceFile(s.path, encodeStable(next)); err != nil {
		return err
	}
	if key == keyVoteCand {
		s.term = nil
	}
	s.vals = next
	return nil
}

// replaceFile puts b in place of the file: a crash leaves the old content or the new.
func replaceFile(path string, b []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func encodeStable(vals map[string][]byte) []byte {
	b := []byte(stableMagic)
	for _, k := range slices.Sorted(maps.Keys(vals)) {
		b = binary.AppendUvarint(b, uint64(len(k)))
		b = append(b, k...)
		b = binary.AppendUvarint(b, uint64(len(vals[k])))
		b = append(b, vals[k]...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeStable(b []byte) (map[string][]byte, error) {
	bad := fmt.Errorf("%w: not a vote file, or damaged", wal.ErrCorrupt)
	if len(b) < len(stableMagic)+4 || string(b[:len(stableMagic)]) != stableMagic {
		return nil, bad
	}
	b, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(b, castagnoli) != sum {
		return nil, bad
	}
	vals := map[string][]byte{}
	next := func() ([]byte, bool) {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return nil, false
		}
		v := b[w : w+int(n)]
		b = b[w+int(n):]
		return v, true
	}
	for b = b[len(stableMagic):]; len(b) > 0; {
		k, ok1 := next()
		v, ok2 := next()
		if !ok1 || !ok2 {
			return nil, bad
		}
		vals[string(k)] = bytes.Clone(v)
	}
	return vals, nil
}
