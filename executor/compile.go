package executor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/engine"
	"github.com/saki-run/saki/executor/protocol"
	"github.com/saki-run/saki/wasm"
)

// Limits of the process that compiles a module for the first time. A Go program of 5 MB takes 2 s and 300 MB.
const (
	compileWithin = 60 * time.Second
	compileMem    = 8 << 30 // address space, of which the Go runtime reserves a good part without using it
)

// How the compiling process says that the module is at fault, with the reason as its last line, and that something else is.
const (
	exitRefused = 3
	exitTrouble = 1
)

// doneDir holds the marks of modules that were compiled. It has another name when the native code of old is of no use.
var doneDir = fmt.Sprintf("done-%s-meter%d", engine.Version, wasm.MeterVersion)

func cacheDir(dir string) string { return filepath.Join(dir, protocol.Cache) }

// Compiler gives a [WorkerConfig.Compile] that compiles in a process of its own, with limits on time and memory: compilers have
// died of 15-byte modules. What comes out is left in the cache of the executor in dir, and a mark beside it says that it need
// not be done again.
func Compiler(dir string) func(ctx context.Context, path string) error {
	return func(ctx context.Context, path string) error {
		mark := filepath.Join(cacheDir(dir), doneDir, strings.TrimSuffix(filepath.Base(path), ".wasm"))
		if _, err := os.Stat(mark); err == nil {
			return nil
		}
		if err := compileApart(ctx, dir, path, compileMem); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(mark), 0o700); err != nil {
			return fmt.Errorf("mark module as compiled: %w", err)
		}
		return os.WriteFile(mark, nil, 0o600)
	}
}

// compileApart compiles in a process that may have mem bytes of address space.
func compileApart(ctx context.Context, dir, path string, mem int64) error {
	ctx, cancel := context.WithTimeout(ctx, compileWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "executor", "compile",
		"--dir", dir, "--module", path, "--memory", strconv.FormatInt(mem, 10))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	last := lastLine(stderr.String())
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &engine.Refusal{Reason: api.ReasonCompileLimit, Message: fmt.Sprintf("compiling the module took longer than %s", compileWithin)}
	case cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == exitTrouble:
		return fmt.Errorf("compile module: %w: %s", err, last)
	case cmd.ProcessState.ExitCode() == exitRefused:
		return &engine.Refusal{Reason: api.ReasonModuleRefused, Message: last}
	case strings.Contains(stderr.String(), "out of memory") || strings.Contains(stderr.String(), "cannot allocate memory"):
		return &engine.Refusal{Reason: api.ReasonCompileLimit, Message: "compiling the module took too much memory"}
	}
	return &engine.Refusal{
		Reason:  api.ReasonCompileLimit,
		Message: fmt.Sprintf("the compiler died on the module (%v): %s", err, firstLine(stderr.String())),
	}
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// compileFile is the body of the process that compiles: it leaves the native code in the cache. It does not return when the
// module is refused.
func compileFile(ctx context.Context, cfg engine.Config, path string, mem int64) error {
	if mem > 0 {
		lim := unix.Rlimit{Cur: uint64(mem), Max: uint64(mem)}
		if err := unix.Setrlimit(unix.RLIMIT_AS, &lim); err != nil {
			return fmt.Errorf("compile: limit memory: %w", err)
		}
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	eng, err := engine.New(ctx, cfg)
	if err != nil {
		return err
	}
	err = eng.Load(ctx, api.DigestOf(sha256.Sum256(wasm)), wasm)
	if r, ok := errors.AsType[*engine.Refusal](err); ok {
		fmt.Fprintln(os.Stderr, strings.ReplaceAll(r.Message, "\n", " "))
		os.Exit(exitRefused)
	}
	return err
}
