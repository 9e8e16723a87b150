// Package cli is the saki command: its subcommands, flags, help, output formats and exit codes. It talks to the cluster
// through package client alone; the daemons are given to it as functions.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

// Env is all that the command sees of the process around it.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	// StdinTTY, StdoutTTY and StderrTTY tell which of the three are terminals.
	StdinTTY, StdoutTTY, StderrTTY bool

	Getenv  func(string) string
	Now     func() time.Time
	Signals <-chan os.Signal // interrupts; the first one asks, the second one leaves at once
	Daemons Daemons
	Version api.Version
}

// Process is the Env of this process: its standard streams, environment, clock and signals.
func Process(d Daemons, v api.Version) Env {
	sig := make(chan os.Signal, 2)
	signal.Notify(sig, os.Interrupt, syscall.SIGTERM)
	return Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		StdinTTY: isTTY(os.Stdin), StdoutTTY: isTTY(os.Stdout), StderrTTY: isTTY(os.Stderr),
		Getenv: os.Getenv, Now: time.Now, Signals: sig, Daemons: d, Version: v,
	}
}

// isTTY reports whether f is a terminal, or at least a character device other than the null device.
func isTTY(f *os.File) bool {
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(st, null)
}

// Main runs one saki command and gives the exit code. args are without the program's name.
func Main(ctx context.Context, args []string, e Env) int {
	if len(args) > 0 {
		if f := e.Daemons.raw(args[0]); f != nil { // before any command is built: these are started often
			return e.raw(ctx, f, args[1:])
		}
	}
	a := &app{env: e}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(e.Stdin)
	root.SetOut(e.Stdout)
	root.SetErr(e.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return a.exit(cmd, err)
}

// raw runs a program that reads its arguments itself.
func (e Env) raw(ctx context.Context, f func(context.Context, []string) error, args []string) int {
	ctx, stop := e.untilSignal(ctx)
	defer stop()
	a := &app{env: e}
	return a.exit(nil, f(ctx, args))
}

// untilSignal gives a context that ends with the first signal. The second one ends the process.
func (e Env) untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-e.Signals:
			cancel(errInterrupted)
		case <-ctx.Done():
			return
		}
		<-e.Signals
		os.Exit(exitInterrupted)
	}()
	return ctx, func() { cancel(nil) }
}

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// exitInterrupted is the exit code after a signal, as shells have it.
const exitInterrupted = 130

// app is one run of the command.
type app struct {
	env    Env
	addr   string
	config string
	output string
	quiet  bool
	client *client.Client
}

// connect gives the client, made at the first use.
func (a *app) connect() (*client.Client, error) {
	if a.client != nil {
		return a.client, nil
	}
	addrs, err := client.ParseAddrs(a.addr)
	if err != nil {
		return nil, err
	}
	a.client, err = client.New(client.Config{Addrs: addrs, UserAgent: "saki/" + a.env.Version.Version})
	return a.client, err
}

// do makes the body of a command that talks to the cluster and stops at the first signal.
func (a *app) do(f func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		ctx, stop := a.env.untilSignal(cmd.Context())
		defer stop()
		return f(ctx, c, args)
	}
}
