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
	// below zero. That is where tasks are stopped and others get their turn. Without it, and for modules that it refuses as
	// [wasm.CodeUnmeterable], wazero's own check makes loops stoppable, and only loops, at 30 to 60 times their cost.
	// Default: none.
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
	pool  pool
	base  wazero.ModuleConfig

	mu     sync.Mutex // guards what follows
	realms map[mode]*realm
	loaded map[modKey]*module
	tick   uint64 // grows with every use, for the least recently used
	bytes  int64
}

// mode is what tells realms apart.
type mode struct {
	kind    Kind
	watched bool // wazero's own cancellation, for modules that are not metered
}

// realm is a runtime of wazero's, and what modules may import in it.
type realm struct {
	wazero.Runtime
	hosts map[string]map[string]wapi.FunctionDefinition
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
	e := &Engine{
		cfg: cfg, kind: cfg.Kind, pool: pool{max: cfg.PoolBytes},
		realms: map[mode]*realm{}, loaded: map[modKey]*module{},
	}
	if e.kind == "" {
		e.kind = Probe()
	}
	if e.kind == Compiler && Probe() != Compiler {
		return nil, errNoNative
	}
	if cfg.CacheDir != "" {
		if err := os.MkdirAll(cfg.CacheDir, 0o700); err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
		cache, err := wazero.NewCompilationCacheWithDir(cfg.CacheDir)
		if err != nil {
			return nil, fmt.Errorf("engine: open cache: %w", err)
		}
		e.cache = cache
	}
	e.base = baseConfig()
	if _, err := e.realm(ctx, mode{e.kind, cfg.Rewrite == nil}); err != nil {
		_ = e.Close(ctx)
		return nil, fmt.Errorf("engine: %w", err)
	}
	return e, nil
}

var errNoNative = errors.New("engine: no native code can be made here")

// realm gives the realm of a mode, and makes it when it is asked for the first time.
func (e *Engine) realm(ctx context.Context, m mode) (*realm, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if rt := e.realms[m]; rt != nil {
		return rt, nil
	}
	rc := wazero.NewRuntimeConfigInterpreter()
	if m.kind == Compiler {
		if Probe() != Compiler {
			return nil, errNoNative
		}
		rc = wazero.NewRuntimeConfigCompiler()
	}
	rc = rc.WithCoreFeatures(features).WithDebugInfoEnabled(false).WithCloseOnContextDone(m.watched)
	if e.cache != nil {
		rc = rc.WithCompilationCache(e.cache)
	}
	rt := &realm{Runtime: wazero.NewRuntimeWithConfig(ctx, rc), hosts: map[string]map[string]wapi.FunctionDefinition{}}
	if err := rt.addHosts(ctx, m); err != nil {
		return nil, errors.Join(err, rt.Close(ctx))
	}
	e.realms[m] = rt
	return rt, nil
}

// addHosts instantiates what modules may import. One that is not metered must not get hold of what metered ones call.
func (rt *realm) addHosts(ctx context.Context, m mode) error {
	names := []string{wasi_snapshot_preview1.ModuleName}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, rt); err != nil {
		return err
	}
	if !m.watched {
		_, err := rt.NewHostModuleBuilder(wasm.DefaultYieldModule).NewFunctionBuilder().
			WithGoModuleFunction(wapi.GoModuleFunc(yield), nil, nil).Export(wasm.DefaultYieldName).Instantiate(ctx)
		if err != nil {
			return err
		}
		names = append(names, wasm.DefaultYieldModule)
	}
	for _, name := range names {
		rt.hosts[name] = rt.Module(name).ExportedFunctionDefinitions()
	}
	return nil
}

// Kind tells how modules are run that ask for nothing else.
func (e *Engine) Kind() Kind { return e.kind }

// Close lets go of all modules and memory. Nothing may run.
func (e *Engine) Close(ctx context.Context) error {
	var err error
	for _, rt := range e.realms {
		err = errors.Join(err, rt.Close(ctx))
	}
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
