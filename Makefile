# `make demo` runs the main job, `make quick` and `make test` run lint, types and tests; each makes the virtual environment
# it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
# Test files are shared out among so many processes, each of which computes on one core, and waits for other processes and
# for clocks much of the time.
WORKERS ?= 3
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# What pip would do itself, on one core. Some libraries carry files of other versions of Python, which cannot be compiled.
COMPILE = ($(BIN)/python -m compileall -q -j 2 $(abspath $(VENV))/lib >/dev/null 2>&1 || true)

PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
BESIDE = $(MAKE) --no-print-directory --jobs 2
# What costs time has one of these markers (tests/guards.py).
QUICK = not slow and not service and not postgres and not browser
# The tests start many processes: the code is compiled once, and not in each of them.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo docs test libraries quick lint types unit quick-unit clean help

help:
	@echo "make demo   the whole way on made-up voices: corpus, training, evaluation, comparison (a few minutes)"
	@echo "make docs   the documentation as a site of plain files: outputs/site/index.html (half a minute)"
	@echo "make quick  lint, types, and every test that needs no training, export, server, browser or kill (two or three minutes)"
	@echo "make test   lint, types and all tests (some minutes)"
	@echo "make clean  remove the virtual environment, the demo's output and the site"

demo: $(VENV)/.train
	$(BIN)/sound-groove demo --out outputs/demo --force

docs: $(VENV)/.docs javascript/node_modules/.package-lock.json
	$(BIN)/python docs/build_site.py

# Types are checked beside the tests: after a change of what everything uses, that takes half a minute on one core.
test:
	@$(BESIDE) libraries javascript/node_modules/.package-lock.json
	@$(MAKE) --no-print-directory lint
	$(BESIDE) types unit

# Those of Python, one after the other: pip cannot install beside itself.
libraries:
	@$(MAKE) --no-print-directory $(VENV)/.dev
	@$(MAKE) --no-print-directory $(VENV)/.docs

quick: $(VENV)/.dev lint
	$(BESIDE) types quick-unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev $(VENV)/.docs
	$(PYTEST)

# These wait for nobody, and each process more imports torch and opens the model once more.
quick-unit: WORKERS = 2
quick-unit: $(VENV)/.dev
	$(PYTEST) -m '$(QUICK)'

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --no-compile --editable '.[train]'
	$(COMPILE)
	touch $@

# mypy reads the libraries' types once, which takes half a minute and more: beside it they are compiled.
$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --no-compile --editable '.[dev]'
	$(BIN)/mypy >/dev/null & $(COMPILE); wait
	touch $@ $(VENV)/.train

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[docs]'
	touch $@

# The npm package's libraries: what needs them is left out, with a word, where there is no npm.
javascript/node_modules/.package-lock.json: javascript/package.json javascript/package-lock.json
	@cd javascript && if npm ci --ignore-scripts --no-fund --no-audit; then touch node_modules/.package-lock.json; else \
	  echo "npm ci did not work (Node 20 or newer is needed): the npm package is not tested, nor is it in the site"; fi

clean:
	rm -rf $(VENV) outputs/demo outputs/site javascript/node_modules
