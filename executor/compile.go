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
	"runtime/debug"
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
	compileWithin = 30 * time.Second // by the clock, and of processor time
	compileMem    = 1 << 30          // that can be written to
	compileSpace  = 8 << 30          // of addresses, of which the Go runtime reserves a good part without using it
	compileNice   = 10               // tasks that run go first
	compileAtOnce = 2                // in one worker
	refusedFor    = time.Hour        // a module that was too much is not tried again before; the machine may have been busy
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
// not be done again, or that the module was too much and is refused at once.
func Compiler(dir string) func(ctx context.Context, path string, kind engine.Kind) error {
	slots := make(chan struct{}, compileAtOnce)
	return func(ctx context.Context, path string, kind engine.Kind) error {
		m := marks{dir: filepath.Join(cacheDir(dir), doneDir), name: strings.TrimSuffix(filepath.Base(path), ".wasm") + "." + string(kind)}
		if done, err := m.read(); done || err != nil {
			return err
		}
		slots <- struct{}{}
		defer func() { <-slots }()
		err := compileApart(ctx, dir, path, kind, compileMem)
		return errors.Join(err, m.write(err))
	}
}

// marks say what became of a module.
type marks struct{ dir, name string }

// read tells whether the module was compiled; the error is a [*engine.Refusal] when it was found to be too much.
func (m marks) read() (done bool, err error) {
	if _, err := os.Stat(filepath.Join(m.dir, m.name)); err == nil {
		return true, nil
	}
	path := filepath.Join(m.dir, m.name+".refused")
	st, err := os.Stat(path)
	if err != nil || time.Since(st.ModTime()) > refusedFor { //nolint:forbidigo // compared with the file system's clock
		return false, nil
	}
	msg, err := os.ReadFile(path)
	if err != nil {
		return false, nil //nolint:nilerr // it is tried again
	}
	return false, &engine.Refusal{Reason: api.ReasonCompileLimit, Message: string(msg)}
}

// write notes how compiling has ended. Only limits are remembered: to find other faults takes no time.
func (m marks) write(err error) error {
	name, content := m.name, []byte(nil)
	if err != nil {
		r, ok := errors.AsType[*engine.Refusal](err)
		if !ok || r.Reason != api.ReasonCompileLimit {
			return nil
		}
		name, content = m.name+".refused", []byte(r.Message)
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return fmt.Errorf("mark module as compiled: %w", err)
	}
	return os.WriteFile(filepath.Join(m.dir, name), content, 0o600)
}

// compileApart compiles in a process that may have mem bytes of memory.
func compileApart(ctx context.Context, dir, path string, kind engine.Kind, mem int64) error {
	ctx, cancel := context.WithTimeout(ctx, compileWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "executor", "compile",
		"--dir", dir, "--module", path, "--engine", string(kind), "--memory", strconv.FormatInt(mem, 10))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	last := lastLine(stderr.String())
	signal, _ := status(cmd)
	tooLong := &engine.Refusal{
		Reason: api.ReasonCompileLimit, Message: fmt.Sprintf("compiling the module took longer than %s", compileWithin),
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return tooLong
	case strings.Contains(stderr.String(), "out of memory") || strings.Contains(stderr.String(), "cannot allocate memory"):
		return &engine.Refusal{
			Reason: api.ReasonCompileLimit, Message: fmt.Sprintf("compiling the module took more than %s of memory", api.Bytes(mem)),
		}
	case cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == exitTrouble:
		return fmt.Errorf("compile module: %w: %s", err, last)
	case cmd.ProcessState.ExitCode() == exitRefused:
		return &engine.Refusal{Reason: api.ReasonModuleRefused, Message: last}
	case signal == int(unix.SIGXCPU), strings.Contains(stderr.String(), "SIGXCPU"):
		return tooLong
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
	if err := limitSelf(mem); err != nil {
		return fmt.Errorf("compile: %w", err)
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

// limitSelf holds this process to mem bytes of memory that can be written to, 0 is no limit, and to the time that compiling may
// take, and lets others go first.
func limitSelf(mem int64) error {
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, compileNice)             // a courtesy
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0o600) // before any worker, where the container has too little
	if mem <= 0 {
		return nil
	}
	debug.SetMemoryLimit(mem / 4 * 3) // collect before the kernel says no
	for _, l := range []struct {
		what int
		most uint64
	}{
		{unix.RLIMIT_DATA, uint64(mem)},
		{unix.RLIMIT_AS, max(compileSpace, uint64(mem))},
		{unix.RLIMIT_CPU, uint64(compileWithin / time.Second)},
	} {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.what, &now); err != nil {
			return fmt.Errorf("read limit %d: %w", l.what, err)
		}
		now.Max = min(now.Max, l.most+1) // of processor time, the second after SIGXCPU
		now.Cur = min(now.Max, l.most)
		if err := unix.Setrlimit(l.what, &now); err != nil {
			return fmt.Errorf("set limit %d: %w", l.what, err)
		}
	}
	return nil
}
