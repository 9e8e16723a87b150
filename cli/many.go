package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

// many runs a job of several copies. Each copy's output is shown whole when the copy ends, in the order they end, and each
// line begins with the copy's index: "[3] hello". The exit code is the first, by index, that is not 0.
func (j *job) many(ctx context.Context) error {
	status, err := j.c.Cluster(ctx)
	if err != nil {
		return err
	}
	tasks, err := j.submit(ctx, liveAfter)
	if err != nil {
		return err
	}
	return j.a.waitMany(ctx, j.c, tasks, status.Index, j.stats)
}

// waitMany waits for tasks that were submitted after the log index since, and shows them as they end.
func (a *app) waitMany(ctx context.Context, c *client.Client, tasks []api.Task, since uint64, stats bool) error {
	m := a.meter()
	ended := make([]api.Task, len(tasks))
	place := make(map[api.TaskID]int, len(tasks))
	for i := range tasks {
		place[tasks[i].ID] = i
	}
	var failed error
	last := client.Progress{Total: len(tasks)}
	err := c.WaitAll(ctx, tasks, since, client.Watch{
		Ended: func(t api.Task) {
			ended[place[t.ID]] = t
			if a.output == "text" && failed == nil {
				m.with(func() { failed = a.member(ctx, c, &t, place[t.ID], stats) })
			}
		},
		Changed: func(p client.Progress) {
			last = p
			m.set(progressLine(p))
		},
	})
	m.end()
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	if a.env.StderrTTY || m.shown || last.Failed > 0 || len(tasks) > 1 {
		fmt.Fprintln(a.env.Stderr, progressLine(last))
	}
	if a.output != "text" {
		if err := a.show(ended, nil, func(w io.Writer) { names(w, ended) }); err != nil {
			return err
		}
	}
	for i := range ended {
		if code := exitCode(&ended[i]); code != 0 {
			return &ExitError{code}
		}
	}
	return nil
}

func names(w io.Writer, tasks []api.Task) {
	for i := range tasks {
		fmt.Fprintln(w, tasks[i].ID)
	}
}

func progressLine(p client.Progress) string {
	return fmt.Sprintf("%d/%d done · %d running · %d failed", p.Done, p.Total, p.Running, p.Failed)
}

// member shows one ended copy.
func (a *app) member(ctx context.Context, c *client.Client, t *api.Task, index int, stats bool) error {
	stdout, stderr := &prefixed{w: a.env.Stdout, index: index}, &prefixed{w: a.env.Stderr, index: index}
	if err := a.outputs(ctx, c, t, stdout, stderr); err != nil {
		return err
	}
	stdout.end()
	stderr.end()
	if stats {
		fmt.Fprintln(a.env.Stderr, receipt(t, a.style(a.env.StderrTTY)))
	}
	if t.State != api.Finished && t.Reason != api.ReasonExit {
		fmt.Fprintf(a.env.Stderr, "[%d] ", index)
		a.whyEnded(t)
	}
	return nil
}

// prefixed puts the index before each line.
type prefixed struct {
	w     io.Writer
	index int
	open  bool // in the middle of a line
}

func (p *prefixed) Write(b []byte) (int, error) {
	var out bytes.Buffer
	for line := range bytes.Lines(b) {
		if !p.open {
			fmt.Fprintf(&out, "[%d] ", p.index)
		}
		out.Write(line)
		p.open = line[len(line)-1] != '\n'
	}
	if _, err := p.w.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(b), nil
}

// end closes a line that the task left open, so that the next copy's begins on one of its own.
func (p *prefixed) end() {
	if p.open {
		_, _ = io.WriteString(p.w, "\n")
		p.open = false
	}
}
