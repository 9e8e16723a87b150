// Package master holds the messages of the master's operator API: calls, answers
// and events on /api/v1. They are generated; see
// package mesos.
package master
