;; env: prints the environment, one K=V per line, in the host's order.
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1) ;; 0 iovec, 8 bytes written, 16 count, 20 size, 1024 pointers then strings

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

  ;; reserve makes the memory at least end bytes long; exits 1 when the host refuses.
  (func $reserve (param $end i32)
    (local $need i32)
    (local.set $need
      (i32.sub
        (i32.add (i32.shr_u (local.get $end) (i32.const 16)) (i32.const 1))
        (memory.size)))
    (if (i32.le_s (local.get $need) (i32.const 0)) (then return))
    (if (i32.eq (memory.grow (local.get $need)) (i32.const -1))
      (then (call $proc_exit (i32.const 1)) unreachable)))

  (func (export "_start")
    (local $start i32) (local $end i32) (local $p i32)
    (if (call $environ_sizes_get (i32.const 16) (i32.const 20))
      (then (call $proc_exit (i32.const 1)) unreachable))
    (local.set $start (i32.add (i32.const 1024) (i32.shl (i32.load (i32.const 16)) (i32.const 2))))
    (local.set $end (i32.add (local.get $start) (i32.load (i32.const 20))))
    (call $reserve (local.get $end))
    (if (call $environ_get (i32.const 1024) (local.get $start))
      (then (call $proc_exit (i32.const 1)) unreachable))
    ;; The strings lie one behind the other, each ended by a NUL: turn the NULs into newlines.
    (local.set $p (local.get $start))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $p) (local.get $end)))
        (if (i32.eqz (i32.load8_u (local.get $p)))
          (then (i32.store8 (local.get $p) (i32.const 10))))
        (local.set $p (i32.add (local.get $p) (i32.const 1)))
        (br $next)))
    (call $put (i32.const 1) (local.get $start) (i32.load (i32.const 20)))))
