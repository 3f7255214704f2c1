"""Compare models on the same queries: paired, by clusters of questions, corrected for the number of comparisons.

The results of `hbt-bench run` and their ranks are read; nothing is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.identity.task_name import parse_names
from hbt_bench.measures.chance import chance
from hbt_bench.measures.ranking import Array
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.reports.difference import Comparison, ComparisonRow, Difference
from hbt_bench.reports.systems import (
    ModelResults,
    RankedResult,
    System,
    check_comparable,
    common_level,
    labels,
    version_notes,
)
from hbt_bench.settings import check_positive, check_whole
from hbt_bench.stats.clusters import RESAMPLES, Clusters, Level, averages, bootstrap, quantiles
from hbt_bench.stats.paired import RANDOMIZATIONS, SIGNIFICANCE, Paired, agreeing, holm, holm_levels
from hbt_bench.stats.power import paired_p_equivalent, paired_smallest_difference
from hbt_bench.tasks.registry import TaskRegistry

#: Resamples outside both ends of an interval together, below which its ends are guesses.
_TAIL = 5


def compare(
    models: Sequence[str | Path],
    tasks: str | Iterable[str],
    baseline: str | Path | None = None,
    measures: str | Iterable[str] | None = None,
    results: str | Path = "results",
    *,
    languages: Iterable[str] | None = None,
    by_language: bool = False,
    cluster: str | None = None,
    margin: float | None = None,
    power: bool = False,
    samples: int = RANDOMIZATIONS,
    resamples: int = RESAMPLES,
    seed: int = 0,
    registry: TaskRegistry | None = None,
) -> Comparison:
    """Compare models with a baseline, from their results.

    For example, the sentences of a comparison with BM25::

        for sentence in compare(["bm25", "path/to/ckpt"], "xquad-r", measures="AP,R@10").conclusions:
            print(sentence)

    Args:
        models: Names as in `hbt-bench run` (a local folder, a name on the hub, ``bm25``), ``name@revision`` with the
            beginning of a revision, or folders of results.
        tasks: Task names, as a list or joined by commas.
        baseline: The model to compare with, the first by default.
        measures: Measures, by default AP and rank distance. A task skips those that its mode does not have.
        results: The folder of the results.
        languages: The languages that the models were evaluated in, None for all.
        by_language: Add rows for each query language, with their own correction.
        cluster: The level of the clusters, such as "question" or "article"; see `Level.choose` for the default.
        margin: Test also whether systems are the same within this margin, chosen beforehand, in measures up to 1.
        power: Compute the smallest difference that the test finds with a power of 0.8.
        samples: Random swaps of each test.
        resamples: Bootstrap resamples of each interval.
        seed: The seed of both.
        registry: The tasks that can be found by name.

    Raises `UsageError` for an unknown name or a number that cannot be. Raises `DataError` if a result is missing or
    incomplete, or if the results differ in candidate texts, data or tie rules.
    """
    check_whole("samples", samples)
    check_whole("resamples", resamples)
    check_whole("seed", seed, 0)
    if margin is not None:
        check_positive("margin", margin)
    chosen = MEASURES.headline() if measures is None else parse_names(measures)
    requested = [Measure.parse(name) for name in dict.fromkeys(chosen)]
    sources = _sources(models, baseline, Path(results))
    base = 0 if baseline is None else [source.model for source in sources].index(str(baseline))
    by_task = _read_results(sources, tasks, languages, registry or TaskRegistry())
    names = labels(by_task[0])
    systems = [System.from_results(label, [task[index] for task in by_task]) for index, label in enumerate(names)]
    levels = {task[0].result.task: common_level(task, cluster) for task in by_task}
    tested = _Test(names, base, samples, resamples, seed).all_rows(by_task, levels, requested, by_language)
    rows, language_rows = (_planned(_corrected(pairs), pairs, levels, margin, power) for pairs in tested)
    if not rows:
        raise _nothing_left(requested)
    notes = [note for task in by_task for note in version_notes(task)]
    for kind in (rows, language_rows):
        notes += _sample_notes(kind, samples, resamples)
    unscaled = dict.fromkeys(row.measure for row in rows if not _has_margin(MEASURES.describe(row.measure)))
    if margin is not None and unscaled:
        notes.append(f"the margin is for measures up to 1, so {', '.join(unscaled)} has no test of equality")
    noted, settings = tuple(dict.fromkeys(notes)), (samples, resamples, seed)
    return Comparison(tuple(systems), names[base], rows, language_rows, noted, *settings, levels)


def _nothing_left(requested: Iterable[Measure]) -> UsageError:
    """Return the error if no task has the modes and languages that the measures need."""
    special = [measure.name for measure in requested if measure.modes == ("multi",) or measure.needs_translations]
    needs = "A cross-lingual task needs two languages."
    if special:
        needs = (
            f"{', '.join(special)} needs a multilingual task with several answers per question, such as "
            "xquad-r-multi, and a cross-lingual task needs two languages."
        )
    return UsageError(f"nothing is left to compare. {needs}")


def _sample_notes(rows: Sequence[ComparisonRow], samples: int, resamples: int) -> list[str]:
    """Return notes if no difference can be significant with so few samples, or intervals have too few resamples."""
    compared = sum(row.difference is not None for row in rows)
    notes = []
    if compared / (samples + 1) >= SIGNIFICANCE:
        notes.append(f"{samples} samples are too few: no difference can be significant in {compared} comparisons")
    needed = math.ceil(_TAIL * compared / SIGNIFICANCE)
    if resamples < needed:
        notes.append(
            f"{resamples:,} resamples are too few for the intervals of {compared} differences: set --resamples {needed}"
        )
    return notes


def _sources(models: Sequence[str | Path], baseline: str | Path | None, output: Path) -> list[ModelResults]:
    names = [str(model) for model in models]
    if len(names) < 2:
        raise UsageError(f"a comparison needs at least two models, but got {len(names)}. Name another model.")
    if baseline is not None and str(baseline) not in names:
        hint = did_you_mean(str(baseline), names) or f" ({', '.join(names)})"
        raise UsageError(f"the baseline '{baseline}' is not one of the compared models{hint}")
    return [ModelResults.find(name, output) for name in names]


def _read_results(
    sources: Sequence[ModelResults], tasks: str | Iterable[str], languages: Iterable[str] | None, registry: TaskRegistry
) -> list[list[RankedResult]]:
    """Return the results of each task and mode, in the order of the models."""
    codes = None if languages is None else parse_names(languages)
    by_task = []
    for selection in registry.select(tasks):
        if selection.spec is None:
            raise UsageError(f"{selection.stock} cannot be compared: it is MTEB's task, and MTEB keeps no ranks")
        for mode in selection.modes:
            results = [source.read(selection.spec, mode, codes, selection.modes, registry) for source in sources]
            check_comparable(results)
            by_task.append(results)
    return by_task


#: A row, and the resampled differences of its system from the baseline, (resamples,), None for the baseline.
_Uncorrected = tuple[ComparisonRow, Array | None]


@dataclass(frozen=True)
class _Test:
    """The settings of all tests in a comparison. `labels` are those of the systems, `base` is the baseline's index."""

    labels: Sequence[str]
    base: int
    samples: int
    resamples: int
    seed: int

    def all_rows(
        self,
        by_task: Sequence[Sequence[RankedResult]],
        levels: Mapping[str, Level],
        measures: Sequence[Measure],
        by_language: bool,
    ) -> tuple[list[_Uncorrected], list[_Uncorrected]]:
        """Return the rows of all tasks and measures over all languages and, if requested, by query language."""
        tested = [
            self.rows(results, levels[results[0].result.task], measure, by_language)
            for results in by_task
            for measure in measures
            if results[0].mode_ranks.mode in measure.modes
        ]
        return [row for rows, _ in tested for row in rows], [row for _, rows in tested for row in rows]

    def rows(
        self, results: Sequence[RankedResult], level: Level, measure: Measure, by_language: bool
    ) -> tuple[list[_Uncorrected], list[_Uncorrected]]:
        """Return the rows of a task over all languages and, if requested, by query language."""
        for ranked in results:
            ranked.check_cut(measure)
        measured = [pair for ranked in results if (pair := ranked.mode_ranks.clusters(measure))]
        if not measured:
            return [], []
        clusters = [values for values, _ in measured]
        for ranked, values in zip(results, clusters, strict=True):
            ranked.result.check_score(measure.name, values.average, error=DataError)
        draws = bootstrap([values.at(level) for values in clusters], self.resamples, self.seed)
        task, ranks = results[0].result.task, results[0].mode_ranks
        languages = [subset.queries for subset in measured[0][1]]
        single = []
        for language in dict.fromkeys(languages) if by_language else ():
            columns = [index for index, code in enumerate(languages) if code == language]
            single += self._rows((task, measure, language, None), level, clusters, draws, columns)
        random = chance(measure, ranks.judgements, ranks.mode, ranks.names)
        return self._rows((task, measure, None, random), level, clusters, draws, range(len(languages))), single

    def _rows(
        self,
        about: tuple[str, Measure, str | None, float | None],
        level: Level,
        clusters: Sequence[Clusters],
        draws: Array,
        columns: Sequence[int],
    ) -> list[_Uncorrected]:
        """Return a row for each system over the subsets `columns`; `draws` are (systems, resamples, subsets).

        `about` has the task, the measure, the query language and the value of a random ranking, None if not wanted.

        Wins, losses and effect sizes are by question, so that they do not depend on the level.
        """
        task, measure, language, random = about
        selected = [values.take(columns) for values in clusters]
        rows = []
        for index, (label, values) in enumerate(zip(self.labels, selected, strict=True)):
            difference, resampled = None, None
            if index != self.base:
                paired = Paired(values, selected[self.base])
                p = Paired(values.at(level), selected[self.base].at(level)).p_value(self.samples, self.seed)
                resampled = averages((draws[index] - draws[self.base])[:, columns])
                interval = quantiles(resampled)
                outcomes = paired.outcomes(measure.lower_is_better)
                difference = Difference(paired.difference, interval, p, p, *outcomes, paired.effect_size)
            interval = quantiles(averages(draws[index][:, columns]))
            row = ComparisonRow(task, measure.name, language, label, values.average, interval, difference, random)
            rows.append((row, resampled))
        return rows


def _corrected(rows: Sequence[_Uncorrected]) -> tuple[ComparisonRow, ...]:
    """Return the rows corrected for all comparisons in `rows` by Holm's method.

    The interval of a difference has the confidence of the step at which its p-value is tested, so both give the same
    verdict.
    """
    p_values = [row.difference.p_raw for row, _ in rows if row.difference]
    steps = iter(zip(holm(p_values), holm_levels(p_values), strict=True))
    corrected = []
    for row, resampled in rows:
        if row.difference and resampled is not None:
            p, level = next(steps)
            bounds = agreeing(quantiles(resampled, 1 - level), row.difference.value, p < SIGNIFICANCE)
            row = replace(row, difference=replace(row.difference, p=p, interval=bounds))
        corrected.append(row)
    return tuple(corrected)


def _has_margin(measure: Measure) -> bool:
    """Return whether a margin, such as 0.01, fits the range of a measure."""
    return measure.bounds[1] <= 1


def _planned(
    rows: Sequence[ComparisonRow],
    pairs: Sequence[_Uncorrected],
    levels: Mapping[str, Level],
    margin: float | None,
    power: bool,
) -> tuple[ComparisonRow, ...]:
    """Return the rows with the tests of equivalence and the smallest differences that are found, if requested.

    The standard error of a difference is that of its bootstrap. `levels` has the clusters of each task.
    """
    compared = [index for index, row in enumerate(rows) if row.difference]
    planned, p_same = list(rows), {}
    for index in compared:
        row, resampled = rows[index], pairs[index][1]
        assert row.difference is not None
        assert resampled is not None
        error, clusters = float(resampled.std(ddof=1)), levels[row.task].number
        if margin is not None and _has_margin(MEASURES.describe(row.measure)):
            p_same[index] = paired_p_equivalent(row.difference.value, error, clusters, margin)
        if power:
            shown = paired_smallest_difference(error, clusters, SIGNIFICANCE / len(compared))
            planned[index] = replace(row, difference=replace(row.difference, shown=shown))
    for index, p in zip(p_same, holm(list(p_same.values())), strict=True):
        difference = planned[index].difference
        assert difference is not None
        planned[index] = replace(planned[index], difference=replace(difference, p_same=p, margin=margin))
    return tuple(planned)
