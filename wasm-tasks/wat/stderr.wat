;; stderr: writes "out\n" to stdout and "err\n" to stderr, to show that the two streams stay apart.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1 1) ;; 0 iovec, 8 bytes written
  (data (i32.const 64) "out\n")
  (data (i32.const 68) "err\n")

  ;; put writes len bytes at ptr to fd, however many calls that takes; exits 1 when fd cannot be written.
  (func $put (param $fd i32) (param $ptr i32) (param $len i32)
    (loop $more
      (if (i32.eqz (local.get $len)) (then return))
      (i32.store (i32.const 0) (local.get $ptr))
      (i32.store (i32.const 4) (local.get $len))
      (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))
        (then (call $proc_exit (i32.const 1)) unreachable))
      (local.set $ptr (i32.add (local.get $ptr) (i32.load (i32.const 8))))
      (local.set $len (i32.sub (local.get $len) (i32.load (i32.const 8))))
      (br $more)))

  (func (export "_start")
    (call $put (i32.const 1) (i32.const 64) (i32.const 4))
    (call $put (i32.const 2) (i32.const 68) (i32.const 4))))
