# Every target works from a fresh clone: it sets up what it needs first. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two workers, a file at a time: each file starts the servers that it needs once.
PYTEST_ARGS ?= --numprocesses 2 --dist loadfile
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup setup-dev up test test-long lint bench lock docs clean images images-test images-test-long images-size images-lock torture

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/' | expand -t 22

setup: $(VENV)/.run ## virtual environment with the locked packages (about 2 minutes the first time)

setup-dev: $(VENV)/.dev

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "preflight: Python 3.11 or later is needed; set PYTHON=/path/to/it" >&2; exit 2; }
	@if ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; \
	    else \
	        echo "preflight: Python's venv is missing; install it with: sudo apt-get install python3-venv" >&2; exit 2; \
	    fi; \
	fi
	"$(PYTHON)" -m venv "$(VENV)"

$(VENV)/.run: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-dev.txt
	touch $@

up: setup ## check this machine, restore the folder, open JupyterLab on http://localhost:8000
	@PREFLIGHT_DATA_DIR="$${PREFLIGHT_DATA_DIR:-$(CURDIR)/.local/data}" \
	PREFLIGHT_STATE_DIR="$${PREFLIGHT_STATE_DIR:-$(CURDIR)/.local/state}" \
	exec $(BIN)/preflight up

test: setup-dev ## all tests; installs and starts the servers that they need
	tests/servers/install
	$(BIN)/pytest $(PYTEST_ARGS)

torture: setup-dev ## simulated lifetimes and real processes for HOURS=n; SEED=n replays one
	tests/servers/install
	$(BIN)/python -m tests.torture

lint: setup-dev ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-dev .cache/peers/.installed ## figures against s5cmd, rclone, awscli and the start.sh loop (BENCH_ARGS=--quick for 5 minutes)
	command -v inotifywait >/dev/null || apt-get install -y -qq inotify-tools >/dev/null
	$(BIN)/python -m tests.bench --write docs/benchmarks.md $(BENCH_ARGS)

.cache/peers/.installed: tests/bench/requirements.txt
	"$(PYTHON)" -m venv .cache/peers
	.cache/peers/bin/pip install --quiet --require-hashes --requirement $<
	touch $@

docs: setup ## write the generated pages again: docs/checks.md, docs/runbook, docs/settings.md
	$(BIN)/python docs/write-checks
	$(BIN)/preflight settings > docs/settings.md

images: ## build images with buildah (FLAVOURS="base cpu"; with Docker: docker buildx bake -f images/docker-bake.hcl)
	images/install-builder
	images/build $(or $(FLAVOURS),base)

images-test: setup-dev images .cache/image-tools/.installed ## run the built images for real: PID 1, probes, restore, save, SIGTERM, kernels (FLAVOURS=…)
	tests/servers/install
	set -e; for flavour in $(or $(FLAVOURS),base); do \
	    IMAGE=localhost/preflight-lab:$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)-$$flavour \
	        $(BIN)/pytest -s tests/images/built_structure.py tests/images/built_images.py; done

test-long: setup-dev ## the long forms: every fault on every machine at every time, 100,000 files restored (about 20 minutes)
	PREFLIGHT_LONG_TESTS=1 $(BIN)/python -m pytest -q $(PYTEST_ARGS) tests/faults/test_fault_matrix.py tests/unit/preflight/test_gpu_faults.py tests/contract/test_many_keys.py

images-test-long: ## the same for base and cpu, then three lines on somebody else's image, and nvcc
	$(MAKE) images-test FLAVOURS="$(or $(FLAVOURS),base cpu)"
	$(BIN)/pytest -s tests/images/built_anywhere.py tests/images/built_nvcc.py

.cache/image-tools/.installed: tests/images/requirements.txt
	"$(PYTHON)" -m venv .cache/image-tools
	.cache/image-tools/bin/pip install --quiet --require-hashes --requirement $<
	touch $@

images-size: ## compressed size of built images, as a registry stores them (FLAVOURS="base cpu")
	images/size $(or $(FLAVOURS),base)

images-lock: ## write the images' lock files again (needs uv)
	images/lock

lock: ## write the lock files again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --group build pyproject.toml -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --group dev pyproject.toml -o requirements-dev.txt

clean: ## remove what the targets made (never .local, which holds your data)
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
