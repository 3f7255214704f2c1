# Start with `make quickstart`, which trains and evaluates a small model, or `make test`, which runs the tests.
# Both set up .venv first. Without a GPU they install the CPU build of torch.
PYTHON ?= python3
BIN := .venv/bin
# Processes of `make test`. The tests of a file run in the same process, because they share fixtures.
JOBS ?= 2
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: quickstart test coverage lint docs package fuzz mutation compat golden audit licenses sbom notes studies-smoke benchmarks benchmarks-large benchmarks-gpu benchmarks-encoding results screenshots trim-results clean
quickstart: .venv/runtime
	$(BIN)/hbt-bench quickstart

test: .venv/dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Measure coverage, with child processes; fail below 95 % of lines or of branches.
coverage: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term --cov-report=json:build/coverage.json
	$(BIN)/python -c "import json; t = json.load(open('build/coverage.json'))['totals']; \
	  shares = t['covered_lines'] / t['num_statements'], t['covered_branches'] / t['num_branches']; \
	  print('lines {:.2%}, branches {:.2%}'.format(*shares)); raise SystemExit(min(shares) < 0.95)"

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Build the site of the documentation in build/site; fail on a dead link.
docs: .venv/dev
	$(BIN)/python docs/build_site.py

# Build wheel and sdist in dist/, and test the wheel outside the repository.
package: .venv/dev
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python -m tests.smoke dist

# Run all five studies on embedded data, about 90 seconds on a core. Studies share equal models. The tests do the same.
studies-smoke: .venv/dev
	for name in $$($(BIN)/python -c "from hbt_bench.studies.study import study_names; print(*study_names())"); do $(BIN)/hbt-bench study run $$name --scale smoke --output build/studies || exit 1; done

# Run the benchmarks of docs/scale.md, about 25 minutes on two cores.
benchmarks: .venv/dev
	for name in startup "scoring --collection xquad-r,mlqa-r" tools "end_to_end --languages de,en --mteb" growth processes leaderboard page training; do \
	  set -- $$name; script=$$1; shift; \
	  PYTHONPATH=. $(BIN)/python benchmarks/$$script.py "$$@" --output results/benchmarks/$$script || exit 1; done
	$(BIN)/python benchmarks/chart.py results/benchmarks/growth.json docs/images/growth.svg

# Rank 1,000,000 documents for 10,000 queries from vectors on disk: 1.5 GB, and about 10 minutes on two cores.
benchmarks-large: .venv/dev
	PYTHONPATH=. $(BIN)/python benchmarks/large.py --output results/benchmarks/large

# Run the GPU benchmarks; need a machine with a GPU, and XQuAD-R in HBT_BENCH_DATA. MODEL is a model's folder, else the
# weights are random.
benchmarks-gpu: .venv/dev
	PYTHONPATH=. $(BIN)/python benchmarks/gpu.py --output results/benchmarks/gpu
	PYTHONPATH=. $(BIN)/python benchmarks/encoding.py $(MODEL) --device cuda --texts 1200 --output results/benchmarks/encoding-gpu

# Compare ways to encode on the processor, an hour on two cores; needs XQuAD-R in HBT_BENCH_DATA. The folder MODEL is
# made by benchmarks/make_e5_small.py.
MODEL ?=
benchmarks-encoding: .venv/dev
	$(BIN)/pip install -q openvino onnxruntime onnx onnxscript
	PYTHONPATH=. $(BIN)/python benchmarks/encoding.py $(MODEL) --scores --output results/benchmarks/encoding

# Repeat the checks of docs/reliability.md: an hour on a core, most of it for the kills.
fuzz: .venv/dev
	PYTHONPATH=. $(BIN)/python benchmarks/fuzz_ranks.py --count 100000 --output results/benchmarks/fuzz_ranks
	PYTHONPATH=. $(BIN)/python benchmarks/fuzz_readers.py --count 2000 --output results/benchmarks/fuzz_readers
	PYTHONPATH=. $(BIN)/python benchmarks/kill.py --moments 50 --output results/benchmarks/kill
	PYTHONPATH=. $(BIN)/python benchmarks/interrupt.py --moments 50 --output results/benchmarks/interrupt

# Find changes of the arithmetic that no test detects: one or two hours on a core. `mutmut results` lists them.
mutation: .venv/dev
	$(BIN)/pip install -q 'mutmut>=3.8'
	OMP_NUM_THREADS=1 nice -n 15 $(BIN)/mutmut run --max-children 1

# Run the tests with the oldest and newest supported versions of libraries with unstable interfaces, and newer Pythons.
compat: .venv/dev
	sh benchmarks/compat.sh

# Renew the golden scores of all-MiniLM-L6-v2 and of e5-small; see CONTRIBUTING.md before you do.
golden: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.test_golden --renew $${HBT_BENCH_DATA:+--data-dir "$$HBT_BENCH_DATA"}

# Check the pinned dependencies for known vulnerabilities; a failed look-up is an error too.
audit: build/tools
	build/tools/bin/pip-audit -r constraints.txt --no-deps --disable-pip --strict

# List the licences of all packages that a user installs; fail on a licence that is not in this list.
LICENSES := MIT;BSD;0BSD;Apache;ISC;PSF;Python Software Foundation;MPL-2.0;Mozilla Public License 2.0
licenses: build/user build/tools
	build/tools/bin/pip-licenses --python build/user/bin/python --from mixed --with-urls --format markdown --output-file build/licenses.md \
	  --partial-match --allow-only '$(LICENSES)'

# Write the list of components (SBOM, CycloneDX) of an installation.
sbom: build/user build/tools
	build/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.cdx.json build/user/bin/python

# Write the notes of the release: its section of CHANGELOG.md, and the ways to check the files.
notes:
	mkdir -p build
	version=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) && \
	  awk -v heading="## $$version " 'index($$0, "## ") == 1 {on = index($$0, heading) == 1; next} on' CHANGELOG.md > build/notes.md && \
	  test -s build/notes.md && sed -n '/^## Releases/,/^## /{/^## /d;p}' SECURITY.md >> build/notes.md

# A user's installation of the built wheel, with the pinned versions and all extras for users.
build/user: package
	$(PYTHON) -m venv build/user
	build/user/bin/pip install -q torch==$(TORCH) $$(command -v nvidia-smi >/dev/null 2>&1 || echo --extra-index-url https://download.pytorch.org/whl/cpu)
	build/user/bin/pip install -q -c constraints.txt "$$(ls dist/*.whl)[bm25,report,lora,tensorboard]"

build/tools:
	$(PYTHON) -m venv build/tools
	build/tools/bin/pip install -q pip-audit pip-licenses cyclonedx-bom

# Write the tables in README.md and in results/, which a test compares byte for byte, and the picture in README.md.
results: .venv/dev
	$(BIN)/hbt-bench leaderboard results --tasks xquad-r --reported --models 'hbt-bench/*,local/*,google/*,XLM-R*' --columns rank,model,AP,rank_distance,bias,worst --update README.md
	$(BIN)/hbt-bench leaderboard results --tasks xquad-r --reported --models 'hbt-bench/*,local/*,google/*,XLM-R*hybrid*' --plot docs/images/modes.svg > /dev/null
	$(BIN)/hbt-bench leaderboard results --reported --update results/README.md
	$(BIN)/hbt-bench leaderboard results --tasks xquad-r-multi,mlqa-r-multi,cldr-facts-multi --columns rank,model,rank_distance,multi:Max@R,multi:Complete@100,multi:TLR@10,multi:same_language_first,bias,multi:MRC@20,multi:AWRF@20,multi:remove_same_language,multi:remove_other_language,worst --update results/bias.md
	printf '# BM25, all-MiniLM-L6-v2 and USE-multilingual against e5-small-4bit\n\n' > results/comparison.md
	HBT_BENCH_TASKS=tasks/ood $(BIN)/hbt-bench compare local/e5-small-4bit@71d6d7d260ca5fd8 hbt-bench/bm25 local/all-MiniLM-L6-v2 google/universal-sentence-encoder-multilingual --tasks 'xquad-r,mlqa-r,scifact-beir,belebele-ood[am,de,en,sw,yo,zh],flores-ood[en,sw,yo],tatoeba-ood[am,sw,te>en]' --resamples 10000 --format md >> results/comparison.md

# Take the pictures of the report. Needs chromium, chromium-driver, fonts for all scripts (fonts-noto-core and
# fonts-noto-cjk, else Chinese shows as boxes), the data in HBT_BENCH_DATA, and in SWEEP the results of a sweep over
# alpha on XQuAD-R, for example of recipes/parallel-small.yaml (the commands are in results/training/parallel-small.md).
# Pictures with texts are of the embedded facts, because other texts are not ours.
SWEEP ?= runs/results
FACTS = $(BIN)/hbt-bench run --tasks cldr-facts --languages ar,de,en,hi,ru,sw,th,zh --output build/facts
screenshots: .venv/dev
	mkdir -p build
	$(BIN)/hbt-bench report results --task-dir tasks/ood --reported --output build/report.html
	$(BIN)/python -m docs.screenshots build/report.html
	$(BIN)/hbt-bench report $(SWEEP) --tasks xquad-r --output build/sweep.html
	$(BIN)/python -m docs.screenshots build/sweep.html --pictures sweep
	test -d build/e5-small || $(BIN)/python benchmarks/make_e5_small.py build/e5-small
	$(FACTS) --model bm25
	$(FACTS) --model build/e5-small
	$(BIN)/hbt-bench report build/facts --output build/facts.html
	$(BIN)/python -m docs.screenshots build/facts.html --pictures worst
	$(BIN)/hbt-bench site build/facts --output build/facts-site
	$(BIN)/python -m docs.screenshots build/facts-site/questions/*.html --pictures questions

.venv/torch: constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --retries 1 torch==$(TORCH) \
	  $$(command -v nvidia-smi >/dev/null 2>&1 || echo --extra-index-url https://download.pytorch.org/whl/cpu)
	touch $@

.venv/runtime: .venv/torch pyproject.toml
	$(BIN)/pip install -q -c constraints.txt -e '.[bm25]'
	touch $@

.venv/dev: .venv/runtime
	$(BIN)/pip install -q -c constraints.txt -e '.[bm25,dev,docs]'
	touch $@

# Trim results/ to the files that README and docs cite, at most 20 MB; commands write the others again.
trim-results: .venv/dev
	PYTHONPATH=. $(BIN)/python benchmarks/trim_results.py results

clean:
	rm -rf .venv build dist quickstart runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
