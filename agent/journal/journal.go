// Package journal is an agent's memory across its own restarts: an append-only file of the attempts it runs, the handles to
// find them again, and the outcomes that no master has acknowledged yet.
//
// An outcome is on the disk before it is reported. What is lost when the machine loses power are notes of attempts that the
// loss of power has ended anyway.
package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire"
	"github.com/saki-run/saki/wire/link"
)

// Record is one note. Exactly one of Start, Handle, Ended and Forget is set.
type Record struct {
	Start  *api.Task     `json:"start,omitempty"`
	Handle *Handle       `json:"handle,omitempty"`
	Ended  *link.Ended   `json:"ended,omitempty"`
	Forget *link.Attempt `json:"forget,omitempty"`
}

// Handle is what a runner needs to find an attempt again.
type Handle struct {
	link.Attempt
	Handle []byte `json:"handle"`
}

// Entry is what is known of one attempt.
type Entry struct {
	Task    *api.Task
	Handle  []byte       // nil before the runner gave one
	Outcome *api.Outcome // nil while it runs
}

type key struct {
	task   api.TaskID
	number uint32
}

// Journal is safe for concurrent use.
type Journal struct {
	path string

	mu   sync.Mutex
	f    *os.File
	size int64
	// compacted is the size after the last compaction.
	compacted int64
	live      map[key]*Entry
	buf       []byte
	err       error // of the first write that failed: the file's end is unknown from then on

	syncing bool
	waiting []func(error) // for the next sync
}

// header is a record's: length of the body and its CRC-32C.
const header = 8

// maxRecord is the longest body.
const maxRecord = wire.MaxFrame

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Open reads the journal in the folder and makes it ready for more, compacted. A record that was cut short at the end is
// dropped: it was never reported. Damage before the end is an error; the file is then moved aside by the caller's choice.
func Open(dir string) (*Journal, []Entry, error) {
	j := &Journal{path: filepath.Join(dir, "journal"), live: map[key]*Entry{}}
	if err := j.replay(); err != nil {
		return nil, nil, fmt.Errorf("open journal %s: %w", j.path, err)
	}
	if err := j.compact(); err != nil {
		return nil, nil, fmt.Errorf("open journal %s: %w", j.path, err)
	}
	var out []Entry
	for _, e := range j.live {
		out = append(out, *e)
	}
	return j, out, nil
}

// ErrDamaged says that the journal has a wrong checksum before its end.
var ErrDamaged = errors.New("journal is damaged")

func (j *Journal) replay() error {
	f, err := os.Open(j.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r := bufio.NewReader(f)
	for at := int64(0); ; {
		rec, n, err := read(r)
		if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // read gives them bare
			return nil // cut short: never reported
		}
		if errors.Is(err, ErrDamaged) && at+n >= info.Size() {
			return nil // the last record, half on the disk
		}
		if err != nil {
			return fmt.Errorf("at byte %d: %w", at, err)
		}
		at += n
		j.note(rec)
	}
}

// read gives the next record and its length.
func read(r io.Reader) (rec Record, n int64, err error) {
	var h [header]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return rec, 0, err
	}
	size := binary.BigEndian.Uint32(h[:])
	if size > maxRecord {
		return rec, header, ErrDamaged
	}
	n = header + int64(size)
	body, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil {
		return rec, n, err
	}
	if len(body) < int(size) {
		return rec, n, io.ErrUnexpectedEOF
	}
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(h[4:]) {
		return rec, n, ErrDamaged
	}
	if err := wire.Unmarshal(body, &rec); err != nil {
		return rec, n, errors.Join(ErrDamaged, err)
	}
	return rec, n, nil
}

// note takes a record into the live entries.
func (j *Journal) note(r Record) {
	switch {
	case r.Start != nil:
		j.live[key{r.Start.ID, r.Start.Attempt}] = &Entry{Task: r.Start}
	case r.Handle != nil:
		if e := j.live[keyOf(r.Handle.Attempt)]; e != nil {
			e.Handle = r.Handle.Handle
		}
	case r.Ended != nil:
		if e := j.live[keyOf(r.Ended.Attempt)]; e != nil {
			o := r.Ended.Outcome
			e.Outcome = &o
		}
	case r.Forget != nil:
		delete(j.live, keyOf(*r.Forget))
	}
}

func keyOf(a link.Attempt) key { return key{a.Task, a.Number} }

// compact writes the live entries to a new file and puts it in place of the old one. The caller holds mu, or is Open.
func (j *Journal) compact() error {
	tmp := j.path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	var buf []byte
	for _, e := range j.live {
		a := link.Attempt{Task: e.Task.ID, Number: e.Task.Attempt}
		buf = appendRecord(buf, Record{Start: e.Task})
		if e.Handle != nil {
			buf = appendRecord(buf, Record{Handle: &Handle{a, e.Handle}})
		}
		if e.Outcome != nil {
			buf = appendRecord(buf, Record{Ended: &link.Ended{Attempt: a, Outcome: *e.Outcome}})
		}
	}
	_, err = f.Write(buf)
	err = errors.Join(err, f.Sync())
	if err == nil {
		err = os.Rename(tmp, j.path)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if j.f != nil {
		err = j.f.Close()
	}
	j.f, j.size, j.compacted = f, int64(len(buf)), int64(len(buf))
	return errors.Join(err, syncDir(filepath.Dir(j.path)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func appendRecord(b []byte, r Record) []byte {
	body, err := wire.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("journal: %v", err)) // our own types always encode
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...)
}

// compactAt is how much the file grows before it is compacted.
const compactAt = 8 << 20

// tidy compacts the file when it has grown enough since the last time. The caller holds mu, and nobody syncs.
func (j *Journal) tidy() error {
	if j.size < 2*j.compacted+compactAt {
		return nil
	}
	return j.compact()
}

// Write adds records. They survive the end of this process, and with [Journal.Sync] that of the machine.
func (j *Journal) Write(recs ...Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.writeLocked(recs)
}

func (j *Journal) writeLocked(recs []Record) error {
	if j.err != nil {
		return j.err
	}
	j.buf = j.buf[:0]
	for _, r := range recs {
		j.note(r)
		j.buf = appendRecord(j.buf, r)
	}
	n, err := j.f.Write(j.buf)
	j.size += int64(n)
	if err == nil && !j.syncing {
		err = j.tidy()
	}
	if err != nil {
		j.err = fmt.Errorf("write journal: %w", err)
	}
	return j.err
}

// Sync adds records and calls done once they are on the disk, or cannot be. Records that come while the disk is busy go
// together with the next sync. done must not block.
func (j *Journal) Sync(done func(error), recs ...Record) {
	j.mu.Lock()
	if err := j.writeLocked(recs); err != nil {
		j.mu.Unlock()
		done(err)
		return
	}
	j.waiting = append(j.waiting, done)
	if j.syncing {
		j.mu.Unlock()
		return
	}
	j.syncing = true
	for len(j.waiting) > 0 {
		batch := j.waiting
		j.waiting = nil
		fd := int(j.f.Fd())
		j.mu.Unlock()
		err := unix.Fdatasync(fd)
		for _, d := range batch {
			d(err)
		}
		j.mu.Lock()
		if err == nil && j.err == nil {
			err = j.tidy() // here, since under load the next sync begins at once
		}
		if err != nil && j.err == nil {
			j.err = fmt.Errorf("sync journal: %w", err)
		}
	}
	j.syncing = false
	j.mu.Unlock()
}

// Close closes the file. Nothing may be written afterwards.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = os.ErrClosed
	return j.f.Close()
}
