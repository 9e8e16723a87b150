package client_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
	"github.com/saki-run/saki/client/clienttest"
)

// fake is a cluster that runs every task at once and well.
func fake() *httptest.Server {
	return httptest.NewServer(&clienttest.Master{
		Submit: func(specs []api.Spec, _ string, _ time.Duration) ([]api.Task, error) {
			var out []api.Task
			for i := range max(1, specs[0].Count) {
				out = append(out, api.Task{
					ID: api.TaskID("7f3k9q8v2m1c").Member(i), Index: i, Spec: &specs[0], State: api.Finished, Attempt: 1,
					Outcome: &api.Outcome{State: api.Finished, Inline: true, Stdout: fmt.Appendf(nil, "hello %d\n", i)},
				})
			}
			return out, nil
		},
	})
}

func ExampleClient_Run() {
	cluster := fake() // stands for a real one
	defer cluster.Close()

	c, err := client.New(client.Config{Addrs: []string{cluster.URL}})
	if err != nil {
		fmt.Println(err)
		return
	}
	task, err := c.Run(context.Background(), &api.Spec{Wasm: &api.WasmSpec{Module: "hello:1.2"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s, exit code %d: %s", task.State, task.Outcome.ExitCode, task.Outcome.Stdout)
	// Output: finished, exit code 0: hello 0
}

func ExampleClient_Submit() {
	cluster := fake()
	defer cluster.Close()

	c, err := client.New(client.Config{Addrs: []string{cluster.URL}})
	if err != nil {
		fmt.Println(err)
		return
	}
	spec := &api.Spec{Shell: &api.ShellSpec{Script: "echo hello $SAKI_TASK_INDEX"}, Count: 3}
	tasks, err := c.Submit(context.Background(), spec, client.SubmitOptions{Wait: time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range tasks {
		fmt.Printf("%s %s", t.ID, t.Outcome.Stdout)
	}
	// Output:
	// 7f3k9q8v2m1c-0 hello 0
	// 7f3k9q8v2m1c-1 hello 1
	// 7f3k9q8v2m1c-2 hello 2
}
