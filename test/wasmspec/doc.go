// Package wasmspec holds tests only: it runs the WebAssembly core test suite through package wasm and the engine, once
// as it is and once metered, and demands the same answers.
package wasmspec
