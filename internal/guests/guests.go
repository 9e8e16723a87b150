// Package guests holds the small example and test guests as compiled wasm, so that the program and its tests
// always have something to run. Their sources, and guests too big to be kept here, are in wasm-tasks/.
//
// The binaries live here because wasm-tasks is a Go module of its own, and a go:embed pattern may not reach
// into another module. wasm-tasks/build.sh --commit refreshes them.
package guests

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed *.wasm
var files embed.FS

// ErrUnknown is wrapped by the error of Module when no guest has the name.
var ErrUnknown = errors.New("no such guest")

// Module returns the wasm binary of the guest called name, such as "hello", without an extension. The caller
// owns the bytes. It is safe for concurrent use.
func Module(name string) ([]byte, error) {
	wasm, err := files.ReadFile(name + ".wasm")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("guest %q: %w; there are %s", name, ErrUnknown, strings.Join(Names(), ", "))
	case err != nil:
		return nil, fmt.Errorf("guest %q: %w", name, err)
	}
	return wasm, nil
}

// Names returns the names of all guests held here, sorted. It is safe for concurrent use.
func Names() []string {
	paths, err := fs.Glob(files, "*.wasm")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for i, p := range paths {
		paths[i] = strings.TrimSuffix(path.Base(p), ".wasm")
	}
	return paths
}
