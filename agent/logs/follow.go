// Package logs reads the output of attempts: as it is, as it grows, and over HTTP.
package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// pollEvery is how often a file is looked at where the kernel cannot tell of changes.
const pollEvery = 100 * time.Millisecond

// Open opens a stream's file. It follows no symbolic link and opens nothing but a regular file, whatever a task has put there.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("open %s: not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Follow copies the file at path to w from offset on, and goes on as it grows. It returns nil once ended is closed and all of
// it is copied; fs.ErrNotExist when there was no file until then; else the error of ctx, of reading or of w. A file that is
// removed while it is followed is followed to its end. A file that does not exist yet is waited for.
func Follow(ctx context.Context, path string, offset int64, ended <-chan struct{}, w io.Writer) error {
	changed, stop := watch(path)
	defer func() { stop() }()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	var f *os.File
	defer func() {
		if f != nil {
			f.Close()
		}
	}()
	for last := false; ; {
		if f == nil {
			var err error
			if f, err = Open(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if f != nil {
			n, err := io.Copy(w, io.NewSectionReader(f, offset, 1<<62-offset))
			offset += n
			if err != nil {
				return err
			}
		}
		switch {
		case last && f == nil:
			return fmt.Errorf("follow %s: %w", path, fs.ErrNotExist)
		case last:
			return nil
		}
		select {
		case <-changed:
		case <-poll.C:
			if changed == nil { // the folder may be there by now
				changed, stop = watch(path)
			}
		case <-ended:
			last = true // once more, for what came before the end
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
