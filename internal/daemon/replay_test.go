package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/cli"
	"github.com/saki-run/saki/client/clienttest"
	"github.com/saki-run/saki/internal/guests"
)

// shelf is the content that a cluster holds.
type shelf map[api.Digest][]byte

func (s shelf) put(b []byte) api.Digest {
	d := api.DigestOf(sha256.Sum256(b))
	s[d] = b
	return d
}

func (s shelf) open(_ context.Context, d api.Digest) (io.ReadCloser, error) {
	b, ok := s[d]
	if !ok {
		return nil, api.Errorf(api.CodeNotFound, "there is no blob %s", d)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// replayed runs a guest again and gives its outcome and output.
func (s shelf) replayed(t *testing.T, guest string, change func(*api.Task)) (o api.Outcome, stdout, stderr string, err error) {
	t.Helper()
	b, err := guests.Module(guest)
	if err != nil {
		t.Fatal(err)
	}
	spec := api.Spec{Wasm: &api.WasmSpec{Module: string(s.put(b))}}.WithDefaults()
	task := &api.Task{ID: "7f3k", Spec: &spec, State: api.Finished, Attempt: 2, NodeName: "node-1"}
	if change != nil {
		change(task)
	}
	var out, errs bytes.Buffer
	t.Setenv("TMPDIR", t.TempDir())
	o, err = Replay(t.Context(), cli.ReplayConfig{Task: task, Blob: s.open, Stdout: &out, Stderr: &errs})
	return o, out.String(), errs.String(), err
}

func TestReplayRunsTheTaskAsAWorkerDid(t *testing.T) {
	s := shelf{}
	in := []byte("abc\n")
	const sum = "edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb"
	for name, c := range map[string]struct {
		guest  string
		change func(*api.Task)
		state  api.State
		code   int
		stdout string
	}{
		"plain":           {guest: "hello", state: api.Finished, stdout: "hello, world\n"},
		"stdin":           {guest: "sha256", change: func(t *api.Task) { t.Spec.Stdin = in }, state: api.Finished, stdout: sum + "  -\n"},
		"stdin as a blob": {guest: "sha256", change: func(t *api.Task) { t.Spec.StdinBlob = s.put(in) }, state: api.Finished, stdout: sum + "  -\n"},
		"a file": {guest: "cat", change: func(t *api.Task) {
			t.Spec.Wasm.Args, t.Spec.Files = []string{"a/in.txt"}, []api.File{{Path: "a/in.txt", Blob: s.put(in), Mode: 0o400}}
		}, state: api.Finished, stdout: "abc\n"},
		"what the agent adds": {guest: "env", change: func(t *api.Task) {
			t.Spec.Env, t.Spec.Wasm.Args = map[string]string{"A": "1"}, []string{"A", "SAKI_TASK_ID", "SAKI_ATTEMPT", "SAKI_NODE"}
		}, state: api.Finished, stdout: "A=1\nSAKI_TASK_ID=7f3k\nSAKI_ATTEMPT=2\nSAKI_NODE=node-1\n"},
		"an exit code":      {guest: "exit", change: func(t *api.Task) { t.Spec.Wasm.Args = []string{"3"} }, state: api.Failed, code: 3},
		"a trap":            {guest: "trap", state: api.Failed, code: 134},
		"an unknown export": {guest: "hello", change: func(t *api.Task) { t.Spec.Wasm.Func = "nope" }, state: api.Failed, code: 127},
	} {
		t.Run(name, func(t *testing.T) {
			o, stdout, _, err := s.replayed(t, c.guest, c.change)
			if err != nil || o.State != c.state || o.ExitCode != c.code {
				t.Fatalf("got %+v, %v", o, err)
			}
			if c.guest == "env" {
				stdout = sortedLike(c.stdout, stdout)
			}
			if stdout != c.stdout {
				t.Errorf("stdout is %q, want %q", stdout, c.stdout)
			}
			again, _, _, _ := s.replayed(t, c.guest, c.change)
			if again.Receipt.Fuel != o.Receipt.Fuel || c.code != 127 && o.Receipt.Fuel == 0 {
				t.Errorf("fuel was %d and is now %d", o.Receipt.Fuel, again.Receipt.Fuel)
			}
		})
	}
}

// sortedLike gives the lines of got that want has, in want's order.
func sortedLike(want, got string) string {
	out := ""
	for line := range bytes.Lines([]byte(want)) {
		if bytes.Contains([]byte("\n"+got), append([]byte("\n"), line...)) {
			out += string(line)
		}
	}
	return out
}

func TestReplayOfWhatTheClusterDoesNotHoldAnyLonger(t *testing.T) {
	for name, change := range map[string]func(*api.Task){
		"module": func(t *api.Task) { t.Spec.Wasm.Module = string(api.DigestOf([32]byte{1})) },
		"stdin":  func(t *api.Task) { t.Spec.StdinBlob = api.DigestOf([32]byte{2}) },
		"file":   func(t *api.Task) { t.Spec.Files = []api.File{{Path: "x", Blob: api.DigestOf([32]byte{3})}} },
	} {
		if _, _, _, err := (shelf{}).replayed(t, "hello", change); err == nil || api.AsError(err).Code != api.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := shelf{}
	_, _, _, err := s.replayed(t, "hello", func(t *api.Task) { s[t.Spec.Module()] = []byte("something else") })
	if err == nil || api.AsError(err).Code != api.CodeDigestMismatch {
		t.Errorf("other content: %v", err)
	}
}

func TestAReplayEndsWithItsDeadline(t *testing.T) {
	s := shelf{}
	o, _, _, err := s.replayed(t, "spin", func(t *api.Task) { t.Spec.Timeout = api.Duration(50e6) })
	if err != nil || o.Reason != api.ReasonDeadline {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestTheReplayCommandTellsTheSameFromWhatIsNot(t *testing.T) {
	for guest, c := range map[string]struct {
		stdin string
		code  int
		want  string
	}{
		"hello":        {code: 0, want: "✓ same outcome, same fuel (81)\n"},
		"sha256":       {stdin: "abc\n", code: 0, want: "✓ same outcome, same fuel (13,715)\n"},
		"clock-random": {code: 1, want: "stdout"}, // real clocks and randomness are never the same
	} {
		t.Run(guest, func(t *testing.T) {
			s := shelf{}
			var task *api.Task
			o, stdout, stderr, err := s.replayed(t, guest, func(x *api.Task) {
				x.Spec.Stdin = []byte(c.stdin)
				task = x
			})
			if err != nil || o.State != api.Finished {
				t.Fatalf("the first run: %+v, %v", o, err)
			}
			o.Stdout, o.Stderr, o.Inline = []byte(stdout), []byte(stderr), true
			o.Receipt.StdoutBytes, o.Receipt.StderrBytes = int64(len(stdout)), int64(len(stderr))
			task.Outcome = &o
			m := &clienttest.Master{
				Task: func(string, time.Duration) (*api.Task, error) { return task, nil },
				Blob: func(d string) ([]byte, error) { return s[api.Digest(d)], nil },
			}
			var out, errs bytes.Buffer
			addr := m.Start(t)
			code := cli.Main(t.Context(), []string{"replay", "7f3k", "--addr", addr}, cli.Env{
				Stdin: &bytes.Buffer{}, Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }, Now: time.Now,
				Daemons: cli.Daemons{Replay: Replay},
			})
			if code != c.code || !strings.Contains(out.String(), c.want) || errs.Len() > 0 {
				t.Errorf("exit %d\n%s%s", code, &out, &errs)
			}
			if !strings.Contains(out.String(), "may differ: the task was not deterministic") {
				t.Errorf("nothing is said of real clocks:\n%s", &out)
			}
		})
	}
}

func TestADeterministicTaskIsTheSameAgain(t *testing.T) {
	s := shelf{}
	virtual := func(x *api.Task) { x.Spec.Wasm.Deterministic = true }
	o, stdout, _, err := s.replayed(t, "clock-random", virtual)
	again, other, _, _ := s.replayed(t, "clock-random", virtual)
	if err != nil || stdout == "" || other != stdout || again.Receipt.Fuel != o.Receipt.Fuel || !again.Receipt.Deterministic {
		t.Errorf("%q and %q, %+v, %v", stdout, other, again, err)
	}
	o, _, _, err = s.replayed(t, "spin", func(x *api.Task) { x.Spec.Wasm.Fuel = 1_000_000 })
	if err != nil || o.Reason != api.ReasonFuelExhausted {
		t.Errorf("a limit of fuel: %+v, %v", o, err)
	}
}
