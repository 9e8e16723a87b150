// Package agent runs a machine's share of the cluster: it keeps a stream to the leading master, runs what the master wants
// through runners, and reports how it ended. Attempts outlive the agent process; the next one finds them again.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/saki-run/saki/agent/journal"
	"github.com/saki-run/saki/agent/runner"
	"github.com/saki-run/saki/agent/table"
	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/blob"
	"github.com/saki-run/saki/wire/link"
)

// Config is what an Agent works with.
type Config struct {
	Home       *Home
	Name       string
	Addr       string // where others reach its HTTP API, host:port
	Total      api.Resources
	Attributes map[string]string
	Version    string
	Runners    map[api.Kind]runner.Runner

	// Masters gives the HTTP addresses of masters, host:port, the likeliest leader first. It is asked again at every try.
	Masters func() []string
	// Fetch gives a store's copy of the content, from whichever master has it.
	Blobs *blob.Store

	// EndTasks, on the way out, ends all tasks and executors instead of leaving them to the next process.
	EndTasks bool

	Now func() time.Time
	Log *slog.Logger
}

// Agent is safe for concurrent use.
type Agent struct {
	cfg     Config
	journal *journal.Journal
	fetch   *blob.Fetcher
	reports *reports
	metrics *metrics

	mu    sync.Mutex
	table *table.Table
	live  map[link.Attempt]*attempt // with Running false
	caps  map[api.Kind]runner.Capability
	wg    sync.WaitGroup

	broken chan error // the journal's fault, which ends Run

	leader  string // hint of the last master that turned us away
	maxTerm uint64
	ctx     context.Context // of Run: ends the attempts
}

// New checks the config and reads the journal. It starts nothing.
func New(cfg Config) (*Agent, error) {
	if err := api.CheckName("node", cfg.Name); err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, table: table.New(), live: map[link.Attempt]*attempt{},
		caps: map[api.Kind]runner.Capability{}, reports: newReports(), metrics: newMetrics(),
		broken: make(chan error, 1),
	}
	var err error
	if a.fetch, err = blob.NewFetcher(blob.FetcherConfig{Store: cfg.Blobs}); err != nil {
		return nil, err
	}
	j, entries, err := journal.Open(cfg.Home.Dir)
	if errors.Is(err, journal.ErrDamaged) {
		aside := filepath.Join(cfg.Home.Dir, "journal.damaged")
		cfg.Log.Error("the journal is damaged; attempts that ran before are lost", "moved_to", aside, "error", err)
		if err := os.Rename(filepath.Join(cfg.Home.Dir, "journal"), aside); err != nil {
			return nil, err
		}
		j, entries, err = journal.Open(cfg.Home.Dir)
	}
	if err != nil {
		return nil, err
	}
	a.journal = j
	for _, e := range entries {
		a.restore(e)
	}
	return a, nil
}

// sources gives where content may be fetched from.
func (a *Agent) sources() []string {
	var out []string
	for _, m := range a.cfg.Masters() {
		out = append(out, "http://"+m)
	}
	return out
}

// Run works until ctx ends: it keeps the stream to the leader and runs what it is given. It then leaves the attempts to the
// next process, or ends them when the config says so, and closes the runners. It ends before ctx when the journal cannot be
// written.
func (a *Agent) Run(ctx context.Context) error {
	run, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	a.ctx = run
	a.probe(ctx)
	a.resume()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.keepStream(gctx) })
	g.Go(func() error { return a.watchRunners(gctx) })
	g.Go(func() error { return a.sweep(gctx) })
	g.Go(func() error {
		select {
		case err := <-a.broken:
			return err
		case <-gctx.Done():
			return nil
		}
	})
	g.Go(func() error { a.sweepRunners(gctx); return nil })
	err := g.Wait()
	if a.cfg.EndTasks {
		stop(&runner.Stop{Reason: api.ReasonSuperseded, Force: true})
	} else {
		stop(runner.ErrDetach)
	}
	a.wg.Wait()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	for _, r := range a.cfg.Runners {
		if c, ok := r.(runner.Closer); ok {
			err = errors.Join(err, c.Close(closing, !a.cfg.EndTasks))
		}
	}
	return errors.Join(err, a.journal.Close())
}

// fail ends Run: without its journal an agent cannot promise that outcomes survive it. Attempts live on; the next process
// finds them once the disk works again.
func (a *Agent) fail(err error) {
	a.cfg.Log.Error("the journal cannot be written; the agent stops", "error", err)
	select {
	case a.broken <- err:
	default:
	}
}

// info is what the agent says of itself.
func (a *Agent) info() api.NodeInfo {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := api.NodeInfo{
		ID: a.cfg.Home.ID, Name: a.cfg.Name, Addr: a.cfg.Addr, Total: a.cfg.Total,
		Attributes: maps.Clone(a.cfg.Attributes), Version: a.cfg.Version,
	}
	if n.Attributes == nil {
		n.Attributes = map[string]string{}
	}
	for _, k := range slices.Sorted(maps.Keys(a.caps)) {
		c := a.caps[k]
		if c.OK {
			n.Runtimes = append(n.Runtimes, k)
		}
		if c.Notice != "" {
			n.Notices = append(n.Notices, fmt.Sprintf("%s: %s", k, c.Notice))
		}
		if c.Executor != "" {
			n.Executor = c.Executor
		}
		maps.Copy(n.Attributes, c.Attributes)
	}
	return n
}

// probe asks every runner what it can do, and reports whether anything has changed.
func (a *Agent) probe(ctx context.Context) (changed bool) {
	for k, r := range a.cfg.Runners {
		c := r.Probe(ctx)
		a.mu.Lock()
		old, known := a.caps[k]
		a.caps[k] = c
		a.mu.Unlock()
		if !known || !same(old, c) {
			changed = true
			a.cfg.Log.Info("runtime", "kind", k, "ok", c.OK, "notice", c.Notice, "executor", c.Executor)
		}
	}
	return changed
}

func same(a, b runner.Capability) bool {
	return a.OK == b.OK && a.Notice == b.Notice && a.Executor == b.Executor && maps.Equal(a.Attributes, b.Attributes)
}

// probeEvery is how often the runners are asked again.
const probeEvery = 2 * time.Second

// watchRunners tells the master when what the agent can run has changed.
func (a *Agent) watchRunners(ctx context.Context) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.Refresh(ctx)
		}
	}
}

// Refresh asks the runners at once what they can do, and tells the master when that has changed.
func (a *Agent) Refresh(ctx context.Context) {
	if a.probe(ctx) && ctx.Err() == nil {
		a.reports.info(&link.Info{Info: a.info(), Holds: a.holds()})
	}
}

// holds lists the content that the agent has on its disk.
func (a *Agent) holds() []api.Digest {
	ds, err := a.cfg.Blobs.List()
	if err != nil {
		a.cfg.Log.Warn("cannot list modules", "error", err)
		return nil
	}
	out := make([]api.Digest, len(ds))
	for i, d := range ds {
		out[i] = api.Digest(d.Digest)
	}
	return out
}
