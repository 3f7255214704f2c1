"""Compare corrections of vectors with the uncorrected model, from the results of `hbt-bench run --correct`.

    for on in own ntrex-ood:400; do for kind in center center:role subspace:6 procrustes whiten; do
      hbt-bench run --model M --tasks xquad-r,mlqa-r --correct $kind --correct-on $on --keep-embeddings --output RESULTS
    done; done
    python benchmarks/corrections.py RESULTS --output results/corrections/README

RESULTS also has the results of the models without a correction. Tests are those of `hbt-bench compare`, each model with
its own correction over all rows of a collection.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import environment, publish, table
from hbt_bench.identity.task_name import TaskName
from hbt_bench.identity.variant import Variant
from hbt_bench.measures.registry import MEASURES
from hbt_bench.results.store import Result, read_all
from hbt_bench.stats.clusters import Clusters, Level, averages, bootstrap, quantiles
from hbt_bench.stats.paired import SIGNIFICANCE, Paired, agreeing, holm, holm_levels

#: The scores of a table: the mode and the measure. Only AP and rank distance are tested.
SCORES = (
    ("mono", "AP"),
    ("cross", "AP"),
    ("multi", "AP"),
    ("multi", "rank_distance"),
    ("multi", "same_language_excess@10"),
    ("multi", "same_language_first"),
)
TESTED = ("AP", "rank_distance")
MARKS = {"better": " ▲", "worse": " ▼", "undecided": "", "baseline": ""}


def described(revision: str) -> tuple[str, str]:
    """Return the correction in a revision and the texts that it was fitted on, both "-" without a correction.

    >>> described("71d6d7d260ca5fd8-center_role-on-ntrex-ood_400_99a489e4")
    ('center:role', 'ntrex-ood:400')
    """
    options = Variant.split(revision)[1].options
    return tuple(options[1::2]) if options else ("-", "-")  # type: ignore[return-value]


def systems(folder: Path) -> Iterator[tuple[str, str, dict[str, list[Result]]]]:
    """Yield collection, model, and the results by revision: the uncorrected first, then those fitted on own texts."""
    found: dict[tuple[str, str], dict[str, list[Result]]] = {}
    for result in read_all(folder):
        found.setdefault((result.collection, result.model), {}).setdefault(result.revision, []).append(result)
    for (collection, model), revisions in sorted(found.items()):
        yield collection, model, {revision: revisions[revision] for revision in sorted(revisions, key=_order)}


def _order(revision: str) -> tuple[int, str]:
    return ("-", "own").index(on) if (on := described(revision)[1]) in ("-", "own") else 2, revision


def clusters(result: Result, measure: str, level: Level) -> Clusters:
    """Return the contributions of the clusters of a level, with the mean as their average."""
    contributions = result.contributions(measure)
    assert contributions is not None
    assert result.hierarchy is not None
    sums = level.add_up(contributions, result.hierarchy.asked.get(measure))
    return Clusters.from_matrix(sums[:, None] * len(sums))


def lines(revisions: dict[str, list[Result]]) -> tuple[Level, list[dict[str, Any]]]:
    """Return a row for each system: scores, and the differences of those that are tested, with the level of tests."""
    by_mode = [{TaskName.parse(result.task).mode: result for result in results} for results in revisions.values()]
    hierarchy = by_mode[0]["multi"].hierarchy
    assert hierarchy is not None
    level = hierarchy.level()
    rows: list[dict[str, Any]] = []
    for revision, results in zip(revisions, by_mode, strict=True):
        kind, on = described(revision)
        row: dict[str, Any] = {"correction": kind, "on": on, "scores": {}}
        for mode, measure in SCORES:
            result = results.get(mode)
            if result is None or measure not in result.scores:
                continue
            entry = {"value": result.scores[measure], "interval": result.intervals.get(measure)}
            if measure in TESTED and rows:
                pair = Paired(clusters(result, measure, level), clusters(by_mode[0][mode], measure, level))
                draws = bootstrap([pair.system, pair.baseline], seed=0)
                entry |= {
                    "difference": pair.difference,
                    "p_raw": pair.p_value(),
                    "draws": averages(draws[0] - draws[1]),
                }
            row["scores"][f"{mode} {measure}"] = entry
        rows.append(row)
    correct(rows)
    return level, rows


def correct(rows: Sequence[dict[str, Any]]) -> None:
    """Correct the tests and intervals for all comparisons of `rows`, and add the verdicts."""
    tested = [(key, entry) for row in rows for key, entry in row["scores"].items() if "p_raw" in entry]
    p_values = [entry["p_raw"] for _, entry in tested]
    for (key, entry), p, level in zip(tested, holm(p_values), holm_levels(p_values), strict=True):
        entry["p"] = p
        bounds = quantiles(entry.pop("draws"), 1 - level)
        entry["difference_interval"] = agreeing(bounds, entry["difference"], p < SIGNIFICANCE)
        better = (entry["difference"] > 0) != MEASURES.describe(key.partition(" ")[2]).lower_is_better
        entry["verdict"] = "undecided" if p >= SIGNIFICANCE else "better" if better else "worse"


def heading(key: str) -> str:
    """Return the heading of a column, for example ``multi LPR``."""
    mode, _, measure = key.partition(" ")
    return f"{mode} {MEASURES.describe(measure).title or measure}"


def section(title: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a heading and a table."""
    keys = [f"{mode} {measure}" for mode, measure in SCORES if f"{mode} {measure}" in rows[0]["scores"]]
    cells = []
    for row in rows:
        line = [row["correction"], row["on"]]
        for key in keys:
            entry = row["scores"].get(key)
            if entry is None:
                line.append("-")
                continue
            digits = MEASURES.describe(key.partition(" ")[2]).decimals
            line.append(f"{entry['value']:,.{digits}f}{MARKS[entry.get('verdict', 'baseline')]}")
        cells.append(line)
    return [f"### {title}", table(["correction", "fitted on", *map(heading, keys)], cells)]


def short(tables: Sequence[dict[str, Any]], correction: str = "center") -> str:
    """Return a table of a correction on all collections: scores without it, fitted on own and on held-out texts."""
    keys = ("mono AP", "cross AP", "multi AP", "multi rank_distance")
    cells = []
    for entry in tables:
        chosen = [row for row in entry["rows"] if row["correction"] in ("-", correction)]
        line = [entry["collection"].replace("[", " ["), entry["model"].partition("/")[2]]
        for key in keys:
            digits = MEASURES.describe(key.partition(" ")[2]).decimals
            scores = [row["scores"].get(key) for row in chosen]
            texts = [
                f"{found['value']:,.{digits}f}{MARKS[found.get('verdict', 'baseline')]}" for found in scores if found
            ]
            line.append(" → ".join(texts) or "-")
        cells.append(line)
    return table(["collection", "model", *map(heading, keys)], cells)


def findings(tables: Sequence[dict[str, Any]]) -> tuple[str, list[str]]:
    """Return a table of all corrections over all pairs of model and collection, and sentences on the best."""
    keys = ("multi AP", "multi rank_distance", "cross AP", "mono AP")
    found: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for entry in tables:
        for row in entry["rows"][1:]:
            scores = found.setdefault((row["correction"], row["on"]), {key: [] for key in keys})
            for key in keys:
                scores[key] += [row["scores"][key]] if key in row["scores"] else []
    sums, cells = {}, []
    for system, scores in found.items():
        line = [*system]
        for key in keys:
            verdicts = Counter(score["verdict"] for score in scores[key])
            gains = sorted(score["difference"] for score in scores[key])
            digits = MEASURES.describe(key.partition(" ")[2]).decimals
            limits = " to ".join(f"{gains[end]:+,.{digits}f}" for end in (0, -1)) if gains else ""
            line.append(f"{verdicts['better']}/{verdicts['worse']} of {len(gains)}, {limits}" if gains else "-")
            sums[system, key] = verdicts, gains
        cells.append(line)
    sentences = []
    for on in dict.fromkeys(system[1] for system in found):
        text, systems = "on own texts" if on == "own" else f"on {on}", [system for system in found if system[1] == on]
        always = [
            system[0]
            for system in systems
            if sums[system, "multi AP"][0]["better"] == len(sums[system, "multi AP"][1]) == len(tables)
        ]
        kept = [name for name in always if not sums[(name, on), "mono AP"][0]["worse"]]
        sentences.append(
            f"Fitted {text}, significantly better in the pool in all {len(tables)} pairs of model and collection: "
            f"{', '.join(always) or 'none'}. Out of these, never significantly worse within a language: "
            f"{', '.join(kept) or 'none'}."
        )
    return table(["correction", "fitted on", *map(heading, keys)], cells), sentences


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    parts: list[str] = []
    data: list[dict[str, Any]] = []
    collection = ""
    for name, model, revisions in systems(options.folder):
        level, rows = lines(revisions)
        if name != collection:
            parts.append(f"## {name}")
            collection = name
        parts += section(f"{model}, {level}", rows)
        data.append({"collection": name, "model": model, "level": level.name, "clusters": level.number, "rows": rows})
    about = (
        "▲ and ▼: better and worse than the same model without a correction, p < .05 by the paired test of "
        "`hbt-bench compare`, corrected over all rows of a table. No mark: not tested, or undecided. Differences, "
        "intervals and p-values are in [README.json](README.json). `own`: fitted on the texts of the collection itself "
        "(transductive), never on its judgements; `procrustes` on `own` uses which questions are translations of "
        "each other. `ntrex-ood:400`: fitted on 400 held-out sentences of each language."
    )
    summary = [
        "## Minus the mean of each language",
        "Without it → fitted on own texts → fitted on held-out texts.",
        short(data),
    ]
    overview, sentences = findings(data)
    summary = [
        "## What helps, where, and at what price",
        " ".join(sentences),
        "Better/worse of the pairs of model and collection that were tested, with the least and the greatest change.",
        overview,
        *summary,
    ]
    publish("Corrections without training", [about, *summary, *parts], {"tables": data}, environment(), options.output)


if __name__ == "__main__":
    main()
