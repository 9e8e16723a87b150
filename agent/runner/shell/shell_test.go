//go:build linux

package shell_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/runner/runnertest"
	"github.com/saki-run/saki/agent/runner/shell"
	"github.com/saki-run/saki/api"
)

// TestMain is the shim when the runner asks for one, and an agent when a test does.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "shim":
		err = shell.Shim(context.Background())
	case len(os.Args) > 2 && os.Args[1] == "agent":
		err = playAgent(os.Args[2])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// shimCommand is this program as the shim. With the race detector it would wait a second before each exit.
var shimCommand = func() []string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", exe, "shim"}
}()

var names atomic.Int64

// harness gives a new agent name to each test, and the same to what runs in it.
func harness(cfg shell.Config) runnertest.Harness {
	byTest := map[string]string{}
	return runnertest.Harness{
		New: func(t *testing.T) runner.Runner {
			c := cfg
			c.Shim = shimCommand
			if byTest[t.Name()] == "" {
				byTest[t.Name()] = fmt.Sprintf("test-%d-%d", os.Getpid(), names.Add(1))
			}
			c.Name = byTest[t.Name()]
			r, err := shell.New(c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := r.Close(context.Background(), false); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			return r
		},
		Task: func(b runnertest.Behaviour) *api.Spec {
			script := func(s string) *api.Spec { return &api.Spec{Shell: &api.ShellSpec{Script: s}} }
			switch b := b.(type) {
			case runnertest.Exit:
				return script(fmt.Sprintf("exit %d", b.Code))
			case runnertest.Print:
				return script(fmt.Sprintf("printf '%s'; printf '%s' >&2", b.Stdout, b.Stderr))
			case runnertest.CatStdin:
				return &api.Spec{Shell: &api.ShellSpec{Argv: []string{"cat"}}}
			case runnertest.PrintEnv:
				return script("env")
			case runnertest.Sleep:
				return script("echo ready; exec sleep 3600")
			case runnertest.IgnoreTerm:
				return script("trap '' TERM; echo ready; sleep 3600")
			case runnertest.ExitOnTerm:
				return script("trap 'exit 0' TERM; echo ready; sleep 3600 & wait")
			case runnertest.Gate:
				return script(fmt.Sprintf("echo ready; until test -e %s; do sleep 0.02; done; exit %d", b.Path, b.Code))
			case runnertest.ReadFile:
				return script("cat " + b.Path)
			case runnertest.BigOutput:
				return script(fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x", b.N))
			case runnertest.NotFound:
				return &api.Spec{Shell: &api.ShellSpec{Argv: []string{"no-such-command"}}}
			case runnertest.UseMemory:
				if cfg.NoLimits {
					return nil
				}
				return script("x=a; while :; do x=$x$x; done")
			}
			return nil
		},
	}
}

func TestConformance(t *testing.T) { runnertest.Run(t, harness(shell.Config{})) }

func TestConformanceWithoutControlGroups(t *testing.T) {
	runnertest.Run(t, harness(shell.Config{NoLimits: true, Idle: -1}))
}
