package api

import (
	"maps"
	"slices"
	"time"
)

// NodeState is how the masters see an agent.
type NodeState string

// The states of a node.
const (
	NodeReady    NodeState = "ready"
	NodeDraining NodeState = "draining" // gets no new tasks
	NodeAway     NodeState = "away"     // out of touch; its tasks may still run
	NodeLost     NodeState = "lost"     // given up; its tasks run elsewhere
)

// NodeInfo is what an agent says of itself when it registers.
type NodeInfo struct {
	ID         NodeID            `json:"id"`
	Name       string            `json:"name"`
	Addr       string            `json:"addr"` // host:port of its HTTP API
	Total      Resources         `json:"total"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Runtimes   []Kind            `json:"runtimes"`           // what it can run now
	Executor   string            `json:"executor,omitempty"` // such as "docker (compiler)"
	Notices    []string          `json:"notices,omitempty"`  // what it cannot do, and why
	Version    string            `json:"version"`
}

// Node is an agent as the cluster knows it. A Node that has been published is never changed.
type Node struct {
	NodeInfo
	State NodeState `json:"state"`
	Used  Resources `json:"used"`
	Tasks int       `json:"tasks"` // placed or running
	Since time.Time `json:"since"` // first registration
	Seen  time.Time `json:"seen"`  // last change of state
}

// Runs reports whether the node can run tasks of the kind.
func (n *Node) Runs(k Kind) bool {
	return slices.Contains(n.Runtimes, k)
}

// Attrs gives the attributes that constraints match on: the node's own and "node" and "id".
func (n *Node) Attrs() map[string]string {
	m := make(map[string]string, len(n.Attributes)+2)
	maps.Copy(m, n.Attributes)
	m["node"], m["id"] = n.Name, string(n.ID)
	return m
}
