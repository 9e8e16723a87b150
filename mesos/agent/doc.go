// Package agent holds the messages of the agent's operator API: calls, answers and
// process streams on /api/v1. They are generated; see
// package mesos.
package agent
