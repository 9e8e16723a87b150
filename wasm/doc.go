// Package wasm reads and rewrites WebAssembly modules as bytes, before any engine sees them.
//
//   - Check refuses what is malformed, too large, or built to hurt an engine, and says what the module is made of.
//   - Strip drops custom sections that no engine needs.
//   - Meter rewrites a module so that it counts its own work and asks its host for more at fixed points.
//
// The package is pure: it does no I/O, starts no goroutine and reads no clock, and equal bytes give equal answers.
// Its functions are safe for concurrent use and never change the bytes they are given.
//
// Check is not a validator. It decodes everything, bounds every count and checks every index that it can check without
// typing the operand stack; the types of operands stay with the validator of the engine. DESIGN.md has the reasons.
package wasm
