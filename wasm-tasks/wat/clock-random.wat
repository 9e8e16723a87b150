;; clock-random: prints the wall clock in nanoseconds since 1970, a space, and 8 random bytes in hex.
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1 1) ;; 0 iovec, 8 bytes written, 16 time, 24 random bytes, 109-146 the text
  (data (i32.const 64) "0123456789abcdef")

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
    (local $time i64) (local $start i32) (local $end i32) (local $i i32) (local $byte i32)
    (if (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 16))
      (then (call $proc_exit (i32.const 1)) unreachable))
    (if (call $random_get (i32.const 24) (i32.const 8))
      (then (call $proc_exit (i32.const 1)) unreachable))

    ;; The time goes leftwards from 128, lowest digit first; a space stands at 128.
    (local.set $time (i64.load (i32.const 16)))
    (local.set $start (i32.const 128))
    (loop $digit
      (local.set $start (i32.sub (local.get $start) (i32.const 1)))
      (i32.store8 (local.get $start)
        (i32.add (i32.wrap_i64 (i64.rem_u (local.get $time) (i64.const 10))) (i32.const 48)))
      (local.set $time (i64.div_u (local.get $time) (i64.const 10)))
      (br_if $digit (i64.ne (local.get $time) (i64.const 0))))
    (i32.store8 (i32.const 128) (i32.const 32))

    ;; The random bytes go rightwards from 129, two digits each.
    (local.set $end (i32.const 129))
    (local.set $i (i32.const 24))
    (loop $next
      (local.set $byte (i32.load8_u (local.get $i)))
      (i32.store8 (local.get $end)
        (i32.load8_u (i32.add (i32.const 64) (i32.shr_u (local.get $byte) (i32.const 4)))))
      (i32.store8 (i32.add (local.get $end) (i32.const 1))
        (i32.load8_u (i32.add (i32.const 64) (i32.and (local.get $byte) (i32.const 15)))))
      (local.set $end (i32.add (local.get $end) (i32.const 2)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 32))))
    (i32.store8 (local.get $end) (i32.const 10))

    (call $put (i32.const 1) (local.get $start)
      (i32.sub (i32.add (local.get $end) (i32.const 1)) (local.get $start)))))
