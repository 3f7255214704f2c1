"""Compare models on the same queries: paired, clustered by question, corrected for the number of comparisons.

The results of `hbt-bench run` and their ranks are read; nothing is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.identity.task_name import parse_names
from hbt_bench.measures.ranking import Array
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.reports.difference import Comparison, ComparisonRow, Difference
from hbt_bench.reports.systems import ModelResults, RankedResult, System, check_comparable, labels, version_notes
from hbt_bench.stats.clusters import RESAMPLES, Clusters, bootstrap, percentiles
from hbt_bench.stats.paired import RANDOMIZATIONS, SIGNIFICANCE, Paired, holm
from hbt_bench.tasks.registry import TaskRegistry


def compare(
    models: Sequence[str | Path],
    tasks: str | Iterable[str],
    baseline: str | Path | None = None,
    measures: str | Iterable[str] | None = None,
    results: str | Path = "results",
    *,
    languages: Iterable[str] | None = None,
    by_language: bool = False,
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
        samples: Random swaps of each test.
        resamples: Bootstrap resamples of each interval.
        seed: The seed of both.
        registry: The tasks that can be found by name.

    Raises `UsageError` for an unknown name. Raises `DataError` if a result is missing or incomplete, or if the results
    differ in candidate texts, data or tie rules.
    """
    names = MEASURES.headline() if measures is None else parse_names(measures)
    requested = [Measure.parse(name) for name in dict.fromkeys(names)]
    sources = _sources(models, baseline, Path(results))
    base = 0 if baseline is None else [source.model for source in sources].index(str(baseline))
    by_task = _read_results(sources, tasks, languages, registry or TaskRegistry())
    first = by_task[0]
    systems = tuple(
        System.from_results(label, [task[index] for task in by_task]) for index, label in enumerate(labels(first))
    )
    test = _Test([system.label for system in systems], base, samples, resamples, seed)
    tested = [
        test.rows(task, measure, by_language)
        for task in by_task
        for measure in requested
        if task[0].mode_ranks.mode in measure.modes
    ]
    rows = _corrected([row for overall, _ in tested for row in overall])
    language_rows = _corrected([row for _, single in tested for row in single])
    if not rows:
        special = [measure.name for measure in requested if measure.modes == ("multi",) or measure.needs_translations]
        needs = "A cross-lingual task needs two languages."
        if special:
            needs = (
                f"{', '.join(special)} needs a multilingual task with several answers per question, such as "
                "xquad-r-multi, and a cross-lingual task needs two languages."
            )
        raise UsageError(f"nothing is left to compare. {needs}")
    notes = [note for task in by_task for note in version_notes(task)] + _sample_notes(rows, samples)
    return Comparison(
        systems, systems[base].label, rows, language_rows, tuple(dict.fromkeys(notes)), samples, resamples, seed
    )


def _sample_notes(rows: Sequence[ComparisonRow], samples: int) -> list[str]:
    """Return a note if no difference can be significant with so few samples."""
    compared = sum(row.difference is not None for row in rows)
    if compared / (samples + 1) < SIGNIFICANCE:
        return []
    return [f"{samples} samples are too few: no difference can be significant in {compared} comparisons"]


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
    codes = None if languages is None else tuple(languages)
    by_task = []
    for selection in registry.select(tasks):
        if selection.spec is None:
            raise UsageError(f"{selection.stock} cannot be compared: it is MTEB's task, and MTEB keeps no ranks")
        for mode in selection.modes:
            results = [source.read(selection.spec, mode, codes, selection.modes, registry) for source in sources]
            check_comparable(results)
            by_task.append(results)
    return by_task


@dataclass(frozen=True)
class _Test:
    """The settings of all tests in a comparison. `labels` are those of the systems, `base` is the baseline's index."""

    labels: Sequence[str]
    base: int
    samples: int
    resamples: int
    seed: int

    def rows(
        self, results: Sequence[RankedResult], measure: Measure, by_language: bool
    ) -> tuple[list[ComparisonRow], list[ComparisonRow]]:
        """Return the rows of a task over all languages and, if requested, by query language; p is not corrected yet."""
        measured = [pair for ranked in results if (pair := ranked.mode_ranks.clusters(measure))]
        if not measured:
            return [], []
        clusters = [values for values, _ in measured]
        for ranked, values in zip(results, clusters, strict=True):
            ranked.result.check_score(measure.name, values.average, error=DataError)
        draws = bootstrap(clusters, self.resamples, self.seed)
        task = results[0].result.task
        languages = [subset.queries for subset in measured[0][1]]
        single = []
        for language in dict.fromkeys(languages) if by_language else ():
            columns = [index for index, code in enumerate(languages) if code == language]
            single += self._rows((task, measure, language), clusters, draws, columns)
        return self._rows((task, measure, None), clusters, draws, range(len(languages))), single

    def _rows(
        self,
        about: tuple[str, Measure, str | None],
        clusters: Sequence[Clusters],
        draws: Array,
        columns: Sequence[int],
    ) -> list[ComparisonRow]:
        """Return a row for each system over the subsets `columns`; `draws` are (systems, resamples, subsets)."""
        task, measure, language = about
        selected = [values.take(columns) for values in clusters]
        rows = []
        for index, (label, values) in enumerate(zip(self.labels, selected, strict=True)):
            difference = None
            if index != self.base:
                paired = Paired(values, selected[self.base])
                p = paired.p_value(self.samples, self.seed)
                interval = percentiles((draws[index] - draws[self.base])[:, columns])
                outcomes = paired.outcomes(measure.lower_is_better)
                difference = Difference(paired.difference, interval, p, p, *outcomes, paired.effect_size)
            interval = percentiles(draws[index][:, columns])
            rows.append(ComparisonRow(task, measure.name, language, label, values.average, interval, difference))
        return rows


def _corrected(rows: Sequence[ComparisonRow]) -> tuple[ComparisonRow, ...]:
    """Return the rows with p-values after Holm's correction over all comparisons in `rows`."""
    adjusted = iter(holm([row.difference.p_raw for row in rows if row.difference]))
    return tuple(
        replace(row, difference=replace(row.difference, p=next(adjusted))) if row.difference else row for row in rows
    )
