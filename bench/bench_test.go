package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
	"github.com/saki-run/saki/client/clienttest"
	"github.com/saki-run/saki/internal/guests"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func master(t *testing.T, runs ...api.Kind) (*client.Client, *clienttest.Master) {
	t.Helper()
	m := &clienttest.Master{
		Nodes: func() ([]api.Node, error) {
			return []api.Node{{State: api.NodeReady, NodeInfo: api.NodeInfo{Runtimes: runs, Attributes: map[string]string{attrImage: "saki-executor:1"}}}}, nil
		},
		PushModule: func([]byte, string) (*api.Module, error) { return &api.Module{Digest: "sha256:x"}, nil },
		Submit: func([]api.Spec, string, time.Duration) ([]api.Task, error) {
			return []api.Task{{ID: "t", State: api.Finished}}, nil
		},
	}
	c, err := client.New(client.Config{Addrs: []string{m.Start(t)}})
	if err != nil {
		t.Fatal(err)
	}
	return c, m
}

func TestRunMeasuresWhatIsPossible(t *testing.T) {
	c, _ := master(t, api.Wasm, api.Shell)
	var notices []string
	got, err := Run(t.Context(), Config{Client: c, N: 20, Concurrency: 3, Now: time.Now, Notice: func(s string) { notices = append(notices, s) }})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range got {
		paths = append(paths, r.Path)
		if r.N != 20 || r.Errors != 0 || r.P50 <= 0 || r.P50 > r.P90 || r.P90 > r.P99 || r.P99 > r.Max || r.RPS <= 0 {
			t.Errorf("%+v does not hang together", r)
		}
	}
	if want := []string{PathRun, PathShell}; !slices.Equal(paths, want) {
		t.Errorf("measured %v, want %v", paths, want)
	}
	if len(notices) != 2 || !strings.HasPrefix(notices[0], "process is left out") || !strings.HasPrefix(notices[1], "container is left out") {
		t.Errorf("notices: %q", notices)
	}
}

func TestContainersUseTheExecutorsImage(t *testing.T) {
	c, m := master(t, api.Container)
	var spec api.Spec
	m.Submit = func(s []api.Spec, _ string, _ time.Duration) ([]api.Task, error) {
		spec = s[0]
		return []api.Task{{ID: "t", State: api.Finished}}, nil
	}
	if _, err := Run(t.Context(), Config{Client: c, N: 1, Now: time.Now, Paths: []string{PathContainer}}); err != nil {
		t.Fatal(err)
	}
	want := &api.ContainerSpec{Image: "saki-executor:1", Command: []string{"/bin/saki", "noop"}, Network: "none"}
	if diff := cmp.Diff(want, spec.Container); diff != "" {
		t.Errorf("container (-want +got):\n%s", diff)
	}
}

func TestFailuresAreCountedApart(t *testing.T) {
	c, m := master(t, api.Shell)
	var n atomic.Int64
	m.Submit = func([]api.Spec, string, time.Duration) ([]api.Task, error) {
		if n.Add(1)%2 == 0 {
			return []api.Task{{ID: "t", State: api.Failed, Reason: api.ReasonExit}}, nil
		}
		return []api.Task{{ID: "t", State: api.Finished}}, nil
	}
	got, err := Run(t.Context(), Config{Client: c, N: 10, Now: time.Now, Paths: []string{PathShell}})
	if err != nil || got[0].N != 5 || got[0].Errors != 5 {
		t.Errorf("got %+v, %v; want 5 good and 5 failed", got, err)
	}
}

func TestNothingPossibleIsAnError(t *testing.T) {
	c, _ := master(t)
	_, err := Run(t.Context(), Config{Client: c, N: 1, Now: time.Now})
	if !errors.Is(err, api.Errorf(api.CodeUnavailable, "")) {
		t.Errorf("got %v, want unavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Config{Client: c, N: 1, Now: time.Now}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestProcessPathStartsTheProgram(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SAKI_BENCH_TEST_ONCE", "1") // makes this test program exit at once; see TestMain
	got, err := Run(t.Context(), Config{N: 2, Now: time.Now, Exe: exe, Paths: []string{PathProcess}})
	if err != nil || got[0].N != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("SAKI_BENCH_TEST_ONCE") != "" {
		noop, _ := guests.Module("noop")
		if b, err := os.ReadFile(os.Args[2]); os.Args[1] != "wasm-once" || err != nil || !bytes.Equal(b, noop) {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// sample is a report of made-up latencies that are the same each time.
func sample() *Report {
	r := &Report{
		Command: "saki bench -d 5s", Date: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), Version: "1.2.3",
		Machine: Machine{CPU: "Example CPU", Cores: 2, Kernel: "6.1", OS: "linux/amd64", Mem: "16.0 GiB"},
	}
	for _, p := range []struct {
		path string
		us   float64
		n    int
	}{{PathRun, 420, 5000}, {PathShell, 2900, 1500}, {PathProcess, 7400, 600}, {PathContainer, 310_000, 16}} {
		h := newHistogram()
		x := uint64(88172645463325252)
		for range p.n {
			spread := 0.0
			for range 4 { // xorshift; four of them make a bell
				x ^= x << 13
				x ^= x >> 7
				x ^= x << 17
				spread += float64(x%1000) / 1000
			}
			f := 0.75 + spread/8
			if x%50 == 0 {
				f *= 2.5
			}
			_ = h.RecordValue(int64(p.us * f * 1000))
		}
		r.Results = append(r.Results, summarise(p.path, []*hdrhistogram.Histogram{h}, 0, 5*time.Second))
	}
	return r
}

func TestReports(t *testing.T) {
	r := sample()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"report.txt":  func(b *bytes.Buffer) error { return r.Table(b) },
		"report.json": func(b *bytes.Buffer) error { return r.JSON(b) },
		"report.html": func(b *bytes.Buffer) error { return r.HTML(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		path := "testdata/" + name
		if *update {
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v; run the test with -update", err)
		}
		if diff := cmp.Diff(string(want), b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func TestJSONHasTheseKeysAndNoOther(t *testing.T) {
	var b bytes.Buffer
	if err := sample().JSON(&b); err != nil {
		t.Fatal(err)
	}
	var got map[string][]map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for k := range got["results"][0] {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if want := []string{"errors", "max_us", "n", "p50_us", "p90_us", "p99_us", "path", "rps"}; len(got) != 1 || !slices.Equal(keys, want) {
		t.Errorf("keys are %v of %d, want results alone with %v", keys, len(got), want)
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	var b bytes.Buffer
	r := sample()
	r.Command = "saki bench --module '<script>'"
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "http://", "https://", "src=", "{{", "NaN", "Inf"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
}
