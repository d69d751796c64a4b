# Tidegate. `make demo` and `make test` do everything on a fresh machine; the rest is for developers.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLUSTER := $(BIN)/python -m tests.cluster

## @ Everything
.PHONY: demo
demo: install ## Set up, then five acts under load: promoted, reverted, git revert, kill -9, a flag (KEEP=1 leaves the cluster)
	$(BIN)/python -m tests.demo

.PHONY: test
test: install ## Set up, then all tests
	$(BIN)/python -m tests.whole

## @ Checks
.PHONY: lint
lint: install ## Formatting, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: unit
unit: realtime virtual ## The tests that need no cluster

.PHONY: realtime
realtime: install ## Those of them that go by the machine's clock: with sockets, processes, a real Prometheus
	$(BIN)/python -m pytest -m realtime --numprocesses auto --dist worksteal

.PHONY: virtual
virtual: install ## The others, which may be as slow as they like
	$(BIN)/python -m pytest -m "not e2e and not slow_cluster and not realtime" --numprocesses auto --dist worksteal

.PHONY: histories
histories: install ## A crash at every await, every event in every phase, HISTORIES=1000 random ones from a printed SEED (SCENE="quiet switch")
	TIDEGATE_EXHAUSTIVE=1 $(BIN)/python -m pytest tests/exhaustive/test_crash.py tests/exhaustive/test_two_operators.py
	$(BIN)/python -m tests.exhaustive --matrix $(or $(SCENE),quiet) $(if $(SCENE),--scene $(SCENE)) \
	  --histories $(or $(HISTORIES),1000) $(if $(SEED),--seed $(SEED))

.PHONY: oracle
oracle: install ## FLAGS=100000 random flags: SDKs that evaluate in process answer as the gateway does
	$(BIN)/python -m tests.oracle --flags $(or $(FLAGS),100000) $(if $(SEED),--seed $(SEED))

.PHONY: e2e
e2e: install ## The tests on real clusters, some at a time where there are cores for it
	workers=$$($(CLUSTER) prepare) && $(BIN)/python -m pytest -m "e2e or slow_cluster" --numprocesses $$workers --dist loadfile

.PHONY: bench
bench: install ## Measure the bars on a real cluster
	$(BIN)/python -m tests.bench

.PHONY: bench-analysis
bench-analysis: install ## How good the verdicts are, simulated, beside the rules of others: docs/analysis-figures.md (RUNS=2000)
	$(BIN)/python -m tests.bench.analysis --final --runs $(or $(RUNS),2000) --docs docs $(if $(TABLE),--table $(TABLE))

.PHONY: verify
verify: install ## Generated files are what the code generates
	$(BIN)/python -m tests.verify

## @ Development
.PHONY: install
install: $(VENV)/installed ## A virtual environment with the locked dependencies

$(VENV)/installed: pyproject.toml tests/requirements.lock
	@echo "==> Python packages into $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tidegate needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: generate
generate: install ## Write the files that are generated: CRDs from code, the chart's copies of what stands elsewhere
	$(BIN)/tidegate crds --out crds
	$(BIN)/python -m tests.generate

.PHONY: lock
lock: install ## Resolve the dependencies anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q pyproject.toml --generate-hashes --universal --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate -o operator/requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --extra dev --generate-hashes --universal --no-emit-index-url \
	  --no-emit-find-links --no-header --no-annotate -c operator/requirements.lock -o tests/requirements.lock

.PHONY: fmt
fmt: install ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: run
run: install ## Run the operator from this checkout on the cluster of `make cluster`
	$(BIN)/python -m tests.rig.operator

## @ Cluster
.PHONY: cluster
cluster: install ## Bring up a real local cluster (NAME=dev), or find the one that runs
	$(CLUSTER) --name $(or $(NAME),dev) up

.PHONY: cluster-down
cluster-down: install ## Remove it with every trace
	$(CLUSTER) --name $(or $(NAME),dev) down

.PHONY: clean
clean: ## Remove what builds and tests left in the checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache operator/*.egg-info

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^## @/ {printf "\n%s\n", substr($$0, 6)} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
