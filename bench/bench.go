// Package bench measures what a task costs on each way to run it: in the warm wasm executor, as a container, as a shell
// process and as a fresh wasm process. It is what saki bench shows.
//
// The loop is closed: each of Concurrency workers starts the next task when its last one has ended. Latency is what the
// caller sees, from the submit to the result in hand. A warm-up comes before and is not counted.
package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

// The paths that can be measured.
const (
	PathRun       = "run"       // a durable task in the warm wasm executor
	PathContainer = "container" // a container for each task
	PathShell     = "shell"     // a process for each task, started by the agent
	PathProcess   = "process"   // a fresh wasm process for each task, started here: no cluster takes part
)

// Paths lists all paths in the order they are measured.
func Paths() []string { return []string{PathRun, PathShell, PathProcess, PathContainer} }

// Config says what to measure. Client, Now and at least one of Duration and N are needed.
type Config struct {
	Client      *client.Client
	Paths       []string      // default: all
	Duration    time.Duration // of each path; 0 leaves N to end it
	N           int           // tasks of each path; 0 leaves Duration to end it
	Concurrency int           // default: 1
	Warmup      time.Duration // of each path; at least a few tasks are run whatever it says
	Image       string        // for containers; default: the executor's own image, as an agent tells it
	Module      []byte        // default: one that does nothing
	Exe         string        // this program, started as "EXE wasm-once FILE"; "" leaves out PathProcess

	Now      func() time.Time
	Notice   func(text string)                 // what could not be measured, and why; may be nil
	Progress func(path string, done, errs int) // called now and then, from several goroutines; may be nil
}

// Result is what one path came to. Latencies are in microseconds.
type Result struct {
	Path   string  `json:"path"`
	N      int64   `json:"n"` // tasks that ended well; only they count into the latencies
	Errors int64   `json:"errors"`
	RPS    float64 `json:"rps"`
	P50    float64 `json:"p50_us"`
	P90    float64 `json:"p90_us"`
	P99    float64 `json:"p99_us"`
	Max    float64 `json:"max_us"`

	hist *hdrhistogram.Histogram // in nanoseconds
}

// op runs one task on a path.
type op struct {
	path  string
	least int // tasks of the warm-up
	do    func(context.Context) error
}

// Run measures every path that is possible here, one after the other. It fails when none is, or when ctx ends.
func Run(ctx context.Context, cfg Config) ([]Result, error) {
	if cfg.Concurrency < 1 {
		cfg.Concurrency = 1
	}
	if cfg.Notice == nil {
		cfg.Notice = func(string) {}
	}
	if len(cfg.Paths) == 0 {
		cfg.Paths = Paths()
	}
	ops, done, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer done()
	var out []Result
	for _, o := range ops {
		if err := warmUp(ctx, cfg, o); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			cfg.Notice(fmt.Sprintf("%s is left out: %v", o.path, err))
			continue
		}
		r := measure(ctx, cfg, o)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, api.Errorf(api.CodeUnavailable, "none of the paths %s can be measured here", strings.Join(cfg.Paths, ", ")).
			WithHint("see the notices above; saki node ls tells what the agents run")
	}
	return out, nil
}

// CheckPaths reports the first path that does not exist.
func CheckPaths(paths []string) error {
	for _, p := range paths {
		if !slices.Contains(Paths(), p) {
			e := api.Errorf(api.CodeInvalidArgument, "unknown path %s", api.Quote(p))
			if best := api.Closest(p, Paths()); best != "" {
				return e.WithHint("did you mean %q?", best)
			}
			return e.WithHint("known are %s", strings.Join(Paths(), ", "))
		}
	}
	return nil
}

// warmUp runs tasks that do not count. Its error is the last one when no task ended well.
func warmUp(ctx context.Context, cfg Config, o op) error {
	end := cfg.Now().Add(cfg.Warmup)
	var good atomic.Int64
	var mu sync.Mutex
	var last error
	var wg sync.WaitGroup
	for range cfg.Concurrency {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil && (i*cfg.Concurrency < o.least || cfg.Now().Before(end)); i++ {
				if err := o.do(ctx); err != nil {
					mu.Lock()
					last = err
					mu.Unlock()
					if good.Load() == 0 {
						return
					}
					continue
				}
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if good.Load() > 0 {
		return ctx.Err()
	}
	return last
}

// newHistogram holds latencies from 1 µs to 10 min with three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(time.Microsecond), int64(10*time.Minute), 3)
}

func measure(ctx context.Context, cfg Config, o op) Result {
	hists := make([]*hdrhistogram.Histogram, cfg.Concurrency)
	var started, done, errs atomic.Int64
	var mu sync.Mutex
	var first error
	begin := cfg.Now()
	end := begin.Add(cfg.Duration)
	more := func() bool {
		if ctx.Err() != nil || cfg.Duration > 0 && !cfg.Now().Before(end) {
			return false
		}
		return cfg.N == 0 || started.Add(1) <= int64(cfg.N)
	}
	var wg sync.WaitGroup
	for i := range hists {
		hists[i] = newHistogram()
		wg.Go(func() {
			for more() {
				t0 := cfg.Now()
				err := o.do(ctx)
				took := cfg.Now().Sub(t0)
				if err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
					errs.Add(1)
				} else {
					_ = hists[i].RecordValue(min(max(int64(took), int64(time.Microsecond)), int64(10*time.Minute)))
					done.Add(1)
				}
				if cfg.Progress != nil {
					cfg.Progress(o.path, int(done.Load()), int(errs.Load()))
				}
			}
		})
	}
	wg.Wait()
	took := cfg.Now().Sub(begin)
	if first != nil && ctx.Err() == nil {
		cfg.Notice(fmt.Sprintf("%s: %d of %d tasks failed, the first with: %v", o.path, errs.Load(), errs.Load()+done.Load(), first))
	}
	return summarise(o.path, hists, errs.Load(), took)
}

func summarise(path string, hists []*hdrhistogram.Histogram, errs int64, took time.Duration) Result {
	all := newHistogram()
	for _, h := range hists {
		all.Merge(h)
	}
	us := func(ns int64) float64 { return float64((ns+50)/100) / 10 }
	r := Result{Path: path, N: all.TotalCount(), Errors: errs, hist: all}
	if r.N > 0 {
		r.P50, r.P90, r.P99 = us(all.ValueAtQuantile(50)), us(all.ValueAtQuantile(90)), us(all.ValueAtQuantile(99))
		r.Max = us(all.Max())
	}
	if took > 0 {
		r.RPS = float64(int64(float64(r.N)/took.Seconds()*10+0.5)) / 10
	}
	return r
}
