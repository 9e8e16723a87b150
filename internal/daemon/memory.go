package daemon

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	trimEvery = 5 * time.Second
	quiet     = 4 << 20  // bytes allocated within trimEvery: nothing much is going on
	busy      = 32 << 20 // bytes allocated since the last trim: there is garbage worth collecting
)

// trimMemory gives memory back to the system once a busy time is over, until ctx ends.
func trimMemory(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	last := allocated()
	trimmed := last
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := allocated()
		if now-last < quiet && now-trimmed > busy {
			debug.FreeOSMemory()
			trimmed = now
		}
		last = now
	}
}

// allocated is how many bytes the process has ever allocated on its heap.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
