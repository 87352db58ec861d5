# Each target is a script in .ci, which runs without make as well.

test: ## the main module, with the race detector
	@.ci/test
lint: ## gofmt, go vet, golangci-lint, the workflows, the oldest Go, references in docs and comments
	@.ci/lint
portable: ## with 32 bits, and with sockets used as any other transport
	@.ci/portable
builds: ## compiles for macOS, Windows, BSDs, Android and WebAssembly
	@.ci/builds
systems: ## every system that can be had here: portable, builds, QEMU, Node.js, wazero, Wine; PARTS chooses
	@.ci/systems $(PARTS)
release: ## what a release of the last commit would be to programs that import it
	@.ci/release
interop: ## against the other implementations, and over many transports
	@.ci/interop
modules: ## the other nested modules: session/smux, smuxdump, gRPC, Prometheus, the tables of other libraries, the benchmark's tests
	@.ci/modules
fuzz: ## every fuzz target, FUZZTIME each (10s)
	@.ci/fuzz
soak: ## sessions at random, every byte checked, for MINUTES (1)
	@MINUTES=$(MINUTES) .ci/soak
storms: ## streams as fast as they can come, TIMES in a row (20), beside busy processes
	@TIMES=$(TIMES) .ci/storms
vuln: ## known vulnerabilities; fetches their database from the network
	@.ci/vuln
bench: ## all peers side by side, under ten minutes; writes docs/performance.md and the chart
	@cd internal/bench && go run . -save
	@go run ./internal/plot -only comparison
bench-long: ## the rows that take longer: links, KCP, thousands of sessions; writes the same
	@cd internal/bench && go run . -long -save
	@go run ./internal/plot -only comparison
bench-all: bench bench-long ## both
bench-quick: ## one short round in two minutes; prints only
	@cd internal/bench && go run . -quick
bench-dropin: ## the benchmarks of xtaci/smux, for it and for session/smux
	@cd internal/dropin && go run .
help:
	@sed -n 's/^\([a-z-]*\):[a-z -]* ## /  make \1	/p' Makefile

MINUTES ?= 1
TIMES ?= 20

.PHONY: test lint portable builds systems release interop modules fuzz soak storms vuln bench bench-long bench-all bench-quick bench-dropin help
