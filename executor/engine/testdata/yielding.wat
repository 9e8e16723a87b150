;; yielding asks its host for nothing but to be stopped.
(module
  (import "saki" "yield" (func $yield))
  (func (export "_start") (loop (call $yield) (br 0))))
