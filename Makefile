# Everything a person or CI types. Recipes are plain; `go build ./...` alone builds the module too.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X github.com/saki-run/saki/internal/version.Version=$(VERSION)
TOOL     = $(GO) tool -modfile=tools.mod
FUZZTIME ?= 10s

.PHONY: help build test race check fmt fuzz bench wasm demo e2e hostile cover clean

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

build: ## build bin/saki, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='$(LDFLAGS)' -o bin/saki ./cmd/saki

test: ## run all tests, one package at a time: clusters and executors want the machine for themselves
	$(GO) test -p 1 ./...
	cd wasm-tasks && $(GO) test ./...

race: ## run all tests under the race detector, but for the core suite, which has one goroutine
	$(GO) test -race -short $$($(GO) list ./... | grep -v /test/wasmspec)

check: ## format, vet, lint, layers, module files
	@test -z "$$($(TOOL) gofumpt -l $$(git ls-files "*.go" | grep -v "\.pb\.go$$") | tee /dev/stderr)"
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) golangci-lint run ./...
	$(GO) test ./internal/layers
	$(GO) mod tidy -diff

fmt: ## format the code
	$(TOOL) gofumpt -w $$(git ls-files "*.go" | grep -v "\.pb\.go$$")

fuzz: ## run every fuzz target for FUZZTIME each
	./internal/fuzzall.sh $(FUZZTIME)

bench: ## run the Go benchmarks of the hot paths
	$(GO) test -run '^$$' -bench . -benchmem ./wire ./master/... ./agent/... ./executor/... ./wasm

wasm: ## build the example guests into wasm-tasks/bin
	./wasm-tasks/build.sh

demo: build ## start a cluster, run a wasm, a shell and a container task, compare warm with cold
	./deploy/demo.sh

e2e: build ## three masters and three agents in containers; kill the leader while tasks are submitted
	$(GO) test -tags e2e -count=1 -timeout 15m -v ./test/e2e

hostile: ## run every hostile module in a live executor beside a neighbour, and print what becomes of each
	$(GO) test -count=1 -v -run TestHostile -timeout 10m ./test/hostile

cover: ## test coverage as bin/coverage.html
	$(GO) test -coverprofile=bin/coverage.out ./... && $(GO) tool cover -html=bin/coverage.out -o bin/coverage.html

clean: ## remove what was built
	rm -rf bin wasm-tasks/bin
