package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
	"github.com/saki-run/saki/internal/replay"
)

// ReplayConfig is a wasm task to be run again in this process.
type ReplayConfig struct {
	Task           *api.Task
	Blob           func(context.Context, api.Digest) (io.ReadCloser, error) // its module, stdin and files; not yet verified
	Stdout, Stderr io.Writer                                                // what the guest writes, all of it
}

const replayHelp = `Runs a task that has finished or failed again in this process, with the same module, arguments, variables, stdin, files
and limits, and compares how it ended, what it wrote and its fuel. The cluster is asked for these and runs nothing.
What the guest writes to files goes to a temporary folder. For a task that was not deterministic, clocks and randomness
are real again. Exit code 0: the same; 1: not the same, or it could not be run.`

func (a *app) replayCommand() *cobra.Command {
	var showOutput bool
	cmd := &cobra.Command{
		Use: "replay ID [flags]", Short: "Run an ended wasm task again here, and compare", Args: oneArg("the id of one task"),
		Example: "saki replay last\nsaki replay 7f3k --show-output", Long: replayHelp, ValidArgsFunction: a.completeTasks,
	}
	a.reaches(cmd).Flags().BoolVar(&showOutput, "show-output", false, "let the guest's output through; the verdict then goes to stderr")
	a.formats(cmd, "table", "json", "yaml")
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, ids []string) error {
		if a.env.Daemons.Replay == nil {
			return api.Errorf(api.CodeUnavailable, "this build of saki cannot run wasm").WithHint("use a whole build of saki")
		}
		t, err := c.Task(ctx, ids[0])
		if err != nil {
			return err
		}
		if err := replay.Refuse(t); err != nil {
			return err
		}
		v, err := a.replay(ctx, c, t, showOutput)
		if err != nil {
			return err
		}
		if err := a.verdict(t, v, showOutput); err != nil {
			return err
		}
		if !v.Same {
			return &ExitError{1}
		}
		return nil
	})
	return cmd
}

// replay runs the task again and compares.
func (a *app) replay(ctx context.Context, c *client.Client, t *api.Task, showOutput bool) (*replay.Verdict, error) {
	kept := cmp.Or(t.Spec.MaxOutput, api.DefaultMaxOutput)
	was := replay.Run{Outcome: t.Outcome}
	now := replay.Run{Stdout: replay.NewStream(kept), Stderr: replay.NewStream(kept)}
	var stdout, stderr io.Writer = now.Stdout, now.Stderr
	if showOutput {
		out := a.env.Stdout
		if a.output != "table" {
			out = a.env.Stderr // stdout is the verdict's
		}
		stdout, stderr = io.MultiWriter(stdout, out), io.MultiWriter(stderr, a.env.Stderr)
	}
	o, err := a.env.Daemons.Replay(ctx, ReplayConfig{Task: t, Blob: c.Blob, Stdout: stdout, Stderr: stderr})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	now.Outcome = &o
	o.Receipt.StdoutBytes, o.Receipt.StderrBytes = now.Stdout.Len(), now.Stderr.Len()
	var whole, wholeErr bool
	o.Stdout, whole = now.Stdout.Short()
	o.Stderr, wholeErr = now.Stderr.Short()
	if o.Inline = whole && wholeErr; !o.Inline {
		o.Stdout, o.Stderr = nil, nil
	}
	if was.Stdout, err = a.written(ctx, c, t, "stdout", kept); err != nil {
		return nil, err
	}
	if was.Stderr, err = a.written(ctx, c, t, "stderr", kept); err != nil {
		return nil, err
	}
	v := replay.Compare(t, was, now)
	return &v, nil
}

// written gives what the task wrote to a stream, or nil when it is not to be had any longer.
func (a *app) written(ctx context.Context, c *client.Client, t *api.Task, stream string, kept api.Bytes) (*replay.Stream, error) {
	s := replay.NewStream(kept)
	if o := t.Outcome; o.Inline {
		b := o.Stdout
		if stream == "stderr" {
			b = o.Stderr
		}
		_, err := s.Write(b)
		return s, err
	}
	if t.Outcome.Receipt.Dropped > 0 {
		return nil, nil // what is kept may not be the beginning
	}
	body, err := c.Logs(ctx, string(t.ID), client.LogOptions{Stream: stream})
	if err == nil {
		_, err = io.Copy(s, body)
		body.Close()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		a.notice("the %s of %s cannot be read any longer: %s", stream, t.ID, api.AsError(err).Message)
		return nil, nil
	}
	return s, nil
}

// verdict shows the verdict.
func (a *app) verdict(t *api.Task, v *replay.Verdict, showOutput bool) error {
	if a.output != "table" {
		return a.show(v, nil, nil)
	}
	w, s := a.env.Stdout, a.style(a.env.StdoutTTY)
	if showOutput {
		w, s = a.env.Stderr, a.style(a.env.StderrTTY)
	}
	fuel := replay.Grouped(v.Outcome.Receipt.Fuel)
	switch {
	case v.Same && v.FuelCompared:
		fmt.Fprintf(w, "%s same outcome, same fuel (%s)\n", s.good("✓"), fuel)
	case v.Same:
		fmt.Fprintf(w, "%s same outcome\n", s.good("✓"))
	default:
		fmt.Fprintf(w, "%s %s was not the same again\n", s.bad("✗"), t.ID)
		tbl := newTable(-1, "WHAT", "WAS", "NOW")
		for _, d := range v.Differences {
			tbl.row(d.What, d.Was, d.Now)
		}
		if err := tbl.write(w, s); err != nil {
			return err
		}
	}
	if len(v.NotCompared) > 0 {
		fmt.Fprintf(w, "  not compared: %s\n", strings.Join(v.NotCompared, ", "))
	}
	for _, why := range v.MayDiffer {
		fmt.Fprintf(w, "  %s %s\n", s.warn("may differ:"), why)
	}
	return nil
}
