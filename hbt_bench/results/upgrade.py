"""Add the clusters of the data and the values of a random ranking to results of older versions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hbt_bench.data.collection import Collection
from hbt_bench.errors import OutputError
from hbt_bench.files import write_text
from hbt_bench.identity.task_name import Mode
from hbt_bench.measures.chance import scored_chance
from hbt_bench.measures.registry import Measure
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.results.result import Result
from hbt_bench.results.schema import FORMAT, read_json, read_summary, seal
from hbt_bench.results.scores import Intervals, decode_contributions, hierarchy_of
from hbt_bench.results.store import INTERVALS, assembled, body_of, write
from hbt_bench.stats.clusters import Array, Clusters


def upgrade(result: Result, collection: Collection) -> Result:
    """Return a result with the clusters of its `collection`, intervals over them, and the values of a random ranking.

    The file is written again; scores, contributions and signature stay. Intervals are computed from the ranks. If the
    file of ranks is not there, those of the measures with stored contributions are computed from these, and other
    intervals are dropped, unless each question is a cluster. A result that has all of these, or neither ranks nor
    contributions, is returned unchanged. Raises `OutputError` for other data.
    """
    if result.mode is None or not (_has_ranks(result) or result.encoded_contributions):
        return result
    if result.hierarchy is not None and result.chance:
        return result
    if collection.fingerprint != result.fields["data"]:
        raise OutputError(f"{result.path} is of other data than {collection.name}. Run again with --overwrite.")
    content = read_json(result.path)
    line = {key: value for key, value in content.pop("hbt_bench").items() if key != "check"}
    line["chance"] = scored_chance(collection, result.mode)
    if result.format < FORMAT:
        meta = read_json(result.path.with_name("model_meta.json"))
        return write(result.path, content, line, meta, _intervals(result, collection))
    subsets = content.pop("hbt_bench_intervals")
    if result.hierarchy is None:
        means, subsets = _intervals(result, collection).as_json()
        line |= means | {"shares": line.get("shares") or means["shares"]}  # stored ones were rounded once already
    body = body_of(content)
    if read_summary(result.path) is not None:  # no other program changed the layout, so the digits of numbers stay
        body = "\n" + result.path.read_text(encoding="utf-8").split("\n", 2)[2].rpartition(INTERVALS)[0]
    sealed = seal(line, {**content, "hbt_bench_intervals": subsets})
    write_text(result.path, assembled(sealed, body, subsets))
    return Result.read(result.path)


def _has_ranks(result: Result) -> bool:
    return result.mode is not None and result.ranks is not None and result.ranks.is_file()


def _intervals(result: Result, collection: Collection) -> Intervals:
    assert result.mode is not None, "a result with ranks or contributions is of our task"
    if _has_ranks(result):
        stored = result.stored_ranks()
        judgements = replace(stored.judgements, levels=collection.levels)
        computed = Intervals.from_ranks(judgements, stored.ranks, result.mode)
        columns = result.subsets.columns  # the scores have no newer measure
        means = {name: interval for name, interval in computed.means.items() if name in columns}
        subsets = {name: intervals for name, intervals in computed.subsets.items() if name in columns}
        return replace(computed, means=means, subsets=subsets)
    hierarchy = hierarchy_of(collection)
    level = hierarchy.level()
    clusters = {name: _asked(collection, result.mode, name) for name in result.encoded_contributions}
    asked = {name: rows.questions for name, (rows, _) in clusters.items() if len(rows.counts) < hierarchy.questions}
    hierarchy = replace(hierarchy, asked={name: rows.astype(np.int32) for name, rows in asked.items()})
    if level.number == hierarchy.questions:
        return Intervals(result.intervals, result.subset_intervals, {}, hierarchy, level.signature())
    means = {name: _linear(result, name, *rows).at(level).interval() for name, rows in clusters.items()}
    return Intervals(means, {}, {}, hierarchy, level.signature())


def _asked(collection: Collection, mode: Mode, measure: str) -> tuple[Clusters, list[str]]:
    """Return the questions of a measure, with the numbers of their queries by subset, and the names of the subsets.

    A query has a value or not whatever the ranks are, so any ranks will do; the values mean nothing.
    """
    any_rank = np.ones(len(collection.qrels.documents), np.int32)
    ranks = Ranks(any_rank, any_rank, np.zeros((len(collection.queries), 1), np.int32))
    values = ModeRanks(collection, ranks, mode).clusters(Measure.parse(measure))
    assert values is not None, "the result has contributions to this measure"
    return values[0], [subset.name for subset in values[1]]


def _linear(result: Result, measure: str, rows: Clusters, subsets: list[str]) -> Clusters:
    """Return values whose mean over questions is the macro average, and varies as the macro average does.

    A question adds to a macro average its contribution, minus the contribution that its number of queries in each
    subset would have if all queries of the subset were equal (the infinitesimal jackknife). If all subsets have the
    same questions, resampling these values is the same as resampling the queries.
    """
    contributions: Array = decode_contributions(result.encoded_contributions[measure])
    if len(contributions) != len(rows.counts):
        raise OutputError(f"{result.path} has contributions of other questions. Run again with --overwrite.")
    scores = result.subsets.by_subset(measure)
    means = np.array([scores[name] for name in subsets])
    expected = (rows.counts * means / rows.counts.sum(axis=0)).mean(axis=1)
    values = len(contributions) * (contributions - expected) + means.mean()
    return replace(Clusters.from_matrix(values[:, None]), questions=rows.questions)
