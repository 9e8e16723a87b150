package engine

import (
	"context"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

// BenchmarkCollectorPauseWhileAGuestLoops measures for how long a garbage collection stops everybody while a guest loops that
// never calls the host by itself, stopping included. The collector can stop a goroutine in Go code at any time, and one in wasm
// only where it comes back: with metering, after fuelChunk units at most.
func BenchmarkCollectorPauseWhileAGuestLoops(b *testing.B) {
	for name, kind := range map[string]Kind{"compiler": Compiler, "interpreter": Interpreter} {
		for _, guest := range []string{"", "spin", "tree", "fill"} {
			b.Run(name+"/"+guest, func(b *testing.B) { collectBeside(b, kind, guest) })
		}
	}
}

func collectBeside(b *testing.B, kind Kind, guest string) {
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	if guest == "" {
		close(ended)
	} else {
		e := newEngine(b, Config{Kind: kind, Rewrite: meter})
		d, began := load(b, e, guest), make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = e.Run(ctx, Invocation{Digest: d, Mem: 64 << 20, Began: func() { close(began) }})
		}()
		<-began
	}
	before := pauses()
	for b.Loop() {
		runtime.GC()
	}
	after := pauses()
	cancel()
	<-ended
	var total uint64
	for i := range after.Counts {
		after.Counts[i] -= before.Counts[i]
		total += after.Counts[i]
	}
	for what, share := range map[string]uint64{"µs-p50": 50, "µs-p99": 99, "µs-max": 100} {
		b.ReportMetric(quantile(after, (total*share+99)/100)*float64(time.Second/time.Microsecond), what)
	}
}

// quantile gives the upper end of the bucket that holds the nth smallest, in seconds.
func quantile(h *metrics.Float64Histogram, nth uint64) float64 {
	var n uint64
	for i, c := range h.Counts {
		if n += c; n >= nth {
			return h.Buckets[i+1]
		}
	}
	return 0
}

func pauses() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64Histogram()
}
