# Each target is a script in .ci, which runs without make as well.

test: ## the main module, with the race detector
	@.ci/test
lint: ## gofmt, go vet, staticcheck, the direction of imports, other systems
	@.ci/lint
interop: ## against the other implementations; the benchmark's own tests
	@.ci/interop
fuzz: ## every fuzz target, FUZZTIME each (10s)
	@.ci/fuzz
bench: ## all peers side by side, under ten minutes; writes docs/performance.md
	@cd internal/bench && go run .
bench-quick: ## the same in about a minute; prints only
	@cd internal/bench && go run . -quick
help:
	@sed -n 's/^\([a-z-]*\): ## /  make \1	/p' Makefile

.PHONY: test lint interop fuzz bench bench-quick help
