# FreshFlow: `make` lists what there is to do. All it asks for is Python 3.11 or 3.12; the rest goes into .venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.NOTPARALLEL: # pip installs into one .venv at a time

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

IN_RANGE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
# The first that runs and is in range; a pyenv shim can be on the PATH and yet not run.
PYTHON ?= $(shell for python in python3.12 python3.11 python3 python; do \
	if $$python -c '$(IN_RANGE)' >/dev/null 2>&1; then echo $$python; break; fi; done)

# More for the command of a target: make test ARGS="-k parse", make lock ARGS=--upgrade
ARGS :=

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do \
		printf '  make %-15s %s\n' "$$name" "$$what"; done

.PHONY: run
run: $(VENV)/.runtime $(VENV)/.project ## Simulate a shop and recommend to its visitors; the lists go to out/
	@mkdir -p out
	$(BIN)/freshflow simulate --events 20000 --output out/events.jsonl
	$(BIN)/freshflow run --input out/events.jsonl --output out/recommendations.jsonl --metrics out/metrics.jsonl

.PHONY: demo
demo: $(VENV)/.serve $(VENV)/.project ## Show a simulated shop, its lists and how good they are on a live page
	$(BIN)/freshflow demo $(ARGS)

.PHONY: evaluate
evaluate: $(VENV)/.runtime $(VENV)/.project ## Say how good the lists are over a file of events, DATA=events.jsonl
	@if [ -z '$(DATA)' ]; then echo "Name a file of events: make evaluate DATA=events.jsonl" >&2; exit 1; fi
	$(BIN)/freshflow evaluate '$(DATA)' --baselines $(ARGS)

.PHONY: test
test: $(VENV)/.dev $(VENV)/.project ## Run all tests, those of Kafka on Tansu (ARGS="-k parse" for some)
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-kafka
test-kafka: $(VENV)/.dev $(VENV)/.project ## Run the tests of Kafka on Apache Kafka (needs Java 17 and Maven)
	tests/kafka/apache_kafka.sh run -- $(BIN)/pytest tests/kafka $(ARGS)

.PHONY: test-faults
test-faults: $(VENV)/.dev $(VENV)/.project ## Kill, stop and starve jobs on Apache Kafka (a quarter of an hour)
	tests/kafka/apache_kafka.sh run -- sh -c '$(BIN)/python -m tests.faults "$$FRESHFLOW_TEST_KAFKA" $(ARGS)'

.PHONY: test-deploy
test-deploy: $(VENV)/.deploy $(VENV)/.project ## Check what is in deploy/ (needs promtool, of Debian's package prometheus)
	FRESHFLOW_TEST_DEPLOY=1 $(BIN)/pytest tests/deploy $(ARGS)

.PHONY: bench
bench: $(VENV)/.dev $(VENV)/.project ## Compare speeds on a simulated shop, or on files (DATA="a.jsonl.gz b.jsonl.gz")
	$(BIN)/python -m tests.bench.throughput $(DATA) $(ARGS)

.PHONY: bench-kafka
bench-kafka: $(VENV)/.dev $(VENV)/.project ## Measure from event to list through Apache Kafka (five minutes)
	tests/kafka/apache_kafka.sh run -- sh -c '$(BIN)/python -m tests.bench.latency "$$FRESHFLOW_TEST_KAFKA" $(ARGS)'

.PHONY: bench-scale
bench-scale: $(VENV)/.dev $(VENV)/.project ## Measure growth, memory, two processes and ends of epochs (half an hour)
	$(BIN)/python -m tests.bench.scale $(ARGS)

.PHONY: screenshots
screenshots: $(VENV)/.dev $(VENV)/.project ## Take the pictures of the live page in the docs (needs chromium)
	$(BIN)/python -m tests.serving.dashboard.screenshots

.PHONY: fuzz
fuzz: $(VENV)/.fuzz $(VENV)/.project ## Try to break what reads bytes: a million mutations (ARGS="--runs 20000 records")
	$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: docs
docs: $(VENV)/.dev $(VENV)/.project ## Build the documentation as a site, out/site/index.html
	$(BIN)/mkdocs build --strict --quiet

.PHONY: docs-reference
docs-reference: $(VENV)/.dev $(VENV)/.project ## Write what is generated of the documentation: tables and schemas
	$(BIN)/python -m tests.docs

.PHONY: check
check: lint types test ## Run lint, types and test

.PHONY: lint
lint: $(VENV)/.dev $(VENV)/.project ## Check style, formatting and which module may import which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo

.PHONY: types
types: $(VENV)/.dev $(VENV)/.project ## Check types
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/.dev ## Format the code, and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: lock
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-header --no-emit-index-url --no-annotate
lock: $(VENV)/.created ## Pin what pyproject.toml asks for (ARGS=--upgrade for the newest versions)
	@$(PIP) install 'uv>=0.9,<1'
	$(COMPILE) $(ARGS) pyproject.toml --output-file requirements.lock
	$(COMPILE) $(ARGS) pyproject.toml --extra serve --constraint requirements.lock --output-file requirements-serve.lock
	$(COMPILE) $(ARGS) pyproject.toml --extra serve --extra serve-redis --group dev --constraint requirements.lock --output-file requirements-dev.lock
	$(COMPILE) $(ARGS) --group fuzz --output-file requirements-fuzz.lock
	$(COMPILE) $(ARGS) --group deploy --constraint requirements-dev.lock --output-file requirements-deploy.lock
	$(COMPILE) $(ARGS) --group build --output-file requirements-build.lock

.PHONY: clean
clean: ## Delete .venv, caches and everything that was made
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .cache
	find freshflow flows tests -name __pycache__ -prune -exec rm -rf {} +

# Each stamp says that its step is done; an interrupted step is done again.
$(VENV)/.created:
	@python='$(PYTHON)'; \
	if [ -z "$$python" ] || ! "$$python" -c '$(IN_RANGE)' >/dev/null 2>&1; then \
		echo "FreshFlow needs Python 3.11 or 3.12, and found neither; name one: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
		echo "$$python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENV)
	@touch $@

$(VENV)/.runtime: requirements.lock | $(VENV)/.created
	@echo "Installing requirements.lock into $(VENV)"
	@$(PIP) install --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.serve: requirements-serve.lock | $(VENV)/.created
	@echo "Installing requirements-serve.lock into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-serve.lock
	@touch $@ $(VENV)/.runtime

$(VENV)/.dev: requirements-dev.lock | $(VENV)/.created
	@echo "Installing requirements-dev.lock into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@ $(VENV)/.runtime $(VENV)/.serve

$(VENV)/.fuzz: requirements-fuzz.lock $(VENV)/.dev
	@echo "Installing requirements-fuzz.lock into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-fuzz.lock
	@touch $@

$(VENV)/.deploy: requirements-deploy.lock $(VENV)/.dev
	@echo "Installing requirements-deploy.lock into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-deploy.lock
	@touch $@

$(VENV)/.project: pyproject.toml | $(VENV)/.created
	@$(PIP) install --no-deps --editable .
	@touch $@
