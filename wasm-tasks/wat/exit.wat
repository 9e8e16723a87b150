;; exit: leaves with the status given as its argument, or 3 without one. exit 0 is a proc_exit too.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1) ;; 16 argc, 20 size, 1024 argv

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

  ;; number reads argv[1] as a decimal number; exits 2 when it is anything else.
  (func $number (result i32)
    (local $p i32) (local $digit i32) (local $n i32)
    (local.set $p (i32.load (i32.const 1028)))
    (loop $next
      (local.set $digit (i32.sub (i32.load8_u (local.get $p)) (i32.const 48)))
      (if (i32.gt_u (local.get $digit) (i32.const 9))
        (then (call $proc_exit (i32.const 2)) unreachable))
      (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 10)) (local.get $digit)))
      (local.set $p (i32.add (local.get $p) (i32.const 1)))
      (br_if $next (i32.load8_u (local.get $p))))
    (local.get $n))

  (func (export "_start")
    (call $args)
    (if (i32.lt_u (i32.load (i32.const 16)) (i32.const 2)) ;; argv[0] is the program
      (then (call $proc_exit (i32.const 3)) unreachable))
    (call $proc_exit (call $number))
    unreachable))
