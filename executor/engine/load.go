package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	wapi "github.com/tetratelabs/wazero/api"

	"github.com/saki-run/saki/api"
)

// Refusal is the error of a module that can never be run here.
type Refusal struct {
	Reason  api.Reason
	Message string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

func refuse(format string, args ...any) *Refusal {
	return &Refusal{api.ReasonModuleRefused, fmt.Sprintf(format, args...)}
}

// module is a compiled module. Engine.mu guards the counts.
type module struct {
	digest   api.Digest
	size     int64
	ready    chan struct{} // closed when code or err is set
	code     wazero.CompiledModule
	exports  map[string]wapi.FunctionDefinition
	err      error
	refs     int    // runs under way
	used     uint64 // Engine.tick of the last use
	evicted  bool   // not in Engine.loaded any longer: the last run closes it
	finished bool   // ready is closed
}

// Load compiles a module, unless it is held already. Callers that ask for the same module at once share one compilation. The
// error is a [*Refusal] when the module is at fault. Compiling cannot be cut short: ctx is only obeyed before it begins.
func (e *Engine) Load(ctx context.Context, d api.Digest, wasm []byte) error {
	e.mu.Lock()
	m, ok := e.loaded[d]
	if !ok {
		m = &module{digest: d, size: int64(len(wasm)), ready: make(chan struct{})}
		e.loaded[d] = m
	}
	e.mu.Unlock()
	if ok {
		select {
		case <-m.ready:
			return m.err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	code, err := e.compile(ctx, wasm)
	e.mu.Lock()
	defer e.mu.Unlock()
	m.code, m.err, m.finished = code, err, true
	if err != nil {
		delete(e.loaded, d)
	} else {
		m.exports = code.ExportedFunctions()
		e.bytes += m.size
		e.touchLocked(m)
		e.evictLocked(ctx)
	}
	close(m.ready)
	return err
}

// compile rewrites, compiles and checks one module.
func (e *Engine) compile(ctx context.Context, wasm []byte) (code wazero.CompiledModule, err error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	defer func() {
		if p := recover(); p != nil {
			code, err = nil, refuse("the compiler broke on the module: %v", p)
		}
	}()
	if len(wasm) >= 8 && string(wasm[:4]) == "\x00asm" && wasm[6] == 1 {
		return nil, refuse("the module is a WebAssembly component; saki runs core modules (WASI preview 1)")
	}
	if e.cfg.Rewrite != nil {
		if wasm, err = e.cfg.Rewrite(wasm); err != nil {
			return nil, refuse("the module is refused: %v", err)
		}
	}
	code, err = e.rt.CompileModule(ctx, wasm)
	if err != nil {
		return nil, refuse("the module is invalid: %v", err)
	}
	if err := e.checkImports(code); err != nil {
		_ = code.Close(ctx)
		return nil, err
	}
	return code, nil
}

// checkImports refuses a module that asks for what does not exist, and names all of it.
func (e *Engine) checkImports(code wazero.CompiledModule) error {
	var unknown []string
	for _, f := range code.ImportedFunctions() {
		mod, name, _ := f.Import()
		have, ok := e.hosts[mod][name]
		if !ok || !slices.Equal(have.ParamTypes(), f.ParamTypes()) || !slices.Equal(have.ResultTypes(), f.ResultTypes()) {
			unknown = append(unknown, mod+"."+name)
		}
	}
	for _, m := range code.ImportedMemories() {
		mod, name, _ := m.Import()
		unknown = append(unknown, mod+"."+name+" (a memory)")
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return refuse("the module imports what saki does not have: %s", strings.Join(unknown, ", "))
}

// Loaded lists the modules that are held, the one used last first.
func (e *Engine) Loaded() []api.Digest {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ms []*module
	for _, m := range e.loaded {
		if m.finished {
			ms = append(ms, m)
		}
	}
	slices.SortFunc(ms, func(a, b *module) int { return int(int64(b.used) - int64(a.used)) })
	out := make([]api.Digest, len(ms))
	for i, m := range ms {
		out[i] = m.digest
	}
	return out
}

// Has reports whether the module is held.
func (e *Engine) Has(d api.Digest) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	m, ok := e.loaded[d]
	return ok && m.finished
}

// acquire gives a module to run and keeps it from being closed until release.
func (e *Engine) acquire(d api.Digest) (*module, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m, ok := e.loaded[d]
	if !ok || !m.finished {
		return nil, false
	}
	m.refs++
	e.touchLocked(m)
	return m, true
}

func (e *Engine) release(ctx context.Context, m *module) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m.refs--
	if m.evicted && m.refs == 0 {
		_ = m.code.Close(ctx)
	}
}

func (e *Engine) touchLocked(m *module) {
	e.tick++
	m.used = e.tick
}

// evictLocked lets go of the modules that were used longest ago until the rest is within the limits. The last used one stays.
func (e *Engine) evictLocked(ctx context.Context) {
	for e.overLocked() {
		var oldest *module
		for _, m := range e.loaded {
			if m.finished && m.used != e.tick && (oldest == nil || m.used < oldest.used) {
				oldest = m
			}
		}
		if oldest == nil {
			return
		}
		delete(e.loaded, oldest.digest)
		e.bytes -= oldest.size
		oldest.evicted = true
		if oldest.refs == 0 {
			_ = oldest.code.Close(ctx)
		}
	}
}

func (e *Engine) overLocked() bool {
	return len(e.loaded) > e.cfg.MaxModules || e.bytes > e.cfg.MaxModuleBytes
}
