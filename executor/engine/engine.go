// Package engine runs wasm modules: compiled once, kept, and instantiated afresh for every task. It is the only package that
// knows wazero. DESIGN.md says what wazero cannot be trusted with.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	wapi "github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wasm"
)

// Kind says how modules are run.
type Kind string

// The kinds of engine. The interpreter is ten times slower and more; it is what is left where no native code can be made.
const (
	Compiler    Kind = "compiler"
	Interpreter Kind = "interpreter"
)

// Version names the engine that native code in a cache belongs to.
const Version = "wazero1.12.0"

// features are those of the WebAssembly 2.0 standard. Newer ones (exceptions, threads) have known faults in wazero 1.12.0.
const features = wapi.CoreFeaturesV2

// Config configures an [Engine].
type Config struct {
	// CacheDir keeps native code between processes. Whoever can write there can run code in this process. Default: none kept.
	CacheDir string
	// Kind forces the kind of engine. Default: the compiler where it works.
	Kind Kind
	// Rewrite makes a module metered before it is compiled, as [wasm.Meter] does: the module then exports a counter of fuel,
	// the mutable i64 [wasm.DefaultFuelGlobal], and calls [wasm.DefaultYieldName] of [wasm.DefaultYieldModule] when it is
	// below zero. That is where tasks are stopped and others get their turn. Without it, wazero's own check makes loops
	// stoppable, and only loops, at 30 to 60 times their cost. Default: none.
	Rewrite func(wasm []byte) ([]byte, error)
	// MaxModules is how many compiled modules are held. Default 256.
	MaxModules int
	// MaxModuleBytes is how many bytes of wasm the held modules may have together. Default 512 MiB.
	MaxModuleBytes int64
	// PoolBytes is how much memory of ended tasks is kept for the next ones. Default 64 MiB.
	PoolBytes int
	// Now is the clock. Default [time.Now].
	Now func() time.Time
}

// Engine holds compiled modules and runs them. It is safe for concurrent use.
type Engine struct {
	cfg   Config
	kind  Kind
	cache wazero.CompilationCache
	rt    wazero.Runtime
	pool  pool
	base  wazero.ModuleConfig
	hosts map[string]map[string]wapi.FunctionDefinition // what modules may import

	mu     sync.Mutex
	loaded map[api.Digest]*module
	tick   uint64 // grows with every use, for the least recently used
	bytes  int64
}

// New makes an engine. Close must be called when it is not needed any longer.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.MaxModules == 0 {
		cfg.MaxModules = 256
	}
	if cfg.MaxModuleBytes == 0 {
		cfg.MaxModuleBytes = 512 << 20
	}
	if cfg.PoolBytes == 0 {
		cfg.PoolBytes = 64 << 20
	}
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default of the clock that is passed in
	}
	e := &Engine{cfg: cfg, kind: cfg.Kind, loaded: map[api.Digest]*module{}, pool: pool{max: cfg.PoolBytes}}
	if e.kind == "" {
		e.kind = Probe()
	}
	rc := wazero.NewRuntimeConfigInterpreter()
	if e.kind == Compiler {
		if Probe() != Compiler {
			return nil, errors.New("engine: no native code can be made here")
		}
		rc = wazero.NewRuntimeConfigCompiler()
	}
	rc = rc.WithCoreFeatures(features).WithDebugInfoEnabled(false).WithCloseOnContextDone(cfg.Rewrite == nil)
	if cfg.CacheDir != "" {
		if err := os.MkdirAll(cfg.CacheDir, 0o700); err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
		cache, err := wazero.NewCompilationCacheWithDir(cfg.CacheDir)
		if err != nil {
			return nil, fmt.Errorf("engine: open cache: %w", err)
		}
		e.cache, rc = cache, rc.WithCompilationCache(cache)
	}
	e.rt = wazero.NewRuntimeWithConfig(ctx, rc)
	e.base = baseConfig()
	if err := e.addHosts(ctx); err != nil {
		_ = e.Close(ctx)
		return nil, fmt.Errorf("engine: %w", err)
	}
	return e, nil
}

// addHosts instantiates what modules may import.
func (e *Engine) addHosts(ctx context.Context) error {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, e.rt); err != nil {
		return err
	}
	_, err := e.rt.NewHostModuleBuilder(wasm.DefaultYieldModule).NewFunctionBuilder().
		WithGoModuleFunction(wapi.GoModuleFunc(yield), nil, nil).Export(wasm.DefaultYieldName).Instantiate(ctx)
	if err != nil {
		return err
	}
	e.hosts = map[string]map[string]wapi.FunctionDefinition{}
	for _, name := range []string{wasi_snapshot_preview1.ModuleName, wasm.DefaultYieldModule} {
		e.hosts[name] = e.rt.Module(name).ExportedFunctionDefinitions()
	}
	return nil
}

// Kind tells how modules are run.
func (e *Engine) Kind() Kind { return e.kind }

// Close lets go of all modules and memory. Nothing may run.
func (e *Engine) Close(ctx context.Context) error {
	err := e.rt.Close(ctx)
	if e.cache != nil {
		err = errors.Join(err, e.cache.Close(ctx))
	}
	e.pool.drop()
	return err
}

// Probe tells which kind of engine works in this process. wazero falls back to the interpreter in silence; this is how to know.
var Probe = sync.OnceValue(func() (k Kind) {
	defer func() {
		if recover() != nil {
			k = Interpreter
		}
	}()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
	defer func() { _ = rt.Close(ctx) }()
	mod, err := rt.Instantiate(ctx, probeModule)
	if err != nil {
		return Interpreter
	}
	got, err := mod.ExportedFunction("f").Call(ctx)
	if err != nil || len(got) != 1 || got[0] != 42 {
		return Interpreter
	}
	return Compiler
})

// probeModule exports f: () → i32, which gives 42.
var probeModule = []byte{
	0, 'a', 's', 'm', 1, 0, 0, 0,
	1, 5, 1, 0x60, 0, 1, 0x7f,
	3, 2, 1, 0,
	7, 5, 1, 1, 'f', 0, 0,
	10, 6, 1, 4, 0, 0x41, 42, 0x0b,
}
