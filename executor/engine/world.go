package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/sys"
)

// World is what a guest is told besides its inputs: the time, and randomness. One guest has it, and calls it from one goroutine.
type World interface {
	// Walltime is the time of day, in seconds since 1970 and nanoseconds.
	Walltime() (sec int64, nsec int32)
	// Nanotime is a clock that never goes back, in nanoseconds.
	Nanotime() int64
	// Sleep returns when ns nanoseconds have gone by in this world, or when ctx has ended.
	Sleep(ctx context.Context, ns int64)
	// Read fills p with randomness.
	Read(p []byte) (int, error)
}

// Epoch is when the clocks of a [Virtual] begin, in seconds since 1970: the first moment of the year 2000. It is also the time
// of every file that its guest asks about.
const Epoch = 946684800

// tick is how far every look at a clock moves it: programs that wait for time to pass see it pass.
const tick = int64(time.Microsecond)

// Virtual is a [World] in which nothing is left to chance: time begins at [Epoch], moves by a microsecond when it is looked at,
// and by as long as the guest sleeps, which takes no real time. Randomness comes of the seed.
type Virtual struct {
	ns   int64 // since Epoch
	rand *rand.ChaCha8
}

var _ World = (*Virtual)(nil)

// NewVirtual makes a world. Equal seeds make equal worlds.
func NewVirtual(seed [32]byte) *Virtual { return &Virtual{rand: rand.NewChaCha8(seed)} }

// Walltime implements [World].
func (v *Virtual) Walltime() (sec int64, nsec int32) {
	v.ns += tick
	return Epoch + v.ns/1e9, int32(v.ns % 1e9)
}

// Nanotime implements [World].
func (v *Virtual) Nanotime() int64 {
	v.ns += tick
	return v.ns
}

// Sleep implements [World]. It does not wait.
func (v *Virtual) Sleep(_ context.Context, ns int64) {
	const century = int64(100 * 365 * 24 * time.Hour)
	v.ns = min(v.ns+max(0, min(ns, century)), century) // a clock must not go round
}

// Read implements [World].
func (v *Virtual) Read(p []byte) (int, error) { return v.rand.Read(p) }

// seed is made of all that is given to the guest but its input and its files.
func (inv *Invocation) seed() [32]byte {
	h := sha256.New()
	add := func(s string) {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	add("saki world 1")
	add(string(inv.Digest))
	add(inv.Func)
	add(string(inv.Seed))
	for _, a := range inv.Args {
		add(a)
	}
	add("environment")
	for _, k := range slices.Sorted(maps.Keys(inv.Env)) {
		add(k)
		add(inv.Env[k])
	}
	return [32]byte(h.Sum(nil))
}

// worldConfig gives a guest its world.
func worldConfig(ctx context.Context, c wazero.ModuleConfig, w World) wazero.ModuleConfig {
	return c.
		WithWalltime(w.Walltime, sys.ClockResolution(time.Microsecond)).
		WithNanotime(w.Nanotime, sys.ClockResolution(time.Microsecond)).
		WithRandSource(w).
		WithNanosleep(func(ns int64) {
			stopIfDone(ctx)
			w.Sleep(ctx, ns)
			stopIfDone(ctx)
		})
}
