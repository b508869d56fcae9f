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
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit("Roompulse needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(INSTALLED): $(BIN)/uv requirements.lock pyproject.toml
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(INSTALLED)

setup: $(INSTALLED) web ## Virtual environment, packages, front end
	@:

web: $(INSTALLED) ## Build the console's pages and the browser client (quick where nothing changed)
	@$(BIN)/python -m services.console.web.build
	@$(MAKE) --no-print-directory -C clients/web build

chromium: ## The browser for browser tests, where it can be installed
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && echo "installing Chromium for the browser tests" \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	} || echo "no Chromium, and it cannot be installed here: browser tests will be skipped"

lock: $(BIN)/uv ## Pin all packages of pyproject.toml anew
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --upgrade --quiet \
	  --custom-compile-command "make lock" -o requirements.lock

run: setup ## Start everything (ARGS="--data DIR" is passed on to `roompulse up`)
	@$(BIN)/roompulse up $(ARGS)

# Real calls in a browser need the machine for themselves: a starved one freezes pictures, which is what they measure.
# Much of the other tests' time is waiting for servers to start and to be killed, so two files run side by side.
# With ARGS there may be nothing to run in one of the two, which pytest tells with status 5.
test: setup chromium lint ## Lint, types and every test of the suite
	$(BIN)/pytest tests/browser $(ARGS) $(if $(ARGS),|| [ $$? = 5 ])
	$(BIN)/pytest --ignore tests/browser --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS) $(if $(ARGS),|| [ $$? = 5 ])

chaos: setup ## kill -9 of every part amid 200,000 samples, again and again (about 20 minutes; ARGS="-k kafka" is one of them)
	$(BIN)/pytest tests/chaos/full.py -s --timeout=1800 --show-capture=no $(ARGS)

chaos-callbacks: setup ## kill -9 of dispatcher, Kafka and ClickHouse, 100 times amid 5,000 callbacks (half an hour; CHAOS_ROUNDS=10)
	$(BIN)/pytest tests/chaos/callbacks.py -s --timeout=0 --show-capture=no $(ARGS)

test-oracle: setup ## 3,000 drawn scenarios against the oracle, 100 by real processes (about 20 minutes)
	ORACLE_SCENARIOS=3000 ORACLE_SEED=$(or $(SEED),1) ORACLE_PROCESSES=100 \
	  $(BIN)/pytest tests/integration/test_oracle.py tests/integration/test_calls_oracle.py tests/integration/test_usage_oracle.py \
	  tests/integration/test_planted_faults.py tests/integration/test_processor_workers.py --timeout=0 $(ARGS)

bench-dispatcher: setup ## CPU time and rate of callbacks, beside aiohttp alone and Celery (ARGS="--row dispatcher --row bare")
	$(BIN)/python -m tests.bench.dispatcher $(ARGS)

bench-isolation: setup ## What endpoints that hang cost the others
	$(BIN)/python -m tests.bench.isolation $(ARGS)

bench-processor: setup ## CPU time of a sample beside other frameworks; BENCH=scale, filled or steady: see docs/processor.md
	$(BIN)/python -m tests.bench.$(or $(BENCH),processor) $(ARGS)

bench-storage: setup ## Bytes on disk of a stream sample; BENCH=queries: times of questions on 100 million (ARGS="--streams 1000000")
	$(BIN)/python -m tests.bench.$(or $(BENCH),storage) $(ARGS)

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## Rewrite the code in ruff's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## Write the generated pages anew
	$(BIN)/python -m services.runtime.reference
	$(BIN)/python -m schemas.jsonschema
	$(BIN)/python -m services.embedded.reference

clean: ## Remove what the targets above made, the data folder excepted
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help setup web chromium lock run test test-oracle bench-dispatcher bench-isolation bench-processor bench-storage chaos chaos-callbacks lint format docs clean
