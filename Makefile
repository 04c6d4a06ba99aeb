# Everything runs from .venv, which any of these targets makes when it is missing or older than
# pyproject.toml. Needed beforehand: Python 3.11 or newer with pip, make and git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Stands only while the environment is whole: it goes before an installation and comes back after.
READY := $(VENV)/.ready

define IMPORT
import sys
import time
import torch
start = time.perf_counter()
import skpadim
print(f"skpadim {skpadim.__version__} is packed, and imported {time.perf_counter() - start:.1f} s after torch")
assert skpadim.__file__.startswith(sys.prefix), skpadim.__file__
endef
export IMPORT

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs package clean distclean environment

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Fit and score drawn photos of a machined part (offline, about a minute)
	@$(BIN)/python examples/demo.py

test: $(READY) ## Run the tests and the examples in the docstrings
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(READY) ## Check style, formatting and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

docs: $(READY) ## Build the documentation into docs/_build/html
	@$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

package: $(READY) ## Build sdist and wheel into dist, and install and import them in an empty environment
	@rm -rf dist
	@$(BIN)/uv build --quiet
	@$(BIN)/uv venv --quiet --seed --python $(BIN)/python dist/empty
	@$(BIN)/uv pip install --quiet --python dist/empty/bin/python dist/*.whl
	@cd dist && empty/bin/python -c "$$IMPORT"
	@. dist/empty/bin/activate && export PIP_QUIET=2 PIP_DISABLE_PIP_VERSION_CHECK=1 && pip install . && pip install ".[plot]" && pip install ".[cli]"
	@cd dist && empty/bin/python -W error -c "import matplotlib, skpadim.plotting"
	@cd dist && empty/bin/skpadim --version
	@rm -rf dist/empty

clean: ## Remove what the targets made, but for the environment
	rm -rf dist docs/_build docs/auto_examples docs/generated docs/sg_execution_times.rst demo_output
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## Remove the environment as well
	rm -rf $(VENV)

# An environment without the stamp was left half-made, and is made anew.
$(READY): pyproject.toml
	@test -e $@ || $(MAKE) --no-print-directory environment
	@rm -f $@
	@echo "Installing skpadim and what it needs (torch and its CUDA libraries are about 5 GB)"
	@$(BIN)/uv pip install --python $(BIN)/python --editable '.[dev]'
	@touch $@

# The pip of $(PYTHON) installs uv, and uv the rest, many times faster. Without ensurepip, which
# Debian packs apart from Python.
environment:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "skpadim needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; \
	    exit 1; }
	@$(PYTHON) -m pip --version > /dev/null || { \
	    echo "skpadim's set-up needs pip; leave an active virtual environment that has none, or" >&2; \
	    echo "install it (on Debian and Ubuntu: apt install python3-pip)" >&2; \
	    exit 1; }
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv --clear --without-pip $(VENV)
	@$(PYTHON) -m pip --python $(BIN)/python install --quiet uv
