# `make help` lists the targets. Each is safe to run again.

CARGO_DENY_VERSION := 0.20.2

SHELL := /bin/sh
VENV := .venv
CARGO_DENY := target/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
HEADLESS_SHELL := target/tools/headless-shell/headless_shell
PAGE := harness/dist/page.html.gz
LIVE := live/dist/index.html.gz
LIVE_SOURCES := $(shell find live/src proto -type f -not -path 'live/src/gen/*') live/build.mjs live/buf.gen.yaml
PAGE_SOURCES := $(shell find harness/src harness/bench harness/wrong proto -type f -not -path 'harness/src/gen/*') \
	harness/build.mjs harness/buf.gen.yaml harness/tsconfig.json
FRAMEWORKS := target/frameworks
SCRIPTS := scripts/service.py scripts/test-python scripts/conformance scripts/version clients/conformance/make.py grafana \
	tests/quantise tests/optimize benches/gpu
PYTHON_NEEDS := clients/python/pyproject.toml clients/python/requirements-generate.txt tests/models/requirements.txt
BENCHES := $(shell ls benches 2>/dev/null | sed -n 's/^\(.*\)\.rs$$/\1/p' | sort -V)
ROW ?= $(BENCHES)

HEADING = @printf '\n== %s\n'

.NOTPARALLEL:
.DELETE_ON_ERROR:

## help: this list
.PHONY: help
help:
	@sed -n 's/^## //p' $(firstword $(MAKEFILE_LIST))

## demo: set up, build, and compare a few sentences with a model in a browser
.PHONY: demo
demo:
	@scripts/setup compiler node browser
	@$(MAKE) --no-print-directory build
	@echo
	target/release/webinfer infer --local \
		"A man is eating food." \
		"Someone is having a meal." \
		"A woman is playing the violin." \
		"The orchestra rehearses a symphony." \
		"The cat sleeps on the windowsill."

## build: the program, target/release/webinfer, with the page inside
.PHONY: build
build: page
	cargo build --release --locked

## page: the page that browsers open, harness/dist, and the live page, live/dist
.PHONY: page
page: $(PAGE) $(LIVE)

$(PAGE): $(PAGE_SOURCES) harness/node_modules/.package-lock.json
	cd harness && npm run build

$(LIVE): $(LIVE_SOURCES) live/node_modules/.package-lock.json
	cd live && npm run build

harness/node_modules/.package-lock.json: harness/package-lock.json harness/package.json
	cd harness && npm ci --no-audit --no-fund

live/node_modules/.package-lock.json: live/package-lock.json live/package.json
	cd live && npm ci --no-audit --no-fund

clients/js/node_modules/.package-lock.json: clients/js/package-lock.json clients/js/package.json
	cd clients/js && npm ci --no-audit --no-fund

## test: set up, and run every check and test, with real browsers
.PHONY: test
test: setup-test check-format check-page check-proto check-clippy check-doc check-licences check-python check-stubs \
	check-models check-dashboards check-versions test-rust test-quantise test-optimize test-live test-python test-js test-java \
	test-cpp conformance
	$(HEADING) 'all checks and tests passed'

# The steps of `test`, in its order. Each can be run alone.

.PHONY: setup-test
setup-test:
	$(HEADING) 'setup'
	@scripts/setup compiler node browser engines python java cpp prometheus

.PHONY: check-format
check-format:
	$(HEADING) 'format: cargo fmt --check'
	cargo fmt --all --check

.PHONY: check-page
check-page: page
	$(HEADING) 'pages: types, format, unit tests'
	cd harness && npm run check && npm run lint && npm test
	cd live && npm run check && npm run lint && npm test

.PHONY: check-proto
check-proto: harness/node_modules/.package-lock.json
	$(HEADING) 'proto: buf lint'
	cd proto && ../harness/node_modules/.bin/buf lint

.PHONY: check-clippy
check-clippy: page
	$(HEADING) 'clippy: no warnings'
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: check-doc
check-doc: page
	$(HEADING) 'doc: no warnings'
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps

.PHONY: check-licences
check-licences: $(CARGO_DENY)
	$(HEADING) 'licences, bans, sources: cargo deny'
	$(CARGO_DENY) --locked check licenses bans sources

.PHONY: check-python
check-python: $(VENV)/stamp
	$(HEADING) 'python: ruff'
	cd clients/python && ../../$(VENV)/bin/ruff check . $(SCRIPTS:%=../../%) && \
		../../$(VENV)/bin/ruff format --check . $(SCRIPTS:%=../../%)
	cd clients/python && ../../$(VENV)/bin/python -W error -m pdoc -o ../../target/doc/python webinfer \
		'!webinfer.torch' '!webinfer.tensorflow'

.PHONY: check-stubs
check-stubs: $(VENV)/stamp
	$(HEADING) 'python: the stubs are up to date'
	VENV="$(CURDIR)/$(VENV)" clients/python/generate.sh --check

.PHONY: check-models
check-models: $(VENV)/stamp
	$(HEADING) 'the models of the tests are what their script makes'
	$(VENV)/bin/python tests/models/make.py --check
	$(VENV)/bin/python clients/conformance/make.py --check
	cd models/all-MiniLM-L6-v2 && sha256sum --check --quiet SHA256SUMS

.PHONY: check-dashboards
check-dashboards:
	$(HEADING) 'the dashboards are what their script makes'
	python3 grafana/make.py --check

.PHONY: check-versions
check-versions:
	$(HEADING) 'the clients have the version of the service'
	python3 scripts/version --check

.PHONY: test-rust
test-rust: page $(HEADLESS_SHELL)
	$(HEADING) 'rust: cargo test, with real browsers'
	cargo test --locked --workspace

.PHONY: test-quantise
test-quantise: page $(VENV)/stamp
	$(HEADING) 'quantise: what is written, in native ONNX Runtime'
	cargo build --locked
	$(VENV)/bin/python tests/quantise/check.py target/debug/webinfer

.PHONY: test-optimize
test-optimize: page $(VENV)/stamp
	$(HEADING) 'optimize: what is written, in native ONNX Runtime'
	cargo build --locked
	$(VENV)/bin/python tests/optimize/check.py target/debug/webinfer

.PHONY: test-live
test-live: page
	$(HEADING) 'live: the page in real browsers, with a real service'
	cargo build --locked
	cd live && npm run test:browsers

.PHONY: test-python
test-python: page $(VENV)/stamp $(FRAMEWORKS)/stamp
	$(HEADING) 'python: the client against a real service'
	cargo build --locked
	$(VENV)/bin/python scripts/test-python target/debug/webinfer $(FRAMEWORKS)/bin/python

.PHONY: test-js
test-js: clients/js/node_modules/.package-lock.json
	$(HEADING) 'js: the client'
	cd clients/js && npm run gen:check && npm run check && npm run lint && npm run doc && npm test

.PHONY: test-java
test-java:
	$(HEADING) 'java: the client'
	mvn -q -B -f clients/java verify

.PHONY: test-cpp
test-cpp:
	$(HEADING) 'cpp: the client'
	cmake -S clients/cpp -B clients/cpp/build -DCMAKE_BUILD_TYPE=Release -DWEBINFER_TESTS=ON \
		-DCMAKE_COMPILE_WARNING_AS_ERROR=ON
	cmake --build clients/cpp/build --parallel 2
	ctest --test-dir clients/cpp/build --output-on-failure
	cd clients/cpp && doxygen

# Each client's cases, with one real service after the other.
## conformance: run the cases of clients/conformance with every client, and print what came of each
.PHONY: conformance
conformance: page $(VENV)/stamp clients/js/node_modules/.package-lock.json
	@scripts/setup compiler node browser engines python java cpp
	$(HEADING) 'conformance: all clients against a real service'
	cargo build --locked
	PYTHON=$(CURDIR)/$(VENV)/bin/python $(VENV)/bin/python scripts/conformance target/debug/webinfer

# Built once; takes some minutes.
$(CARGO_DENY):
	$(HEADING) 'setup: cargo-deny $(CARGO_DENY_VERSION)'
	cargo install --quiet --locked --root target/tools/cargo-deny-$(CARGO_DENY_VERSION) \
		cargo-deny@$(CARGO_DENY_VERSION)

# A Chromium for Linux on x86-64 that has WebNN on the CPU. It gets its name when it is whole.
$(HEADLESS_SHELL): $(addprefix tests/headless-shell/,package.json package-lock.json unpack.mjs)
	$(HEADING) 'setup: a headless Chromium with WebNN'
	cd tests/headless-shell && npm ci --ignore-scripts --no-audit --no-fund
	rm -rf $(@D) $(@D).part
	node tests/headless-shell/unpack.mjs $(@D).part
	mv $(@D).part $(@D)

$(VENV)/stamp: $(PYTHON_NEEDS)
	$(HEADING) 'setup: a Python environment in .venv'
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -e 'clients/python[test,doc]' \
		-r clients/python/requirements-generate.txt -r tests/models/requirements.txt
	touch $@

# PyTorch and TensorFlow for the tests of the modules and layers alone. A PyTorch of the distribution is seen by the
# system's Python, and works with the numpy that it was built for.
$(FRAMEWORKS)/stamp: clients/python/pyproject.toml
	$(HEADING) 'setup: PyTorch and TensorFlow in $(FRAMEWORKS)'
	@scripts/setup frameworks
	rm -rf $(@D)
	if numpy=$$(/usr/bin/python3 -c 'import sys, numpy, torch; sys.version_info >= (3, 11) or sys.exit(1); \
			print(int(numpy.__version__.split(".")[0]) + 1)' 2>/dev/null); then \
		/usr/bin/python3 -m venv --system-site-packages $(@D) && set -- "numpy<$$numpy"; \
	else \
		python3 -m venv $(@D) && set -- torch; \
	fi && $(@D)/bin/pip install --quiet --disable-pip-version-check --no-cache-dir \
		"$$@" tensorflow-cpu pytest pillow -e clients/python
	touch $@

## chaos: harm browsers under load for ten minutes, and crash, end and kill again and again; TIMES=5 for fewer
.PHONY: chaos
chaos: page
	@scripts/setup compiler node browser
	cargo test --locked --test browsers -- --ignored --nocapture chaos::
	cargo test --locked --test browsers -- --ignored --nocapture --test-threads=1 \
		the_gpu_process a_service_that_is_told nothing_is_left

## soak: load and unload under load for an hour, with memory flat; MINUTES=10 for less, LEAK=1 to see that it can fail
.PHONY: soak
soak: page
	@scripts/setup compiler node browser
	cargo test --locked --test browsers -- --ignored --nocapture an_hour

## cycles: start and stop a service a thousand times, and find nothing left; TIMES=50 for fewer
.PHONY: cycles
cycles: page
	@scripts/setup compiler node browser
	cargo test --locked --test browsers -- --ignored --nocapture a_thousand

## bench: set up, build, and measure; ROW=R3 for one row
.PHONY: bench
bench: $(if $(filter R13 r13,$(ROW)),$(VENV)/stamp) $(if $(filter levers engines,$(ROW)),$(HEADLESS_SHELL))
	@scripts/setup compiler node browser $(if $(filter levers engines,$(ROW)),engines) \
		$(if $(filter R13 r13,$(ROW)),python java cpp)
	@$(MAKE) --no-print-directory build
	@for row in $(ROW); do \
		row=$$(printf %s "$$row" | tr A-Z a-z); \
		if [ ! -f "benches/$$row.rs" ]; then echo "there is no row $$row; there are: $(BENCHES)" >&2; exit 2; fi; \
		PYTHON=$(CURDIR)/$(VENV)/bin/python cargo bench --locked --bench "$$row" || exit; \
	done

## clean: remove all that was built or installed here
.PHONY: clean
clean:
	rm -rf target harness/dist harness/dist-bench harness/dist-wrong harness/src/gen harness/node_modules live/dist live/src/gen \
		live/node_modules tests/headless-shell/node_modules \
		clients/js/node_modules clients/js/dist clients/js/doc clients/java/target clients/cpp/build $(VENV)
