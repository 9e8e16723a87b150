package wasmspec

import (
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/saki-run/saki/wasm/hostile"
)

// TestFuelStopsHostileModules runs every case that may reach an engine, with a budget of fuel.
func TestFuelStopsHostileModules(t *testing.T) {
	if testing.Short() {
		t.Skip("running the hostile modules takes some seconds")
	}
	for _, tc := range hostile.Cases() {
		if tc.Want == hostile.Refused || tc.Want == hostile.Slow {
			continue
		}
		t.Run(tc.Name, func(t *testing.T) {
			const pages = 1024 // no case needs more to show what it does
			w := newWorldWith(t, wazero.NewRuntimeConfigCompiler().WithMemoryLimitPages(pages), true)
			w.budget = 50_000_000
			m, err := w.load(t.Context(), tc.Module, "")
			if err == nil {
				_, err = m.ExportedFunction("_start").Call(t.Context())
			}
			noFuel := strings.Contains(trapText(err), errNoFuel.Error())
			switch tc.Want {
			case hostile.Stopped:
				if !noFuel {
					t.Errorf("got %s, want it to run out of fuel", trapText(err))
				}
			case hostile.Trapped:
				if err == nil || noFuel && tc.Name != "recursion" {
					t.Errorf("got %s, want a trap", trapText(err))
				}
			case hostile.Bounded:
				tooLarge := strings.Contains(trapText(err), "over limit")
				if err != nil && !noFuel && !tooLarge {
					t.Errorf("got %s, want it to end, to run out of fuel or to be refused", trapText(err))
				}
			}
		})
	}
}
