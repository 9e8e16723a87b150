package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/saki-run/saki/api"
)

func TestBenchCommand(t *testing.T) {
	m := sampleMaster()
	m.Submit = func(_ []api.Spec, _ string, _ time.Duration) ([]api.Task, error) {
		return []api.Task{endedWith("t", 0, "", "")}, nil
	}
	tm := newTerminal(t, m)
	out, errs, code := tm.saki("bench", "-n", "5", "--warmup", "0s", "-o", "json")
	var got struct {
		Results []struct {
			Path string
			N    int
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || len(got.Results) != 2 || got.Results[0].Path != "run" || got.Results[0].N != 5 {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	for _, want := range []string{"container is left out", "process is left out"} {
		if !strings.Contains(errs, want) {
			t.Errorf("stderr lacks %q: %s", want, errs)
		}
	}
	page := filepath.Join(t.TempDir(), "bench.html")
	if out, errs, code := tm.saki("bench", "-n", "5", "--warmup", "0s", "-o", "html", "--out", page); code != 0 || out != "" {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	if b, err := os.ReadFile(page); err != nil || !strings.Contains(string(b), "saki bench --number 5") {
		t.Errorf("the page lacks the command line: %v", err)
	}
	if _, errs, code := tm.saki("bench", "--paths", "rnu"); code != 2 || !strings.Contains(errs, `did you mean "run"`) {
		t.Errorf("exit %d: %s", code, errs)
	}
}
