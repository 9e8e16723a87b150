;; hello: prints "hello, world", or greets its arguments: hello ada bob prints "hello ada bob".
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1) ;; 0 iovec, 8 bytes written, 16 argc, 20 size, 1024 argv
  (data (i32.const 64) "hello, world\n")
  (data (i32.const 80) "hello ")

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

  ;; args reads the arguments: argv, an array of pointers, goes to 1024, the strings follow it.
  ;; Leaves argc at 16 and the size of the strings at 20.
  (func $args
    (local $argc i32)
    (if (call $args_sizes_get (i32.const 16) (i32.const 20))
      (then (call $proc_exit (i32.const 1)) unreachable))
    (local.set $argc (i32.load (i32.const 16)))
    (call $reserve
      (i32.add (i32.add (i32.const 1024) (i32.shl (local.get $argc) (i32.const 2))) (i32.load (i32.const 20))))
    (if (call $args_get (i32.const 1024) (i32.add (i32.const 1024) (i32.shl (local.get $argc) (i32.const 2))))
      (then (call $proc_exit (i32.const 1)) unreachable)))

  (func (export "_start")
    (local $start i32) (local $end i32) (local $p i32)
    (call $args)
    (if (i32.lt_u (i32.load (i32.const 16)) (i32.const 2)) ;; argv[0] is the program
      (then
        (call $put (i32.const 1) (i32.const 64) (i32.const 13))
        (return)))
    ;; argv[1] and what follows lie one behind the other, each ended by a NUL:
    ;; turn the NULs into spaces and the last one into a newline.
    (local.set $start (i32.load (i32.const 1028)))
    (local.set $end
      (i32.add
        (i32.add (i32.const 1024) (i32.shl (i32.load (i32.const 16)) (i32.const 2)))
        (i32.load (i32.const 20))))
    (local.set $p (local.get $start))
    (loop $next
      (if (i32.eqz (i32.load8_u (local.get $p)))
        (then (i32.store8 (local.get $p) (i32.const 32))))
      (local.set $p (i32.add (local.get $p) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $p) (local.get $end))))
    (i32.store8 (i32.sub (local.get $end) (i32.const 1)) (i32.const 10))
    (call $put (i32.const 1) (i32.const 80) (i32.const 6))
    (call $put (i32.const 1) (local.get $start) (i32.sub (local.get $end) (local.get $start)))))
