package logs

import (
	"bytes"
	"io"
)

// tailOffset gives where the last n lines of the first size bytes of r begin. A last line without its newline counts.
func tailOffset(r io.ReaderAt, size int64, n int) (int64, error) {
	if n <= 0 {
		return size, nil
	}
	const block = 32 << 10
	buf := make([]byte, block)
	left := n + 1 // newlines to be found, the last line's own among them
	for end := size; end > 0; {
		start := max(0, end-block)
		b := buf[:end-start]
		if _, err := r.ReadAt(b, start); err != nil && err != io.EOF {
			return 0, err
		}
		if end == size && b[len(b)-1] != '\n' {
			left--
		}
		for i := len(b); ; {
			if i = bytes.LastIndexByte(b[:i], '\n'); i < 0 {
				break
			}
			if left--; left == 0 {
				return start + int64(i) + 1, nil
			}
		}
		end = start
	}
	return 0, nil
}
