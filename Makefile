# `make demo` fits and exports an embedded recording; `make test` runs the tests.
# Both set up everything they need in .venv, with the versions pinned in constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
# The extension is a wheel of its own, which the package depends on; both are installed together.
EXTENSION := --editable ./extensions/ndx-population-dynamics
RUN := runs/demo
# Test files run in two processes; a file stays in one of them.
PARALLEL ?= --numprocesses 2 --dist loadfile

# Models of a few dozen neurons are faster on one thread, and tests repeat themselves exactly.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all coverage wheels mutants lint notebooks docs clean

.venv/ready: pyproject.toml extensions/ndx-population-dynamics/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(EXTENSION) --editable .
	touch .venv/ready

.venv/tested: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(EXTENSION) --editable '.[docs,test]'
	touch .venv/tested

demo: .venv/ready
	$(BIN)/nwbdyn fit sample:cortex --model synapsnet -o $(RUN) --overwrite
	$(BIN)/nwbdyn export $(RUN) -o $(RUN)/cortex-enriched.nwb --enrich --overwrite

test: .venv/tested lint
	$(BIN)/python -m pytest $(PARALLEL) -m 'not slow'

test-all: .venv/tested lint
	$(BIN)/python -m pytest $(PARALLEL)
	$(BIN)/python tests/mutants/run.py

# Lines of nwbdyn/ that `make test` runs, programs that tests start included; below 92 % it fails.
coverage: .venv/tested
	rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest $(PARALLEL) -m 'not slow'
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# Wheels and source archives, built and tried in an empty environment; takes a package registry.
wheels: .venv/tested
	NWBDYN_REGISTRY=1 $(BIN)/python -m pytest tests/test_wheels.py tests/test_empty_environment.py

# Deliberate mistakes in the code, one after the other: the tests have to notice each of them.
mutants: .venv/tested
	$(BIN)/python tests/mutants/run.py

lint: .venv/tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The tutorials, run and with their figures, in build/notebooks.
notebooks: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(EXTENSION) --editable '.[tutorials]'
	$(BIN)/python tutorials/render.py build/notebooks

# The documentation site, in build/site; a link that leads nowhere ends it.
docs: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(EXTENSION) --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

clean:
	rm -rf .venv runs build dist
