package api

import "time"

// ClusterStatus is what saki cluster status shows.
type ClusterStatus struct {
	Cluster string            `json:"cluster"`
	Leader  *MasterStatus     `json:"leader"` // nil while there is none
	Masters []MasterStatus    `json:"masters"`
	Term    uint64            `json:"term"`
	Index   uint64            `json:"index"` // last applied log entry
	Nodes   map[NodeState]int `json:"nodes"`
	Tasks   map[State]int     `json:"tasks"`
	Modules int               `json:"modules"`
	Total   Resources         `json:"total"` // of nodes that are ready or draining
	Used    Resources         `json:"used"`
	Version string            `json:"version"`
}

// MasterStatus is one member of the Raft group.
type MasterStatus struct {
	Name   string `json:"name"`
	Addr   string `json:"addr"` // HTTP API
	Raft   string `json:"raft"`
	Leader bool   `json:"leader"`
	Alive  bool   `json:"alive"` // as gossip sees it
}

// Event is something that happened in the cluster, in the order of the log.
type Event struct {
	Index   uint64    `json:"index"` // of the log entry
	Time    time.Time `json:"time"`
	Type    string    `json:"type"` // such as task_ended; see the constants
	Task    TaskID    `json:"task,omitempty"`
	Name    string    `json:"name,omitempty"`
	State   State     `json:"state,omitempty"`
	Reason  Reason    `json:"reason,omitempty"`
	Attempt uint32    `json:"attempt,omitempty"`
	Node    string    `json:"node,omitempty"`
	Module  string    `json:"module,omitempty"`
	Message string    `json:"message,omitempty"`
}

// Types of events.
const (
	EventTaskSubmitted = "task_submitted"
	EventTaskPlaced    = "task_placed"
	EventTaskRunning   = "task_running"
	EventTaskRetry     = "task_retry"
	EventTaskKill      = "task_kill"
	EventTaskEnded     = "task_ended"
	EventNodeUp        = "node_up"
	EventNodeAway      = "node_away"
	EventNodeLost      = "node_lost"
	EventNodeDrain     = "node_drain"
	EventNodeUndrain   = "node_undrain"
	EventModuleAdded   = "module_added"
	EventModuleTagged  = "module_tagged"
	EventModuleRemoved = "module_removed"
)

// Explanation says where a task stands and, for one that waits, what each node lacked.
type Explanation struct {
	Task    *Task      `json:"task"`
	Summary string     `json:"summary"`
	Nodes   []NodeGaps `json:"nodes,omitempty"`
	Hint    string     `json:"hint,omitempty"`
}

// NodeGaps is what one node lacked for a task.
type NodeGaps struct {
	Node string `json:"node"`
	Gaps []Gap  `json:"gaps"` // empty when the task fits now
}

// Gap is one thing a node lacked.
type Gap struct {
	What string `json:"what"` // cpus, mem, disk, ports, runtime, constraint, state
	Why  string `json:"why"`  // such as "free 128Mi < 512Mi"
}

// Kept is the answer to a kill: what became of the wish.
type Kept struct {
	Task  TaskID `json:"task"`
	State State  `json:"state"`
}

// Version is what saki version and GET /v1/version show.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}
