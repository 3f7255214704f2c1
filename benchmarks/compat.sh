#!/bin/sh
# Run the tests, except slow tests, in temporary environments: with the oldest supported mteb, sentence-transformers and
# numpy; with their newest versions, if .venv has older versions; and with each newer Python that is installed and for
# which torch has a CPU build. `make compat` runs all of them. `sh benchmarks/compat.sh oldest` runs one of oldest,
# newest, python3.12, python3.13 and python3.14.
set -e
skipped="not killed and not minilm and not real_vectors and not batches_follow_their_strategy"
moving="mteb sentence-transformers numpy"

versions() {  # PYTHON NAME...: print the versions that it imports
    "$1" -c "import sys; from importlib.metadata import version as v; print(*(f'{n}=={v(n)}' for n in sys.argv[1:]))" $2
}

passes() {  # FOLDER
    echo "$("$1/bin/python" --version), $(versions "$1/bin/python" "$moving torch")"
    OMP_NUM_THREADS=1 "$1/bin/python" -m pytest -p no:cacheprovider -k "$skipped"
}

overlaid() {  # FOLDER REQUIREMENT...: make an environment with these packages, and all others from .venv
    folder=$1; shift
    site=$(.venv/bin/python -c "import site; print(site.getsitepackages()[0])")
    .venv/bin/python -m venv --clear "$folder"
    own=$("$folder/bin/python" -c "import site; print(site.getsitepackages()[0])")
    echo "import site; site.addsitedir('$site')" > "$own/zz-venv.pth"
    "$folder/bin/pip" install -q --no-deps --ignore-installed "$@"
}

oldest() {
    bounds=$(for name in $moving; do sed -n "s/^ *\"$name>=\(.*\)\",/$name==\1/p" pyproject.toml; done)
    overlaid build/compat-oldest $bounds
    passes build/compat-oldest
}

newest() {
    overlaid build/compat-newest --upgrade $moving
    if [ "$(versions build/compat-newest/bin/python "$moving")" = "$(versions .venv/bin/python "$moving")" ]; then
        echo "the newest $moving are those of .venv: run make test"
    else
        passes build/compat-newest
    fi
}

newer() {  # PYTHON; it may be a shim of pyenv that starts nothing
    "$1" -c "" 2>/dev/null || { echo "$1 is not installed"; return 0; }
    "$1" -m venv --clear "build/compat-$1"
    torch=$(sed -n "s/^torch==//p" constraints.txt)
    "build/compat-$1/bin/pip" install -q --extra-index-url https://download.pytorch.org/whl/cpu "torch==$torch+cpu" ||
        { echo "torch $torch has no CPU build for $1"; return 0; }
    "build/compat-$1/bin/pip" install -q -c constraints.txt -e ".[bm25,dev]"
    passes "build/compat-$1"
}

for kind in ${1:-oldest newest python3.12 python3.13 python3.14}; do
    case $kind in
    oldest | newest) $kind ;;
    *) newer "$kind" ;;
    esac
done
