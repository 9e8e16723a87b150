package cluster

import (
	"fmt"
	"testing"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/client"
)

// BenchmarkDurableTask is the whole way of a durable task but for its runner: HTTP in, two commits, the agent's stream and
// journal, HTTP out. Client, master and agent share the process.
func BenchmarkDurableTask(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprint(clients, " clients"), func(b *testing.B) {
			c := Start(b, Config{})
			f := NewFake()
			c.AddAgent("a1", "", shellRunner(f), nil)
			cl, err := client.New(client.Config{Addrs: c.URLs()})
			if err != nil {
				b.Fatal(err)
			}
			spec := exit(0)
			if _, err := cl.Run(b.Context(), spec); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.SetParallelism(max(1, clients/2)) // times two processors
			if clients == 1 {
				for range b.N {
					runOne(b, cl, spec)
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					runOne(b, cl, spec)
				}
			})
		})
	}
}

func runOne(b *testing.B, cl *client.Client, spec *api.Spec) {
	if t, err := cl.Run(b.Context(), spec); err != nil || t.State != api.Finished {
		b.Errorf("got %v, %v", t, err)
	}
}
