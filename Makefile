# make demo, make test and make lint do their own set-up: a virtual environment in .venv with the pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready
# Extras whose code has tests; vLLM needs a GPU.
EXTRAS := docx,fields,llamacpp,llamafactory,moverscore,openai,parquet,qlora,ray,server,zstd
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Three workers, each on one thread: most tests train models of a few thousand weights, and some wait for processes
# that they started, so that two cores have work for three. A worker
# that has nothing left takes over half of what the other has.
WORKERS ?= 3
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: help setup demo test test-families test-fast lint format docs clean

help:
	@echo "make demo       the main job: fine-tune, score, summarize, report (make demo SMALL=1: with a small model)"
	@echo "make test       the whole test suite (fetches the embedded model once)"
	@echo "make test-fast  without the tests that are slow or need the embedded model"
	@echo "make test-families  every causal model type of the installed transformers: exact, or refused"
	@echo "make lint       ruff and mypy"
	@echo "make format     let ruff format the code"
	@echo "make docs       the documentation site, in site/; any warning fails"
	@echo "make setup      only the set-up"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) 'pip>=25.1' # the first that knows dependency groups
	$(PIP) torch==2.13.0
	$(PIP) --constraint constraints.txt --editable '.[$(EXTRAS)]' --group dev
	@touch $@

demo: $(READY)
	$(BIN)/rolesum demo $(if $(SMALL),--small)

test: $(READY)
	$(PYTEST)

test-families: $(READY)
	$(PYTEST) tests/equality/test_causal_types.py -m families

test-fast: $(READY)
	$(PYTEST) -m 'not slow and not embedded'

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site's tools are beside the package, whose commands print their reference.
$(DOCS_READY): $(READY)
	$(PIP) --constraint constraints.txt --group docs
	@touch $@

docs: $(DOCS_READY)
	$(BIN)/python docs/site/build_site.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .cache build dist site
