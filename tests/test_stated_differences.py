"""The list of sentences that state a difference: each is on its page, with the figures of its source."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from hbt_bench.stats.paired import SIGNIFICANCE, holm

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs" / "explanation" / "statistics.md"
if not (ROOT / "results").is_dir():
    pytest.skip("the published results are not here", allow_module_level=True)


def rows():
    """Return the cells of the list, without a placeholder for an empty cell."""
    section = LIST.read_text().partition("## Sentences that state a difference")[2]
    lines = [line[2:-2].split(" | ") for line in section.splitlines() if line.startswith("| [")]
    return [["" if cell == "-" else cell for cell in line] for line in lines]


@cache
def words(link):
    """Return the words of a page."""
    page = (LIST.parent / re.search(r"\((.+?)\)", link)[1]).resolve()
    return " ".join(page.read_text().replace("**", "").replace("&lt;", "<").split())


def records(node, names=frozenset()):
    """Yield each dictionary with p-values in a file, with the texts and keys that lead to it."""
    if isinstance(node, list):
        for child in node:
            yield from records(child, names)
    elif isinstance(node, dict):
        names = names.union(value for value in node.values() if isinstance(value, str))
        names = names.union(f"alpha {node['alpha']:g}" for _ in [0] if isinstance(node.get("alpha"), float))
        if node.get("p_raw") is not None:
            yield names, node
        for key, child in node.items():
            yield from records(child, names | {key})


@cache
def source(path):
    return list(records(json.loads((ROOT / "results" / path).read_text())))


def corrected(record, path):
    """Return the p-value that pages print: that of the file, or of `study contrast --each` for the table of studies."""
    if record.get("kind") != "score" or path != "studies/ood-low-resource.json":
        return record["p"]
    same = ("kind", "system", "language")
    others = [other for _, other in source(path) if all(other.get(key) == record[key] for key in same)]
    group = [other for other in others if "alpha" not in other["baseline"]]
    assert len(group) == 35
    return holm([other["p_raw"] for other in group])[group.index(record)]


def agrees(printed, value):
    """Check a printed number, or a bound such as ``< .0001``."""
    if printed.startswith("<"):
        return value < float(printed[1:])
    return abs(float(printed) - value) <= 0.5001 * 10.0 ** -len(printed.partition(".")[2])


@pytest.mark.parametrize(("page", "sentence", "difference", "p", "where"), rows())
def test_sentence_and_figures_are_those_of_the_source(page, sentence, difference, p, where):
    for fragment in sentence.split(" … "):
        assert fragment in words(page)
    path, _, tokens = where.partition("`: ")
    if not tokens:
        return
    path = path.strip("`")
    found = [record for names, record in source(path) if names.issuperset(re.split(r", (?![^\[]*\])", tokens))]
    count = re.fullmatch(r"(\d+) of (\d+)(?: (worse))?", difference)
    if count:
        verdict = count[3] or "better"
        significant = [r for r in found if r["p"] < SIGNIFICANCE and r.get("verdict", verdict) == verdict]
        assert (len(significant), len(found)) == (int(count[1]), int(count[2]))
        return
    [record] = found
    assert agrees(difference, record.get("difference", record.get("value")))
    numbers = re.findall(r"< [.\d]+|[.\d]+", p)
    for printed, value in zip(numbers, (corrected(record, path), record["p_raw"]), strict=False):
        assert agrees(printed, value)


def test_list_has_every_p_value_of_its_pages():
    listed = {}
    for page, _, _, p, _ in rows():
        listed.setdefault(page, {".05"}).update(re.findall(r"\d*(?:\.\d+|1)", p))
    assert len(listed) == 12
    for page, values in listed.items():
        printed = set(re.findall(r"\bp [=<] 0?((?:\.\d+|1))", words(page)))
        assert printed <= values, page
