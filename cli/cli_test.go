package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client/clienttest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// home is the package's folder; some tests leave it.
var home, _ = os.Getwd()

// now is the time of every test.
var now = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// terminal is one person's shell in a test.
type terminal struct {
	t       *testing.T
	env     map[string]string
	stdin   string
	tty     bool
	daemons Daemons
	signals chan os.Signal
}

func newTerminal(t *testing.T, m *clienttest.Master) *terminal {
	tm := &terminal{t: t, env: map[string]string{}, signals: make(chan os.Signal, 2)}
	if m != nil {
		tm.env["SAKI_ADDR"] = m.Start(t)
	}
	return tm
}

// lockedBuffer may be written by several goroutines and read after.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// saki runs one command.
func (tm *terminal) saki(args ...string) (stdout, stderr string, code int) {
	var out, errs lockedBuffer
	code = tm.into(&out, &errs, args...)
	return out.String(), errs.String(), code
}

func (tm *terminal) into(stdout, stderr io.Writer, args ...string) int {
	return Main(tm.t.Context(), args, Env{
		Stdin: strings.NewReader(tm.stdin), Stdout: stdout, Stderr: stderr,
		StdoutTTY: tm.tty, StderrTTY: tm.tty,
		Getenv: func(k string) string { return tm.env[k] }, Now: func() time.Time { return now },
		Signals: tm.signals, Daemons: tm.daemons,
		Version: api.Version{Version: "1.2.3", Commit: "abc", Go: "go1.26", OS: "linux", Arch: "amd64"},
	})
}

// golden compares got with testdata/name, or rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join(home, "testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// session runs commands and writes what a person would see.
func (tm *terminal) session(lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		out, errs, code := tm.saki(words(line)...)
		fmt.Fprintf(&b, "$ saki %s\n%s", line, out)
		for l := range strings.Lines(errs) {
			fmt.Fprintf(&b, "! %s", l)
		}
		if code != 0 {
			fmt.Fprintf(&b, "(exit %d)\n", code)
		}
		b.WriteByte('\n')
	}
	return strings.ReplaceAll(b.String(), tm.env["SAKI_ADDR"], "http://MASTER")
}

// words splits a line as a shell does, with single quotes alone.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

const aDigest = api.Digest("sha256:9c82000000000000000000000000000000000000000000000000000000000000")

func sampleTasks() []api.Task {
	at := func(ago time.Duration) time.Time { return now.Add(-ago) }
	fib := &api.Spec{Name: "fib", Namespace: "default", Wasm: &api.WasmSpec{Module: string(aDigest), Args: []string{"30"}}}
	return []api.Task{
		{
			ID: "7f3k9q8v2m1c", Spec: fib, State: api.Finished, Reason: api.ReasonExit, Attempt: 2, Node: "n1", NodeName: "node-1",
			Submitted: at(90 * time.Second), PlacedAt: at(89 * time.Second), StartedAt: at(89 * time.Second), EndedAt: at(88 * time.Second),
			Outcome: &api.Outcome{
				State: api.Finished, Reason: api.ReasonExit, Inline: true, Stdout: []byte("832040\n"),
				Receipt: api.Receipt{Node: "node-1", Warm: true, QueueNS: 210e3, DispatchNS: 180e3, InitNS: 30e3, RunNS: 4.1e6, Fuel: 8.1e6, PeakMem: 1153434},
			},
			History: []api.Attempt{{Number: 1, NodeName: "node-2", State: api.Lost, Reason: api.ReasonWorkerLost, Message: "the worker went away", EndedAt: at(89 * time.Second)}},
		},
		{
			ID: "8g4m00000000", Spec: &api.Spec{Shell: &api.ShellSpec{Script: "sleep 100 | cat; echo a very long script"}},
			State: api.Running, Attempt: 1, NodeName: "node-2", Submitted: at(3 * time.Hour),
		},
		{
			ID: "9h5n00000000", Spec: &api.Spec{Name: "web", Container: &api.ContainerSpec{Image: "nginx:1.27"}},
			State: api.Failed, Reason: api.ReasonImageNotFound, Message: "no such image nginx:1.27", Attempt: 1, NodeName: "node-1",
			Submitted: at(50 * time.Hour), Outcome: &api.Outcome{State: api.Failed, Reason: api.ReasonImageNotFound, ExitCode: 127, Inline: true},
		},
	}
}

func sampleNodes() []api.Node {
	info := api.NodeInfo{
		ID: "n1", Name: "node-1", Addr: "10.0.0.1:5051", Total: api.Resources{CPUs: 8000, Mem: 16 * api.GiB, Ports: api.PortsOf(8000)},
		Runtimes: []api.Kind{api.Wasm, api.Shell}, Executor: "docker (compiler)", Version: "1.2.3",
		Attributes: map[string]string{"zone": "a"}, Notices: []string{"no containers: Docker is not running"},
	}
	second := info
	second.ID, second.Name, second.Notices = "n2", "node-2", nil
	return []api.Node{
		{NodeInfo: info, State: api.NodeReady, Used: api.Resources{CPUs: 1200, Mem: 3 * api.GiB}, Tasks: 12, Since: now.Add(-4 * time.Hour)},
		{NodeInfo: second, State: api.NodeDraining, Since: now.Add(-4 * time.Hour)},
	}
}

// sampleMaster knows the samples.
func sampleMaster() *clienttest.Master {
	find := func(id string) (*api.Task, error) {
		for _, t := range sampleTasks() {
			if strings.HasPrefix(string(t.ID), id) || id == "last" {
				return &t, nil
			}
		}
		return nil, api.Errorf(api.CodeNotFound, "there is no task %s", api.Quote(id)).WithHint("see saki ps -a")
	}
	module := api.Module{Digest: aDigest, Size: 2 * api.MiB, Tags: []string{"fib:1.2"}, Entry: "command", Created: now.Add(-time.Hour)}
	return &clienttest.Master{
		Submit: func(specs []api.Spec, _ string, _ time.Duration) ([]api.Task, error) {
			if w := specs[0].Wasm; w != nil && !strings.HasPrefix(w.Module, "fib") {
				return nil, api.Errorf(api.CodeModuleNotFound, "there is no module %s", w.Module)
			}
			return sampleTasks()[:1], nil
		},
		Tasks: func(q url.Values) ([]api.Task, error) {
			var out []api.Task
			for _, t := range sampleTasks() {
				if len(q["state"]) == 0 || strings.Contains(strings.Join(q["state"], ","), string(t.State)) {
					out = append(out, t)
				}
			}
			return out, nil
		},
		Task: func(id string, _ time.Duration) (*api.Task, error) { return find(id) },
		Kill: func(id string, _ bool) (*api.Task, error) { return find(id) },
		Explain: func(string) (*api.Explanation, error) {
			return &api.Explanation{
				Task: &api.Task{ID: "et1c43", State: api.Pending, Spec: &api.Spec{}}, Summary: "no node has room for mem 512Mi, constraint arch=arm64",
				Nodes: []api.NodeGaps{
					{Node: "node-1", Gaps: []api.Gap{{What: "mem", Why: "free 128Mi < 512Mi"}, {What: "constraint", Why: "arch=amd64"}}},
					{Node: "n2", Gaps: []api.Gap{{What: "state", Why: "draining"}}},
					{Node: "n3"},
				},
				Hint: "mem<=128Mi would fit",
			}, nil
		},
		Logs: func(_ string, q url.Values, w io.Writer) error {
			_, err := fmt.Fprintf(w, "the %s\n", q["stream"][0])
			return err
		},
		Modules: func() ([]api.Module, error) { return []api.Module{module}, nil },
		Module: func(ref string) (*api.Module, error) {
			if ref == string(aDigest) || strings.HasPrefix(ref, "fib") {
				return &module, nil
			}
			return nil, api.Errorf(api.CodeModuleNotFound, "there is no module %s", ref)
		},
		RemoveModule: func(string) error {
			return api.Errorf(api.CodeInUse, "2 tasks need fib:1.2").WithHint("wait for them, or kill them")
		},
		PushModule: func(b []byte, tag string) (*api.Module, error) {
			return &api.Module{Digest: aDigest, Size: api.Bytes(len(b)), Entry: "command", Tags: []string{tag}}, nil
		},
		Nodes: func() ([]api.Node, error) { return sampleNodes(), nil },
		Node: func(name, verb string) (*api.Node, error) {
			n := sampleNodes()[0]
			if n.Name != name {
				return nil, api.Errorf(api.CodeNotFound, "there is no node %s", api.Quote(name)).WithHint("see saki node ls")
			}
			if verb == "drain" {
				n.State = api.NodeDraining
			}
			return &n, nil
		},
		Cluster: func() (*api.ClusterStatus, error) {
			m1 := api.MasterStatus{Name: "m1", Addr: "10.0.0.1:5050", Raft: "10.0.0.1:5049", Leader: true, Alive: true}
			return &api.ClusterStatus{
				Cluster: "saki", Leader: &m1, Masters: []api.MasterStatus{m1, {Name: "m2", Addr: "10.0.0.2:5050", Raft: "10.0.0.2:5049"}},
				Term: 3, Index: 918, Nodes: map[api.NodeState]int{api.NodeReady: 1, api.NodeDraining: 1}, Tasks: map[api.State]int{api.Running: 12},
				Modules: 1, Total: api.Resources{CPUs: 8000, Mem: 16 * api.GiB}, Used: api.Resources{CPUs: 1200, Mem: 3 * api.GiB}, Version: "1.2.3",
			}, nil
		},
		Events: func(_ url.Values, send func(api.Event)) error {
			send(api.Event{Index: 917, Time: now, Type: api.EventTaskPlaced, Task: "7f3k9q8v2m1c", State: api.Placed, Node: "node-1"})
			send(api.Event{Index: 918, Time: now, Type: api.EventTaskEnded, Task: "7f3k9q8v2m1c", State: api.Failed, Reason: api.ReasonTrap, Message: "unreachable\x1b[2J"})
			return nil
		},
	}
}

func TestListsAndDetails(t *testing.T) {
	tm := newTerminal(t, sampleMaster())
	golden(t, "lists.txt", tm.session(
		"ps", "ps -a", "ps -q -a", "ps -a -o name", "ps --state finished", "inspect 7f3k", "inspect 9h5n", "explain last",
		"logs last", "logs --stream stderr last", "kill 7f3k 8g4m", "wait 7f3k", "wait 7f3k 9h5n",
		"module ls", "module ls -q", "module inspect fib:1.2", "module rm fib:1.2",
		"node ls", "node ls -o name", "node inspect node-1", "node drain node-1", "node undrain node-1",
		"cluster status", "events", "version",
	))
}

func TestJSONAndYAML(t *testing.T) {
	tm := newTerminal(t, sampleMaster())
	golden(t, "json.txt", tm.session(
		"ps -a -o json", "inspect 7f3k -o json", "inspect 7f3k 8g4m -o json", "explain last -o json", "module ls -o json", "module inspect fib -o json",
		"node ls -o json", "node inspect node-1 -o yaml", "cluster status -o json", "events -o json", "version -o json", "ps -a -o yaml",
	))
}

func TestErrors(t *testing.T) {
	tm := newTerminal(t, sampleMaster())
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"text.wasm": "hello", "empty.wasm": "", "cut.wasm": "\x00asm\x01", "component.wasm": "\x00asm\x0d\x00\x01\x00", "wat.wasm": "(module)",
		"elf.wasm": "\x7fELF...", "good.wasm": "\x00asm\x01\x00\x00\x00",
		"typo.yaml": "shell: {script: hi}\nresorces: {cpus: 1}\n", "nan.yaml": "shell: {script: hi}\nresources: {cpus: .nan}\n",
		"dup.yaml": "name: a\nname: b\n", "two.yaml": "shell: {script: hi}\n---\nshell: {script: hi}\nresources: {mem: -1}\n",
		"deep.json": strings.Repeat("[", 100) + strings.Repeat("]", 100), "bad.yaml": "a: [", "empty.yaml": "",
		"config.yaml": "nmae: x\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "errors.txt", tm.session(
		"lgos", "module psh", "ps --lable x", "ps -o jsn", "ps -z", "logs", "logs a b", "ps extra", "run", "run --image a --shell b", "help lgos",
		"inspect nope", "inspect nope -o json", "node drain nope",
		"run missing.wasm", "run ./missing", "run nothere", "run nothere:1.0", "run 'UP/../x'", "run 'Bad Name'", "run text.wasm", "run empty.wasm",
		"run cut.wasm", "run component.wasm", "run wat.wasm", "run elf.wasm", "run .", "run sha256:12", "run oci://x/y", "run fib --file nofile", "run fib --file .",
		"run --shell x --cpus -1", "run --shell x --cpus NaN", "run --shell x --cpus 1e308", "run --shell x --cpus 9999999", "run --shell x --mem -1",
		"run --shell x --mem 0", "run --shell x --mem 1Zi", "run --shell x --timeout -5s", "run --shell x --count 0", "run --shell x --count 1000000000",
		"run --shell x --retries x", "run --shell x --ports 70000", "run --shell x --name '../x'", "run --shell x --name '\x1b[31m'", "run --shell x -n A",
		"run --shell x --constraint zone", "run --shell x --placement tight", "run --shell x --publish 80", "run --image x --publish 0",
		"run --image x --volume a:b", "run --shell x --label a", "run --shell x --env =1", "run --shell x --env-file nofile",
		"submit", "submit -f nofile", "submit -f typo.yaml", "submit -f nan.yaml", "submit -f dup.yaml", "submit -f two.yaml", "submit -f deep.json",
		"submit -f bad.yaml", "submit -f empty.yaml",
		"module push text.wasm", "module push", "module push good.wasm 'a/b'",
		"agent --data-dir d --resources cpus:NaN", "agent --data-dir d --resources 'ports:[9000-8000]'", "agent --data-dir d --runtimes wsm",
		"agent --data-dir d --attributes 'a'", "agent --name a/b --data-dir d", "agent", "master --data-dir d --gossip-key x", "dev --masters 2",
		"dev --executor dcker", "dev --log-level loud", "ps --config config.yaml", "ps --config nofile", "ps --addr ftp://x", "completion bsh",
	))
}

func TestUnreachable(t *testing.T) {
	tm := newTerminal(t, nil)
	tm.env["SAKI_ADDR"] = "127.0.0.1:1,127.0.0.1:2"
	golden(t, "unreachable.txt", tm.session("ps", "run --shell true", "ps -o json"))
}

func TestHelpFitsOneScreen(t *testing.T) {
	tm := newTerminal(t, nil)
	a := &app{env: Env{Getenv: os.Getenv}}
	var lines []string
	root := a.root()
	lines = append(lines, "-h", "run -h", "help exit-codes", "help environment", "help spec")
	for _, name := range commandNames(root) {
		if strings.HasPrefix(name, "help") {
			continue
		}
		args := strings.Split(name, "-")
		if c, _, err := root.Find([]string{name}); err == nil && c.Name() == name {
			args = []string{name}
		}
		out, errs, code := tm.saki(append(args, "-h")...)
		if c, _, _ := root.Find(args); c.DisableFlagParsing {
			continue
		}
		if code != 0 || errs != "" {
			t.Errorf("saki %s -h: exit %d, %s", name, code, errs)
		}
		if n := strings.Count(out, "\n"); n > 40 {
			t.Errorf("the help of %s has %d lines, want at most 40", name, n)
		}
		for l := range strings.Lines(out) {
			if len([]rune(l)) > 121 {
				t.Errorf("the help of %s has a line of %d characters: %s", name, len([]rune(l)), l)
			}
		}
	}
	golden(t, "help.txt", tm.session(lines...))
}

func TestHelpOfRunNamesEveryFlag(t *testing.T) {
	a := &app{}
	cmd := a.runCommand()
	for f := range strings.FieldsSeq(flagNames(cmd)) {
		if !strings.Contains(runHelp, "--"+f) {
			t.Errorf("--%s is not in the help of run", f)
		}
	}
}

func TestColoursOnlyOnATerminalThatWantsThem(t *testing.T) {
	tm := newTerminal(t, sampleMaster())
	coloured := func() bool {
		out, _, _ := tm.saki("ps", "-a")
		return strings.Contains(out, "\x1b[")
	}
	if coloured() {
		t.Error("a pipe gets colours")
	}
	tm.tty = true
	if !coloured() {
		t.Error("a terminal gets no colours")
	}
	tm.env["NO_COLOR"] = "1"
	if coloured() {
		t.Error("NO_COLOR is not heeded")
	}
}

func TestCompletion(t *testing.T) {
	tm := newTerminal(t, sampleMaster())
	golden(t, "completion.txt", tm.session("__complete logs ''", "__complete node drain ''", "__complete run fi", "__complete ru"))
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out, errs, code := tm.saki("completion", shell); code != 0 || len(out) < 1000 {
			t.Errorf("completion %s: exit %d, %d bytes, %s", shell, code, len(out), errs)
		}
	}
	tm.env["SAKI_ADDR"] = "127.0.0.1:1"
	if out, _, _ := tm.saki("__complete", "node", "drain", ""); strings.Contains(out, "node-1") || !strings.HasPrefix(out, ":") {
		t.Errorf("without a cluster it completes %q, want nothing", out)
	}
}

func TestRawProgramsGetTheirArguments(t *testing.T) {
	tm := newTerminal(t, nil)
	var got []string
	tm.daemons.Shim = func(_ context.Context, args []string) error { got = args; return &ExitError{7} }
	if _, _, code := tm.saki("shim", "--x", "y"); code != 7 || !cmp.Equal(got, []string{"--x", "y"}) {
		t.Errorf("exit %d, arguments %q", code, got)
	}
	if _, errs, code := tm.saki("executor"); code != 1 || !strings.Contains(errs, "no executor") {
		t.Errorf("a program that is missing: exit %d, %s", code, errs)
	}
	if out, errs, code := tm.saki("noop"); code != 0 || out+errs != "" {
		t.Errorf("noop: exit %d, %s%s", code, out, errs)
	}
}

func flagNames(cmd *cobra.Command) string {
	var b strings.Builder
	cmd.Flags().VisitAll(func(f *pflag.Flag) { b.WriteString(f.Name + " ") })
	return b.String()
}
