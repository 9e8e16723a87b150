package wasm

import (
	"math/rand/v2"
	"testing"

	"github.com/saki-run/saki/wasm/gen"
)

// walk follows one body the way an engine would, deciding every condition by chance, and returns how many instructions
// that cost fuel it has seen and how much the edits have charged for them.
type walk struct {
	b       []byte
	charges map[int]int // by the offset they are inserted at
	ends    map[int]int // offset behind the end of the block that opens at an offset
	elses   map[int]int // offset behind the else of an if
	rand    *rand.Rand
}

// label is an open block: where a branch to it goes on, and whether the block is still open there.
type label struct {
	to   int
	loop bool
}

func newWalk(b []byte, start int, edits []edit, r *rand.Rand) *walk {
	w := &walk{b: b, charges: map[int]int{}, ends: map[int]int{}, elses: map[int]int{}, rand: r}
	for _, e := range edits {
		if e.kind == editCharge || e.kind == editCheck || e.kind == editLoop {
			w.charges[e.at] += int(e.n)
		}
	}
	open := []int{start}
	for p := start; len(open) > 0; {
		in := decode(b, p)
		switch in.code {
		case opBlock, opLoop, opIf:
			open = append(open, in.next)
		case opElse:
			w.elses[open[len(open)-1]] = in.next
		case opEnd:
			w.ends[open[len(open)-1]] = in.next
			open = open[:len(open)-1]
		}
		p = in.next
	}
	return w
}

// run returns false when the walk trapped or was given up, so that the counts need not agree.
func (w *walk) run(start int) (cost, charged int, ended bool) {
	labels := []label{{to: w.ends[start]}}
	p := start
	for range 5_000 {
		charged += w.charges[p]
		in := decode(w.b, p)
		if !in.free {
			cost++
		}
		p = in.next
		target := -1
		switch in.code {
		case opBlock:
			labels = append(labels, label{to: w.ends[p]})
		case opLoop:
			labels = append(labels, label{to: p, loop: true})
			cost-- // paid at the head, below
		case opIf:
			end, other := w.ends[p], w.elses[p]
			taken := w.rand.IntN(2) == 0
			switch {
			case taken || other > 0:
				labels = append(labels, label{to: end})
				if !taken {
					p = other
				}
			default:
				p = end
			}
		case opElse:
			target = 0
		case opEnd:
			labels = labels[:len(labels)-1]
		case opBr:
			target = int(in.arg)
		case opBrIf:
			if w.rand.IntN(2) == 0 {
				target = int(in.arg)
			}
		case opBrTable:
			q := skipNumber(w.b, in.argAt)
			for range w.rand.IntN(int(in.arg) + 1) {
				q = skipNumber(w.b, q)
			}
			l, _ := uleb32(w.b, q)
			target = int(l)
		case opReturn:
			return cost, charged, true
		case opUnreachable:
			return cost, charged, false
		}
		if target >= 0 {
			l := labels[len(labels)-1-target]
			labels = labels[:len(labels)-target]
			if p = l.to; !l.loop {
				labels = labels[:len(labels)-1]
			}
		}
		if in.code == opLoop || target >= 0 && len(labels) > 0 && labels[len(labels)-1].loop && labels[len(labels)-1].to == p {
			cost++
		}
		if len(labels) == 0 {
			return cost, charged, true
		}
	}
	return cost, charged, false
}

func TestChargesAddUpToWhatRuns(t *testing.T) {
	walks, points := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		data := make([]byte, 100+r.IntN(1500))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		module, _ := gen.Module(data)
		eachBody(t, module, func(b []byte, start int, c *costs) {
			w := newWalk(b, start, c.edits, r)
			points += len(w.charges)
			for range 10 {
				cost, charged, ended := w.run(start)
				if !ended {
					continue
				}
				walks++
				if cost+1 != charged { // the call itself costs 1
					t.Fatalf("seed %d: a way through the body at %d costs %d and is charged %d", seed, start, cost+1, charged)
				}
			}
		})
	}
	t.Logf("%d walks over bodies with %d charges in all", walks, points)
	if walks < 5_000 {
		t.Errorf("only %d walks came to an end", walks)
	}
}

// eachBody plans every function body of a module as if it had no locals.
func eachBody(t *testing.T, module []byte, f func(b []byte, start int, c *costs)) {
	t.Helper()
	checked, err := check(module, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var c costs
	for r := (reader{b: module, p: 8}); r.p < len(r.b); {
		id, size := r.byte(""), int(r.u32(""))
		section := reader{b: module[:r.p+size], p: r.p}
		r.p += size
		if id != secCode {
			continue
		}
		for range section.u32("") {
			end := int(section.u32("")) + section.p
			for range section.u32("") {
				section.u32("")
				section.byte("")
			}
			c.plan(module[:end], section.p, 0, uint32(checked.imported))
			f(module[:end], section.p, &c)
			section.p = end
		}
	}
}
