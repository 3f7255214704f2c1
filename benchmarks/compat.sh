#!/bin/sh
# The tests without the slow ones, in throw-away environments: with the oldest supported mteb, sentence-transformers
# and numpy, and with the newest. The rest, torch above all, is that of .venv.
set -e
python=${1:-python3}
site=$(.venv/bin/python -c "import site; print(site.getsitepackages()[0])")
skipped="not killed and not minilm and not real_vectors and not end_to_end and not ten_thousand and not browser"
for kind in oldest newest; do
    folder=build/compat-$kind
    rm -rf "$folder"
    "$python" -m venv "$folder"
    own=$("$folder/bin/python" -c "import site; print(site.getsitepackages()[0])")
    echo "import site; site.addsitedir('$(cd "$(dirname "$site")" && pwd)/$(basename "$site")')" > "$own/zz-venv.pth"
    if [ $kind = oldest ]; then
        "$folder/bin/pip" install -q --no-deps mteb==2.26.0 sentence-transformers==6.0.0 numpy==2.0.2
    else
        "$folder/bin/pip" install -q --no-deps --upgrade --ignore-installed mteb sentence-transformers numpy
    fi
    echo "$kind: $("$folder/bin/pip" list --path "$own" --format freeze | tr '\n' ' ')"
    "$folder/bin/python" -m pytest -p no:cacheprovider -k "$skipped"
done
