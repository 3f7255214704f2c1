# Two commands for a fresh machine: `make quickstart` runs the main job, `make test` passes the tests.
# Both set up .venv first; where there is no GPU they take torch's CPU build.
PYTHON ?= python3
BIN := .venv/bin
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: quickstart test lint benchmarks clean
quickstart: .venv/runtime
	$(BIN)/hbt-bench quickstart

test: .venv/dev lint
	$(BIN)/python -m pytest

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmarks: .venv/dev
	for name in startup scoring end_to_end; do $(BIN)/python benchmarks/$$name.py --output results/benchmarks/$$name.json || exit 1; done

.venv/torch: constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --retries 1 torch==$(TORCH) \
	  $$(command -v nvidia-smi >/dev/null 2>&1 || echo --extra-index-url https://download.pytorch.org/whl/cpu)
	touch $@

.venv/runtime: .venv/torch pyproject.toml
	$(BIN)/pip install -q -c constraints.txt -e '.[bm25]'
	touch $@

.venv/dev: .venv/runtime
	$(BIN)/pip install -q -c constraints.txt -e '.[bm25,dev]'
	touch $@

clean:
	rm -rf .venv build dist quickstart .mypy_cache .ruff_cache .pytest_cache .hypothesis
