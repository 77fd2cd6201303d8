# Every target works from a fresh clone: it sets up what it needs first. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup setup-dev up test lint bench lock docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/' | expand -t 22

setup: $(VENV)/.run ## virtual environment with the locked packages (about 2 minutes the first time)

setup-dev: $(VENV)/.dev

$(VENV)/bin/python:
	@tools/make-venv "$(PYTHON)" "$(VENV)"

$(VENV)/.run: locks/run.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --require-hashes --requirement locks/run.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: locks/dev.txt $(VENV)/.run
	$(BIN)/pip install --quiet --require-hashes --requirement locks/dev.txt
	touch $@

up: setup ## check this machine, restore the folder, open JupyterLab on http://localhost:8000
	PREFLIGHT_DATA_DIR="$${PREFLIGHT_DATA_DIR:-$(CURDIR)/.local/data}" \
	PREFLIGHT_STATE_DIR="$${PREFLIGHT_STATE_DIR:-$(CURDIR)/.local/state}" \
	exec $(BIN)/preflight up

test: setup-dev ## all tests; installs and starts the servers that they need
	tools/test-servers
	$(BIN)/pytest $(PYTEST_ARGS)

lint: setup-dev ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: ## write the lock files again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --extra gpu --group build pyproject.toml -o locks/run.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --extra gpu --group dev pyproject.toml -o locks/dev.txt

clean: ## remove what the targets made (never .local, which holds your data)
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
