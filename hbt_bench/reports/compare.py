"""Comparison of models on the same queries: paired, clustered by question, corrected for the number of comparisons.

Nothing is evaluated: the results of `hbt-bench run` and the ranks beside them are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.identity.task_name import parse_names
from hbt_bench.measures.ranking import Array
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.reports.difference import LEVEL, Comparison, ComparisonRow, Difference
from hbt_bench.reports.systems import Evidence, ResultSource, System, check_comparable, labels, version_notes
from hbt_bench.stats.clusters import RESAMPLES, Clusters, bootstrap, percentiles
from hbt_bench.stats.paired import RANDOMIZATIONS, Paired, holm
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
    """Compare models with a baseline, the first if none is named, from their results below the folder `results`.

    A model is named as for `hbt-bench run` (local folder, hub name, ``bm25``), as ``name@revision`` with any beginning
    of the revision, or by the folder of its results. `languages` are those that it was evaluated with, if not all.
    Measures of the multilingual mode are left out in the others. With `by_language` there are rows for each query
    language too, whose p-values are corrected among themselves.

    Raises `UsageError` for an unknown name, and `DataError` for results that are missing, incomplete, or of different
    tasks, languages, candidate texts, data or tie rules; the message names the difference.
    """
    names = MEASURES.headline() if measures is None else parse_names(measures)
    wanted = [Measure.parse(name) for name in dict.fromkeys(names)]
    if min(samples, resamples) < 1:
        raise UsageError("there must be at least one sample and one resample")
    codes = None if languages is None else tuple(languages)
    sources = _sources(models, baseline, Path(results))
    base = 0 if baseline is None else [source.given for source in sources].index(str(baseline))
    evidence: list[list[Evidence]] = []  # a list a task, each with the models in order
    registry = registry or TaskRegistry()
    for selection in registry.select(tasks):
        if selection.spec is None:
            raise UsageError(f"{selection.stock} is MTEB's own task, of which no ranks are kept: it cannot be compared")
        for mode in selection.modes:
            evidence.append([source.read(selection.spec, mode, codes, selection.modes, registry) for source in sources])
            check_comparable(evidence[-1])
    first = evidence[0]
    systems = tuple(System.of(label, [task[at] for task in evidence]) for at, label in enumerate(labels(first)))
    design = _Design([system.label for system in systems], base, samples, resamples, seed)
    rows: list[ComparisonRow] = []
    language_rows: list[ComparisonRow] = []
    for task in evidence:
        for measure in wanted:
            if task[0].mode in measure.modes:
                overall, single = design.rows(task, measure, by_language)
                rows += overall
                language_rows += single
    if not rows:
        names = [measure.name for measure in wanted if measure.modes == ("multi",)] or ["rank_distance"]
        raise UsageError(
            f"nothing is left to compare: {', '.join(names)} is for multilingual tasks, such as xquad-r-multi, "
            "where questions have several answers, and a cross-lingual task needs two languages"
        )
    notes = [note for task in evidence for note in version_notes(task)]
    compared = sum(row.difference is not None for row in rows)
    if compared / (samples + 1) >= LEVEL:
        notes.append(f"no difference can hold with {samples} samples and {compared} comparisons: ask for more samples")
    return Comparison(
        systems,
        systems[base].label,
        _corrected(rows),
        _corrected(language_rows),
        tuple(dict.fromkeys(notes)),
        samples,
        resamples,
        seed,
    )


def _sources(models: Sequence[str | Path], baseline: str | Path | None, output: Path) -> list[ResultSource]:
    given = [str(model) for model in models]
    if len(given) < 2:
        raise UsageError("a comparison needs two models or more: name another one")
    if baseline is not None and str(baseline) not in given:
        near = did_you_mean(str(baseline), given) or f" ({', '.join(given)})"
        raise UsageError(f"the baseline '{baseline}' is none of the models that are compared{near}")
    return [ResultSource.find(name, output) for name in given]


@dataclass(frozen=True)
class _Design:
    """What all tests of a comparison have in common; `labels` are those of the systems, `base` is the baseline's."""

    labels: Sequence[str]
    base: int
    samples: int
    resamples: int
    seed: int

    def rows(
        self, evidence: Sequence[Evidence], measure: Measure, by_language: bool
    ) -> tuple[list[ComparisonRow], list[ComparisonRow]]:
        """The rows of one task over all languages, and, if asked for, of each query language; p not yet corrected."""
        measured = [found for one in evidence if (found := one.mode_ranks.clusters(measure))]
        if not measured:
            return [], []
        clusters = [values for values, _ in measured]
        for one, part in zip(evidence, clusters, strict=True):
            one.result.check_score(measure.name, part.average, error=DataError)
        draws = bootstrap(clusters, self.resamples, self.seed)
        task = evidence[0].result.task
        languages = [subset.queries for subset in measured[0][1]]
        single = []
        for language in dict.fromkeys(languages) if by_language else ():
            columns = [at for at, code in enumerate(languages) if code == language]
            single += self._group((task, measure, language), clusters, draws, columns)
        return self._group((task, measure, None), clusters, draws, range(len(languages))), single

    def _group(
        self,
        about: tuple[str, Measure, str | None],
        clusters: Sequence[Clusters],
        draws: Array,
        columns: Sequence[int],
    ) -> list[ComparisonRow]:
        """The rows of all systems over the subsets `columns`; `draws` are (systems, resamples, subsets)."""
        task, measure, language = about
        lower = measure.lower_is_better
        parts = [one.take(columns) for one in clusters]
        found = []
        for at, (label, part) in enumerate(zip(self.labels, parts, strict=True)):
            difference = None
            if at != self.base:
                paired = Paired(part, parts[self.base])
                p = paired.p_value(self.samples, self.seed)
                between = percentiles((draws[at] - draws[self.base])[:, columns])
                outcomes = paired.outcomes(lower)
                difference = Difference(paired.difference, between, p, p, *outcomes, paired.effect_size)
            interval = percentiles(draws[at][:, columns])
            found.append(ComparisonRow(task, measure.name, lower, language, label, part.average, interval, difference))
        return found


def _corrected(rows: Sequence[ComparisonRow]) -> tuple[ComparisonRow, ...]:
    """Holm's correction over all comparisons among `rows`."""
    compared = [(row, row.difference) for row in rows if row.difference]
    adjusted = iter(holm([difference.p_raw for _, difference in compared]))
    return tuple(
        replace(row, difference=replace(row.difference, p=next(adjusted))) if row.difference else row for row in rows
    )
