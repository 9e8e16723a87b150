package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	wapi "github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/saki-run/saki/wasm"
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

// fuelChunk is how much a metered guest may do before it must come back: a few hundred microseconds' worth. Until it does, it
// cannot be stopped, and a garbage collection waits for it.
const fuelChunk = 200_000

// guestKey finds the guest in the context of a call into the host.
type guestKey struct{}

// yield is what metered guests call when their fuel is used up: to be stopped, or to let others run and go on.
func yield(ctx context.Context, mod wapi.Module, _ []uint64) {
	stopIfDone(ctx)
	g, ok := ctx.Value(guestKey{}).(*guest)
	if !ok {
		return
	}
	if g.fuelLeft != nil { // the very first thing a guest does is to ask; most never do again
		runtime.Gosched()
	}
	fuel, ok := mod.ExportedGlobal(wasm.DefaultFuelGlobal).(wapi.MutableGlobal)
	if !ok {
		return
	}
	left := int64(fuel.Get())
	g.fuelLeft = fuel
	more := max(fuelChunk, fuelChunk-left) // what it is in debt for is granted, too
	if g.inv.Fuel > 0 {
		rest := int64(min(g.inv.Fuel, math.MaxInt64)) - g.fuelAdded
		if rest+left < 0 { // it has used more than it may; where that shows does not depend on the size of a chunk
			panic(errNoFuel)
		}
		more = min(more, rest)
	}
	g.fuelAdded += more
	fuel.Set(uint64(left + more))
}

// errNoFuel ends a guest that has used up its budget.
var errNoFuel = errors.New("out of fuel")

// fuelUsed is what a metered guest has consumed.
func (g *guest) fuelUsed() uint64 {
	if g.fuelLeft == nil {
		return 0
	}
	return uint64(g.fuelAdded - int64(g.fuelLeft.Get()))
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
