// Package output keeps what an attempt leaves on the agent's disk: what it wrote, and how it ended.
package output

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/saki-run/saki/api"
)

// Names of the files in an attempt's folder.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Capture takes the two output streams of one attempt into its folder, each cut at a limit. The rest is counted and dropped, so
// that the task never blocks or fails for it.
type Capture struct{ out, err stream }

// Create makes Capture's files in dir, which exists, emptying those of an earlier try. limit is the most bytes kept of each.
func Create(dir string, limit api.Bytes) (*Capture, error) {
	c := &Capture{}
	for name, s := range map[string]*stream{Stdout: &c.out, Stderr: &c.err} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("capture output: %w", err)
		}
		s.f, s.left = f, int64(limit)
	}
	return c, nil
}

// Stdout is where the task's standard output goes. Its Write never gives an error.
func (c *Capture) Stdout() io.Writer { return &c.out }

// Stderr is where the task's standard error goes. Its Write never gives an error.
func (c *Capture) Stderr() io.Writer { return &c.err }

// Restart forgets all that was captured, for a source that is read again from its start.
func (c *Capture) Restart() { c.out.restart(); c.err.restart() }

// Close closes the files. It may be called twice.
func (c *Capture) Close() { c.out.close(); c.err.close() }

// Fill puts the output and its counts into o: whole when both streams are short, else only the counts.
func (c *Capture) Fill(o *api.Outcome) {
	r := &o.Receipt
	var droppedOut, droppedErr int64
	o.Stdout, r.StdoutBytes, droppedOut = c.out.sum()
	o.Stderr, r.StderrBytes, droppedErr = c.err.sum()
	r.Dropped = droppedOut + droppedErr
	o.Inline = r.Dropped == 0 && int64(len(o.Stdout)) == r.StdoutBytes && int64(len(o.Stderr)) == r.StderrBytes
	if !o.Inline {
		o.Stdout, o.Stderr = nil, nil
	}
}

// Trim removes the files of an attempt whose outcome carries the output itself.
func Trim(dir string, o *api.Outcome) {
	if o.Inline {
		_ = os.Remove(filepath.Join(dir, Stdout)) // another agent may have been here
		_ = os.Remove(filepath.Join(dir, Stderr))
	}
}

// Keep writes what o carries of the output back into dir, for an attempt that another one follows: the masters keep the output
// of the last alone.
func Keep(dir string, o *api.Outcome) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("keep output: %w", err)
	}
	for name, b := range map[string][]byte{Stdout: o.Stdout, Stderr: o.Stderr} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return fmt.Errorf("keep output: %w", err)
		}
	}
	return nil
}

// stream is one file and the beginning of what went into it.
type stream struct {
	mu      sync.Mutex // guards all below
	f       *os.File
	head    []byte // the first InlineOutput bytes
	left    int64  // bytes that may still be kept
	kept    int64
	written int64
	dropped int64
}

// Write implements [io.Writer]. A full disk drops the rest, as the limit does.
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += int64(len(b))
	keep := b[:min(int64(len(b)), s.left)]
	if len(keep) > 0 {
		n, err := s.f.Write(keep)
		keep = keep[:n]
		s.left -= int64(n)
		s.kept += int64(n)
		if err != nil {
			s.kept += s.left // so that a restart gives the limit back
			s.left = 0
		}
	}
	if room := int(api.InlineOutput) - len(s.head); room > 0 {
		s.head = append(s.head, keep[:min(room, len(keep))]...)
	}
	s.dropped += int64(len(b) - len(keep))
	return len(b), nil
}

func (s *stream) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.f.Truncate(0)
	_, _ = s.f.Seek(0, io.SeekStart)
	s.left += s.kept
	s.head, s.kept, s.written, s.dropped = nil, 0, 0, 0
}

func (s *stream) sum() (head []byte, written, dropped int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.written, s.dropped
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f != nil {
		s.f.Close()
		s.f, s.left = nil, 0
	}
}
