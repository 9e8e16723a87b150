package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client/clienttest"
)

// replayable is a wasm task that wrote stdout, and is known by its id.
func replayable(id api.TaskID, stdout string, inline bool) api.Task {
	t := endedWith(id, 0, stdout, "")
	t.Spec = &api.Spec{Wasm: &api.WasmSpec{Module: string(aDigest), Deterministic: id != "real"}}
	t.Outcome.Receipt = api.Receipt{Fuel: 8123456, StdoutBytes: int64(len(stdout))}
	if t.Outcome.Inline = inline; !inline {
		t.Outcome.Stdout = nil
	}
	return t
}

func replayMaster() *clienttest.Master {
	long := strings.Repeat("long ", 1000)
	tasks := []api.Task{
		replayable("short", "hello\n", true), replayable("real", "hello\n", true), replayable("other", "help!\n", true),
		replayable("long", long, false), replayable("gone", long, false),
		endedWith("shell", 0, "", ""),
		{ID: "runs", Spec: &api.Spec{Wasm: &api.WasmSpec{}}, State: api.Running},
	}
	tasks[5].Spec = &api.Spec{Shell: &api.ShellSpec{Script: "true"}}
	return &clienttest.Master{
		Task: func(id string, _ time.Duration) (*api.Task, error) {
			for i := range tasks {
				if string(tasks[i].ID) == id {
					return &tasks[i], nil
				}
			}
			return nil, api.Errorf(api.CodeNotFound, "there is no task %s", id)
		},
		Blob: func(d string) ([]byte, error) { return []byte("the module " + d), nil },
		Logs: func(id string, q url.Values, w io.Writer) error {
			if id == "gone" {
				return api.Errorf(api.CodeLogsGone, "the output of task %s is gone with its node", id)
			}
			if q.Get("stream") == "stdout" {
				_, err := io.WriteString(w, long)
				return err
			}
			return nil
		},
	}
}

// replayer pretends to run the module: the guest says hello, or what is long.
func replayer(ctx context.Context, c ReplayConfig) (api.Outcome, error) {
	r, err := c.Blob(ctx, c.Task.Spec.Module())
	if err != nil {
		return api.Outcome{}, err
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "the module "+string(aDigest) {
		return api.Outcome{}, fmt.Errorf("got %s, %w", b, err)
	}
	switch c.Task.ID {
	case "long", "gone":
		_, err = io.WriteString(c.Stdout, strings.Repeat("long ", 1000))
	default:
		_, err = io.WriteString(c.Stdout, "hello\n")
	}
	return api.Outcome{State: api.Finished, Inline: true, Receipt: api.Receipt{Fuel: 8123456}}, err
}

func TestReplay(t *testing.T) {
	tm := newTerminal(t, replayMaster())
	missing := tm.session("replay short")
	tm.daemons.Replay = replayer
	golden(t, "replay.txt", missing+tm.session(
		"replay short", "replay real", "replay other", "replay other -o json", "replay long", "replay gone", "replay short --show-output",
		"replay short --show-output -o json", "replay shell", "replay runs", "replay nobody", "replay"))
}
