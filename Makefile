# `make demo` runs the main job, `make test` runs lint, types and tests; each makes the virtual environment it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
# Test files are shared out among so many processes, each of which computes on one core.
WORKERS ?= 2
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint types unit clean help

help:
	@echo "make demo   the whole way on made-up voices: corpus, training, evaluation, comparison (a few minutes)"
	@echo "make test   lint, types and tests"
	@echo "make clean  remove the virtual environment and the demo's output"

demo: $(VENV)/.train
	$(BIN)/sound-groove demo --out outputs/demo --force

test: lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[train]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[dev]'
	touch $@ $(VENV)/.train

clean:
	rm -rf $(VENV) outputs/demo
