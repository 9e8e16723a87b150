package engine

import (
	"sync"

	"github.com/saki-run/saki/api"
)

// feedSize is how many events a Feed remembers.
const feedSize = 8192

// Feed remembers the latest events for those who read them at their own pace. It is safe for concurrent use. A reader that
// falls behind misses events and is told so; it never holds anybody up.
type Feed struct {
	mu      sync.Mutex
	ring    [feedSize]api.Event
	total   uint64 // events ever
	changed chan struct{}
	waited  bool // somebody has taken changed
}

// NewFeed makes an empty Feed.
func NewFeed() *Feed { return &Feed{changed: make(chan struct{})} }

// Applied is to be called for every applied entry.
func (f *Feed) Applied(a Applied) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.total
	for _, e := range a.Events {
		if p, ok := e.Public(a.Index, a.Now); ok {
			f.ring[f.total%feedSize] = p
			f.total++
		}
	}
	if f.total > n && f.waited {
		close(f.changed)
		f.changed, f.waited = make(chan struct{}), false
	}
}

// Changed gives a channel that is closed at the next event.
func (f *Feed) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waited = true
	return f.changed
}

// Since gives the events from the given position on, the position after them, and whether some before them have been
// dropped. Position 0 is the beginning.
func (f *Feed) Since(pos uint64) (events []api.Event, next uint64, missed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if oldest := f.total - min(f.total, feedSize); pos < oldest {
		pos, missed = oldest, true
	}
	for ; pos < f.total; pos++ {
		events = append(events, f.ring[pos%feedSize])
	}
	return events, pos, missed
}
