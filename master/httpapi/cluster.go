package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/saki-run/saki/api"
	"github.com/saki-run/saki/master/core"
)

func (s *Server) listNodes(w http.ResponseWriter, _ *http.Request) error {
	out := []*api.Node{}
	for n := range s.cfg.View().Nodes() {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *api.Node) int { return strings.Compare(a.Name, b.Name) })
	return writeJSON(w, http.StatusOK, out)
}

func (s *Server) getNode(w http.ResponseWriter, r *http.Request) error {
	n, err := s.cfg.View().FindNode(r.PathValue("node"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, n)
}

func (s *Server) drain(on bool) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		n, err := s.cfg.View().FindNode(r.PathValue("node"))
		if err != nil {
			return err
		}
		events, err := s.cfg.Engine.Do(r.Context(), &core.Drain{Node: n.ID, On: on})
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Type == core.Rejected {
				return e.Err
			}
			n = e.Node
		}
		return writeJSON(w, http.StatusOK, n)
	}
}

func (s *Server) cluster(w http.ResponseWriter, _ *http.Request) error {
	v := s.cfg.View()
	c := api.ClusterStatus{
		Cluster: s.cfg.Cluster, Index: v.Index(), Modules: v.ModuleCount(), Version: s.cfg.Version.Version,
		Nodes: map[api.NodeState]int{}, Tasks: map[api.State]int{},
	}
	c.Masters, c.Term = s.cfg.Masters()
	for i := range c.Masters {
		if c.Masters[i].Leader {
			c.Leader = &c.Masters[i]
		}
	}
	for _, st := range []api.State{api.Pending, api.Placed, api.Running, api.Finished, api.Failed, api.Killed, api.Lost} {
		c.Tasks[st] = v.Count(st)
	}
	for n := range v.Nodes() {
		c.Nodes[n.State]++
		if n.State == api.NodeReady || n.State == api.NodeDraining {
			// Ports are each machine's own: a sum of them says nothing.
			c.Total = c.Total.Add(api.Resources{CPUs: n.Total.CPUs, Mem: n.Total.Mem, Disk: n.Total.Disk})
			c.Used = c.Used.Add(api.Resources{CPUs: n.Used.CPUs, Mem: n.Used.Mem, Disk: n.Used.Disk})
		}
	}
	return writeJSON(w, http.StatusOK, c)
}

// events streams what happens. A client that reads too slowly misses events and is told so by one of type "missed".
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	var since uint64
	if text := q.Get("since"); text != "" {
		var err error
		if since, err = strconv.ParseUint(text, 10, 64); err != nil {
			return api.Errorf(api.CodeInvalidArgument, "since is %s, not a log index", api.Quote(text))
		}
	}
	follow := q.Get("follow") == "1" || q.Get("follow") == "true"
	sse := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	w.Header().Set("Content-Type", "application/x-ndjson")
	if sse {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	pos := uint64(0)
	for {
		changed := s.cfg.Feed.Changed()
		events, next, missed := s.cfg.Feed.Since(pos)
		if missed && pos > 0 {
			events = append([]api.Event{{Type: "missed", Time: s.cfg.Now(), Message: "the reader was too slow; events are missing here"}}, events...)
		}
		pos = next
		for _, e := range events {
			if e.Index <= since && e.Type != "missed" {
				continue
			}
			b, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if sse {
				_, err = fmt.Fprintf(w, "event: %s\nid: %d\ndata: %s\n\n", e.Type, e.Index, b)
			} else {
				_, err = fmt.Fprintf(w, "%s\n", b)
			}
			if err != nil {
				return err
			}
		}
		if err := rc.Flush(); err != nil || !follow {
			return err
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return nil
		}
	}
}
