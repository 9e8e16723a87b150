// Package maintenance holds what operators plan for machines. The messages
// are generated; see package mesos.
package maintenance
