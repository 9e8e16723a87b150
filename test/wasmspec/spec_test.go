package wasmspec

import (
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/saki-run/saki/wasm"
)

// counts is what a suite came to.
type counts struct {
	modules, returns, traps, refusedByCheck, refusedByEngine, unlinkable, exhausted, text int
}

func TestWebAssembly1(t *testing.T) {
	runSuite(t, core1(t), api.CoreFeaturesV1, counts{modules: 700, returns: 15_000, traps: 400})
}

func TestWebAssembly2(t *testing.T) {
	runSuite(t, core2(t), api.CoreFeaturesV2, counts{modules: 1_000, returns: 40_000, traps: 1_000})
}

// lenient are demands of the suite that the engine knowingly does not meet: it instantiates a module whose active
// element segment does not fit. What is demanded here is that metering changes nothing about it.
var lenient = []string{"out of bounds table access", "elements segment does not fit"}

// runSuite runs every script twice, plain and metered, and demands that at least the given numbers were seen.
func runSuite(t *testing.T, files fs.FS, features api.CoreFeatures, least counts) {
	var sum counts
	for _, s := range scripts(t, files) {
		t.Run(s.Source, func(t *testing.T) {
			r := &runner{files: files, sum: &sum, plain: newWorld(t, features, false), metered: newWorld(t, features, true)}
			r.metered.slice = tinySlice
			r.run(t, s)
		})
	}
	t.Logf("modules %d, answers %d, traps %d, refused by Check %d, by the engine %d, unlinkable %d, exhausted %d, text %d",
		sum.modules, sum.returns, sum.traps, sum.refusedByCheck, sum.refusedByEngine, sum.unlinkable, sum.exhausted, sum.text)
	if sum.modules < least.modules || sum.returns < least.returns || sum.traps < least.traps {
		t.Errorf("the suite is too small: %+v, want at least %+v", sum, least)
	}
}

type runner struct {
	files          fs.FS
	sum            *counts
	plain, metered *world
}

func (r *runner) worlds() []*world { return []*world{r.plain, r.metered} }

func (r *runner) run(t *testing.T, s script) {
	for _, w := range r.worlds() {
		if _, err := w.loadRaw(t.Context(), spectest(), "spectest"); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range s.Commands {
		if c.ModuleType == "text" {
			r.sum.text++ // there is no binary to look at
			continue
		}
		switch c.Type {
		case "module":
			r.module(t, c, registeredAs(s.Commands[i+1:], c.Name))
		case "register": // done by module
		case "action", "assert_return":
			r.answers(t, c)
		case "assert_trap":
			r.sum.traps++
			r.fails(t, c)
		case "assert_exhaustion":
			r.sum.exhausted++
			r.fails(t, c)
		case "assert_invalid", "assert_malformed":
			r.refused(t, c)
		case "assert_unlinkable", "assert_uninstantiable":
			r.sum.unlinkable++
			r.notInstantiated(t, c)
		default:
			t.Errorf("line %d: unknown command %s", c.Line, c.Type)
		}
	}
}

// registeredAs looks for the name that a module will be registered under, which the engine wants to know beforehand.
func registeredAs(rest []command, name string) string {
	latest := true
	for _, c := range rest {
		switch {
		case c.Type == "register" && (c.Name == "" && latest || c.Name != "" && c.Name == name):
			return c.As
		case c.Type == "module" && c.Name != "" && c.Name == name:
			return ""
		case c.Type == "module":
			latest = false
		}
	}
	return ""
}

func (r *runner) read(t *testing.T, c command) []byte {
	t.Helper()
	b, err := fs.ReadFile(r.files, c.Filename)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r *runner) module(t *testing.T, c command, as string) {
	b := r.read(t, c)
	r.sum.modules++
	for _, w := range r.worlds() {
		m, err := w.load(t.Context(), b, as)
		if err != nil {
			t.Errorf("line %d: %s does not load (metered %t): %v", c.Line, c.Filename, w.meter, err)
			continue
		}
		w.modules[""] = m
		if c.Name != "" {
			w.modules[c.Name] = m
		}
	}
}

// answers runs an action in both worlds, and compares the results with each other and with what is expected.
func (r *runner) answers(t *testing.T, c command) {
	r.sum.returns++
	var got [2][]uint64
	for i, w := range r.worlds() {
		res, err := w.do(t.Context(), c.Action)
		if err != nil {
			t.Errorf("line %d: %s (metered %t): %v", c.Line, c.Action.Field, w.meter, err)
			return
		}
		if got[i] = res; c.Type == "action" {
			continue
		}
		if ok, err := matches(c.Expected, res); err != nil || !ok {
			t.Errorf("line %d: %s (metered %t) answers %#x, want %v (%v)", c.Line, c.Action.Field, w.meter, res, c.Expected, err)
		}
	}
	if !slices.Equal(got[0], got[1]) && !slices.ContainsFunc(c.Expected, func(v value) bool { return strings.HasSuffix(v.Type, "ref") }) {
		t.Errorf("line %d: %s answers %#x plain and %#x metered", c.Line, c.Action.Field, got[0], got[1])
	}
}

// fails runs an action in both worlds and demands the same trap.
func (r *runner) fails(t *testing.T, c command) {
	_, plain := r.plain.do(t.Context(), c.Action)
	_, metered := r.metered.do(t.Context(), c.Action)
	if plain == nil || trapText(plain) != trapText(metered) {
		t.Errorf("line %d: %s traps with %q plain and %q metered", c.Line, c.Action.Field, trapText(plain), trapText(metered))
	}
}

// refused demands that Check or the engine refuses a module, and that metering does not help it.
func (r *runner) refused(t *testing.T, c command) {
	b := r.read(t, c)
	if _, err := wasm.Check(b, specLimits); err != nil {
		r.sum.refusedByCheck++
		return
	}
	r.sum.refusedByEngine++
	if _, err := r.plain.rt.CompileModule(t.Context(), b); err == nil {
		t.Errorf("line %d: %s is accepted although %s", c.Line, c.Filename, c.Text)
	}
	metered, err := wasm.Meter(b, specOptions)
	if err != nil {
		t.Errorf("line %d: %s passes Check but not Meter: %v", c.Line, c.Filename, err)
	} else if _, err := r.metered.rt.CompileModule(t.Context(), metered); err == nil {
		t.Errorf("line %d: %s is accepted once it is metered, although %s", c.Line, c.Filename, c.Text)
	}
}

// startIndex is where the engine's error shows the index of the start function, which metering moves up by one.
var startIndex = regexp.MustCompile(`function\[\d+\]`)

// notInstantiated demands that both worlds refuse to link or start a module, for the same reason.
func (r *runner) notInstantiated(t *testing.T, c command) {
	b := r.read(t, c)
	var errs [2]error
	for i, w := range r.worlds() {
		_, errs[i] = w.load(t.Context(), b, "")
	}
	_, refused := errors.AsType[*wasm.Error](errs[0])
	if errs[0] == nil && slices.Contains(lenient, c.Text) {
		refused = errs[1] != nil
	} else {
		refused = refused || errs[0] == nil
	}
	if refused || startIndex.ReplaceAllString(trapText(errs[0]), "") != startIndex.ReplaceAllString(trapText(errs[1]), "") {
		t.Errorf("line %d: %s fails with %q plain and %q metered, want %s", c.Line, c.Filename, trapText(errs[0]), trapText(errs[1]), c.Text)
	}
}
