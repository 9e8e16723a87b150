package engine

import (
	"bytes"
	"crypto/sha256"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wasm/build"
)

func TestADeterministicRunIsTheSameEveryTime(t *testing.T) {
	for _, cfg := range []Config{{Rewrite: meter}, {Rewrite: meter, Kind: Interpreter}} {
		e := newEngine(t, cfg)
		d := load(t, e, "clock-random")
		run := func(change func(*Invocation)) (string, api.Outcome) {
			var stdout bytes.Buffer
			inv := Invocation{Digest: d, Name: "x", Stdout: &stdout, Deterministic: true}
			if change != nil {
				change(&inv)
			}
			out, err := e.Run(t.Context(), inv)
			if err != nil || out.State != api.Finished {
				t.Fatalf("got %+v, %v", out, err)
			}
			return stdout.String(), out
		}
		first, out := run(nil)
		if !out.Receipt.Deterministic || out.Receipt.Fuel == 0 {
			t.Errorf("the receipt: %+v", out.Receipt)
		}
		if again, out2 := run(nil); again != first || out2.Receipt.Fuel != out.Receipt.Fuel {
			t.Errorf("first %q with fuel %d, then %q with %d", first, out.Receipt.Fuel, again, out2.Receipt.Fuel)
		}
		if other, _ := run(func(inv *Invocation) { inv.Seed = []byte("other") }); other == first {
			t.Errorf("another seed gave the same: %q", other)
		}
		if other, out := run(func(inv *Invocation) { inv.Deterministic = false }); other == first || out.Receipt.Deterministic {
			t.Errorf("the real world gave the same: %q, %+v", other, out.Receipt)
		}
	}
}

func TestVirtualTimeStartsIn2000AndMovesWhenItIsUsed(t *testing.T) {
	v := NewVirtual([32]byte{})
	sec, ns := v.Walltime()
	if at := time.Unix(sec, int64(ns)).UTC(); at != time.Date(2000, 1, 1, 0, 0, 0, 1000, time.UTC) {
		t.Errorf("the first look gave %v", at)
	}
	began := v.Nanotime()
	v.Sleep(t.Context(), int64(time.Hour))
	if slept := v.Nanotime() - began; slept != int64(time.Hour+time.Microsecond) {
		t.Errorf("an hour took %v", time.Duration(slept))
	}
	for range 3 {
		v.Sleep(t.Context(), math.MaxInt64)
	}
	v.Sleep(t.Context(), -5)
	if v.Nanotime() < 0 {
		t.Error("the clock went round")
	}
}

func TestASleepingGuestTakesNoTimeWhenItIsDeterministic(t *testing.T) {
	e := newEngine(t, Config{Rewrite: meter})
	d := load(t, e, "sleep")
	out, err := e.Run(t.Context(), Invocation{Digest: d, Name: "x", Args: []string{"3600000"}, Deterministic: true})
	if err != nil || out.State != api.Finished || out.Receipt.RunNS > time.Minute.Nanoseconds() {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestADeterministicRunThatIsStoppedDoesNotSayItCanBeRepeated(t *testing.T) {
	e := newEngine(t, Config{Rewrite: meter})
	out, err := e.Run(t.Context(), Invocation{Digest: load(t, e, "spin"), Deterministic: true, Timeout: 20 * time.Millisecond})
	if err != nil || out.Reason != api.ReasonDeadline || out.Receipt.Deterministic {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestFilesTellNothingOfTheMachineToADeterministicGuest(t *testing.T) {
	b := newBox(t.Context(), &Invocation{Dir: filepath.Join(t.TempDir(), "box"), Deterministic: true})
	t.Cleanup(b.close)
	for _, name := range []string{"b", "a"} {
		if eno := mustOpen(t, b, name, rwCreate).Close(); eno != 0 {
			t.Fatal(eno)
		}
	}
	stB, _ := b.Stat("b")
	stA, eno := b.Stat("a")
	if eno != 0 || stB.Ino != 1 || stA.Ino != 2 || stA.Mtim != Epoch*1e9 || stA.Dev != 1 {
		t.Errorf("got %+v and %+v", stB, stA)
	}
	if eno := b.Unlink("b"); eno != 0 {
		t.Fatal(eno)
	}
	_ = mustOpen(t, b, "c", rwCreate).Close()
	if st, _ := b.Stat("c"); st.Ino != 3 {
		t.Errorf("a new file has inode %d, want 3", st.Ino)
	}
	entries, eno := mustOpen(t, b, ".", 0).Readdir(-1)
	if eno != 0 || len(entries) != 2 || entries[0].Name != "a" || entries[1].Ino != 3 {
		t.Errorf("got %+v, %v", entries, eno)
	}
}

func TestABudgetOfFuelEndsTheGuestAtTheSamePointEveryTime(t *testing.T) {
	e := newEngine(t, Config{Rewrite: meter})
	for _, name := range []string{"spin", "tree", "fill", "startloop"} {
		d := load(t, e, name)
		for _, budget := range []uint64{1, 1000, fuelChunk, 3*fuelChunk + 17} {
			var got []uint64
			for range 3 {
				out, err := e.Run(t.Context(), Invocation{Digest: d, Fuel: budget})
				if err != nil || out.Reason != api.ReasonFuelExhausted || out.ExitCode != api.ExitLimit || out.State != api.Failed {
					t.Fatalf("%s with %d: %+v, %v", name, budget, out, err)
				}
				got = append(got, out.Receipt.Fuel)
			}
			if slices.Max(got) != slices.Min(got) || got[0] <= budget {
				t.Errorf("%s with %d ended at %d", name, budget, got)
			}
		}
	}
}

func TestABudgetThatSufficesChangesNothing(t *testing.T) {
	e := newEngine(t, Config{Rewrite: meter})
	inv := Invocation{Digest: load(t, e, "nbody"), Args: []string{"2000"}}
	free, err := e.Run(t.Context(), inv)
	if err != nil {
		t.Fatal(err)
	}
	for _, budget := range []uint64{free.Receipt.Fuel, free.Receipt.Fuel + 1, math.MaxUint64} {
		inv.Fuel = budget
		if out, err := e.Run(t.Context(), inv); err != nil || out.State != api.Finished || out.Receipt.Fuel != free.Receipt.Fuel {
			t.Errorf("with %d of %d: %+v, %v", budget, free.Receipt.Fuel, out, err)
		}
	}
	inv.Fuel = free.Receipt.Fuel / 2
	if out, err := e.Run(t.Context(), inv); err != nil || out.Reason != api.ReasonFuelExhausted {
		t.Errorf("with half: %+v, %v", out, err)
	}
}

func TestAModuleThatCannotBeMeteredRunsAndSaysSo(t *testing.T) {
	e := newEngine(t, Config{Rewrite: meter})
	var m build.Module
	typ := m.Type(nil, nil)
	m.Export("_start", build.Func, m.Func(typ, nil))
	m.Export("spin", build.Func, m.Func(typ, nil, []byte{0x03, 0x40, 0x0c, 0, 0x0b}))
	m.Global(build.I64, 1, build.I64Const(0))
	m.Export("saki_fuel", 3, 0)
	bin := m.Bytes()
	d := api.DigestOf(sha256.Sum256(bin))
	if err := e.Load(t.Context(), d, bin); err != nil {
		t.Fatal(err)
	}
	if out, err := e.Run(t.Context(), Invocation{Digest: d}); err != nil || out.State != api.Finished || !out.Receipt.Unmetered || out.Receipt.Fuel != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
	out, err := e.Run(t.Context(), Invocation{Digest: d, Func: "spin", Timeout: 50 * time.Millisecond})
	if err != nil || out.Reason != api.ReasonDeadline {
		t.Errorf("a loop: %+v, %v", out, err)
	}
	if out, err := e.Run(t.Context(), Invocation{Digest: d, Fuel: 1000}); err != nil || out.State != api.Failed {
		t.Errorf("with a budget that nobody can keep: %+v, %v", out, err)
	}
}

func TestOneEngineRunsAModuleBothWays(t *testing.T) {
	e := newEngine(t, Config{Rewrite: meter, CacheDir: t.TempDir()})
	d := load(t, e, "nbody")
	bin, err := os.ReadFile("../../internal/guests/nbody.wasm")
	if err != nil {
		t.Fatal(err)
	}
	inv := Invocation{Digest: d, Args: []string{"200"}, Kind: Interpreter}
	if _, err := e.Run(t.Context(), inv); err == nil {
		t.Error("it ran in a kind of engine that it was not loaded for")
	}
	if err := e.LoadFor(t.Context(), d, Interpreter, bin); err != nil {
		t.Fatal(err)
	}
	slow, err1 := e.Run(t.Context(), inv)
	inv.Kind = ""
	fast, err2 := e.Run(t.Context(), inv)
	if err1 != nil || err2 != nil || slow.State != api.Finished || slow.Receipt.Fuel != fast.Receipt.Fuel {
		t.Errorf("got %+v, %v and %+v, %v", slow, err1, fast, err2)
	}
}
