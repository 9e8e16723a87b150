package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client/clienttest"
)

// endedWith is a task that has ended with an exit code and output.
func endedWith(id api.TaskID, code int, stdout, stderr string) api.Task {
	state := api.Finished
	if code != 0 {
		state = api.Failed
	}
	return api.Task{
		ID: id, Spec: &api.Spec{}, State: state, Reason: api.ReasonExit, Attempt: 1, NodeName: "node-2",
		Outcome: &api.Outcome{State: state, Reason: api.ReasonExit, ExitCode: code, Inline: true, Stdout: []byte(stdout), Stderr: []byte(stderr)},
	}
}

// answering is a master that answers every submit with the tasks.
func answering(tasks ...api.Task) *clienttest.Master {
	return &clienttest.Master{Submit: func([]api.Spec, string, time.Duration) ([]api.Task, error) { return tasks, nil }}
}

func TestRunIsTransparent(t *testing.T) {
	m := answering(endedWith("7f3k", 3, "out\x1b[0m\n", "err\n"))
	out, errs, code := newTerminal(t, m).saki("run", "--shell", "x")
	if out != "out\x1b[0m\n" || errs != "err\n" || code != 3 {
		t.Errorf("got stdout %q, stderr %q, exit %d", out, errs, code)
	}
	if n := len(m.Requests()); n != 1 {
		t.Errorf("a short task took %d requests, want 1: %v", n, m.Requests())
	}
}

func TestRunTellsWhyATaskFailed(t *testing.T) {
	cases := []api.Task{
		{ID: "a", State: api.Failed, Reason: api.ReasonDeadline, Outcome: new(api.Fail(api.ReasonDeadline, "ran longer than 1s"))},
		{ID: "b", State: api.Failed, Reason: api.ReasonModuleRefused, Message: "unknown imports: env.x, env.y", Outcome: new(api.Fail(api.ReasonModuleRefused, ""))},
		{ID: "c", State: api.Failed, Reason: api.ReasonEntryNotFound, Outcome: new(api.Fail(api.ReasonEntryNotFound, ""))},
		{ID: "d", State: api.Failed, Reason: api.ReasonMemoryLimit, Outcome: new(api.Fail(api.ReasonMemoryLimit, ""))},
		{ID: "e", State: api.Failed, Reason: api.ReasonSignal, Outcome: &api.Outcome{State: api.Failed, Reason: api.ReasonSignal, Signal: 11, ExitCode: 139, Inline: true}},
		{ID: "f", State: api.Killed, Reason: api.ReasonUserKill},
		{ID: "g", State: api.Lost, Reason: api.ReasonNodeLost},
		{ID: "h", State: api.Failed, Reason: api.ReasonTrap, Outcome: &api.Outcome{State: api.Failed, Reason: api.ReasonTrap, ExitCode: 134, Message: "unreachable", Trace: "at main.crash\n at _start\n", Inline: true}},
	}
	var b strings.Builder
	for _, task := range cases {
		b.WriteString(newTerminal(t, answering(task)).session("run --shell " + string(task.ID)))
	}
	golden(t, "why.txt", b.String())
}

func TestRunStatsDetachAndFormats(t *testing.T) {
	golden(t, "run.txt", newTerminal(t, answering(sampleTasks()[0])).session(
		"run fib:1.2 --stats -- 30", "run -d fib:1.2 -- 30", "run fib:1.2 -o yaml -- 30", "run -d fib:1.2 -o json"))
}

func TestRunMakesTheSpecThatTheFlagsSay(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("vars", []byte("# comment\nA=1\nB=two words\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("in.txt", []byte("data"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{
		"wasm":      "run fib:1.2 --func main --cpus 0.5 --mem 64Mi --disk 1G --timeout 90 --retries 2 --backoff 2s --kill-grace 1s --max-output 1Mi --name x -n team-a --label a=b --constraint zone=a --constraint 'zone in a,b' --placement spread --key k1 -- -v --mem 3",
		"isolated":  "run fib --fuel 1000000 --isolation strict --engine interpreter --deterministic --record",
		"container": "run --image nginx:1.27 --publish 80 --publish 53/udp --volume /srv:/data:ro --network none --user 1000 --workdir /data -e A=2 -e HOME --env-file vars -- nginx -g x",
		"shell":     "run --shell 'echo hi | wc -c' -i --ports 2 --count 1 --file in.txt:data/in.txt",
		"arguments": "run --shell 'echo $1' one two",
	} {
		t.Run(name, func(t *testing.T) {
			var got []api.Spec
			var key string
			m := &clienttest.Master{
				Submit: func(s []api.Spec, k string, _ time.Duration) ([]api.Task, error) {
					got, key = s, k
					return []api.Task{endedWith("t", 0, "", "")}, nil
				},
				HasBlob:  func(string) bool { return false },
				PushBlob: func(b []byte) (*api.BlobInfo, error) { return &api.BlobInfo{Digest: digestOf(b)}, nil },
			}
			tm := newTerminal(t, m)
			tm.stdin, tm.env["HOME"] = "typed", "/home/ada"
			if _, errs, code := tm.saki(words(line)...); code != 0 {
				t.Fatalf("exit %d: %s", code, errs)
			}
			b, _ := json.MarshalIndent(got[0], "", "  ")
			golden(t, "spec-"+name+".json", string(b)+"\n")
			if name == "wasm" && key != "k1" {
				t.Errorf("key is %q, want k1", key)
			}
		})
	}
}

func digestOf(b []byte) api.Digest { return api.DigestOf(sha(b)) }

func TestModuleFileIsUploadedOnlyWhenMissing(t *testing.T) {
	t.Chdir(t.TempDir())
	wasm := "\x00asm\x01\x00\x00\x00"
	if err := os.WriteFile("mod", []byte(wasm), 0o644); err != nil { // no .wasm: it exists, so it wins over a name
		t.Fatal(err)
	}
	d := digestOf([]byte(wasm))
	held := map[string]bool{}
	var ran string
	m := &clienttest.Master{
		Module: func(ref string) (*api.Module, error) {
			if held[ref] {
				return &api.Module{}, nil
			}
			return nil, api.Errorf(api.CodeModuleNotFound, "no")
		},
		PushModule: func(b []byte, _ string) (*api.Module, error) {
			held[string(digestOf(b))] = true
			return &api.Module{Digest: digestOf(b)}, nil
		},
		Submit: func(s []api.Spec, _ string, _ time.Duration) ([]api.Task, error) {
			ran = s[0].Wasm.Module
			return []api.Task{endedWith("t", 0, "", "")}, nil
		},
	}
	tm := newTerminal(t, m)
	for range 2 {
		if _, errs, code := tm.saki("run", "mod"); code != 0 || ran != string(d) {
			t.Fatalf("exit %d, ran %s: %s", code, ran, errs)
		}
	}
	want := []string{
		"HEAD /v1/modules/" + string(d), "PUT /v1/modules", "POST /v1/tasks?wait=300ms",
		"HEAD /v1/modules/" + string(d), "POST /v1/tasks?wait=300ms",
	}
	if diff := cmp.Diff(want, m.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestLongStdinGoesAsABlob(t *testing.T) {
	var spec api.Spec
	var blob int
	m := &clienttest.Master{
		PushBlob: func(b []byte) (*api.BlobInfo, error) {
			blob = len(b)
			return &api.BlobInfo{Digest: digestOf(b)}, nil
		},
		Submit: func(s []api.Spec, _ string, _ time.Duration) ([]api.Task, error) {
			spec = s[0]
			return []api.Task{endedWith("t", 0, "", "")}, nil
		},
	}
	tm := newTerminal(t, m)
	tm.stdin = strings.Repeat("x", int(api.MaxInlineStdin)+1)
	if _, errs, code := tm.saki("run", "-i", "--shell", "wc"); code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if blob != len(tm.stdin) || spec.StdinBlob != digestOf([]byte(tm.stdin)) || len(spec.Stdin) != 0 {
		t.Errorf("blob of %d bytes, spec %+v", blob, spec)
	}
}

// slow is a master with one task that runs until end is closed, writing text before.
func slow(text string, end <-chan struct{}, last api.Task) *clienttest.Master {
	running := api.Task{ID: last.ID, State: api.Running, Attempt: 1}
	done := func() bool {
		select {
		case <-end:
			return true
		default:
			return false
		}
	}
	return &clienttest.Master{
		Submit: func([]api.Spec, string, time.Duration) ([]api.Task, error) { return []api.Task{running}, nil },
		Task: func(_ string, wait time.Duration) (*api.Task, error) {
			if wait > 2*time.Second {
				<-end
			}
			if done() {
				return &last, nil
			}
			return &running, nil
		},
		Logs: func(_ string, q url.Values, w io.Writer) error {
			if q.Get("stream") == "stderr" {
				return nil
			}
			if q.Get("offset") == "" {
				_, _ = io.WriteString(w, text)
			}
			if q.Get("follow") == "1" {
				<-end
			}
			return nil
		},
	}
}

func TestLongTaskIsShownLive(t *testing.T) {
	end := make(chan struct{})
	var once sync.Once
	tm := newTerminal(t, slow("first\n", end, endedWith("t1", 5, "", "")))
	var out strings.Builder
	code := tm.into(writerFunc(func(p []byte) (int, error) { // the task ends only once its first line has been shown
		out.Write(p)
		once.Do(func() { close(end) })
		return len(p), nil
	}), io.Discard, "run", "--shell", "x")
	if out.String() != "first\n" || code != 5 {
		t.Errorf("got %q, exit %d", out.String(), code)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestFirstInterruptKillsTheTask(t *testing.T) {
	end := make(chan struct{})
	last := endedWith("t1", 137, "", "")
	last.State, last.Outcome.State, last.Reason = api.Killed, api.Killed, api.ReasonUserKill
	m := slow("", end, last)
	var kills atomic.Int32
	m.Kill = func(_ string, _ bool) (*api.Task, error) {
		if kills.Add(1) == 1 {
			close(end)
		}
		return &last, nil
	}
	tm := newTerminal(t, m)
	tm.signals <- syscall.SIGINT
	_, errs, code := tm.saki("run", "--shell", "x")
	if code != 137 || kills.Load() != 1 || !strings.Contains(errs, "killing 1 task") {
		t.Errorf("exit %d, %d kills, %s", code, kills.Load(), errs)
	}
}

func TestSecondInterruptLeaves(t *testing.T) {
	end := make(chan struct{})
	m := slow("", end, endedWith("t1", 0, "", ""))
	tm := newTerminal(t, m)
	t.Cleanup(func() { close(end) })
	m.Kill = func(string, bool) (*api.Task, error) {
		tm.signals <- syscall.SIGINT
		return &api.Task{ID: "t1", State: api.Running}, nil
	}
	tm.signals <- syscall.SIGINT
	if _, errs, code := tm.saki("run", "--shell", "x"); code != exitInterrupted {
		t.Errorf("exit %d, want %d: %s", code, exitInterrupted, errs)
	}
}

func TestCountShowsEachCopy(t *testing.T) {
	var tasks []api.Task
	for i := range 3 {
		task := endedWith(api.TaskID("j").Member(i), 0, fmt.Sprintf("hello %d\nno end of line", i), "")
		task.Index = i
		tasks = append(tasks, task)
	}
	tasks[1] = endedWith("j-1", 9, "", "oops\n")
	tasks[2].State, tasks[2].Reason, tasks[2].Outcome = api.Failed, api.ReasonDeadline, new(api.Fail(api.ReasonDeadline, ""))
	m := answering(tasks...)
	m.Cluster = func() (*api.ClusterStatus, error) { return &api.ClusterStatus{Index: 5}, nil }
	golden(t, "count.txt", newTerminal(t, m).session("run --count 3 --shell x", "run --count 3 --shell x -o json", "run -d --count 3 --shell x"))
}

func TestSubmitFile(t *testing.T) {
	t.Chdir(t.TempDir())
	wasm := "\x00asm\x01\x00\x00\x00"
	for name, text := range map[string]string{
		"sub/x.wasm": wasm, "sub/in.txt": "data",
		"sub/two.yaml": "name: one\nwasm: {module: ./x.wasm, args: [a]}\nresources: {cpus: 0.5, mem: 64Mi}\ntimeout: 1m30s\nfiles: [{local: in.txt, path: d/in.txt}]\n" +
			"constraints: [{key: zone, op: in, values: [a, b]}]\n---\nshell: {script: echo hi}\ncount: 2\n",
	} {
		if err := os.MkdirAll("sub", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got []api.Spec
	m := &clienttest.Master{
		Submit: func(s []api.Spec, _ string, _ time.Duration) ([]api.Task, error) {
			got = s
			return []api.Task{endedWith("a", 0, "A\n", ""), endedWith("b-0", 0, "B\n", ""), endedWith("b-1", 4, "", "")}, nil
		},
		Module:   func(string) (*api.Module, error) { return &api.Module{}, nil },
		HasBlob:  func(string) bool { return false },
		PushBlob: func(b []byte) (*api.BlobInfo, error) { return &api.BlobInfo{Digest: digestOf(b)}, nil },
		Cluster:  func() (*api.ClusterStatus, error) { return &api.ClusterStatus{Index: 5}, nil },
	}
	tm := newTerminal(t, m)
	golden(t, "submit.txt", tm.session("submit -f sub/two.yaml", "submit -f sub/two.yaml --wait", "submit -q -f sub/two.yaml", "submit -f sub/two.yaml -o name"))
	b, _ := json.MarshalIndent(got, "", "  ")
	golden(t, "submit-specs.json", string(b)+"\n")
	tm.stdin = `[{"shell":{"script":"a"}},{"shell":{"argv":["b"]}}]`
	if _, errs, code := tm.saki("submit", "-f", "-"); code != 0 || len(got) != 2 || got[1].Shell.Argv[0] != "b" {
		t.Errorf("exit %d, %+v: %s", code, got, errs)
	}
}

func TestWaitTimesOut(t *testing.T) {
	end := make(chan struct{})
	tm := newTerminal(t, slow("", end, endedWith("t", 0, "", "")))
	t.Cleanup(func() { close(end) }) // before the server waits for its handlers
	_, errs, code := tm.saki("wait", "t", "--timeout", "20ms")
	if code != api.ExitDeadline || !strings.Contains(errs, "[timeout]") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
