package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/wire/link"
)

// How long the folders of ended attempts are kept, and how many of them.
const (
	sweepEvery = 10 * time.Minute
	keepDirs   = 24 * time.Hour
	maxDirs    = 20_000
)

// sweep removes the folders of attempts that ended long ago.
func (a *Agent) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		a.sweepOnce()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

type oldDir struct {
	path string
	when time.Time
}

func (a *Agent) sweepOnce() {
	paths, err := filepath.Glob(filepath.Join(a.cfg.Home.Namespaces(), "*", "tasks", "*"))
	if err != nil {
		return // the pattern is our own
	}
	inUse := map[string]bool{}
	a.mu.Lock()
	for _, x := range a.live {
		inUse[x.dir] = true
	}
	a.mu.Unlock()
	var dirs []oldDir
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && !inUse[p] {
			dirs = append(dirs, oldDir{p, info.ModTime()})
		}
	}
	slices.SortFunc(dirs, func(x, y oldDir) int { return x.when.Compare(y.when) })
	for i, d := range dirs {
		if len(dirs)-i <= maxDirs && a.cfg.Now().Sub(d.when) < keepDirs {
			return
		}
		if err := os.RemoveAll(d.path); err != nil {
			a.cfg.Log.Warn("cannot remove an old attempt's folder", "path", d.path, "error", err)
		}
	}
}

// sweepRunners has the runners remove what earlier processes left behind.
func (a *Agent) sweepRunners(ctx context.Context) {
	known := func(id api.TaskID, n uint32) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.live[link.Attempt{Task: id, Number: n}] != nil
	}
	for kind, r := range a.cfg.Runners {
		if s, ok := r.(runner.Sweeper); ok {
			if err := s.Sweep(ctx, known); err != nil && ctx.Err() == nil {
				a.cfg.Log.Warn("cannot remove what earlier attempts left behind", "kind", kind, "error", err)
			}
		}
	}
}
