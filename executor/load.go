package executor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/executor/engine"
	"github.com/saki-run/saki/executor/protocol"
)

// loadKey tells loads apart.
type loadKey struct {
	digest api.Digest
	kind   engine.Kind
}

// loading is a load under way, shared by all who ask for the module.
type loading struct {
	done chan struct{}
	err  error
}

// load reads and compiles a module of the folder, unless it is held. It tells how long the caller has waited.
func (w *worker) load(ctx context.Context, d api.Digest, kind engine.Kind) (time.Duration, error) {
	if w.eng.Has(d, kind) {
		return 0, nil
	}
	began := w.now()
	w.mu.Lock()
	key := loadKey{d, cmp.Or(kind, w.eng.Kind())}
	l := w.loading[key]
	mine := l == nil
	if mine {
		l = &loading{done: make(chan struct{})}
		w.loading[key] = l
	}
	w.mu.Unlock()
	if mine {
		// Others may wait for it: whoever asked first and gave up does not take it away from them.
		go func() {
			l.err = w.compile(context.WithoutCancel(ctx), d, key.kind)
			w.mu.Lock()
			delete(w.loading, key)
			w.mu.Unlock()
			close(l.done)
		}()
	}
	select {
	case <-l.done:
		return w.now().Sub(began), l.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (w *worker) compile(ctx context.Context, d api.Digest, kind engine.Kind) error {
	if _, err := api.ParseDigest(string(d)); err != nil {
		return err
	}
	path := filepath.Join(w.cfg.Dir, protocol.Modules, d.Hex()+".wasm")
	wasm, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("load module: %w", err)
	}
	if got := api.DigestOf(sha256.Sum256(wasm)); got != d {
		return fmt.Errorf("load module %s: the file holds %s", d.Short(), got.Short())
	}
	if w.cfg.Compile != nil {
		if err := w.cfg.Compile(ctx, path, kind); err != nil {
			return err
		}
	}
	return w.eng.LoadFor(ctx, d, kind, wasm)
}

// refusal says why a module could not be loaded.
func refusal(err error) (api.Reason, string) {
	if r, ok := errors.AsType[*engine.Refusal](err); ok {
		return r.Reason, r.Message
	}
	if errors.Is(err, os.ErrNotExist) {
		return api.ReasonModuleNotFound, err.Error()
	}
	return api.ReasonLaunchFailed, err.Error()
}
