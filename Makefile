# Two commands are enough: `make demo` runs the platform, `make test` runs its tests.
# They need Python 3.11 to 3.13, make and a network that reaches PyPI; uv is fetched from there.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(if $(shell $(p) -c 'import sys; print(1 if (3, 11) <= sys.version_info < (3, 14) else "")' 2>/dev/null),$(p))))
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# What a Databricks cluster installs, and what it has of its own.
CLUSTER := churn_assets/databricks/compute/requirements.txt
RUNTIME := requirements-databricks-runtime.txt
# It advertises its successor.
DOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
# Whole modules a process, since they share what is dear to make. Whoever lets Python write no bytecode would have
# every process rewrite the assertions of 250 modules anew, half of what it takes to collect the tests.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n auto --maxprocesses 4 --dist loadscope

# A command that fails before a pipe fails the target.
SHELL := bash
.SHELLFLAGS := -o pipefail -c

.DEFAULT_GOAL := help
.PHONY: help demo dev serve bench docs wheel test test-all test-faults test-spark test-ui check audit lock clean

help:  ## show these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(UV):
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 to 3.13 found; install one, or say PYTHON=/path/to/python3"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version), and uv in it"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"

# uv would list each of 200 packages. Of libraries' own tests, a fifth of what there is to compile, nobody runs any, and
# a file of theirs that is of another Python stops nothing.
define install
	@echo "Installing the packages of $(1) into $(VENV): a minute or two, once"
	@$(UV) pip install --no-progress --python $(BIN)/python --require-hashes -r $(1) 2>&1 \
		| grep --line-buffered -vE '^ [-+~] |^ Downloaded|^Using Python|KiB\)|\([0-9.]{3}MiB\)'
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@echo "  Compiling them"
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
	@$(BIN)/python -m compileall -q churn_assets
endef

# What runs the platform.
$(VENV)/installed: requirements.lock pyproject.toml | $(UV)
	$(call install,requirements.lock)
	@touch $@

# What checks it as well: its lock holds the other, so that one download and one compilation are enough.
$(VENV)/installed-dev: requirements-dev.lock requirements.lock pyproject.toml | $(UV)
	$(call install,requirements-dev.lock)
	@touch $(VENV)/installed $@

demo: $(VENV)/installed  ## simulate events, run the whole graph, say what it made
	$(BIN)/churn demo

dev: $(VENV)/installed  ## Dagster's UI with the graph, on sample data if the lake is empty
	$(BIN)/churn simulate --sample
	$(BIN)/churn dev

serve: $(VENV)/installed  ## the Production model over HTTP
	$(BIN)/churn serve

bench: $(VENV)/installed-dev  ## the scoring server beside mlflow models serve, and what else is measured
	$(BIN)/python -m bench

wheel: | $(UV)  ## the package as a wheel in dist, for machines without this checkout
	@$(UV) build --quiet --wheel --out-dir dist
	@ls dist/*.whl

test: $(VENV)/installed-dev  ## run the tests on the embedded engine
	$(PYTEST)

test-all: $(VENV)/installed-dev  ## and those that show the same at full size, or in a browser
	$(PYTEST) -m 'not faults'

test-spark: $(VENV)/installed-dev  ## run those that touch the engine on Apache Spark (needs Java 17)
	CHURN_DEPLOYMENT=spark $(PYTEST)

test-faults: $(VENV)/installed-dev  ## hundreds of kills, damages and floods, counted in docs/reliability.md
	$(PYTEST) -m faults churn_assets_tests/faults --write-faults docs/reliability.md

test-ui: $(VENV)/installed-dev  ## click through Dagster's UI in Chromium (minutes)
	$(PYTEST) -m slow churn_assets_tests/end_to_end/test_ui.py

check: $(VENV)/installed-dev  ## lint, format, types, the direction of imports, the pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(DOCS)

docs: $(VENV)/installed-dev  ## make docs/ a site in build/site, its reference pages from the code
	$(BIN)/python docs/site/reference.py
	$(DOCS)

# In an environment of its own, which uv keeps in its cache: it pulls in 28 packages that nothing else needs.
# --strict, because without an answer about a package it would pass in silence.
audit: | $(UV)  ## ask whether a locked package has a known vulnerability (needs a network)
	@for lock in requirements.lock requirements-dev.lock; do \
		$(UV) tool run pip-audit==2.10.1 --strict --progress-spinner off --require-hashes --disable-pip -r $$lock \
		|| { echo "make audit: $$lock is not proved to be safe: a package above has a vulnerability, or could not be looked up."; exit 1; }; \
	done

lock: | $(UV)  ## resolve the dependencies anew, with hashes, for every Python and platform
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock
	# Compiled over a copy of the lock, whose versions it then prefers: both sides of a step have the same.
	cp requirements.lock $(CLUSTER)
	$(UV) pip compile --quiet --group databricks-cluster --generate-hashes --python-version 3.12 --python-platform linux --no-header -c $(RUNTIME) $$(sed -n 's/==.*//p' $(RUNTIME) | sed 's/^/--no-emit-package /') -o $(CLUSTER)

clean:  ## remove the environment and the lake
	rm -rf $(VENV) lake
