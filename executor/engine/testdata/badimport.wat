;; badimport asks for two functions that no host has, and for one that wasi has with another type.
(module
  (import "env" "nope" (func))
  (import "wasi_snapshot_preview1" "fd_dance" (func (param i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func (param i64))))
