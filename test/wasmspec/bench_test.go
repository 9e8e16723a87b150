package wasmspec

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/saki-run/saki/wasm"
	"github.com/saki-run/saki/wasm/build"
)

// tightLoop exports run(n i64), which counts n down to zero, and with mem set also loads and stores on the way.
func tightLoop(mem bool) []byte {
	var m build.Module
	m.Memory(1, 1)
	var access []byte
	if mem {
		access = []byte{0x41, 8, 0x41, 8, 0x28, 2, 0, 0x41, 1, 0x6a, 0x36, 2, 0}
	}
	f := m.Func(m.Type([]byte{build.I64}, nil), nil, []byte{0x03, 0x40}, access,
		[]byte{0x20, 0, 0x42, 1, 0x7d, 0x22, 0, 0x42, 0, 0x52, 0x0d, 0, 0x0b})
	m.Export("run", build.Func, f)
	return m.Bytes()
}

// fib exports run(n i64) -> i64, the naive recursion.
func fib() []byte {
	var m build.Module
	sub := func(n byte) []byte { return []byte{0x20, 0, 0x42, n, 0x7d, 0x10, 0} }
	f := m.Func(m.Type([]byte{build.I64}, []byte{build.I64}), nil, []byte{0x20, 0, 0x42, 2, 0x53, 0x04, 0x7e, 0x20, 0, 0x05},
		sub(1), sub(2), []byte{0x7c, 0x0b})
	m.Export("run", build.Func, f)
	return m.Bytes()
}

// goProgram compiles a Go program to wasip1.
func goProgram(tb testing.TB, source string) []byte {
	tb.Helper()
	dir := tb.TempDir()
	for name, text := range map[string]string{"main.go": source, "go.mod": "module guest\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		tb.Skipf("no Go toolchain that builds for wasip1: %v\n%s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

const helloSource = "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n"

// workSource sorts, hashes, maps, formats and parses for some tens of milliseconds.
const workSource = `package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

type row struct {
	Name string
	Tags []string
	N    int
}

func main() {
	x := uint32(1)
	rows := make([]row, 3000)
	seen := map[string]int{}
	for i := range rows {
		x = x*1664525 + 1013904223
		rows[i] = row{Name: fmt.Sprintf("row-%d", x%1000), N: int(x), Tags: strings.Fields("a b c")}
		seen[rows[i].Name]++
	}
	slices.SortFunc(rows, func(a, b row) int { return a.N - b.N })
	b, err := json.Marshal(rows)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(b)
	for range 200 {
		sum = sha256.Sum256(append(b[:4096:4096], sum[:]...))
	}
	if err := json.Unmarshal(b, &rows); err != nil {
		panic(err)
	}
	fmt.Printf("%d %d %x\n", len(rows), len(seen), sum)
}
`

// compare runs a module plain and metered by turns, so that a busy machine hurts both alike. It reports the median of
// each in nanoseconds, and how many times the plain one's time the metered one takes. prepare does what is not timed.
func compare(b *testing.B, module []byte, prepare func(w *world, module []byte) func()) {
	metered, err := wasm.Meter(module, wasm.MeterOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var runs [2]func()
	for i, bytes := range [][]byte{module, metered} {
		w := newWorld(b, api.CoreFeaturesV2, false)
		if _, err := wasi_snapshot_preview1.Instantiate(b.Context(), w.rt); err != nil {
			b.Fatal(err)
		}
		runs[i] = prepare(w, bytes)
	}
	var times [2][]time.Duration
	for b.Loop() {
		for i, run := range runs {
			start := time.Now()
			run()
			times[i] = append(times[i], time.Since(start))
		}
	}
	var median [2]float64
	for i := range times {
		slices.Sort(times[i])
		median[i] = float64(times[i][len(times[i])/2])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median[0], "plain-ns")
	b.ReportMetric(median[1], "metered-ns")
	b.ReportMetric(median[1]/median[0], "x")
	b.ReportMetric(float64(len(metered))/float64(len(module)), "x-bytes")
}

func benchCall(b *testing.B, module []byte, arg uint64) {
	compare(b, module, func(w *world, module []byte) func() {
		m, err := w.loadRaw(b.Context(), module, "")
		if err != nil {
			b.Fatal(err)
		}
		f := m.ExportedFunction("run")
		stack := make([]uint64, 1)
		return func() {
			stack[0] = arg
			if err := f.CallWithStack(b.Context(), stack); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTightLoop(b *testing.B)  { benchCall(b, tightLoop(false), 1_000_000) }
func BenchmarkMemoryLoop(b *testing.B) { benchCall(b, tightLoop(true), 1_000_000) }
func BenchmarkFib(b *testing.B)        { benchCall(b, fib(), 25) }

// command runs a WASI command to its end.
func (w *world) command(tb testing.TB, c wazero.CompiledModule) {
	tb.Helper()
	m, err := w.rt.InstantiateModule(tb.Context(), c, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		tb.Fatal(err)
	}
	_, err = m.ExportedFunction("_start").Call(tb.Context())
	if exit, ok := errors.AsType[*sys.ExitError](err); err != nil && (!ok || exit.ExitCode() != 0) {
		tb.Fatal(err)
	}
	_ = m.Close(tb.Context())
}

func (w *world) compiled(tb testing.TB, module []byte) wazero.CompiledModule {
	tb.Helper()
	c, err := w.rt.CompileModule(tb.Context(), module)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func BenchmarkGoProgram(b *testing.B) {
	compare(b, goProgram(b, workSource), func(w *world, module []byte) func() {
		c := w.compiled(b, module)
		return func() { w.command(b, c) }
	})
}

func BenchmarkInstantiate(b *testing.B) {
	compare(b, goProgram(b, helloSource), func(w *world, module []byte) func() {
		c := w.compiled(b, module)
		return func() {
			m, err := w.rt.InstantiateModule(b.Context(), c, wazero.NewModuleConfig().WithName("").WithStartFunctions())
			if err != nil {
				b.Fatal(err)
			}
			_ = m.Close(b.Context())
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	compare(b, goProgram(b, helloSource), func(w *world, module []byte) func() {
		n := uint32(0)
		return func() {
			// Another custom section makes another module, which no cache knows.
			n++
			c := w.compiled(b, slices.Concat(module, build.Section(0, build.Name("n"), build.U32(n))))
			_ = c.Close(b.Context())
		}
	})
}
