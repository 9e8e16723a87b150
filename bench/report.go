package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// Report is results with what a reader needs to judge them.
type Report struct {
	Results []Result
	Command string // the command line
	Date    time.Time
	Machine Machine
	Version string // of saki
}

// Machine describes where it was measured. Fields that cannot be found out are empty.
type Machine struct {
	CPU    string
	Cores  int
	Kernel string
	OS     string
	Mem    string
}

// ThisMachine finds out what can be told of the machine.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH}
	m.CPU = procField("/proc/cpuinfo", "model name")
	m.Mem = procField("/proc/meminfo", "MemTotal")
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	var kb int64
	if _, err := fmt.Sscanf(m.Mem, "%d kB", &kb); err == nil {
		m.Mem = fmt.Sprintf("%.1f GiB", float64(kb)/(1<<20))
	}
	return m
}

func procField(file, key string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// String gives one line: processor, cores, memory, kernel.
func (m Machine) String() string {
	var parts []string
	for _, p := range []string{m.CPU, fmt.Sprintf("%d cores", m.Cores), m.Mem, m.OS, m.Kernel} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " · ")
}

// JSON writes {"results":[…]}.
func (r *Report) JSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Results []Result `json:"results"`
	}{r.Results})
}

// Table writes the results for people. The last column compares medians with the warm executor's.
func (r *Report) Table(w io.Writer) error {
	rows := [][]string{{"PATH", "N", "RATE", "P50", "P90", "P99", "MAX", "ERRORS", "× SLOWER THAN WARM"}}
	few := false
	for _, x := range r.Results {
		few = few || x.N < 100
		rows = append(rows, []string{
			x.Path, fmt.Sprint(x.N), rate(x.RPS), micros(x.P50), micros(x.P90), micros(x.P99), micros(x.Max), fmt.Sprint(x.Errors), r.slower(x),
		})
	}
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-len([]rune(c)))
			if i == 0 {
				b.WriteString(c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		b.WriteByte('\n')
	}
	if few {
		b.WriteString("With fewer than 100 samples, p99 is the maximum.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// slower compares the median with the warm path's; "" without one.
func (r *Report) slower(x Result) string {
	for _, warm := range r.Results {
		if warm.Path != PathRun || warm.P50 == 0 || x.P50 == 0 {
			continue
		}
		f := x.P50 / warm.P50
		switch {
		case x.Path == PathRun:
			return "1"
		case f >= 10:
			return fmt.Sprintf("%.0f", f)
		}
		return fmt.Sprintf("%.1f", f)
	}
	return "-"
}

// micros writes microseconds in the unit that reads best.
func micros(us float64) string {
	switch {
	case us == 0:
		return "-"
	case us < 1000:
		return fmt.Sprintf("%.0fµs", us)
	case us < 100_000:
		return fmt.Sprintf("%.2fms", us/1e3)
	case us < 1e6:
		return fmt.Sprintf("%.0fms", us/1e3)
	}
	return fmt.Sprintf("%.2fs", us/1e6)
}

func rate(rps float64) string {
	if rps < 100 {
		return fmt.Sprintf("%.1f/s", rps)
	}
	return fmt.Sprintf("%.0f/s", rps)
}
