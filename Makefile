# make demo     set up, then the whole pipeline on the built-in sample
# make test     set up, then the tests: the quick ones first
# make lint     ruff, mypy and import-linter
# make docs     the pages of docs/, into site/
# make install  set up only; again after every change of the requirements
PYTHON ?= python3.11
BIN := .venv/bin
# One process per core, each with one thread: side by side, the tests of a file share its fixtures.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint docs install
.DELETE_ON_ERROR:

demo: install
	@$(BIN)/python -m projects.main

# pytest ends with 5 where it has nothing to run, as when all tests are quick.
test: .venv/dev.stamp .venv/docs.stamp
	$(PYTEST) -m "not slow"
	$(PYTEST) -m slow || test $$? -eq 5

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/docs.stamp
	$(BIN)/python -m mkdocs build --strict

install: .venv/installed.stamp

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo 'error: expected Python 3.11 as $(PYTHON) on the PATH, found none; install it (Debian: apt-get install python3.11 python3.11-venv) or type make PYTHON=/path/to/python3.11' >&2; exit 2; }
	@echo 'Making the environment .venv and installing into it (about two minutes, 2 GB, once)'
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 2; }

# Exact versions; pyproject.toml has the ranges. Compat: the clone itself is on the path of this environment, so that
# benchmarks and examples find the recipes in projects/, which are no part of the package.
.venv/installed.stamp: requirements.txt pyproject.toml hemacell/tracking/project_environment.py | .venv/bin/python
	$(PIP) --requirement requirements.txt
	$(PIP) --no-deps --config-settings editable_mode=compat --editable .
	$(BIN)/python -m hemacell.tracking.project_environment
	@touch $@

# The extras are installed for their tests; the one of Spark (0.5 GB, well under a minute) is skipped where there is no Java.
.venv/dev.stamp: requirements-dev.txt requirements-onnx.txt requirements-spark.txt .venv/installed.stamp
	$(PIP) $(addprefix --requirement ,$(filter %.txt,$^)) --constraint requirements.txt
	@touch $@

.venv/docs.stamp: requirements-docs.txt .venv/installed.stamp
	$(PIP) --requirement requirements-docs.txt --constraint requirements.txt
	@touch $@
