# Two commands for a stranger: `make bench` (the main job) and `make test`. Both make .venv first; nothing else is touched.
PYTHON ?= python3
SUITE ?= quick
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: bench setup setup-test test test-slow lint docs clean

bench: setup
	$(BIN)/jepabench run suite=$(SUITE)

test: setup-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" $(ARGS)

test-slow: setup-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m slow $(ARGS)

lint: setup-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python .ci/wording.py
	$(BIN)/python .ci/structure.py

docs: setup-test
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs outputs/site

setup: .venv/.core
setup-test: .venv/.test

.venv/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (a minute or two) ..."
	$(INSTALL) --editable '.[models]'
	@touch $@

.venv/.test: .venv/.core
	$(INSTALL) --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv outputs data
