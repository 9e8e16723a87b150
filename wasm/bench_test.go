package wasm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/saki-run/saki/wasm"
)

// goHello compiles a Go program that prints a line to wasip1, about 2.5 MB.
func goHello(tb testing.TB) []byte {
	tb.Helper()
	dir := tb.TempDir()
	src := "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n"
	for name, text := range map[string]string{"main.go": src, "go.mod": "module hello\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	out := filepath.Join(dir, "hello.wasm")
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

func BenchmarkCheck(b *testing.B) {
	module := goHello(b)
	b.SetBytes(int64(len(module)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wasm.Check(module, wasm.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMeter(b *testing.B) {
	module := goHello(b)
	b.SetBytes(int64(len(module)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wasm.Meter(module, wasm.MeterOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
