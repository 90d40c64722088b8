# Needs Rust 1.94.1 or newer, a C compiler and the static C library (Debian: gcc libc6-dev). The rest is found or installed.

.PHONY: build run test fuzz bench thousand sizes sbom licences reproducible flags fmt clean

build: ## the release binary, at bin/entrypoint
	@scripts/build

run: ## the main job, shown on loopback: a step waits, its command is looked up, it runs, it reports
	@scripts/run

test: ## everything; STRICT=1: what cannot run here is a failure
	@STRICT="$(STRICT)" scripts/test

fuzz: ## hostile input, guided by coverage: TARGET=name or all, SECONDS=60; docs/fuzzing.md
	@KEEP="$(KEEP)" scripts/fuzz "$(TARGET)" $(SECONDS) $(RUNS)

bench: ## the numbers; CHECK=1: a missed target is a failure; TEKTON_ENTRYPOINT=path and CRANE=path: peers, in turn with ours
	@CHECK="$(CHECK)" TEKTON_ENTRYPOINT="$(TEKTON_ENTRYPOINT)" CRANE="$(CRANE)" scripts/bench

thousand: ## a thousand pods at a time, with and without a cache, against a registry's limit (docs/rate-limits.md); CHECK=1: as above
	@CHECK="$(CHECK)" scripts/thousand

sizes: ## the release binary's size with each set of features, as a table (an hour or so); FEATURES="none lookup,kube": these
	@scripts/sizes $(FEATURES)

sbom: build ## what is linked into the release binary, at bin/entrypoint.cdx.json (CycloneDX)
	@scripts/sbom

licences: ## the licences of what is linked, with their texts, at bin/entrypoint.licences.txt
	@scripts/licences

reproducible: ## two release builds in two directories are the same bytes (minutes each)
	@scripts/check-reproducible

flags: ## docs/flags.md, from the definitions of the flags
	UPDATE=1 cargo test --quiet --test pages flags::

fmt: ## formats the sources
	cargo fmt --all

clean: ## removes what was built
	cargo clean
	rm -rf bin
