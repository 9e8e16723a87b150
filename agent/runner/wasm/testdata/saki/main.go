// Command saki is all of saki that an executor's container needs. Tests build it as a static program.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/saki-run/saki/executor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := executor.Main(ctx, os.Args[2:], "test", os.Stderr); err != nil { // os.Args[1] is "executor"
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
