package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

func (a *app) runCommand() *cobra.Command {
	f := new(runFlags)
	cmd := &cobra.Command{
		Use: "run MODULE [flags] [-- ARGS...]", Short: "Run a task and wait: its output and exit code are this command's own",
		Example: "saki run hello.wasm -- --name ada\n" +
			"saki run -i --mem 128Mi --timeout 30s resize.wasm < in.png > out.png\n" +
			"saki run --image alpine -- echo hi      saki run --shell 'echo hi | wc -c'\n" +
			"saki run --count 100 --stats fib:1.2 -- 30",
		Long:        runHelp,
		Annotations: map[string]string{asTask: "yes", ownFlagHelp: "yes"},
	}
	f.define(a.reaches(cmd))
	a.formats(cmd, "text", "json", "yaml")
	cmd.ValidArgsFunction = a.completeModules
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.countGiven, f.shellGiven = cmd.Flags().Changed("count"), cmd.Flags().Changed("shell")
		f.dashed = cmd.ArgsLenAtDash() == 0
		return a.run(cmd.Context(), f, args)
	}
	return cmd
}

// liveAfter is how long a task may take before its output is shown while it runs. Shorter ones need one request alone.
const liveAfter = 300 * time.Millisecond

func (a *app) run(ctx context.Context, f *runFlags, args []string) error {
	spec, err := f.spec(args, a.env.Getenv)
	if err != nil {
		return err
	}
	st := &staging{a: a}
	given := ""
	if spec.Wasm != nil {
		given = spec.Wasm.Module
		if spec.Wasm.Module, err = st.module(given, "."); err != nil {
			return err
		}
	}
	for _, entry := range f.files {
		file, err := st.file(entry, ".")
		if err != nil {
			return err
		}
		spec.Files = append(spec.Files, file)
	}
	full := spec.WithDefaults()
	if err := full.Check(); err != nil {
		return err
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	j := &job{a: a, c: c, spec: spec, key: f.key, stats: f.stats}
	if j.key == "" {
		j.key = client.NewKey()
	}
	ctx, stop := j.untilKilled(ctx)
	defer stop()
	if err := st.upload(ctx, c); err != nil {
		return err
	}
	if f.stdin {
		if err := a.stdin(ctx, c, spec); err != nil {
			return err
		}
	}
	err = j.run(ctx, f.detach)
	return notFoundHere(err, given, len(st.modules) > 0)
}

// notFoundHere adds to the cluster's answer that there is no such file either.
func notFoundHere(err error, given string, wasFile bool) error {
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Code != api.CodeModuleNotFound || wasFile || given == "" || strings.HasPrefix(given, "sha256:") {
		return err
	}
	return api.Errorf(e.Code, "there is neither a file %s here nor a module %s in the cluster", api.Quote(given), api.Quote(given)).
		WithHint("push it with 'saki module push FILE %s', or see saki module ls", given)
}

// job is one submit and its end.
type job struct {
	a     *app
	c     *client.Client
	spec  *api.Spec
	key   string
	stats bool

	mu    sync.Mutex // guards tasks
	tasks []api.Task // as submitted; nil before
}

// untilKilled gives the context of a run. The first signal asks for the end of the tasks, the second one leaves at once.
func (j *job) untilKilled(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-j.a.env.Signals:
		case <-ctx.Done():
			return
		}
		go j.kill(ctx, cancel)
		select {
		case <-j.a.env.Signals:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// kill asks for the end of all tasks of the job. Before they are known it gives the submit a moment.
func (j *job) kill(ctx context.Context, cancel context.CancelCauseFunc) {
	for range 20 {
		if j.submitted() != nil {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
	tasks := j.submitted()
	if tasks == nil {
		cancel(errInterrupted)
		return
	}
	j.a.notice("\nkilling %s; press Ctrl-C again to leave at once", plural(len(tasks), "task"))
	var wg sync.WaitGroup
	next := make(chan api.TaskID)
	for range min(8, len(tasks)) {
		wg.Go(func() {
			for id := range next {
				if _, err := j.c.Kill(ctx, string(id), false); err != nil && ctx.Err() == nil {
					j.a.showError(err)
				}
			}
		})
	}
	for i := range tasks {
		if !tasks[i].State.Terminal() {
			next <- tasks[i].ID
		}
	}
	close(next)
	wg.Wait()
}

func (j *job) submitted() []api.Task {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tasks
}

func (j *job) submit(ctx context.Context, wait time.Duration) ([]api.Task, error) {
	tasks, err := j.c.Submit(ctx, j.spec, client.SubmitOptions{Key: j.key, Wait: wait})
	j.mu.Lock()
	j.tasks = tasks
	j.mu.Unlock()
	return tasks, err
}

func (j *job) run(ctx context.Context, detach bool) error {
	switch {
	case detach:
		tasks, err := j.submit(ctx, 0)
		if err != nil {
			return err
		}
		if len(tasks) == 1 && j.a.output != "text" {
			return j.a.show(tasks[0], nil, nil)
		}
		return j.a.detached(tasks)
	case j.spec.Count > 1:
		return j.many(ctx)
	}
	tasks, err := j.submit(ctx, liveAfter)
	if err != nil {
		return err
	}
	t := &tasks[0]
	if j.a.output != "text" {
		if !t.State.Terminal() {
			if t, err = j.c.Wait(ctx, string(t.ID)); err != nil {
				return err
			}
		}
		if err := j.a.show(t, nil, nil); err != nil {
			return err
		}
		return j.a.ended(t, j.stats)
	}
	if t.State.Terminal() {
		err = j.a.outputs(ctx, j.c, t, j.a.env.Stdout, j.a.env.Stderr)
	} else {
		t, err = j.live(ctx, t)
	}
	if err != nil {
		return err
	}
	return j.a.ended(t, j.stats)
}

// detached prints the ids alone on stdout.
func (a *app) detached(tasks []api.Task) error {
	if a.output != "text" && a.output != "name" {
		return a.show(tasks, nil, nil)
	}
	for i := range tasks {
		fmt.Fprintln(a.env.Stdout, tasks[i].ID)
	}
	if id := tasks[0].ID; !a.quiet && a.output == "text" {
		a.notice("  follow: saki logs -f %s · end it: saki kill %s", id, id)
	}
	return nil
}

// outputs writes what an ended task has written: from its outcome when it is all there, else from its log.
func (a *app) outputs(ctx context.Context, c *client.Client, t *api.Task, stdout, stderr io.Writer) error {
	o := t.Outcome
	if o == nil {
		return nil
	}
	if o.Inline {
		if _, err := stdout.Write(o.Stdout); err != nil {
			return err
		}
		_, err := stderr.Write(o.Stderr)
		return err
	}
	for name, w := range map[string]io.Writer{"stdout": stdout, "stderr": stderr} {
		if wroteNothing(o, name) {
			continue
		}
		body, err := c.Logs(ctx, string(t.ID), client.LogOptions{Stream: name, Attempt: t.Attempt})
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			a.showError(fmt.Errorf("%s of %s: %w", name, t.ID, err))
			continue
		}
		_, err = io.Copy(w, body)
		body.Close()
		if err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return nil
}

// wroteNothing reports whether the receipt says that a stream is empty, so that a missing log is no loss.
func wroteNothing(o *api.Outcome, stream string) bool {
	if stream == "stderr" {
		return o.Receipt.StderrBytes == 0 && o.Receipt.StdoutBytes > 0
	}
	return o.Receipt.StdoutBytes == 0 && o.Receipt.StderrBytes > 0
}

// live shows the output of a task while it runs, until it has ended.
func (j *job) live(ctx context.Context, t *api.Task) (*api.Task, error) {
	follow, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	written := [2]counter{{w: j.a.env.Stdout}, {w: j.a.env.Stderr}}
	var errs [2]error
	for i, name := range []string{"stdout", "stderr"} {
		wg.Go(func() { errs[i] = j.c.FollowLogs(follow, string(t.ID), client.LogOptions{Stream: name}, &written[i]) })
	}
	end, err := j.c.Wait(ctx, string(t.ID))
	if err != nil {
		stop()
		wg.Wait()
		return nil, err
	}
	late := time.AfterFunc(10*time.Second, stop) // the rest of the log may be out of reach
	wg.Wait()
	late.Stop()
	for i, name := range []string{"stdout", "stderr"} {
		if errs[i] == nil || ctx.Err() != nil || end.Outcome != nil && wroteNothing(end.Outcome, name) {
			continue
		}
		if o := end.Outcome; o != nil && o.Inline && end.Attempt == 1 { // nothing is lost: it came with the outcome
			rest := [2][]byte{o.Stdout, o.Stderr}[i]
			_, _ = written[i].w.Write(rest[min(int(written[i].n), len(rest)):])
			continue
		}
		j.a.showError(fmt.Errorf("%s of %s: %w", name, t.ID, errs[i]))
	}
	return end, ctx.Err()
}

// counter counts what goes through.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
