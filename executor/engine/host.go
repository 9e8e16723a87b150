package engine

import (
	"context"
	"crypto/rand"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/sys"
)

// hostModule and yieldFunc name the import that rewritten modules call now and then.
const (
	hostModule = "saki"
	yieldFunc  = "yield"
)

// baseConfig is what the configs of all tasks have in common: real clocks and real randomness, which wazero does not give by
// itself, and no name, so that no other instance can import from it.
func baseConfig() wazero.ModuleConfig {
	return wazero.NewModuleConfig().
		WithName("").
		WithStartFunctions().
		WithSysWalltime().
		WithSysNanotime().
		WithOsyield(runtime.Gosched).
		WithRandSource(rand.Reader)
}

// stopIfDone ends the guest that has called into the host, when its task is to end.
func stopIfDone(ctx context.Context) {
	if ctx.Err() != nil {
		panic(sys.NewExitError(sys.ExitCodeContextCanceled))
	}
}

// yield is where rewritten modules can be stopped, and where they let other goroutines run.
func yield(ctx context.Context, _ []uint64) {
	stopIfDone(ctx)
	runtime.Gosched()
}

// sleeper gives a sleep that ends, with the guest, when the task is to end.
func sleeper(ctx context.Context) func(ns int64) {
	return func(ns int64) {
		if ns <= 0 {
			stopIfDone(ctx)
			return
		}
		t := time.NewTimer(time.Duration(ns))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			stopIfDone(ctx)
		}
	}
}
