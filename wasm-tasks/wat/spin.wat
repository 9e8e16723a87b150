;; spin: loops for ever without calling anything. A guest that only a deadline, fuel or a kill can end.
(module
  (memory (export "memory") 1 1)
  (func (export "_start")
    (loop $again
      (br $again))))
