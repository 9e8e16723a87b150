// Package hostile runs every module that was made to hurt in a live executor, through the runner that an agent uses, while a
// neighbour in the same worker runs steady warm tasks. `make hostile` prints what becomes of each.
package hostile
