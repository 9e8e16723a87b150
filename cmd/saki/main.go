// Command saki runs small WebAssembly tasks in executors that are already warm, beside shell and container tasks.
package main

import (
	"context"
	"os"

	"github.com/saki-run/saki/cli"
	"github.com/saki-run/saki/internal/daemon"
	"github.com/saki-run/saki/internal/version"
)

func main() {
	v := version.Get()
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Process(daemon.All(v), v)))
}
