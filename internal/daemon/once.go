package daemon

import (
	"context"
	"crypto/sha256"
	"os"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/cli"
	"github.com/saki-run/saki/executor/engine"
)

// WasmOnce runs the module in the file args[0] in this process, from compiling to its end: what a task costs where nothing is
// warm. saki bench starts it as a process of its own.
func WasmOnce(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return api.Errorf(api.CodeInvalidArgument, "wasm-once wants a file")
	}
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	e, err := engine.New(ctx, engine.Config{})
	if err != nil {
		return err
	}
	defer func() { _ = e.Close(ctx) }() // the process ends here anyway
	d := api.DigestOf(sha256.Sum256(b))
	if err := e.Load(ctx, d, b); err != nil {
		return err
	}
	o, err := e.Run(ctx, engine.Invocation{Digest: d, Name: args[0], Args: args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	if err != nil {
		return err
	}
	if o.ExitCode != 0 {
		return &cli.ExitError{Code: o.ExitCode}
	}
	return nil
}
