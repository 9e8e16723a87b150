package hostile

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wasm/hostile"
)

// Limits of what is tried.
const (
	deadline    = time.Second
	grace       = 2 * time.Second         // past its deadline, an offender must be gone
	compileMost = 30*time.Second + grace  // a module is refused that takes longer to compile
	memory      = 64 * api.MiB            // of an offender
	memoryLeft  = 384 << 20               // what the executor may keep beyond what it had: freed Go memory goes back slowly
	settleIn    = 30 * time.Second        // for memory to go back
	quietFor    = 1500 * time.Millisecond // of the neighbour alone
)

// few are the cases of a short run: one of each shape.
var few = []string{"magic", "in_elem", "bigfn", "loop", "startloop", "expcall", "fill", "recursion", "memgrow", "sleep"}

// offender is a case and how it is run.
type offender struct {
	hostile.Case
	with func(*api.Spec)
}

// offenders are the modules that are made to hurt, and guests that do harm with what every guest may do.
func offenders(w *world) []offender {
	var all []offender
	for _, c := range hostile.Cases() {
		all = append(all, offender{Case: c})
	}
	for _, g := range []struct {
		name, what string
		args       []string
		want       string
	}{
		{"sleep", "it sleeps for an hour", []string{"3600000"}, hostile.Stopped},
		{"flood", "it writes without end", nil, hostile.Bounded},
		{"grow", "it asks for memory until it gets none", nil, hostile.Bounded},
	} {
		all = append(all, offender{
			Case: hostile.Case{Name: g.name, What: g.what, Module: w.bytes(g.name), Want: g.want},
			with: func(s *api.Spec) { s.Wasm.Args = g.args },
		})
	}
	if testing.Short() {
		all = slices.DeleteFunc(all, func(o offender) bool { return !slices.Contains(few, o.Name) })
	}
	return all
}

func TestHostile(t *testing.T) {
	t.Run("process", func(t *testing.T) {
		w := processes(t)
		try(t, w, api.EngineCompiler, offenders(w))
	})
	t.Run("interpreter", func(t *testing.T) {
		w := processes(t)
		all := slices.DeleteFunc(offenders(w), func(o offender) bool { return o.Want == hostile.Refused })
		try(t, w, api.EngineInterpreter, all)
	})
	t.Run("docker", func(t *testing.T) {
		if testing.Short() {
			t.Skip("containers take seconds")
		}
		w := containers(t)
		cut := func(o offender) bool { return o.Want == hostile.Slow || strings.HasPrefix(o.Name, "cut") }
		try(t, w, api.EngineCompiler, slices.DeleteFunc(offenders(w), cut)) // those have been through the same compiler already
	})
}

// try runs the offenders one after the other beside a neighbour, and prints what has become of them.
func try(t *testing.T, w *world, engine string, all []offender) {
	if out, err := w.run(w.task("warm", w.guest("noop"))); err != nil || out.State != api.Finished {
		t.Fatalf("the executor does not work: %+v, %v", out, err)
	}
	n := newNeighbour(t, w)
	time.Sleep(quietFor) // it is what is measured
	quiet, before := n.since(), w.resident()
	busy := n.besideABusyProcess(t)
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "case\toutcome\treason\ttook\tneighbour p50\tp99\tto quiet\tto busy\ttasks\n")
	row := func(name string, end string, took time.Duration, s seen) {
		fmt.Fprintf(tw, "%s\t%s\t%v\t%v\t%v\t%.1f\t%.1f\t%d\n", name, end, round(took), round(s.p50), round(s.p99),
			ratio(s.p99, quiet.p99), ratio(s.p99, busy.p99), s.tasks)
	}
	row("(quiet)", "\t", quietFor, quiet)
	row("(busy)", "\t", quietFor, busy)
	for _, o := range all {
		took, out := attack(t, w, engine, o)
		s := n.since()
		row(o.Name, string(out.State)+"\t"+string(out.Reason), took, s)
		if len(s.lost) > 0 {
			t.Errorf("%s: the neighbour has lost %d of %d tasks, such as: %s", o.Name, len(s.lost), s.tasks, s.lost[0])
		}
		if started := w.launcher.started.Load(); started != 1 {
			t.Fatalf("%s: the executor was started again", o.Name)
		}
	}
	n.stop()
	left := w.settle(before + memoryLeft)
	fmt.Fprintf(tw, "(memory)\t%s before\t%s after\n", api.Bytes(before), api.Bytes(left))
	if left > before+memoryLeft {
		t.Errorf("the executor had %s and keeps %s", api.Bytes(before), api.Bytes(left))
	}
	_ = tw.Flush()
	_, _ = io.WriteString(t.Output(), table.String())
}

// attack runs an offender and looks whether it has ended as it should.
func attack(t *testing.T, w *world, engine string, o offender) (time.Duration, api.Outcome) {
	t.Helper()
	once := func() (time.Duration, api.Outcome) {
		task := w.task(o.Name, w.push(o.Module))
		task.Spec.Timeout, task.Spec.Resources.Mem, task.Spec.Wasm.Engine = api.Duration(deadline), memory, engine
		if o.with != nil {
			o.with(task.Spec)
		}
		began := time.Now()
		out, err := w.run(task)
		if err != nil {
			t.Errorf("%s: the runner broke: %v", o.Name, err)
		}
		return time.Since(began), out
	}
	took, out := once()
	want := ends[o.Want]
	if o.Name == "unknownimport" { // to a test without a host it is an error when it is instantiated
		want = ends[hostile.Refused]
	}
	if !slices.Contains(want, out.Reason) {
		t.Errorf("%s (%s): got %s (%s: %s), want one of %q", o.Name, o.What, out.State, out.Reason, out.Message, want)
	}
	limit := deadline + grace
	if o.Want == hostile.Slow {
		limit = compileMost
	}
	if init := time.Duration(out.Receipt.InitNS); took-init > limit { // its deadline is of its run: compiling has limits of its own
		t.Errorf("%s: it took %v, of which %v to compile; want at most %v", o.Name, took, init, limit)
	}
	if out.Reason == api.ReasonCompileLimit {
		if again, out := once(); out.Reason != api.ReasonCompileLimit || again > time.Second {
			t.Errorf("%s: the second time it was %s after %v, want that it is remembered", o.Name, out.Reason, again)
		}
	}
	return took, out
}

// ends are the reasons that are right for each kind of case; the empty one is of a task that finished.
var ends = map[string][]api.Reason{
	hostile.Refused: {api.ReasonModuleRefused},
	hostile.Stopped: {api.ReasonDeadline},
	hostile.Trapped: {api.ReasonTrap, api.ReasonDeadline},
	hostile.Bounded: {"", api.ReasonExit, api.ReasonMemoryLimit, api.ReasonTrap, api.ReasonDeadline},
	hostile.Slow:    {"", api.ReasonCompileLimit, api.ReasonDeadline},
}

// settle waits until the executor has at most so much memory, and gives what it has.
func (w *world) settle(most int64) int64 {
	late := time.Now().Add(settleIn)
	for {
		have := w.resident()
		if have <= most || time.Now().After(late) {
			return have
		}
		time.Sleep(200 * time.Millisecond) // of the kernel and the collectors, which tell nobody
	}
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(1, b)) }

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
