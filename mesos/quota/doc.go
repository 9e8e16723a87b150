// Package quota holds what operators say about the share of a role. The
// messages are generated; see package mesos.
package quota
