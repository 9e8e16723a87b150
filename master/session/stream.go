package session

import (
	"sync"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
	"github.com/saki-run/saki/wire"
	"github.com/saki-run/saki/wire/link"
)

// stream is one agent's. ready and holds are guarded by the Manager's mu.
type stream struct {
	node  api.NodeID
	name  string
	conn  *wire.Conn
	reign *reign
	ready bool // may be given tasks
	holds map[api.Digest]bool

	mu    sync.Mutex
	next  link.Desire // what is to be sent
	dirty bool
	wake  chan struct{}
	ended chan struct{}
	once  sync.Once
}

func newStream(h *link.Hello, conn *wire.Conn, r *reign) *stream {
	return &stream{
		node: h.Info.ID, name: h.Info.Name, conn: conn, reign: r, holds: setOf(h.Holds),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

func setOf(ds []api.Digest) map[api.Digest]bool {
	m := make(map[api.Digest]bool, len(ds))
	for _, d := range ds {
		m[d] = true
	}
	return m
}

// add changes what is sent next.
func (s *stream) add(change func(*link.Desire)) {
	s.mu.Lock()
	change(&s.next)
	s.dirty = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// whole sends all that the agent is to run. What was added before stays behind it.
func (s *stream) whole(v core.View) {
	s.add(func(w *link.Desire) {
		w.Whole = true
		seen := map[api.TaskID]bool{}
		for _, t := range w.Run {
			seen[t.ID] = true
		}
		for _, id := range v.OnNode(s.node) {
			t := v.Task(id)
			if seen[id] {
				continue
			}
			w.Run = append(w.Run, t)
			if t.Kill != nil {
				w.Stop = append(w.Stop, stopOf(t))
			}
		}
	})
}

func (s *stream) stop() { s.once.Do(func() { close(s.ended) }) }

// write sends what gathers until the stream ends. Everything that came while one frame was written goes into the next.
func (s *stream) write() {
	ping := time.NewTicker(link.PingEvery * time.Second)
	defer ping.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-ping.C:
			if s.conn.Send(link.TypePing, struct{}{}) != nil {
				return // the reader meets the same fault
			}
		case <-s.wake:
			s.mu.Lock()
			w, dirty := s.next, s.dirty
			s.next, s.dirty = link.Desire{}, false
			s.mu.Unlock()
			if dirty && s.send(w) != nil {
				return
			}
		}
	}
}

// maxRun is how many tasks go into one frame; with the largest stdin and environment each it stays below the frame's limit.
const maxRun = 16

// send writes the desire as one frame, or as several when it names many tasks.
func (s *stream) send(w link.Desire) error {
	rest := w.Run
	for {
		w.Run = rest[:min(len(rest), maxRun)]
		rest = rest[len(w.Run):]
		if w.Whole {
			for _, t := range rest {
				w.Keep = append(w.Keep, link.Attempt{Task: t.ID, Number: t.Attempt})
			}
		}
		stops := w.Stop
		if len(rest) > 0 {
			w.Stop = nil // a stop must not overtake its task
		}
		if err := s.conn.Send(link.TypeDesire, w); err != nil || len(rest) == 0 {
			return err
		}
		w = link.Desire{Stop: stops}
	}
}
