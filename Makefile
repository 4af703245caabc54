# Every target does its own set-up: it needs Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Two workers with one thread each: tests on tiny models gain nothing from more threads.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.PHONY: demo test test-full test-minimum lint format bench clean

demo: $(READY)
	$(BIN)/biote demo --output runs/demo

test: $(READY)
	$(PYTEST)

test-full: $(READY)
	$(PYTEST) -m "not gpu"

# The oldest torch that the package declares, in an environment of its own.
test-minimum:
	$(PYTHON) -m venv .venv-minimum
	.venv-minimum/bin/pip install --quiet "torch==2.11.*" -e ".[dev]"
	OMP_NUM_THREADS=1 .venv-minimum/bin/python -m pytest -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/train_step.py

clean:
	rm -rf $(VENV) .venv-minimum runs

# torch first and by its pin: resolved together with the rest it could be another build.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("biote needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)
