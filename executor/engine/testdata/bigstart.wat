;; bigstart needs 16 MiB before it starts.
(module (memory 256) (func (export "_start")))
