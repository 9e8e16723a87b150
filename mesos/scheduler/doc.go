// Package scheduler holds the messages of the scheduler API: what frameworks call and hear
// on the master's /api/v1/scheduler. They are generated; see
// package mesos.
package scheduler
