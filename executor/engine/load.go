package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	wapi "github.com/tetratelabs/wazero/api"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wasm"
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

// modKey tells compiled modules apart.
type modKey struct {
	digest api.Digest
	kind   Kind
}

// key names a module. No kind is the engine's own.
func (e *Engine) key(d api.Digest, k Kind) modKey { return modKey{d, cmp.Or(k, e.kind)} }

// module is a compiled module. Engine.mu guards the counts.
type module struct {
	modKey
	compiled // set when it is ready
	size     int64
	ready    chan struct{} // closed when code or err is set
	exports  map[string]wapi.FunctionDefinition
	err      error
	refs     int    // runs under way
	used     uint64 // Engine.tick of the last use
	evicted  bool   // not in Engine.loaded any longer: the last run closes it
	finished bool   // ready is closed
}

// compiled is code and the runtime that runs it.
type compiled struct {
	rt      *realm
	code    wazero.CompiledModule
	metered bool
}

// Load is [Engine.LoadFor] with the kind of engine that runs modules that ask for nothing else.
func (e *Engine) Load(ctx context.Context, d api.Digest, wasm []byte) error {
	return e.LoadFor(ctx, d, "", wasm)
}

// LoadFor compiles a module for a kind of engine, unless it is held already; no kind is the engine's own. Callers that ask for
// the same module at once share one compilation. The error is a [*Refusal] when the module is at fault. Compiling cannot be cut
// short: ctx is only obeyed before it begins.
func (e *Engine) LoadFor(ctx context.Context, d api.Digest, kind Kind, wasm []byte) error {
	key := e.key(d, kind)
	e.mu.Lock()
	m, ok := e.loaded[key]
	if !ok {
		m = &module{modKey: key, size: int64(len(wasm)), ready: make(chan struct{})}
		e.loaded[key] = m
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
	c, err := e.compile(ctx, key.kind, wasm)
	e.mu.Lock()
	defer e.mu.Unlock()
	m.compiled, m.err, m.finished = c, err, true
	if err != nil {
		delete(e.loaded, key)
	} else {
		m.exports = c.code.ExportedFunctions()
		e.bytes += m.size
		e.touchLocked(m)
		e.evictLocked(ctx)
	}
	close(m.ready)
	return err
}

// compile rewrites, compiles and checks one module.
func (e *Engine) compile(ctx context.Context, kind Kind, bin []byte) (c compiled, err error) {
	if err := ctx.Err(); err != nil {
		return c, context.Cause(ctx)
	}
	defer func() {
		if p := recover(); p != nil {
			c, err = compiled{}, refuse("the compiler broke on the module: %v", p)
		}
	}()
	if len(bin) >= 8 && string(bin[:4]) == "\x00asm" && bin[6] == 1 {
		return c, refuse("the module is a WebAssembly component; saki runs core modules (WASI preview 1)")
	}
	if e.cfg.Rewrite != nil {
		rewritten, err := e.cfg.Rewrite(bin)
		c.metered = err == nil
		if w, ok := errors.AsType[*wasm.Error](err); ok && w.Code == wasm.CodeUnmeterable {
			rewritten, err = wasm.Strip(bin), nil // it has passed the check
		}
		if err != nil {
			return c, refuse("the module is refused: %v", err)
		}
		bin = rewritten
	}
	if c.rt, err = e.realm(ctx, mode{kind, !c.metered}); err != nil {
		return c, err
	}
	c.code, err = c.rt.CompileModule(ctx, bin)
	if err != nil {
		return c, refuse("the module is invalid: %v", err)
	}
	if err := c.rt.checkImports(c.code); err != nil {
		_ = c.code.Close(ctx)
		return c, err
	}
	return c, nil
}

// checkImports refuses a module that asks for what does not exist, and names all of it.
func (rt *realm) checkImports(code wazero.CompiledModule) error {
	var unknown []string
	for _, f := range code.ImportedFunctions() {
		mod, name, _ := f.Import()
		have, ok := rt.hosts[mod][name]
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

// Loaded lists the modules that are held for the engine's own kind, the one used last first.
func (e *Engine) Loaded() []api.Digest {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ms []*module
	for _, m := range e.loaded {
		if m.finished && m.kind == e.kind {
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

// Has reports whether the module is held for a kind of engine; no kind is the engine's own.
func (e *Engine) Has(d api.Digest, kind Kind) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	m, ok := e.loaded[e.key(d, kind)]
	return ok && m.finished
}

// acquire gives a module to run and keeps it from being closed until release.
func (e *Engine) acquire(d api.Digest, kind Kind) (*module, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m, ok := e.loaded[e.key(d, kind)]
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
		delete(e.loaded, oldest.modKey)
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
