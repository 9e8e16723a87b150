package agent

import (
	"context"
	"sync"

	"github.com/saki-run/saki/wire"
	"github.com/saki-run/saki/wire/link"
)

// reports gathers news for the master. News that comes while no stream is up is dropped: the next Hello tells it all.
type reports struct {
	mu   sync.Mutex
	up   bool
	next link.Report
	news *link.Info
	wake chan struct{}
}

func newReports() *reports { return &reports{wake: make(chan struct{}, 1)} }

// open starts gathering for a new stream.
func (r *reports) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up, r.next, r.news = true, link.Report{}, nil
}

func (r *reports) isUp() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up
}

func (r *reports) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up = false
}

func (r *reports) started(at link.Attempt) {
	r.add(func() { r.next.Started = append(r.next.Started, at) })
}

func (r *reports) ended(es ...link.Ended) {
	r.add(func() { r.next.Ended = append(r.next.Ended, es...) })
}

func (r *reports) info(i *link.Info) { r.add(func() { r.news = i }) }

func (r *reports) add(change func()) {
	r.mu.Lock()
	if r.up {
		change()
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// send writes what gathers to conn until ctx ends or the stream breaks.
func (r *reports) send(ctx context.Context, conn *wire.Conn) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		r.mu.Lock()
		rep, news := r.next, r.news
		r.next, r.news = link.Report{}, nil
		r.mu.Unlock()
		if news != nil {
			if err := conn.Send(link.TypeInfo, news); err != nil {
				return err
			}
		}
		if len(rep.Started)+len(rep.Ended) == 0 {
			continue
		}
		if err := conn.Send(link.TypeReport, rep); err != nil {
			return err
		}
	}
}
