;; reactor: a WASI reactor. _initialize must run once; then add(a, b) returns a+b, wrapping at 32 bits.
;; add traps before _initialize, so that a host which forgets it is found out.
(module
  (memory (export "memory") 1 1)
  (global $ready (mut i32) (i32.const 0))

  (func (export "_initialize")
    (global.set $ready (i32.const 1)))

  (func (export "add") (param $a i32) (param $b i32) (result i32)
    (if (i32.eqz (global.get $ready)) (then unreachable))
    (i32.add (local.get $a) (local.get $b))))
