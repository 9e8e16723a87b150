package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
	"github.com/saki-run/saki/master/core"
)

func shellRunner(f *Fake) map[api.Kind]runner.Runner { return map[api.Kind]runner.Runner{api.Shell: f} }

func exit(code int) *api.Spec {
	return &api.Spec{Shell: &api.ShellSpec{Script: fmt.Sprint("exit ", code)}, Resources: api.Request{CPUs: 10, Mem: api.MiB}}
}

func connect(t *testing.T, c *Cluster) *client.Client {
	t.Helper()
	cl, err := client.New(client.Config{Addrs: c.URLs()})
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func (c *Cluster) untilState(cl *client.Client, id api.TaskID, want api.State) *api.Task {
	c.t.Helper()
	var task *api.Task
	c.Until(fmt.Sprintf("task %s is %s", id, want), func() bool {
		var err error
		task, err = cl.Task(c.t.Context(), string(id))
		return err == nil && task.State == want
	})
	return task
}

func submit(t *testing.T, cl *client.Client, spec *api.Spec) *api.Task {
	t.Helper()
	tasks, err := cl.Submit(t.Context(), spec, client.SubmitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &tasks[0]
}

func TestATaskRunsAndItsOutcomeIsKept(t *testing.T) {
	c := Start(t, Config{})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	cl := connect(t, c)
	for code, want := range map[int]api.State{0: api.Finished, 3: api.Failed} {
		got, err := cl.Run(t.Context(), exit(code))
		if err != nil {
			t.Fatal(err)
		}
		if got.State != want || got.Outcome.ExitCode != code || got.NodeName != "a1" {
			t.Errorf("exit %d: got %s, code %d on %s", code, got.State, got.Outcome.ExitCode, got.NodeName)
		}
	}
}

func TestATaskWaitsForANodeAndThenRuns(t *testing.T) {
	c := Start(t, Config{})
	cl := connect(t, c)
	c.Leader()
	task := submit(t, cl, exit(0))
	if task.State != api.Pending {
		t.Fatalf("without an agent the task is %s", task.State)
	}
	x, err := cl.Explain(t.Context(), string(task.ID))
	if err != nil || x.Summary == "" || x.Hint == "" {
		t.Errorf("explain: %+v, %v", x, err)
	}
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	c.untilState(cl, task.ID, api.Finished)
}

func TestKillEndsATaskThatRuns(t *testing.T) {
	c := Start(t, Config{})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	cl := connect(t, c)
	spec := Sleep()
	task := submit(t, cl, &spec)
	c.untilState(cl, task.ID, api.Running)
	if _, err := cl.Kill(t.Context(), string(task.ID), false); err != nil {
		t.Fatal(err)
	}
	got, err := cl.Wait(t.Context(), string(task.ID))
	if err != nil || got.State != api.Killed || got.Reason != api.ReasonUserKill || got.Outcome.ExitCode != 143 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTasksLiveOverTheAgentsRestart(t *testing.T) {
	c := Start(t, Config{})
	f := NewFake()
	a := c.AddAgent("a1", "", shellRunner(f), nil)
	cl := connect(t, c)
	spec := Sleep()
	task := submit(t, cl, &spec)
	c.untilState(cl, task.ID, api.Running)
	c.StopAgent(a)
	f.Release() // it ends while no agent looks
	c.AddAgent("a1", a.Home, shellRunner(f), nil)
	f2 := submit(t, cl, exit(0))
	c.untilState(cl, f2.ID, api.Finished)
	f.Release()
	got := c.untilState(cl, task.ID, api.Finished)
	if got.Attempt != 1 || f.Starts(task.ID) != 1 {
		t.Errorf("attempt %d, started %d times; want the first attempt to have gone on", got.Attempt, f.Starts(task.ID))
	}
	nodes, err := cl.Nodes(t.Context())
	if err != nil || len(nodes) != 1 {
		t.Errorf("nodes after the restart: %v, %v", nodes, err)
	}
}

func TestALostAgentsTasksRunElsewhereAndItsOldAttemptChangesNothing(t *testing.T) {
	c := Start(t, Config{NodeGrace: 200 * time.Millisecond})
	f1, f2 := NewFake(), NewFake()
	a1 := c.AddAgent("a1", "", shellRunner(f1), nil)
	cl := connect(t, c)
	spec := Sleep()
	task := submit(t, cl, &spec)
	c.untilState(cl, task.ID, api.Running)
	c.StopAgent(a1)
	c.AddAgent("a2", "", shellRunner(f2), nil)
	c.Until("the task runs on a2", func() bool { return f2.Starts(task.ID) == 1 })
	c.AddAgent("a1", a1.Home, shellRunner(f1), nil) // returns with attempt 1, which it is told to stop
	c.Until("a1 is back", func() bool {
		n, err := cl.Node(t.Context(), "a1")
		return err == nil && n.State == api.NodeReady
	})
	f2.Release()
	got := c.untilState(cl, task.ID, api.Finished)
	if got.Attempt != 2 || got.NodeName != "a2" || len(got.History) != 1 || got.History[0].Reason != api.ReasonNodeLost {
		t.Errorf("got attempt %d on %s with %+v", got.Attempt, got.NodeName, got.History)
	}
}

func TestNothingIsLostWhenTheLeaderDies(t *testing.T) {
	c := Start(t, Config{Masters: 3})
	for _, n := range []string{"a1", "a2"} {
		c.AddAgent(n, "", shellRunner(NewFake()), nil)
	}
	c.Leader()
	cl := connect(t, c)
	const workers, each = 8, 40
	var mu sync.Mutex
	ids := map[api.TaskID]bool{}
	var wg sync.WaitGroup
	killed := make(chan struct{})
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if i == each/4 && w == 0 {
					c.Stop(c.Leader())
					close(killed)
				}
				tasks, err := cl.Submit(t.Context(), exit(0), client.SubmitOptions{Key: fmt.Sprintf("k-%d-%d", w, i)})
				if err != nil {
					t.Errorf("submit: %v", err)
					return
				}
				mu.Lock()
				ids[tasks[0].ID] = true
				mu.Unlock()
				if i == each/2 {
					<-killed
				}
			}
		})
	}
	wg.Wait()
	if len(ids) != workers*each {
		t.Errorf("%d keys gave %d tasks", workers*each, len(ids))
	}
	for id := range ids {
		c.untilState(cl, id, api.Finished)
	}
}

func TestAMasterThatWasDownCatchesUp(t *testing.T) {
	c := Start(t, Config{Masters: 3})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	down := c.Leader()
	c.Stop(down)
	cl := connect(t, c)
	var last *api.Task
	for range 20 {
		last, _ = cl.Run(t.Context(), exit(0))
	}
	c.Restart(down)
	c.Until("the restarted master has the last task", func() bool {
		x := down.View().Task(last.ID)
		return x != nil && x.State == api.Finished
	})
}

func TestASubmitWithTheSameKeyIsTheSameTask(t *testing.T) {
	c := Start(t, Config{})
	f := NewFake()
	c.AddAgent("a1", "", shellRunner(f), nil)
	cl := connect(t, c)
	o := client.SubmitOptions{Key: "once"}
	first, err := cl.Submit(t.Context(), exit(0), o)
	if err != nil {
		t.Fatal(err)
	}
	again, err := cl.Submit(t.Context(), exit(0), o)
	if err != nil || again[0].ID != first[0].ID {
		t.Errorf("again: %v, %v", again, err)
	}
	if _, err := cl.Submit(t.Context(), exit(1), o); !errors.Is(err, &api.Error{Code: api.CodeConflict}) {
		t.Errorf("another task under the same key: %v", err)
	}
	c.untilState(cl, first[0].ID, api.Finished)
	if f.Starts(first[0].ID) != 1 {
		t.Errorf("started %d times", f.Starts(first[0].ID))
	}
}

func TestAnArrayRunsEveryMember(t *testing.T) {
	c := Start(t, Config{})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	cl := connect(t, c)
	spec := exit(0)
	spec.Count = 1000
	tasks, err := cl.Submit(t.Context(), spec, client.SubmitOptions{})
	if err != nil || len(tasks) != 1000 {
		t.Fatalf("%d tasks, %v", len(tasks), err)
	}
	for _, x := range tasks {
		if got, err := cl.Wait(t.Context(), string(x.ID)); err != nil || got.State != api.Finished {
			t.Fatalf("%s: %v, %v", x.ID, got, err)
		}
	}
}

func TestEndedTasksAreForgotten(t *testing.T) {
	c := Start(t, Config{Keeping: core.Keeping{Tasks: 10, For: time.Hour}})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	cl := connect(t, c)
	for range 30 {
		if _, err := cl.Run(t.Context(), exit(0)); err != nil {
			t.Fatal(err)
		}
	}
	c.Until("twenty are forgotten", func() bool { return c.Leader().View().Count(api.Finished) == 10 })
}

func TestALostAttemptIsTriedAgainUntilTheTaskIsLost(t *testing.T) {
	c := Start(t, Config{})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	cl := connect(t, c)
	got, err := cl.Run(t.Context(), &api.Spec{Shell: &api.ShellSpec{Script: "lose"}})
	if err != nil || got.State != api.Lost || got.Attempt != api.MaxLosses+1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTheOutputOfEarlierAttemptsIsKept(t *testing.T) {
	c := Start(t, Config{})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	cl := connect(t, c)
	spec := exit(3)
	spec.Retries, spec.Backoff = 2, api.Duration(10*time.Millisecond)
	task := submit(t, cl, spec)
	got := c.untilState(cl, task.ID, api.Failed)
	if got.Attempt != 3 {
		t.Fatalf("it took %d attempts", got.Attempt)
	}
	for n := range uint32(3) {
		body, err := cl.Logs(t.Context(), string(task.ID), client.LogOptions{Stream: "stderr", Attempt: n + 1})
		if err != nil {
			t.Errorf("attempt %d: %v", n+1, err)
			continue
		}
		b, err := io.ReadAll(body)
		if want := fmt.Sprintf("error of %s.%d\n", task.ID, n+1); err != nil || string(b) != want {
			t.Errorf("attempt %d: got %q, %v", n+1, b, err)
		}
		body.Close()
	}
}

func TestLogsOfAShortTaskComeFromTheMasters(t *testing.T) {
	c := Start(t, Config{})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	cl := connect(t, c)
	task, err := cl.Run(t.Context(), exit(0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var out writer
	if err := cl.FollowLogs(ctx, string(task.ID), client.LogOptions{Stream: "stdout"}, &out); err != nil {
		t.Fatal(err)
	}
	if want := "out of " + string(task.ID); string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestLogsWithAnAbsurdRangeAreRefused(t *testing.T) {
	c := Start(t, Config{})
	c.AddAgent("a1", "", shellRunner(NewFake()), nil)
	task, err := connect(t, c).Run(t.Context(), exit(0))
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"offset=-5", "offset=x", "tail=-1", "tail=x", "tail=99999999999999999999"} {
		status, body := call(t, "GET", c.URLs()[0]+"/v1/tasks/"+string(task.ID)+"/logs?"+query, nil)
		if got := codeOf(t, body); status != 400 || got != api.CodeInvalidArgument {
			t.Errorf("%s: got %d %s", query, status, got)
		}
	}
}

type writer []byte

func (w *writer) Write(b []byte) (int, error) {
	*w = append(*w, b...)
	return len(b), nil
}
