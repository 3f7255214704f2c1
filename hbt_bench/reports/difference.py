"""The result of a comparison: differences from a baseline, as sentences, tables, CSV, LaTeX and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hbt_bench.measures.chance import RANDOM_RANKING
from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.systems import System
from hbt_bench.reports.table import Table, number, render
from hbt_bench.stats.clusters import Level
from hbt_bench.stats.paired import SIGNIFICANCE

#: The difference, p, outcomes and effect size of the baseline and of a random ranking.
_NO_DIFFERENCE = ["-"] * 4
#: The fields of a difference in CSV and JSON, besides its value and interval.
_FIELDS = ("p", "p_raw", "wins", "ties", "losses", "effect_size", "p_same", "margin", "shown")


@dataclass(frozen=True)
class Difference:
    """A system minus the baseline.

    `wins`, `ties` and `losses` count questions. `p` is `p_raw` after Holm's correction. `interval` has the confidence
    of the same step: it contains 0 if and only if `p` is not significant. `effect_size` is None if it is not defined:
    see `Paired.effect_size`. `p_same` is the corrected p of the two one-sided tests that the systems differ by `margin`
    or more, and `shown` is the smallest true difference that is found with a power of 0.8; both are None if they were
    not requested.
    """

    value: float
    interval: tuple[float, float]
    p: float
    p_raw: float
    wins: int
    ties: int
    losses: int
    effect_size: float | None
    p_same: float | None = None
    margin: float | None = None
    shown: float | None = None


@dataclass(frozen=True)
class ComparisonRow:
    """The value of a measure for a system on a task, and its difference from the baseline.

    `language` is the query language, None for all. `difference` is None for the baseline itself. `chance` is the value
    of a random ranking, None for a single language and for a measure without it.
    """

    task: str
    measure: str
    language: str | None
    system: str
    value: float
    interval: tuple[float, float]
    difference: Difference | None
    chance: float | None = None

    @property
    def group(self) -> tuple[str, str, str | None]:
        """The task, measure and language, which the rows of all systems share."""
        return self.task, self.measure, self.language

    @property
    def title(self) -> str:
        """The measure with an arrow: ↑ if a higher value is better, ↓ if a lower value is better."""
        return f"{self.measure} {MEASURES.describe(self.measure).arrow}"

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value of the measure is better."""
        return MEASURES.describe(self.measure).lower_is_better

    @property
    def verdict(self) -> str:
        """The result of the test: ``better`` or ``worse`` than the baseline, ``undecided``, or ``baseline``.

        With a margin, ``same`` is a difference that is not significant and below the margin.
        """
        if self.difference is None:
            return "baseline"
        if self.difference.p >= SIGNIFICANCE:
            same = self.difference.p_same
            return "same" if same is not None and same < SIGNIFICANCE else "undecided"
        return "better" if (self.difference.value > 0) != self.lower_is_better else "worse"

    def conclusion(self, baseline: str, comparisons: int) -> str:
        """Return the verdict in a sentence, or "" for the baseline.

        For example, ``b is better than a on xquad-r-multi AP: +0.0312 [0.0201, 0.0433], p = 0.0004 (Holm, 2
        comparisons)``.
        """
        difference = self.difference
        if difference is None:
            return ""
        task = f"{self.task} {self.measure}" + (f" for queries in {self.language}" if self.language else "")
        verdict = {
            "undecided": f"{self.system} and {baseline} do not differ significantly on {task}",
            "same": f"{self.system} and {baseline} are the same within {difference.margin or 0:g} on {task}",
        }.get(self.verdict, f"{self.system} is {self.verdict} than {baseline} on {task}")
        same = "" if difference.p_same is None else f", p of the margin = {difference.p_same:.2g}"
        shown = "" if difference.shown is None else f"; shown from {number(difference.shown, self.measure)}"
        return (
            f"{verdict}: {_signed(difference.value, self.measure)} {_interval(difference.interval, self.measure)}, "
            f"p = {difference.p:.2g}{same} (Holm, {_counted(comparisons)}){shown}"
        )


@dataclass(frozen=True)
class Comparison:
    """Models compared with a baseline.

    `rows` are over all query languages. `language_rows` are over each query language, if requested. Both are sorted by
    task, measure, language and system, in the order of the request. `notes` are for the reader. `levels` has the
    clusters of each task.
    """

    systems: tuple[System, ...]
    baseline: str
    rows: tuple[ComparisonRow, ...]
    language_rows: tuple[ComparisonRow, ...]
    notes: tuple[str, ...]
    samples: int
    resamples: int
    seed: int
    levels: Mapping[str, Level]

    def __repr__(self) -> str:
        others = ", ".join(system.label for system in self.systems if system.label != self.baseline)
        return f"Comparison({self.baseline} with {others})"

    def _repr_html_(self) -> str:
        """Return the tables and conclusions for a notebook."""
        sentences = [*self.conclusions, self.method(), *self.notes]
        return render(self.tables(), "html", [sentence.removesuffix(".") for sentence in sentences])

    @property
    def conclusions(self) -> list[str]:
        """A sentence for each comparison over all query languages."""
        count = _comparisons(self.rows)
        return [row.conclusion(self.baseline, count) for row in self.rows if row.difference]

    def method(self, columns: bool = True) -> str:
        """Return the test in words, with the meaning of the `columns` of a table."""
        text = (
            f"Differences are from {self.baseline}. 95 % intervals: bootstrap over {self._clusters}, "
            f"{self.resamples:,} resamples. p: randomization test over the same, {self.samples:,} samples. Both "
            f"corrected by Holm's method for {_counted(_comparisons(self.rows))}"
        )
        if self.language_rows:
            text += f" (over {_comparisons(self.language_rows):,} in the tables by language)"
        text += "."
        if columns:
            text += " W/T/L: questions won, tied, lost. d: mean difference of a question over its standard deviation."
        if any(row.difference and row.difference.shown is not None for row in self.rows):
            text += " Shown from: the smallest true difference that is found with a power of 80 %."
        return f"{text} Seed {self.seed}."

    @property
    def _clusters(self) -> str:
        """The clusters of the tasks in words, once if they are the same for all."""
        tasks: dict[str, list[str]] = {}
        for task, level in self.levels.items():
            tasks.setdefault(str(level), []).append(task)
        if len(tasks) == 1:
            return next(iter(tasks))
        return " or ".join(f"{clusters} ({', '.join(names)})" for clusters, names in tasks.items())

    def tables(self) -> list[Table]:
        """Return a table for each task and measure, for a terminal of 80 columns: intervals are below their values."""
        tables = []
        for rows in (self.rows, self.language_rows):
            for key in dict.fromkeys(row.group[:2] for row in rows):
                group = [row for row in rows if row.group[:2] == key]
                tables.append(_by_language(group) if group[0].language else _overall(group))
        return tables

    def table(self) -> Table:
        """Return a single table to paste; significant differences are bold."""
        header = ["task", "measure", "language", "system", "value [95 %]", "difference [95 %]", "p", "W/T/L", "d"]
        rows: list[list[str]] = []
        significant = []
        for row, following in zip(self._all, [*self._all[1:], None], strict=True):
            about = [row.task, row.title, row.language or "all"]
            value = f"{number(row.value, row.measure)} {_interval(row.interval, row.measure)}"
            if row.verdict in ("better", "worse"):
                significant.append(len(rows))
            rows.append([*about, row.system, value, *_cells(row, " ")])
            if row.chance is not None and (following is None or following.group != row.group):
                rows.append([*about, RANDOM_RANKING, number(row.chance, row.measure), *_NO_DIFFERENCE])
        names = 4
        if not self.language_rows:
            names = 3
            header, *rows = ([*row[:2], *row[3:]] for row in (header, *rows))
        return Table(
            header, rows, self.method(), names=names, bold=frozenset((index, names + 1) for index in significant)
        )

    def csv(self) -> str:
        """Return the rows as CSV with unrounded numbers."""
        records = [_record(row, self.baseline) for row in self._all]
        return Table(list(records[0]), [], records=lambda: records).csv()

    def json(self) -> str:
        """Return everything as JSON."""
        content = {
            "baseline": self.baseline,
            "systems": [asdict(system) for system in self.systems],
            "correction": "holm",
            "interval_correction": "holm",
            "intervals": {task: level.signature(self.resamples, self.seed) for task, level in self.levels.items()},
            "comparisons": _comparisons(self.rows),
            "language_comparisons": _comparisons(self.language_rows),
            "samples": self.samples,
            "resamples": self.resamples,
            "seed": self.seed,
            "rows": [_record(row, self.baseline) for row in self._all],
            "conclusions": self.conclusions,
            "notes": list(self.notes),
        }
        return json.dumps(content, ensure_ascii=False, indent=2)

    @property
    def _all(self) -> tuple[ComparisonRow, ...]:
        return (*self.rows, *self.language_rows)


def _comparisons(rows: Iterable[ComparisonRow]) -> int:
    return sum(row.difference is not None for row in rows)


def _counted(comparisons: int) -> str:
    return "1 comparison" if comparisons == 1 else f"{comparisons:,} comparisons"


def _signed(value: float, measure: str) -> str:
    text = number(value, measure)
    return text if text.startswith("-") else f"+{text}"


def _interval(interval: tuple[float, float], measure: str) -> str:
    return f"[{', '.join(number(bound, measure) for bound in interval)}]"


def _overall(rows: Sequence[ComparisonRow]) -> Table:
    cells = []
    for row in rows:
        value = f"{number(row.value, row.measure)}\n{_interval(row.interval, row.measure)}"
        difference, p, outcomes, effect = _cells(row, "\n")
        cells.append([row.system, value, difference, p, outcomes if effect == "-" else f"{outcomes}\nd {effect}"])
    if (chance := rows[0].chance) is not None:
        cells.append([RANDOM_RANKING, number(chance, rows[0].measure), *_NO_DIFFERENCE[1:]])
    return Table(("system", "value", "difference", "p", "W/T/L"), cells, f"{rows[0].task}, {rows[0].title}")


def _by_language(rows: Sequence[ComparisonRow]) -> Table:
    cells = [[row.language or "", row.system, number(row.value, row.measure), *_cells(row, " ")[:3]] for row in rows]
    title = f"{rows[0].task}, {rows[0].title} by query language"
    return Table(("query", "system", "value", "difference [95 %]", "p", "W/T/L"), cells, title, names=2)


def _record(row: ComparisonRow, baseline: str) -> dict[str, Any]:
    """Return a row as values by name, with None for the differences of the baseline."""
    difference = row.difference
    low, high = difference.interval if difference else (None, None)
    return {
        "task": row.task,
        "measure": row.measure,
        "lower_is_better": row.lower_is_better,
        "language": row.language,
        "system": row.system,
        "baseline": baseline,
        "value": row.value,
        "chance": row.chance,
        "low": row.interval[0],
        "high": row.interval[1],
        "difference": difference and difference.value,
        "difference_low": low,
        "difference_high": high,
        **{name: getattr(difference, name, None) for name in _FIELDS},
        "verdict": row.verdict,
    }


def _cells(row: ComparisonRow, space: str) -> list[str]:
    """Return the difference with its interval, p, outcomes and effect size as text; dashes for the baseline."""
    difference = row.difference
    if difference is None:
        return _NO_DIFFERENCE
    return [
        f"{_signed(difference.value, row.measure)}{space}{_interval(difference.interval, row.measure)}",
        f"{difference.p:.2g}",
        f"{difference.wins}/{difference.ties}/{difference.losses}",
        "-" if difference.effect_size is None else f"{difference.effect_size:z.2f}",
    ]
