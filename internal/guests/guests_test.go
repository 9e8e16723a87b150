package guests_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/saki-run/saki/internal/guests"
	"github.com/saki-run/saki/internal/guests/cases"
)

// tasks is where the guests' sources are.
const tasks = "../../wasm-tasks"

// module returns a committed guest.
func module(t *testing.T, name string) []byte {
	t.Helper()
	wasm, err := guests.Module(name)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func TestModuleOfAnUnknownNameSaysWhatThereIs(t *testing.T) {
	for _, name := range []string{"", "nothing", "../guests", "hello.wasm"} {
		_, err := guests.Module(name)
		if !errors.Is(err, guests.ErrUnknown) || !strings.Contains(err.Error(), "hello") {
			t.Errorf("Module(%q) = %v, want %v and the names", name, err, guests.ErrUnknown)
		}
	}
}

func TestModuleBelongsToTheCaller(t *testing.T) {
	clear(module(t, "noop"))
	if !bytes.HasPrefix(module(t, "noop"), []byte("\x00asm")) {
		t.Error("writing to the bytes of a guest changed the guest")
	}
}

func TestEveryGuestHasASourceAndEverySourceAGuest(t *testing.T) {
	var sources []string
	for _, pattern := range []string{"wat/*.wat", "c/*.c"} {
		paths, err := filepath.Glob(filepath.Join(tasks, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			sources = append(sources, strings.TrimSuffix(filepath.Base(p), filepath.Ext(p)))
		}
	}
	slices.Sort(sources)
	if got := guests.Names(); !slices.Equal(got, sources) {
		t.Errorf("guests are %q, sources are %q", got, sources)
	}
}

func TestCommittedModulesAreSmall(t *testing.T) {
	for _, name := range guests.Names() {
		if size := len(module(t, name)); size > 64<<10 {
			t.Errorf("%s has %d bytes; a guest of that size is built by make wasm, not committed", name, size)
		}
	}
}

func TestCommittedModulesAreWhatTheirWATAssemblesTo(t *testing.T) {
	wat2wasm, err := exec.LookPath("wat2wasm")
	if err != nil {
		t.Skip("wat2wasm is not installed (Debian: wabt), so the binaries were not compared with their sources")
	}
	sources, err := filepath.Glob(filepath.Join(tasks, "wat", "*.wat"))
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		name := strings.TrimSuffix(filepath.Base(source), ".wat")
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out.wasm")
			if message, err := exec.CommandContext(t.Context(), wat2wasm, source, "-o", out).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, message)
			}
			assembled, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(module(t, name), assembled) {
				t.Errorf("%s.wasm is not what %s assembles to; run wasm-tasks/build.sh --commit", name, source)
			}
		})
	}
}

func TestHelloAndEnvTakeMoreThanAPage(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	h := newHost(t)
	got := h.run(t, module(t, "hello"), cases.Case{Module: "hello", Args: []string{long, "y"}})
	if want := "hello " + long + " y\n"; got.Exit != 0 || string(got.Stdout) != want {
		t.Errorf("hello: exit %d, %d bytes, want 0 and %d", got.Exit, len(got.Stdout), len(want))
	}
	got = h.run(t, module(t, "env"), cases.Case{Module: "env", Env: []string{"LONG=" + long}})
	if want := "LONG=" + long + "\n"; got.Exit != 0 || string(got.Stdout) != want {
		t.Errorf("env: exit %d, %d bytes, want 0 and %d", got.Exit, len(got.Stdout), len(want))
	}
}

func TestEnvKeepsTheOrder(t *testing.T) {
	env := cases.Case{Module: "env", Env: []string{"B=2", "A=1", "EMPTY="}}
	got := newHost(t).run(t, module(t, "env"), env)
	if want := "B=2\nA=1\nEMPTY=\n"; string(got.Stdout) != want {
		t.Errorf("stdout = %q, want %q", got.Stdout, want)
	}
	if got := newHost(t).run(t, module(t, "env"), cases.Case{Module: "env"}); got.Exit != 0 || len(got.Stdout) > 0 {
		t.Errorf("an empty environment: %+v", got)
	}
}

func TestEchoCopiesMoreThanItsBuffer(t *testing.T) {
	in := bytes.Repeat([]byte("0123456789\x00\xff"), 50_000)
	got := newHost(t).run(t, module(t, "echo"), cases.Case{Module: "echo", Stdin: in})
	if got.Exit != 0 || !bytes.Equal(got.Stdout, in) {
		t.Errorf("exit %d, %d bytes that are equal: %t", got.Exit, len(got.Stdout), bytes.Equal(got.Stdout, in))
	}
}

func TestWriteCreatesAndEmptiesTheFile(t *testing.T) {
	h := newHost(t)
	large := bytes.Repeat([]byte("a line\n"), 20_000)
	for _, want := range [][]byte{large, []byte("short\n"), nil} {
		got := h.run(t, module(t, "write"), cases.Case{Module: "write", Args: []string{"/new.txt"}, Stdin: want})
		if got.Exit != 0 || got.Trap || len(got.Stderr) > 0 {
			t.Fatalf("write: %+v", got)
		}
		stored, err := os.ReadFile(filepath.Join(h.dir, "new.txt"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(stored, want) {
			t.Errorf("stored %d bytes, want %d", len(stored), len(want))
		}
	}
	got := h.run(t, module(t, "write"), cases.Case{Module: "write", Args: []string{"/missing/new.txt"}})
	if got.Exit != 1 || string(got.Stderr) != "write: cannot create the file\n" {
		t.Errorf("write into a missing directory: exit %d, stderr %q", got.Exit, got.Stderr)
	}
}

func TestCatPrintsItsFilesInOrder(t *testing.T) {
	h := newHost(t)
	large := bytes.Repeat([]byte("a line\n"), 20_000)
	h.stage(t, map[string][]byte{"/large": large, "/dir/empty": nil, "/small": []byte("small")})
	got := h.run(t, module(t, "cat"), cases.Case{Module: "cat", Args: []string{"/small", "//dir/empty", "large", "small"}})
	if want := "small" + string(large) + "small"; got.Exit != 0 || string(got.Stdout) != want {
		t.Errorf("exit %d, stderr %q, %d bytes, want %d", got.Exit, got.Stderr, len(got.Stdout), len(want))
	}
	if got := h.run(t, module(t, "cat"), cases.Case{Module: "cat", Args: []string{"/dir"}}); got.Exit != 1 || len(got.Stderr) == 0 {
		t.Errorf("cat of a directory: %+v", got)
	}
}

func TestSleepAsksForItsTimeOnce(t *testing.T) {
	h := newHost(t)
	got := h.run(t, module(t, "sleep"), cases.Case{Module: "sleep", Args: []string{"90000"}})
	if got.Exit != 0 || h.slept != 90*time.Second {
		t.Errorf("exit %d, slept %s, want 0 and 1m30s", got.Exit, h.slept)
	}
	for _, args := range [][]string{nil, {"soon"}, {"-5"}} {
		if got := h.run(t, module(t, "sleep"), cases.Case{Module: "sleep", Args: args}); got.Exit != 2 {
			t.Errorf("sleep %q: exit %d, want 2", args, got.Exit)
		}
	}
}

// limited takes so many bytes and fails then, as a closed pipe does.
type limited struct {
	kept bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, io.ErrClosedPipe
	}
	l.left -= len(p)
	return l.kept.Write(p)
}

func TestFloodEndsWhenStdoutIsClosed(t *testing.T) {
	h := newHost(t)
	out := &limited{left: 1 << 20}
	h.out = out
	if got := h.run(t, module(t, "flood"), cases.Case{Module: "flood"}); got.Exit != 1 {
		t.Errorf("exit %d, want 1", got.Exit)
	}
	line := "flood: this line is written again and again until it is stopped\n"
	if want := strings.Repeat(line, (1<<20)/len(line)); out.kept.String() != want {
		t.Errorf("%d bytes, want the line %d times", out.kept.Len(), (1<<20)/len(line))
	}
}

func TestClockRandomDiffersEachTime(t *testing.T) {
	h := newHost(t)
	first := h.run(t, module(t, "clock-random"), cases.Case{Module: "clock-random"})
	second := h.run(t, module(t, "clock-random"), cases.Case{Module: "clock-random"})
	if bytes.Equal(first.Stdout, second.Stdout) {
		t.Errorf("both runs print %q", first.Stdout)
	}
}

func TestReactorAddsOnlyOnceInitialized(t *testing.T) {
	ctx := t.Context()
	runtime := wazero.NewRuntime(ctx)
	defer runtime.Close(context.Background())
	instance, err := runtime.InstantiateWithConfig(ctx, module(t, "reactor"), wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	add := instance.ExportedFunction("add")
	if _, err := add.Call(ctx, 2, 3); err == nil {
		t.Error("add worked before _initialize")
	}
	if _, err := instance.ExportedFunction("_initialize").Call(ctx); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ a, b, want uint32 }{{2, 3, 5}, {0xffffffff, 1, 0}} {
		sum, err := add.Call(ctx, uint64(tt.a), uint64(tt.b))
		if err != nil || uint32(sum[0]) != tt.want {
			t.Errorf("add(%d, %d) = %v, %v, want %d", tt.a, tt.b, sum, err, tt.want)
		}
	}
}
