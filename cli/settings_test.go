package cli

import (
	"context"
	"crypto/sha256"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client/clienttest"
)

func sha(b []byte) [32]byte { return sha256.Sum256(b) }

// master runs saki master and gives the config that it came to.
func (tm *terminal) master(args ...string) MasterConfig {
	tm.t.Helper()
	var got MasterConfig
	tm.daemons.Master = func(_ context.Context, c MasterConfig) error { got = c; return nil }
	if _, errs, code := tm.saki(append([]string{"master"}, args...)...); code != 0 {
		tm.t.Fatalf("exit %d: %s", code, errs)
	}
	return got
}

func TestSettingsPrecedence(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("saki.yaml", []byte("name: file\ndata_dir: file\nkeep-for: 1h\nmaster: {keep-for: 2h, raft: '1.1.1.1:1'}\nagent: {attributes: zone:a}\n"+
		"join: ['10.0.0.1:7946', '10.0.0.3:7946']\nkeep-tasks: 7\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tm := newTerminal(t, nil)
	tm.env["SAKI_CONFIG"] = "saki.yaml"
	tm.env["SAKI_NAME"] = "env"
	tm.env["SAKI_MASTER_NAME"] = "env-of-master"
	tm.env["SAKI_KEEP_TASKS"] = "8"
	tm.env["SAKI_GOSSIP"] = "2.2.2.2:2"
	got := tm.master("--keep-tasks", "9")
	want := MasterConfig{
		Name: "env-of-master", DataDir: "file", Addr: "127.0.0.1:5050", Raft: "1.1.1.1:1", Gossip: "2.2.2.2:2", Cluster: "saki",
		Join: []string{"10.0.0.1:7946", "10.0.0.3:7946"}, KeepTasks: 9, KeepFor: 2 * time.Hour, NodeGrace: defaultNodeGrace,
		BootstrapExpect: 0, // joins, and nothing says otherwise
	}
	got.Log = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestAddrOfClientsIsNotListenedOn(t *testing.T) {
	for env, want := range map[string]string{
		"http://10.0.0.1:5050": "127.0.0.1:5050", "m1:5050,m2:5050": "127.0.0.1:5050", "0.0.0.0:6060": "0.0.0.0:6060",
	} {
		tm := newTerminal(t, nil)
		tm.env["SAKI_ADDR"] = env
		if got := tm.master("--data-dir", "d").Addr; got != want {
			t.Errorf("SAKI_ADDR=%s makes a master listen on %s, want %s", env, got, want)
		}
	}
}

func TestSettingsOfOtherCommandsInTheEnvironment(t *testing.T) {
	m := answering(endedWith("t", 0, "", ""))
	var spec api.Spec
	m.Submit = func(s []api.Spec, _ string, _ time.Duration) ([]api.Task, error) {
		spec = s[0]
		return []api.Task{endedWith("t", 0, "", "")}, nil
	}
	tm := newTerminal(t, m)
	tm.env["SAKI_RUN_MEM"], tm.env["SAKI_NAMESPACE"], tm.env["SAKI_NAME"] = "32Mi", "team", "of-a-daemon"
	if _, errs, code := tm.saki("run", "--shell", "x"); code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if spec.Resources.Mem != 32*api.MiB || spec.Namespace != "team" || spec.Name != "" {
		t.Errorf("got %+v", spec)
	}
	tm.env["SAKI_RUN_MEM"] = "much"
	if _, errs, code := tm.saki("run", "--shell", "x"); code != api.ExitCluster || !strings.Contains(errs, "SAKI_RUN_MEM") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestAgentConfig(t *testing.T) {
	tm := newTerminal(t, nil)
	var got AgentConfig
	tm.daemons.Agent = func(_ context.Context, c AgentConfig) error { got = c; return nil }
	_, errs, code := tm.saki(words("agent --name a1 --data-dir d --resources 'cpus:4;ports:[8000-8100]' --attributes 'zone:a' --executor docker" +
		" --runtimes wasm,shell --executor_registration_timeout 5s --allow-volume /srv --allow-volume /data --allow-interpreter --join h:1,h:2" +
		" --gossip-key MDEyMzQ1Njc4OWFiY2RlZg== --log-level debug")...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	want := AgentConfig{
		Name: "a1", DataDir: "d", Addr: "127.0.0.1:5051", Gossip: "127.0.0.1:7946", Cluster: "saki", Join: []string{"h:1", "h:2"},
		GossipKey: []byte("0123456789abcdef"), Resources: api.Resources{CPUs: 4000, Ports: api.Ports{{First: 8000, Last: 8100}}},
		ResourcesGiven: map[string]bool{"cpus": true, "ports": true}, Attributes: map[string]string{"zone": "a"}, Executor: "docker",
		Runtimes: []api.Kind{api.Wasm, api.Shell}, RegistrationTimeout: 5 * time.Second, AllowVolumes: []string{"/srv", "/data"},
		AllowInterpreter: true, LogLevel: -4,
	}
	got.Log = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestDevSaysWhenItIsReady(t *testing.T) {
	tm := newTerminal(t, nil)
	tm.daemons.Dev = func(ctx context.Context, c DevConfig) error {
		c.Ready("http://" + c.Addr)
		tm.signals <- os.Interrupt
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if out, errs, code := tm.saki("dev"); out != "ready http://127.0.0.1:5050\n" || errs != "" || code != 0 {
		t.Errorf("got %q, %q, exit %d", out, errs, code)
	}
}

func TestAnArgumentThatIsEmptyIsRefusedBeforeAnyMasterIsAsked(t *testing.T) {
	for _, args := range [][]string{
		{"inspect", ""},
		{"kill", "a", ""},
		{"logs", ""},
		{"explain", ""},
		{"node", "drain", ""},
		{"node", "inspect", ""},
		{"module", "rm", ""},
		{"module", "inspect", ""},
	} {
		_, stderr, code := newTerminal(t, nil).saki(args...)
		if code != 2 || !strings.Contains(stderr, "empty") {
			t.Errorf("saki %q: exit code %d, %s", args, code, stderr)
		}
	}
	if _, stderr, code := newTerminal(t, nil).saki("wait", ""); code != 125 || !strings.Contains(stderr, "empty") {
		t.Errorf("saki wait: exit code %d, %s", code, stderr)
	}
}

func TestTheReceiptOfAnEarlierAttemptIsNotShownAsTheTasks(t *testing.T) {
	task := api.Task{
		ID: "t1", State: api.Running, Attempt: 2, Spec: &api.Spec{Shell: &api.ShellSpec{Script: "x"}}, Submitted: now,
		Outcome: &api.Outcome{State: api.Failed, Reason: api.ReasonExit, ExitCode: 3},
	}
	m := &clienttest.Master{Task: func(string, time.Duration) (*api.Task, error) { return &task, nil }}
	stdout, stderr, code := newTerminal(t, m).saki("inspect", "t1")
	if code != 0 || !strings.Contains(stdout, "attempt     2") || strings.Contains(stdout, "receipt") {
		t.Errorf("exit code %d, %s\n%s", code, stdout, stderr)
	}
}
