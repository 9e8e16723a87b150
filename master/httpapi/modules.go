package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/blob"
	"github.com/saki-run/saki/master/core"
	"github.com/saki-run/saki/wasm"
)

// ModuleDetail is a module with what its bytes say of it.
type ModuleDetail struct {
	Module *api.Module `json:"module"`
	Info   *wasm.Info  `json:"info"`
}

// upload takes a place among the uploads under way.
func (s *Server) upload() (done func(), err error) {
	select {
	case s.uploads <- struct{}{}:
		return func() { <-s.uploads }, nil
	default:
		return nil, api.Errorf(api.CodeOverloaded, "%d uploads are under way", cap(s.uploads)).WithHint("try again in a moment")
	}
}

func (s *Server) pushModule(w http.ResponseWriter, r *http.Request) error {
	tag := r.URL.Query().Get("tag")
	if tag != "" {
		ref, err := api.ParseModuleRef(tag)
		if err != nil {
			return err
		}
		if ref.Digest != "" {
			return api.Errorf(api.CodeInvalidArgument, "a tag is name:tag, not a digest")
		}
		tag = ref.String()
	}
	done, err := s.upload()
	if err != nil {
		return err
	}
	defer done()
	b, err := readBody(w, r, api.MaxModule)
	if err != nil {
		return err
	}
	info, err := checkModule(b)
	if err != nil {
		return err
	}
	digest, size, err := s.keep(r, bytes.NewReader(b), "", int64(api.MaxModule))
	if err != nil {
		return err
	}
	s.infos.put(digest, info)
	events, err := s.cfg.Engine.Do(r.Context(), &core.PutModule{Module: api.Module{Digest: digest, Size: size, Entry: info.Kind}, Tag: tag})
	if err != nil {
		return err
	}
	status := http.StatusOK
	var m *api.Module
	for _, e := range events {
		if e.Type == api.EventModuleAdded {
			status = http.StatusCreated
		}
		m = e.Module
	}
	return writeJSON(w, status, m)
}

// checkModule refuses what no agent could run, with the code and words for the person who built it.
func checkModule(b []byte) (*wasm.Info, error) {
	info, err := wasm.Check(b, wasm.DefaultLimits())
	if e, ok := errors.AsType[*wasm.Error](err); ok {
		code := api.Code(e.Code)
		if e.Code == wasm.CodeTooLarge {
			code = api.CodeTooLarge
		}
		out := api.Errorf(code, "%s", e.Error())
		switch e.Code {
		case wasm.CodeComponent:
			out = api.Errorf(code, "%s", e.Msg).WithHint("rebuild for wasm32-wasip1, e.g. GOOS=wasip1 GOARCH=wasm go build")
		case wasm.CodeInvalid:
			out = out.WithHint("a module begins with the bytes 00 61 73 6d 01 00 00 00; was the file cut short, or is it text?")
		}
		return nil, out
	}
	if err != nil {
		return nil, err
	}
	if err := checkImports(info); err != nil {
		return nil, err
	}
	return info, nil
}

// wasi is the one module that guests may import from.
const wasi = "wasi_snapshot_preview1"

func checkImports(info *wasm.Info) error {
	offered := func(module, name string) (string, bool) {
		if module != wasi {
			return "", false
		}
		return wasm.WASIPreview1(name)
	}
	var bad []string
	for _, im := range wasm.UnknownImports(info, func(m, n string) bool { _, ok := offered(m, n); return ok }) {
		bad = append(bad, wasm.Escape(im.Module)+"."+wasm.Escape(im.Name)+" "+im.Signature)
	}
	for _, im := range wasm.WrongSignatures(info, offered) {
		bad = append(bad, fmt.Sprintf("%s.%s %s (the host offers %s)", wasm.Escape(im.Module), wasm.Escape(im.Name), im.Signature, im.Offered))
	}
	if len(bad) == 0 {
		return nil
	}
	const most = 20
	more := ""
	if len(bad) > most {
		more = fmt.Sprintf(" and %d more", len(bad)-most)
		bad = bad[:most]
	}
	return api.Errorf(api.CodeUnknownImport, "the module imports what no agent offers: %s%s", strings.Join(bad, ", "), more).
		WithHint("build for WASI preview 1 (wasm32-wasip1), whose functions are in %s", wasi)
}

// resolve replaces the module's name by its digest and checks that the task can be run.
func (s *Server) resolve(ctx context.Context, w *api.WasmSpec, mem api.Bytes) error {
	ref, err := api.ParseModuleRef(w.Module)
	if err != nil {
		return err
	}
	m, err := s.cfg.View().FindModule(ref)
	if err != nil {
		return err
	}
	w.Module = string(m.Digest)
	info, err := s.info(ctx, m.Digest)
	if err != nil {
		return err
	}
	entry := w.Func
	if entry == "" {
		entry = "_start"
	}
	var funcs []string
	for _, e := range info.Exports {
		if e.Kind == "func" {
			funcs = append(funcs, e.Name)
		}
	}
	if !slices.Contains(funcs, entry) {
		e := api.Errorf(api.CodeNoEntryPoint, "the module exports no function %s", api.Quote(entry))
		switch best := api.Closest(entry, funcs); {
		case best != "":
			return e.WithHint("did you mean --func %s?", best)
		case len(funcs) > 0:
			return e.WithHint("it exports %s; name one with --func", strings.Join(funcs[:min(5, len(funcs))], ", "))
		}
		return e.WithHint("build a command (with a main function) for wasm32-wasip1")
	}
	for _, mm := range info.Memories {
		if need := api.Bytes(mm.Min) * 64 * api.KiB; need > mem {
			return api.Errorf(api.CodeLimitExceeded, "the module starts with %s of memory, and the task may use %s", need, mem).
				WithHint("run it with --mem %s or more", need)
		}
	}
	return nil
}

// info gives what the module's bytes say of it.
func (s *Server) info(ctx context.Context, d api.Digest) (*wasm.Info, error) {
	if i := s.infos.get(d); i != nil {
		return i, nil
	}
	b, err := s.content(ctx, d)
	if err != nil {
		return nil, err
	}
	i, err := checkModule(b)
	if err == nil {
		s.infos.put(d, i)
	}
	return i, err
}

// content reads what a digest names, from this master's disk or else from another master.
func (s *Server) content(ctx context.Context, d api.Digest) ([]byte, error) {
	b, err := s.cfg.Blobs.Read(string(d))
	if errors.Is(err, blob.ErrNotFound) {
		if err := s.cfg.Fetcher.Fetch(ctx, string(d), s.peerURLs()); err != nil {
			return nil, api.Errorf(api.CodeUnavailable, "no master could give %s: %v", d, err).WithHint("try again when more masters are up")
		}
		b, err = s.cfg.Blobs.Read(string(d))
	}
	return b, err
}

func (s *Server) listModules(w http.ResponseWriter, _ *http.Request) error {
	out := []*api.Module{}
	for m := range s.cfg.View().Modules() {
		out = append(out, m)
	}
	return writeJSON(w, http.StatusOK, out)
}

func (s *Server) inspectModule(w http.ResponseWriter, r *http.Request) error {
	ref, err := api.ParseModuleRef(r.PathValue("ref"))
	if err != nil {
		return err
	}
	m, err := s.cfg.View().FindModule(ref)
	if err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		return writeJSON(w, http.StatusOK, m)
	}
	info, err := s.info(r.Context(), m.Digest)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, ModuleDetail{m, info})
}

func (s *Server) removeModule(w http.ResponseWriter, r *http.Request) error {
	events, err := s.cfg.Engine.Do(r.Context(), &core.RemoveModule{Ref: r.PathValue("ref")})
	if err != nil {
		return err
	}
	if e := events[0]; e.Type != core.Rejected { // a removal gives exactly one event
		return writeJSON(w, http.StatusOK, e.Module)
	}
	return events[0].Err
}

// forgetMemo drops what is remembered of memo tasks.
func (s *Server) forgetMemo(w http.ResponseWriter, r *http.Request) error {
	events, err := s.cfg.Engine.Do(r.Context(), &core.ForgetMemo{})
	if err != nil {
		return err
	}
	n := 0
	for _, e := range events {
		n += e.Count
	}
	return writeJSON(w, http.StatusOK, api.MemoForgotten{Forgotten: n})
}

// infoCache remembers what modules say of themselves, the latest ones.
type infoCache struct {
	mu    sync.Mutex
	max   int
	infos map[api.Digest]*wasm.Info
}

func newInfoCache(n int) *infoCache { return &infoCache{max: n, infos: map[api.Digest]*wasm.Info{}} }

func (c *infoCache) get(d api.Digest) *wasm.Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.infos[d]
}

func (c *infoCache) put(d api.Digest, i *wasm.Info) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.infos) >= c.max {
		for old := range c.infos { // any one: it is read again when it is needed
			delete(c.infos, old)
			break
		}
	}
	c.infos[d] = i
}
