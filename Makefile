# Everything a person needs; only make, python3 (3.11 or newer) and pip are asked for.
PYTHON ?= python3
BIN := .venv/bin
SECONDS_EACH ?= 60
IMAGE ?= mtls-tunnel:dev
OPERATOR_IMAGE ?= mtls-tunnel-operator:dev
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo demo-router demo-kubernetes check test soak bench bench-operator fuzz lock image venv clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## the whole story on this machine: allowed, refused, reloaded, revoked (under a minute)
	@$(PYTHON) scripts/workspace.py runtime
	@$(BIN)/tunnel demo

demo-kubernetes: ## the operator on a real cluster: kind, or one built here; certificates, sidecars, a CA rotation
	$(PYTHON) scripts/demo_kubernetes.py

demo-router: ## one mTLS port for many hosts: two users, refusals, an access that is withdrawn
	@$(PYTHON) scripts/workspace.py runtime
	@$(BIN)/python scripts/demo_router.py

venv: ## .venv with everything that the other targets use
	@$(PYTHON) scripts/workspace.py tools

check: venv ## format, lint, types, import directions, unit tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target static unit

static: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: venv
	$(PYTEST) -q tests/unit

test: check ## check, and every test with real processes; needs the packages that .ci/run installs
	$(PYTEST) tests/contract tests/integration tests/interop tests/container tests/cluster

soak: venv ## minutes of connections of all kinds: no leak, no stuck session
	$(PYTEST) tests/soak

bench: venv ## CPU and memory beside HAProxy, nginx and stunnel, in one interleaved run
	$(BIN)/python tests/bench/run.py $(ARGS)

bench-operator: venv ## the operator beside a real API server: 1,000 tunnels, 5,000 pods, a CA rotation (about an hour)
	$(BIN)/python tests/bench/operating.py $(ARGS)

fuzz: ## every parser under a coverage-guided fuzzer, SECONDS_EACH=60 for each
	@$(PYTHON) scripts/workspace.py fuzz
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS_EACH)

lock: ## resolve the dependencies anew; ARGS=--upgrade takes newer versions
	$(PYTHON) scripts/lock.py $(ARGS)

image: ## both container images, with docker, podman or buildah: IMAGE=NAME:TAG OPERATOR_IMAGE=NAME:TAG
	$(PYTHON) scripts/build_image.py --tag $(IMAGE)
	$(PYTHON) scripts/build_image.py --target operator --tag $(OPERATOR_IMAGE)

clean: ## remove what these targets made here (caches outside the repository stay)
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
