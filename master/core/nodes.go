package core

import (
	"github.com/saki-run/saki/api"
)

// setNode replaces a node's value by a changed copy.
func (a *applying) setNode(n *api.Node, change func(*api.Node)) *api.Node {
	c := *n
	change(&c)
	a.nodes.Insert([]byte(c.ID), &c)
	return &c
}

func (a *applying) nodeUp(c *NodeUp) {
	old, known := a.nodes.Get([]byte(c.Info.ID))
	if other := a.nodeNamed(c.Info.Name); other != nil && other.ID != c.Info.ID {
		if other.State != api.NodeLost {
			a.reject(api.CodeConflict, "node name %s belongs to another agent, %s", c.Info.Name, other.ID)
			return
		}
		a.nodes.Delete([]byte(other.ID)) // given up for good: the name moves on
	}
	if !known {
		n := &api.Node{NodeInfo: c.Info, State: api.NodeReady, Since: a.now, Seen: a.now}
		a.nodes.Insert([]byte(n.ID), n)
		a.emit(Event{Type: api.EventNodeUp, Node: n})
		return
	}
	n := a.setNode(old, func(n *api.Node) {
		n.NodeInfo, n.Seen = c.Info, a.now
		if n.State != api.NodeDraining {
			n.State = api.NodeReady
		}
	})
	a.emit(Event{Type: api.EventNodeUp, Node: n})
}

func (a *applying) nodeNamed(name string) (found *api.Node) {
	a.nodes.Root().Walk(func(_ []byte, n *api.Node) bool {
		if n.Name == name {
			found = n
		}
		return found != nil
	})
	return found
}

func (a *applying) nodeAway(c *NodeAway) {
	n, ok := a.nodes.Get([]byte(c.Node))
	if !ok || n.State != api.NodeReady {
		a.emit(Event{Type: Ignored})
		return
	}
	n = a.setNode(n, func(n *api.Node) { n.State, n.Seen = api.NodeAway, a.now })
	a.emit(Event{Type: api.EventNodeAway, Node: n})
}

func (a *applying) nodeLost(c *NodeLost) {
	n, ok := a.nodes.Get([]byte(c.Node))
	if !ok || n.State == api.NodeLost {
		a.emit(Event{Type: Ignored})
		return
	}
	for _, id := range onNode(a.active.Root(), c.Node) {
		r, _ := a.tasks.Get([]byte(id))
		a.ended(r, &api.Outcome{
			State: api.Lost, Reason: api.ReasonNodeLost, ExitCode: api.ExitCode(api.ReasonNodeLost), Inline: true,
			Message: "node " + n.Name + " did not come back in time",
		})
	}
	n, _ = a.nodes.Get([]byte(c.Node))
	n = a.setNode(n, func(n *api.Node) { n.State, n.Seen = api.NodeLost, a.now })
	a.emit(Event{Type: api.EventNodeLost, Node: n})
}

func (a *applying) drain(c *Drain) {
	n, ok := a.nodes.Get([]byte(c.Node))
	if !ok {
		a.reject(api.CodeNotFound, "there is no node %s", c.Node)
		return
	}
	switch {
	case c.On && n.State != api.NodeDraining && n.State != api.NodeLost:
		n = a.setNode(n, func(n *api.Node) { n.State, n.Seen = api.NodeDraining, a.now })
		a.emit(Event{Type: api.EventNodeDrain, Node: n})
	case !c.On && n.State == api.NodeDraining:
		n = a.setNode(n, func(n *api.Node) { n.State, n.Seen = api.NodeReady, a.now })
		a.emit(Event{Type: api.EventNodeUndrain, Node: n})
	default:
		a.emit(Event{Type: Ignored, Node: n})
	}
}
