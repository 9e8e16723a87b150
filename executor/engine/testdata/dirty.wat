;; dirty exits 1 when its memory, 4 MiB at the start and 4 MiB grown, is not all zero, and fills it with ones before it leaves.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory 64)
  (func (export "_start") (local $p i32)
    (drop (memory.grow (i32.const 64)))
    (loop $next
      (if (i64.ne (i64.load (local.get $p)) (i64.const 0)) (then (call $exit (i32.const 1)) unreachable))
      (local.set $p (i32.add (local.get $p) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $p) (i32.const 8388608))))
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 8388608))))
