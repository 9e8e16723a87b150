package executor

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/protocol"
)

// spillAt is how much output is held in memory before it goes to a file.
const spillAt = 32 << 10

// stream takes what a guest writes to stdout or stderr. Short output of short tasks never touches the disk: it goes to the
// agent in the outcome. Longer output, or output of a task that runs on, is appended to a file in the task's folder, where it
// can be followed and outlives the agent. It is safe for concurrent use.
type stream struct {
	path string
	max  int64 // bytes kept

	mu      sync.Mutex
	head    []byte // the first api.InlineOutput bytes
	buf     []byte // kept, not yet in the file
	file    *os.File
	written int64 // by the guest, whether kept or not
	kept    int64
	err     error // the file cannot be written: the rest is dropped
}

func newStream(dir, name string, most int64) *stream {
	return &stream{path: filepath.Join(dir, name), max: most}
}

// Write implements [io.Writer]. It never fails and never says that less was taken: a guest must not see the limit.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += int64(len(p))
	keep := p[:max(0, min(int64(len(p)), s.max-s.kept))]
	if n := int(api.InlineOutput) - len(s.head); n > 0 {
		s.head = append(s.head, keep[:min(len(keep), n)]...)
	}
	if s.err == nil && len(keep) > 0 {
		s.kept += int64(len(keep))
		s.buf = append(s.buf, keep...)
		if len(s.buf) >= spillAt {
			s.flushLocked()
		}
	}
	return len(p), nil
}

// flush writes what is held to the file.
func (s *stream) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.buf) > 0 {
		s.flushLocked()
	}
}

func (s *stream) flushLocked() {
	if s.err != nil {
		return
	}
	if s.file == nil {
		if s.err = os.MkdirAll(filepath.Dir(s.path), 0o755); s.err == nil {
			s.file, s.err = os.OpenFile(s.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o644)
		}
	}
	if s.err == nil {
		var n int
		n, s.err = s.file.Write(s.buf)
		s.kept -= int64(len(s.buf) - n)
	} else {
		s.kept -= int64(len(s.buf))
	}
	s.buf = s.buf[:0]
}

// short reports whether all there was fits into the outcome.
func (s *stream) short() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written <= int64(api.InlineOutput) && s.written == int64(len(s.head))
}

// finish ends the stream and gives the bytes that were dropped. The rest goes to the file with toFile; without, the file is
// removed: all is in the outcome.
func (s *stream) finish(toFile bool) (dropped int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if toFile {
		s.flushLocked() // also when there is nothing: an empty file says so
	}
	if s.file != nil {
		_ = s.file.Close()
		if !toFile {
			_ = os.Remove(s.path)
		}
	}
	return s.written - s.kept
}

// output is both streams of a task.
type output struct{ out, err *stream }

func newOutput(dir string, most int64) output {
	return output{newStream(dir, protocol.Stdout, most), newStream(dir, protocol.Stderr, most)}
}

func (o output) flush() {
	o.out.flush()
	o.err.flush()
}

// finish puts the output into the outcome, or leaves it in the files.
func (o output) finish(out *api.Outcome) {
	out.Inline = o.out.short() && o.err.short()
	dropped := o.out.finish(!out.Inline) + o.err.finish(!out.Inline)
	if out.Inline {
		out.Stdout, out.Stderr = o.out.head, o.err.head
	}
	out.Receipt.StdoutBytes, out.Receipt.StderrBytes, out.Receipt.Dropped = o.out.written, o.err.written, dropped
}
