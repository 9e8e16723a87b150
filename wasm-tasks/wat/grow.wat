;; grow: takes memory page by page, touching every 4 KiB so that it is really used, until memory.grow
;; is refused; then exits 9. No maximum is declared: the limit is the host's.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)

  (func (export "_start")
    (local $page i32) (local $p i32) (local $end i32)
    (loop $more
      (local.set $page (memory.grow (i32.const 1)))
      (if (i32.eq (local.get $page) (i32.const -1))
        (then (call $proc_exit (i32.const 9)) unreachable))
      (local.set $p (i32.shl (local.get $page) (i32.const 16)))
      (local.set $end (i32.add (local.get $p) (i32.const 65536))) ;; wraps to 0 after the last page
      (loop $touch
        (i32.store8 (local.get $p) (i32.const 1))
        (local.set $p (i32.add (local.get $p) (i32.const 4096)))
        (br_if $touch (i32.ne (local.get $p) (local.get $end))))
      (br $more))))
