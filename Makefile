# Every target builds .venv from requirements.lock first and does nothing twice.
PYTHON ?= python3
VENV := .venv
DEVICE := cpu
BIN := $(VENV)/bin
UV_OF_OURS := build/uv/bin/uv
UV := $(shell command -v uv 2>/dev/null || echo $(UV_OF_OURS))
STAMP := $(VENV)/.installed
NODE_STAMP := node_modules/.installed
NPM := $(shell command -v npm 2>/dev/null)
PAGES := pipelines/report/static pipelines/evaluate/static

.DEFAULT_GOAL := help
.PHONY: help setup demo prefect test test-chaos quick check lock bench train-tiny clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## build .venv from requirements.lock

$(UV_OF_OURS):  # only where uv is missing; in a venv of its own, so the user's Python stays as it is
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet uv

$(STAMP): requirements.lock pyproject.toml $(filter $(UV_OF_OURS),$(UV))
	@test -x $(BIN)/python || $(UV) venv --quiet --python '>=3.11' $(VENV)
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(NODE_STAMP): package.json package-lock.json .npmrc
	@test -n "$(NPM)" || { echo "make: expected npm (Node.js 20 or newer) to check the JavaScript, found none;" \
	  "install it from nodejs.org or your distribution (Debian: apt-get install nodejs npm)" >&2; exit 1; }
	$(NPM) ci --loglevel=error --no-progress --ignore-scripts
	@touch $@

demo: setup  ## label a small corpus end to end and write a report of overlays
	@$(BIN)/possam demo --output build/demo

prefect: setup  ## start Prefect's UI with a worker and all deployments, until Ctrl-C
	@$(BIN)/python -m flows.local

test: setup  ## run the test suite (some 11 minutes on 2 cores, no network)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --ignore=tests/chaos

test-chaos: setup  ## kill, starve and mislead runs on a real S3 server (some 10 minutes; needs Ceph)
	$(BIN)/python -m pytest -q tests/chaos

quick: check  ## the checks, and the tests without Ray, S3, servers and browser (about 2 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

check: setup $(NODE_STAMP)  ## ruff, mypy --strict, import-linter; biome and tsc for the JavaScript
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	node_modules/.bin/biome lint --error-on-warnings
	for page in $(PAGES); do node_modules/.bin/tsc -p $$page || exit; done

lock: $(filter $(UV_OF_OURS),$(UV))  ## pin every dependency by hash, without registry addresses
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --all-extras --group dev \
	  --no-emit-index-url --no-emit-find-links --no-header pyproject.toml -o requirements.lock

bench: setup  ## measure; prints tables and writes JSON under build/bench
	for name in throughput merge rle decode decoder sam_encoder host average_precision panoptic_quality plan job requests; do $(BIN)/python -m benchmarks.$$name || exit; done

train-tiny: setup  ## train possam-tiny from seeds; DEVICE=cuda on a GPU (resumes after an interruption)
	$(BIN)/python -m possam_core.training.tiny.train --output build/train-tiny --device $(DEVICE)

clean:  ## remove .venv, build and node_modules
	rm -rf $(VENV) build node_modules
