package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/bench"
	"github.com/saki-run/saki/client"
)

func (a *app) benchCommand() *cobra.Command {
	cfg := bench.Config{}
	var module, out string
	cmd := &cobra.Command{
		Use: "bench [flags]", Short: "Measure the warm executor beside container, process and shell starts", Args: noArgs,
		Example: "saki bench\nsaki bench -d 10s -c 8 --paths run,shell\nsaki bench -o html --out bench.html",
		Long:    "Each path runs the smallest task there is in a closed loop, after a warm-up. The paths: " + strings.Join(bench.Paths(), ", ") + ".",
	}
	f := a.reaches(cmd).Flags()
	f.DurationVarP(&cfg.Duration, "duration", "d", 0, "how long to measure each path (default 5s, or until -n)")
	f.IntVarP(&cfg.N, "number", "n", 0, "tasks of each path (default: as many as fit into -d)")
	f.IntVarP(&cfg.Concurrency, "concurrency", "c", 1, "tasks at a time")
	f.StringSliceVar(&cfg.Paths, "paths", nil, "`paths` to measure, with commas (default: all that are possible)")
	f.DurationVar(&cfg.Warmup, "warmup", 300*time.Millisecond, "how long to run each path before")
	f.StringVar(&cfg.Image, "image", "", "container `image` that has the command true (default: the executor's)")
	f.StringVar(&module, "module", "", "wasm `file` to run (default: one that does nothing)")
	f.StringVar(&out, "out", "", "`file` for the report instead of stdout")
	a.formats(cmd, "table", "json", "html")
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, _ []string) error {
		if err := a.benchConfig(&cfg, module); err != nil {
			return err
		}
		cfg.Client = c
		m := a.meter()
		cfg.Notice = func(s string) { m.with(func() { a.notice("%s", s) }) }
		cfg.Progress = func(path string, done, errs int) {
			m.set(fmt.Sprintf("measuring %s  %d done · %d failed", path, done, errs))
		}
		results, err := bench.Run(ctx, cfg)
		m.end()
		if err != nil {
			return err
		}
		return a.benchReport(out, &bench.Report{
			Results: results, Command: commandLine(cmd), Date: a.env.Now(), Machine: bench.ThisMachine(), Version: a.env.Version.Version,
		})
	})
	return cmd
}

// benchConfig checks the flags and fills in what they leave open.
func (a *app) benchConfig(cfg *bench.Config, module string) error {
	if err := bench.CheckPaths(cfg.Paths); err != nil {
		return usageError{api.AsError(err)}
	}
	if cfg.Concurrency < 1 || cfg.Concurrency > 10_000 || cfg.N < 0 || cfg.Duration < 0 || cfg.Warmup < 0 {
		return usage("--concurrency must be from 1 to 10000, and the other amounts not negative").hint("see saki bench -h")
	}
	if cfg.Duration == 0 && cfg.N == 0 {
		cfg.Duration = 5 * time.Second
	}
	cfg.Now = a.env.Now
	if module != "" {
		m, err := readModule(module)
		if err != nil {
			return err
		}
		cfg.Module = m.wasm
	}
	if a.env.Daemons.WasmOnce != nil {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		cfg.Exe = exe
	}
	return nil
}

func (a *app) benchReport(out string, r *bench.Report) error {
	w := a.env.Stdout
	if out != "" {
		f, err := os.Create(out)
		if err != nil {
			return createError(out, err)
		}
		defer f.Close()
		w = f
	}
	var err error
	switch a.output {
	case "json":
		err = r.JSON(w)
	case "html":
		err = r.HTML(w)
	default:
		err = r.Table(w)
	}
	if err == nil && out != "" {
		a.notice("wrote %s", out)
	}
	return err
}

func createError(path string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return api.Errorf(api.CodeInvalidArgument, "cannot write %s: %v", api.Quote(path), err).WithHint("name a file in a folder that exists")
}

// commandLine is the command with the flags that were given, as a reader could repeat it.
func commandLine(cmd *cobra.Command) string {
	parts := []string{cmd.CommandPath()}
	for _, name := range []string{"duration", "number", "concurrency", "paths", "warmup", "image", "module"} {
		if f := cmd.Flags().Lookup(name); f.Changed {
			parts = append(parts, "--"+name, strings.Trim(f.Value.String(), "[]"))
		}
	}
	return strings.Join(parts, " ") + fmt.Sprintf("   # GOMAXPROCS %d", runtime.GOMAXPROCS(0))
}
