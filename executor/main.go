package executor

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/saki-run/saki/executor/engine"
	"github.com/saki-run/saki/wasm"
)

// Main is the body of the hidden command "saki executor": args are what follows it. Without a subcommand it is the supervisor,
// with "worker" a worker, with "compile" a throw-away compiler. It blocks until ctx ends or the work is done. build names the
// program for people.
func Main(ctx context.Context, args []string, build string, stderr io.Writer) error {
	sub := "supervisor"
	if len(args) > 0 && (args[0] == "worker" || args[0] == "compile") {
		sub, args = args[0], args[1:]
	}
	fs := flag.NewFlagSet("executor "+sub, flag.ContinueOnError)
	fs.SetOutput(stderr)
	var (
		dir         = fs.String("dir", "", "folder shared with the agent")
		workers     = fs.Int("workers", 2, "worker processes to keep running")
		memory      = fs.Int64("memory", 0, "bytes a worker's runtime keeps within; 0 is no limit")
		name        = fs.String("name", "", "name of the worker")
		incarnation = fs.String("incarnation", "", "of the worker process")
		kind        = fs.String("engine", "", "kind of engine to compile for: compiler or interpreter; by default the one that works")
		module      = fs.String("module", "", "file to compile")
	)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *dir == "" || fs.NArg() > 0 {
		return fmt.Errorf("executor %s: --dir is required, and nothing but flags", sub)
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	switch sub {
	case "worker":
		return Worker(ctx, WorkerConfig{
			Dir: *dir, Name: *name, Incarnation: *incarnation, Build: build, Log: log, MemLimit: *memory,
			Parent: os.Stdin, Engine: engineConfig(*dir), Compile: Compiler(*dir),
		})
	case "compile":
		cfg := engineConfig(*dir)
		cfg.Kind = engine.Kind(*kind)
		return compileFile(ctx, cfg, *module, *memory)
	}
	return Run(ctx, Config{Dir: *dir, Workers: *workers, WorkerMem: *memory, Build: build, Log: log})
}

// engineConfig is the engine of all processes of an executor: what one of them compiles, the others find in the cache.
func engineConfig(dir string) engine.Config {
	return engine.Config{
		CacheDir: cacheDir(dir),
		Rewrite:  func(b []byte) ([]byte, error) { return wasm.Meter(b, wasm.MeterOptions{}) },
	}
}
