package daemon

import (
	"context"
	"os"

	"github.com/saki-run/saki/agent/runner/shell"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/cli"
	"github.com/saki-run/saki/executor"
)

// All gives the command line every program that it starts.
func All(v api.Version) cli.Daemons {
	return cli.Daemons{
		Dev:    Dev(v),
		Master: Master(v),
		Agent:  Agent(v),
		Executor: func(ctx context.Context, args []string) error {
			return executor.Main(ctx, args, v.Version, os.Stderr)
		},
		Shim:     func(ctx context.Context, _ []string) error { return shell.Shim(ctx) },
		WasmOnce: WasmOnce,
		Replay:   Replay,
	}
}
