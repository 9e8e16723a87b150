;; cat: prints the files named by its arguments, found under the guest's "/". Exits 2 without an
;; argument, 1 when a file cannot be opened or read.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1) ;; 0 iovec, 8 bytes moved, 12 descriptor, 16 argc, 20 size, 1024 buffer, 32768 argv
  (data (i32.const 64) "usage: cat FILE...\n")
  (data (i32.const 96) "cat: cannot open the file\n")
  (data (i32.const 128) "cat: cannot read the file\n")

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

  ;; args reads the arguments: argv, an array of pointers, goes to 32768, the strings follow it.
  ;; Leaves argc at 16 and the size of the strings at 20.
  (func $args
    (local $argc i32)
    (if (call $args_sizes_get (i32.const 16) (i32.const 20))
      (then (call $proc_exit (i32.const 1)) unreachable))
    (local.set $argc (i32.load (i32.const 16)))
    (call $reserve
      (i32.add (i32.add (i32.const 32768) (i32.shl (local.get $argc) (i32.const 2))) (i32.load (i32.const 20))))
    (if (call $args_get (i32.const 32768) (i32.add (i32.const 32768) (i32.shl (local.get $argc) (i32.const 2))))
      (then (call $proc_exit (i32.const 1)) unreachable)))

  ;; fail writes the message at ptr to stderr and exits with status.
  (func $fail (param $ptr i32) (param $len i32) (param $status i32)
    (call $put (i32.const 2) (local.get $ptr) (local.get $len))
    (call $proc_exit (local.get $status))
    unreachable)

  ;; open opens the file whose name is the string at name, for reading.
  ;; The directory is descriptor 3, the first preopened one, which is the guest's "/".
  (func $open (param $name i32) (result i32)
    (local $end i32)
    (block $relative ;; names under a preopened directory have no leading slash
      (loop $next
        (br_if $relative (i32.ne (i32.load8_u (local.get $name)) (i32.const 47)))
        (local.set $name (i32.add (local.get $name) (i32.const 1)))
        (br $next)))
    (local.set $end (local.get $name))
    (block $measured
      (loop $next
        (br_if $measured (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (if (call $path_open
          (i32.const 3) (i32.const 1)                                      ;; directory; follow symlinks
          (local.get $name) (i32.sub (local.get $end) (local.get $name))
          (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 12))
      (then (call $fail (i32.const 96) (i32.const 26) (i32.const 1))))
    (i32.load (i32.const 12)))

  ;; copy moves what is left of in to out; exits 1 when either fails.
  (func $copy (param $in i32) (param $out i32)
    (loop $more
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 31744))
      (if (call $fd_read (local.get $in) (i32.const 0) (i32.const 1) (i32.const 8))
        (then (call $fail (i32.const 128) (i32.const 26) (i32.const 1))))
      (if (i32.eqz (i32.load (i32.const 8))) (then return))
      (call $put (local.get $out) (i32.const 1024) (i32.load (i32.const 8)))
      (br $more)))

  (func (export "_start")
    (local $i i32) (local $file i32)
    (call $args)
    (if (i32.lt_u (i32.load (i32.const 16)) (i32.const 2)) ;; argv[0] is the program
      (then (call $fail (i32.const 64) (i32.const 19) (i32.const 2))))
    (local.set $i (i32.const 1))
    (loop $next
      (local.set $file
        (call $open (i32.load (i32.add (i32.const 32768) (i32.shl (local.get $i) (i32.const 2))))))
      (call $copy (local.get $file) (i32.const 1))
      (drop (call $fd_close (local.get $file)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.load (i32.const 16)))))))
