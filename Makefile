# Roompulse: `make run` starts everything, `make test` checks everything.
# Each target does its own set-up; all that has to be there beforehand is Python >= 3.11 and make.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
INSTALLED := $(VENV)/.installed

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit("Roompulse needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(INSTALLED): $(BIN)/uv requirements.lock pyproject.toml
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(INSTALLED)

setup: $(INSTALLED) ## Virtual environment, packages
	@:

lock: $(BIN)/uv ## Pin all packages of pyproject.toml anew
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --upgrade --quiet \
	  --custom-compile-command "make lock" -o requirements.lock

run: setup ## Start everything (ARGS="--data DIR" is passed on to `roompulse up`)
	@$(BIN)/roompulse up $(ARGS)

test: setup lint ## Lint, types and every test of the suite
	$(BIN)/pytest $(ARGS)

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## Rewrite the code in ruff's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove what the targets above made, the data folder excepted
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help setup lock run test lint format clean
