"""Compare corrections of vectors with the uncorrected model, from the results of `hbt-bench run --correct`.

    for on in own ntrex-ood:400; do for kind in center center:role subspace:6 procrustes whiten; do
      hbt-bench run --model M --tasks xquad-r,mlqa-r --correct $kind --correct-on $on --keep-embeddings --output RESULTS
    done; done
    python benchmarks/corrections.py RESULTS --output results/corrections/README

RESULTS also has the results of the models without a correction. Tests are those of `hbt-bench compare`, each model with
its own correction over all rows of a collection. Own-language bias and LPR are tested for results with their ranks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import environment, publish, table
from hbt_bench.identity.task_name import TaskName
from hbt_bench.identity.variant import Variant
from hbt_bench.measures.registry import MEASURES
from hbt_bench.results.scores import question_clusters
from hbt_bench.results.store import Result, read_all
from hbt_bench.stats.clusters import Clusters, Level, averages, bootstrap, quantiles
from hbt_bench.stats.paired import SIGNIFICANCE, Paired, agreeing, holm, holm_levels

#: The scores of a table: the mode and the measure.
SCORES = (
    ("mono", "AP"),
    ("cross", "AP"),
    ("multi", "AP"),
    ("multi", "rank_distance"),
    ("multi", "same_language_excess@10"),
    ("multi", "same_language_first"),
)
MARKS = {"better": " ▲", "worse": " ▼", "undecided": ""}
UNTESTED = " ?"


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


def clusters(result: Result, measure: str, level: Level) -> Clusters | None:
    """Return the values of the clusters of a level, None for a measure that needs ranks if there are none.

    Stored contributions do not have the numbers of queries. They are those of the questions, so intervals are those of
    `hbt-bench compare` if all questions of a cluster are asked in the same languages.
    """
    hierarchy = result.hierarchy
    if measure in result.encoded_contributions and hierarchy is not None:
        sums, asked = result.cluster_contributions(measure), hierarchy.asked.get(measure)
        sizes = level.add_up(np.ones(hierarchy.questions if asked is None else len(asked)), asked)
        return Clusters((sums * sizes.sum() / sizes)[:, None], sizes[:, None].astype(np.int64), np.arange(len(sizes)))
    if result.ranks is None or result.mode is None or not result.ranks.is_file():
        return None
    stored = result.stored_ranks()
    by_question = question_clusters(stored.judgements, stored.ranks, result.mode, measure)
    if by_question is None:
        return None
    result.check_score(measure, by_question.average)
    return by_question.at(level)


def lines(revisions: dict[str, list[Result]]) -> tuple[Level, list[dict[str, Any]]]:
    """Return a row for each system: scores, and the differences of those that are tested, with the level of tests."""
    by_mode = [{TaskName.parse(result.task).mode: result for result in results} for results in revisions.values()]
    hierarchy = by_mode[0]["multi"].hierarchy
    assert hierarchy is not None
    level = hierarchy.level()
    rows: list[dict[str, Any]] = []
    for kind, on in map(described, revisions):
        rows.append({"correction": kind, "on": on, "scores": {}})
    for mode, measure in SCORES:
        add_scores(rows, [results.get(mode) for results in by_mode], f"{mode} {measure}", level)
    correct(rows)
    return level, rows


def add_scores(rows: Sequence[dict[str, Any]], results: Sequence[Result | None], key: str, level: Level) -> None:
    """Add a score of each result to its row, and the test against the first row if both have the values of clusters."""
    measure, tested = key.partition(" ")[2], []
    for row, result in zip(rows, results, strict=True):
        if result is None or measure not in result.scores:
            continue
        row["scores"][key] = {"value": result.scores[measure], "interval": result.intervals.get(measure)}
        if system := clusters(result, measure, level):
            tested.append((row["scores"][key], system))
    if not tested or tested[0][0] is not rows[0]["scores"].get(key):
        return
    baseline, draws = tested[0][1], bootstrap([system for _, system in tested], seed=0)
    for (entry, system), drawn in zip(tested, draws, strict=True):
        entry["interval"] = entry["interval"] or quantiles(averages(drawn))
        if system is not baseline:
            pair = Paired(system, baseline)
            entry["difference"], entry["p_raw"] = pair.difference, pair.p_value()
            entry["draws"] = averages(drawn - draws[0])


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


def number(value: float, key: str, sign: str = "") -> str:
    """Return a value or, with the sign "+", a difference of a column in its number of decimals."""
    return f"{value:{sign},.{MEASURES.describe(key.partition(' ')[2]).decimals}f}"


def scored(entry: Mapping[str, Any], key: str, is_baseline: bool) -> str:
    """Return a value with the mark of its test."""
    mark = "" if is_baseline else MARKS[entry["verdict"]] if "verdict" in entry else UNTESTED
    return number(entry["value"], key) + mark


def section(title: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a heading and a table."""
    keys = [key for mode, measure in SCORES if (key := f"{mode} {measure}") in rows[0]["scores"]]
    cells = []
    for row in rows:
        texts = [scored(row["scores"][key], key, row is rows[0]) if key in row["scores"] else "-" for key in keys]
        cells.append([row["correction"], row["on"], *texts])
    return [f"### {title}", table(["correction", "fitted on", *map(heading, keys)], cells)]


def short_names(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return the short names of the collection and the model of a table."""
    return entry["collection"].partition("[")[0], entry["model"].partition("/")[2]


def short(tables: Sequence[dict[str, Any]], correction: str = "center") -> list[str]:
    """Return the scores of a correction on all collections, without it and with both fits, and its differences."""
    keys = ("mono AP", "cross AP", "multi AP", "multi rank_distance")
    tested = ("multi AP", "multi rank_distance", "mono AP")
    cells, differences = [], []
    for entry in tables:
        chosen = [row for row in entry["rows"] if row["correction"] in ("-", correction)]
        line = []
        for key in keys:
            scores = [(row["scores"][key], row is chosen[0]) for row in chosen if key in row["scores"]]
            line.append(" → ".join(scored(found, key, is_baseline) for found, is_baseline in scores) or "-")
        cells.append([*short_names(entry), *line])
        for row in chosen[1:]:
            found = [(key, row["scores"].get(key)) for key in tested]
            texts = [text for key, score in found for text in (difference(score, key) if score else ("-", "-"))]
            differences.append([*short_names(entry), row["on"], *texts])
    titles = [title for key in tested for title in (heading(key), "p")]
    return [
        table(["collection", "model", *map(heading, keys)], cells),
        "The differences from the model without it, with 95 % intervals. Intervals and p are corrected like the marks.",
        table(["collection", "model", "fitted on", *titles], differences),
    ]


def difference(score: Mapping[str, Any], key: str) -> tuple[str, str]:
    """Return a difference with its interval, and its p."""
    low, high = (number(bound, key, "+") for bound in score["difference_interval"])
    return f"{number(score['difference'], key, '+')} [{low}, {high}]", f"{score['p']:.2g}"


@dataclass(frozen=True)
class Finding:
    """The differences of a score over all pairs of model and collection, by the names of both."""

    key: str
    scores: Mapping[tuple[str, str], Mapping[str, Any]]

    def count(self, verdict: str) -> int:
        """Return the number of pairs with a verdict."""
        return sum(score["verdict"] == verdict for score in self.scores.values())

    def extreme(self, choose: Callable[..., tuple[str, str]]) -> tuple[str, str]:
        """Return the least or the greatest change, and the pair with it."""
        pair = choose(self.scores, key=lambda pair: self.scores[pair]["difference"])
        return number(self.scores[pair]["difference"], self.key, "+"), f"{pair[1]} on {pair[0]}"

    def __str__(self) -> str:
        """Return the cell of a table."""
        if not self.scores:
            return "-"
        limits = " to ".join(self.extreme(end)[0] for end in (min, max))
        return f"{self.count('better')}/{self.count('worse')} of {len(self.scores)}, {limits}"


def price(correction: str, found: Mapping[str, Finding]) -> str:
    """Return sentences on a correction: the gain in the pool, where it is least and greatest, and the price."""
    pool, mono, bias = (found[key] for key in ("multi AP", "mono AP", "multi same_language_excess@10"))
    (least, lower), (greatest, upper) = pool.extreme(min), pool.extreme(max)
    text = (
        f"- `{correction}`: better in the pool in {pool.count('better')} of {len(pool.scores)} pairs, worse in "
        f"{pool.count('worse')}. AP changes by {least} ({lower}) to {greatest} ({upper}). Own-language bias is lower "
        f"in {bias.count('better')} of {len(bias.scores)} tested pairs."
    )
    if not mono.scores:
        return text
    loss, loser = mono.extreme(min)
    low = min(score["difference_interval"][0] for score in mono.scores.values())
    return (
        f"{text} Within a language, the correction is worse in {mono.count('worse')} of {len(mono.scores)} pairs. The "
        f"lowest change of AP there is {loss} ({loser}), and the intervals reach down to {number(low, mono.key, '+')}."
    )


def findings(tables: Sequence[dict[str, Any]]) -> tuple[str, list[str]]:
    """Return a table of all corrections over all pairs of model and collection, and sentences on the best."""
    keys = [
        *("multi AP", "multi rank_distance", "cross AP", "mono AP"),
        *("multi same_language_excess@10", "multi same_language_first"),
    ]
    found = {}
    for correction, on in dict.fromkeys(
        (row["correction"], row["on"]) for entry in tables for row in entry["rows"][1:]
    ):
        scores = [
            (short_names(entry), row["scores"])
            for entry in tables
            for row in entry["rows"]
            if (row["correction"], row["on"]) == (correction, on)
        ]
        found[correction, on] = {
            key: Finding(key, {pair: by_key[key] for pair, by_key in scores if "verdict" in by_key.get(key, ())})
            for key in keys
        }
    sentences = []
    for on in dict.fromkeys(on for _, on in found):
        always = [
            name for name, other in found if other == on and found[name, on]["multi AP"].count("better") == len(tables)
        ]
        kept = [name for name in always if not found[name, on]["mono AP"].count("worse")]
        within = max(len(by_key["mono AP"].scores) for (_, other), by_key in found.items() if other == on)
        sentences += [
            f"Fitted on {'own texts' if on == 'own' else on}, significantly better in the pool in all {len(tables)} "
            f"pairs of model and collection: {', '.join(always) or 'none'}. Out of these, significantly worse within a "
            f"language in none of the {within} pairs that have such a score: {', '.join(kept) or 'none'}.",
            "\n".join(price(name, found[name, on]) for name in dict.fromkeys((*kept, "center", *always))),
        ]
    cells = [[*system, *map(str, by_key.values())] for system, by_key in found.items()]
    return table(["correction", "fitted on", *map(heading, keys)], cells), sentences


def rounded(data: Any) -> Any:
    """Return data with numbers of six digits."""
    if isinstance(data, dict):
        return {key: rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [rounded(value) for value in data]
    return float(f"{data:.6g}") if isinstance(data, float) else data


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
    overview, sentences = findings(data)
    about = [
        "▲ and ▼: better and worse than the same model without a correction, p < .05 by the paired test of "
        "`hbt-bench compare`, corrected by Holm's method over all tests of a table. No mark: undecided. ?: not tested, "
        "because the ranks of this system or of the model without a correction were not kept. Differences, intervals "
        "and p-values are in [README.json](README.json).",
        "A lower own-language bias or LPR counts as better, as in `hbt-bench compare`. If the bias is below 0, the "
        "query's language has a smaller share of the top 10 than of the pool.",
        "`own`: fitted on the texts of the collection itself (transductive), never on its judgements; `procrustes` on "
        "`own` uses which questions are translations of each other. `ntrex-ood:400`: fitted on 400 held-out sentences "
        "of each language. For `procrustes`, that is too few: the vectors have 384 dimensions (USE: 512), so the "
        "rotations fit these sentences better than others. Its losses there do not show that the method fails.",
        "FLORES has neither mono AP nor LPR: each sentence is the query for its translations, so no query has a "
        "relevant document in its own language.",
    ]
    summary = [
        "## What helps, where, and at what price",
        *sentences,
        "Better/worse of the pairs of model and collection that were tested, with the least and the greatest change.",
        overview,
        "## Minus the mean of each language",
        "Without it → fitted on own texts → fitted on held-out texts.",
        *short(data),
    ]
    tables = {"tables": rounded(data)}
    publish("Corrections without training", [*about, *summary, *parts], tables, environment(), options.output)


if __name__ == "__main__":
    main()
