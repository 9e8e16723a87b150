// Package executor holds the messages of the executor API: what executors call and hear
// on the agent's /api/v1/executor. They are generated; see
// package mesos.
package executor
