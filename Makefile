# Two commands for a fresh machine: `make quickstart` runs the main job, `make test` passes the tests.
# Both set up .venv first; where there is no GPU they take torch's CPU build.
PYTHON ?= python3
BIN := .venv/bin
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: quickstart test lint studies-smoke benchmarks results screenshots clean
quickstart: .venv/runtime
	$(BIN)/hbt-bench quickstart

test: .venv/dev lint
	$(BIN)/python -m pytest

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# All five studies on embedded data, about a minute and a half of one core; they share what models they can. The tests
# run the same.
studies-smoke: .venv/dev
	for name in $$($(BIN)/python -c "from hbt_bench.studies.study import names; print(*names())"); do $(BIN)/hbt-bench study run $$name --scale smoke --output build/studies || exit 1; done

benchmarks: .venv/dev
	for name in startup scoring end_to_end leaderboard page training; do PYTHONPATH=. $(BIN)/python benchmarks/$$name.py --output results/benchmarks/$$name.json || exit 1; done

# The leaderboards in README.md and results/README.md, which a test compares byte for byte.
results: .venv/dev
	$(BIN)/hbt-bench leaderboard results --tasks xquad-r,mlqa-r --columns rank,model,AP,rank_distance,bias,worst --update README.md
	$(BIN)/hbt-bench leaderboard results --update results/README.md

# The pictures of the report; needs chromium, chromium-driver and the data, and in SWEEP the results of a sweep over alpha
# on XQuAD-R, such as those of recipes/parallel-small.yaml (results/training/parallel-small.md has the commands).
SWEEP ?= runs/results
screenshots: .venv/dev
	mkdir -p build
	$(BIN)/hbt-bench report results --task-dir tasks/ood --reported --output build/report.html
	$(BIN)/python -m docs.screenshots build/report.html
	$(BIN)/hbt-bench report $(SWEEP) --tasks xquad-r --output build/sweep.html
	$(BIN)/python -m docs.screenshots build/sweep.html --sweep

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
	rm -rf .venv build dist quickstart runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
