// Package api holds the words that every part of Saki shares: tasks and their specs, outcomes and receipts, resources,
// nodes, modules, error codes, and the rules that say what of them is valid. It is pure: no I/O, no clock, no goroutines.
//
// Values that have been handed to another component are never changed afterwards; a change is made on a copy.
package api
