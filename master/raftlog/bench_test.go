package raftlog

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"
)

// null is a state machine that does nothing.
type null struct{}

func (null) Apply(uint64, []byte) any { return nil }
func (null) Snapshot() (func(w io.Writer) error, error) {
	return func(io.Writer) error { return nil }, nil
}
func (null) Restore(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }

// BenchmarkPropose measures 300 B entries: one proposer, then 64 at a time. p50 and p99 are of single proposals.
func BenchmarkPropose(b *testing.B) {
	for _, members := range []int{1, 3} {
		for _, parallel := range []int{1, 64} {
			b.Run(fmt.Sprintf("members=%d/parallel=%d", members, parallel), func(b *testing.B) {
				n := benchLeader(b, members)
				took := make([]time.Duration, b.N)
				next := make(chan int)
				var wg sync.WaitGroup
				b.ResetTimer()
				for range parallel {
					wg.Go(func() {
						data := make([]byte, 300)
						for i := range next {
							start := time.Now()
							if _, _, err := n.Propose(b.Context(), data); err != nil {
								b.Error(err)
							}
							took[i] = time.Since(start)
						}
					})
				}
				for i := range b.N {
					next <- i
				}
				close(next)
				wg.Wait()
				b.StopTimer()
				slices.Sort(took)
				b.ReportMetric(float64(took[b.N/2].Microseconds()), "p50-us")
				b.ReportMetric(float64(took[b.N*99/100].Microseconds()), "p99-us")
			})
		}
	}
}

func benchLeader(b *testing.B, members int) *Node {
	b.Helper()
	var nodes []*Node
	var list []Member
	for i := range members {
		n, err := Open(Config{ID: fmt.Sprint("m", i), Dir: b.TempDir(), Bind: "127.0.0.1:0"}, null{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { n.Close() })
		nodes = append(nodes, n)
		list = append(list, Member{ID: fmt.Sprint("m", i), Addr: string(n.trans.LocalAddr())})
	}
	for _, n := range nodes {
		if err := n.Bootstrap(list); err != nil && !errors.Is(err, ErrHasState) {
			b.Fatal(err)
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		for _, n := range nodes {
			if n.Barrier(b.Context()) == nil {
				return n
			}
		}
	}
	return nil
}
