package client

import (
	"bytes"
	"io"
	"os"
)

// Content is a body that can be sent more than once.
type Content struct {
	// Open gives the content from its start. It is called once for each try.
	Open func() (io.ReadCloser, error)

	// Size is the length in bytes, or -1 when it is not known.
	Size int64

	// Type is the media type. Default: application/octet-stream.
	Type string

	once bool
}

// Bytes is content in memory. It must not be changed while it is being sent.
func Bytes(b []byte) Content {
	return Content{
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
		Size: int64(len(b)), Type: "application/octet-stream",
	}
}

// File is the content of a file, read anew for each try. The file must not change meanwhile.
func File(path string) (Content, error) {
	st, err := os.Stat(path)
	if err != nil {
		return Content{}, err
	}
	return Content{
		Open: func() (io.ReadCloser, error) { return os.Open(path) },
		Size: st.Size(), Type: "application/octet-stream",
	}, nil
}

// Stream is content that can be read only once, such as a pipe; sending it is not retried.
func Stream(r io.Reader) Content {
	return Content{
		Open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil },
		Size: -1, Type: "application/octet-stream", once: true,
	}
}
