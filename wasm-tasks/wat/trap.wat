;; trap: executes unreachable. A guest that crashes.
(module
  (memory (export "memory") 1 1)
  (func (export "_start")
    unreachable))
