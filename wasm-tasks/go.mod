module github.com/saki-run/saki/wasm-tasks

go 1.26.0

require (
	github.com/yuin/goldmark v1.8.7
	golang.org/x/image v0.47.0
)
