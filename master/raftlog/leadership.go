package raftlog

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leadership follows the gains and losses that raft reports. Raft blocks until a report is taken, so they are taken at
// once by a goroutine that does nothing else.
type leadership struct {
	notify chan bool
	wake   chan struct{} // holds one token when something changed

	mu      sync.Mutex // guards the fields below
	number  uint64     // of leaderships gained so far
	current context.Context
	lose    context.CancelFunc
	busy    bool // Leadership is running
}

func newLeadership(done <-chan struct{}) *leadership {
	l := &leadership{notify: make(chan bool, 16), wake: make(chan struct{}, 1), lose: func() {}}
	go l.follow(done)
	return l
}

func (l *leadership) follow(done <-chan struct{}) {
	for {
		select {
		case gained := <-l.notify:
			l.set(gained)
		case <-done:
			l.set(false)
			return
		}
	}
}

// set ends the leadership there is, if any, and begins one if gained: two gains in a row are two leaderships.
func (l *leadership) set(gained bool) {
	l.mu.Lock()
	l.lose()
	if gained {
		l.number++
		l.current, l.lose = context.WithCancel(context.Background())
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// after returns the present leadership if it is a later one than number.
func (l *leadership) after(number uint64) (context.Context, uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.number == number || l.current.Err() != nil {
		return nil, number, false
	}
	return l.current, l.number, true
}

// Leadership calls run once for every leadership of this node, after its state machine has caught up with all that was
// committed before. The context given to run ends with the leadership; run should then return soon, because the next
// leadership waits for it: two runs never overlap. term grows with each and belongs to this node alone, so it may serve
// as a fence. Leadership blocks until ctx ends (nil) or the node stops (ErrClosed). Call it once.
func (n *Node) Leadership(ctx context.Context, run func(ctx context.Context, term uint64)) error {
	l := n.lead
	l.mu.Lock()
	busy := l.busy
	l.busy = true
	l.mu.Unlock()
	if busy {
		return errors.New("raft: Leadership is called twice")
	}
	var number uint64
	for {
		if held, num, ok := l.after(number); ok {
			number = num
			n.reign(ctx, held, run)
			continue
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return nil
		case <-n.done:
			return ErrClosed
		}
	}
}

// reign runs one leadership, which lasts as long as held and ctx.
func (n *Node) reign(ctx, held context.Context, run func(context.Context, uint64)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(held, cancel)()
	for ctx.Err() == nil {
		if err := n.Barrier(ctx); err == nil {
			break
		}
		select { // too busy, or handing over: the leadership is not over yet
		case <-time.After(n.cfg.Timeout / 10):
		case <-ctx.Done():
		}
	}
	if term, ok := n.leaderTerm(); ok && ctx.Err() == nil {
		run(ctx, term)
	}
}

// leaderTerm returns the term that this node leads in. A leader that steps down gives up the state before it takes the new
// term, so the term is its own if it was the same before and after the state was looked at.
func (n *Node) leaderTerm() (uint64, bool) {
	term := n.raft.CurrentTerm()
	return term, n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
}
