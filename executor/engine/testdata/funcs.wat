(module
  (memory (export "memory") 1 1)
  (func (export "add64") (param i64 i64) (result i64) (i64.add (local.get 0) (local.get 1)))
  (func (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
  (func (export "neg") (param i32) (result i32) (i32.sub (i32.const 0) (local.get 0)))
  (func (export "both") (param f32) (result f32 i32) (local.get 0) (i32.const -1))
  (func (export "spin") (loop (br 0)))
)
