package raftlog

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"
)

// slowWrite is how long a write may take before it is worth a warning.
const slowWrite = 500 * time.Millisecond

// doom ends a node that can no longer keep its promises. The library would go on: a leader whose disk hangs stays leader
// (hashicorp/raft #503), one that cannot write is elected again and again (#614), and some errors make it panic.
type doom struct {
	id   string
	log  *slog.Logger
	exit func(error)
	stop func()

	once sync.Once
	hit  chan struct{} // closed when the end has come
	free chan struct{} // closed by release: parked goroutines may go
	rel  sync.Once
}

func newDoom(cfg Config, stop func()) *doom {
	return &doom{id: cfg.ID, log: cfg.Logger, exit: cfg.Exit, stop: stop, hit: make(chan struct{}), free: make(chan struct{})}
}

// declare ends the node and returns.
func (d *doom) declare(err error) {
	d.once.Do(func() {
		err = fmt.Errorf("raft member %s gives up: %w", d.id, err)
		d.log.Error("raft member gives up", "error", err)
		close(d.hit)
		d.stop()
		d.exit(err)
	})
}

// die ends the node and does not return: the goroutine belongs to raft, which would act on the error or panic.
func (d *doom) die(err error) {
	d.declare(err)
	d.park()
}

// park does not return if the end has come, for example while a write hung that then went through after all.
func (d *doom) park() {
	if d.met() {
		<-d.free
		runtime.Goexit()
	}
}

func (d *doom) met() bool {
	select {
	case <-d.hit:
		return true
	default:
		return false
	}
}

func (d *doom) release() { d.rel.Do(func() { close(d.free) }) }

// watch bounds a write of the disk: if the returned function is not called within limit, the node ends.
func (d *doom) watch(what string, limit time.Duration) (finished func()) {
	start := time.Now()
	timer := time.AfterFunc(limit, func() { d.declare(fmt.Errorf("%s takes more than %v", what, limit)) })
	return func() {
		timer.Stop()
		if took := time.Since(start); took > slowWrite {
			d.log.Warn("the disk is slow", "doing", what, "took", took)
		}
	}
}
