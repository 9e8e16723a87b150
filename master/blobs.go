package master

import (
	"context"
	"time"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
)

const (
	// syncEvery is how often a master looks for content that it should have and has not.
	syncEvery = 5 * time.Second
	// unusedFor is how long content is kept that no task, or no state, names.
	unusedFor = time.Hour
)

// keepBlobs sees that this master has a copy of all the content that the state names, and drops what it does not name.
func (m *Master) keepBlobs(ctx context.Context) error {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	swept := m.cfg.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		v := m.machine.View()
		for _, d := range v.Content() {
			if !m.blobs.Has(string(d)) {
				if err := m.fetcher.Fetch(ctx, string(d), m.peerURLs()); err != nil && ctx.Err() == nil {
					m.cfg.Log.Warn("cannot fetch content", "digest", d, "error", err)
				}
			}
		}
		if m.cfg.Now().Sub(swept) < unusedFor/10 {
			continue
		}
		swept = m.cfg.Now()
		m.sweepBlobs(v)
		if old := v.UnusedBlobs(unusedFor, swept); len(old) > 0 && m.engine.Leading() {
			if _, err := m.engine.Do(ctx, &core.Forget{Blobs: old}); err != nil && ctx.Err() == nil {
				m.cfg.Log.Warn("cannot forget unused content", "error", err)
			}
		}
	}
}

func (m *Master) peerURLs() []string {
	var out []string
	for _, p := range m.peerAddrs() {
		out = append(out, "http://"+p)
	}
	return out
}

// sweepBlobs removes content that the state has not named for a while.
func (m *Master) sweepBlobs(v core.View) {
	infos, err := m.blobs.List()
	if err != nil {
		m.cfg.Log.Warn("cannot list content", "error", err)
		return
	}
	for _, i := range infos {
		if v.Holds(api.Digest(i.Digest)) || m.cfg.Now().Sub(i.Stored) < unusedFor {
			continue
		}
		if err := m.blobs.Delete(i.Digest); err != nil {
			m.cfg.Log.Warn("cannot remove content", "digest", i.Digest, "error", err)
		}
	}
}
