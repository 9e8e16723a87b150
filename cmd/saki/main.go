// Command saki runs small WebAssembly tasks in executors that are already warm, beside shell and container tasks.
package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/cli"
)

// version is set by the linker: -ldflags "-X main.version=0.1.0".
var version = "dev"

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Process(cli.Daemons{}, about())))
}

func about() api.Version {
	v := api.Version{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return v
}
