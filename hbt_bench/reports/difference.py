"""What a comparison found: differences from a baseline as sentences, tables, CSV, LaTeX and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hbt_bench.reports.systems import System
from hbt_bench.reports.table import Table, number

#: Adjusted p-values below this are a difference.
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """A system minus the baseline: `wins`, `ties` and `losses` count questions, `p` is `p_raw` after Holm."""

    value: float
    interval: tuple[float, float]
    p: float
    p_raw: float
    wins: int
    ties: int
    losses: int
    effect_size: float | None


@dataclass(frozen=True)
class ComparisonRow:
    """One system on one task by one measure: all query languages, or the one in `language`.

    `difference` is None for the baseline.
    """

    task: str
    measure: str
    lower_is_better: bool
    language: str | None
    system: str
    value: float
    interval: tuple[float, float]
    difference: Difference | None

    @property
    def title(self) -> str:
        """The measure with an arrow that points to where it is better."""
        return f"{self.measure} {'↓' if self.lower_is_better else '↑'}"

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``undecided``, against the baseline; ``baseline`` for itself."""
        if self.difference is None:
            return "baseline"
        if self.difference.p >= LEVEL:
            return "undecided"
        return "better" if (self.difference.value > 0) != self.lower_is_better else "worse"

    def conclusion(self, baseline: str, comparisons: int) -> str:
        """The verdict in a sentence; empty for the baseline."""
        if self.difference is None:
            return ""
        where = f"{self.task} {self.measure}" + (f" for queries in {self.language}" if self.language else "")
        verdict = (
            f"{self.system} and {baseline} cannot be told apart on {where}"
            if self.verdict == "undecided"
            else f"{self.system} is {self.verdict} than {baseline} on {where}"
        )
        found = self.difference
        return (
            f"{verdict}: {_signed(found.value, self.measure)} {_interval(found.interval, self.measure)}, "
            f"p = {found.p:.2g} (Holm, {_counted(comparisons)})"
        )


@dataclass(frozen=True)
class Comparison:
    """Models compared with a baseline. `rows` are over all query languages, `language_rows` over each, if asked for.

    Rows go by task, then measure, then language, then system as named. `notes` are what a reader must know.
    """

    systems: tuple[System, ...]
    baseline: str
    rows: tuple[ComparisonRow, ...]
    language_rows: tuple[ComparisonRow, ...]
    notes: tuple[str, ...]
    samples: int
    resamples: int
    seed: int

    @property
    def conclusions(self) -> list[str]:
        """A sentence a comparison over all query languages."""
        count = _comparisons(self.rows)
        return [said for row in self.rows if (said := row.conclusion(self.baseline, count))]

    @property
    def method(self) -> str:
        """How the numbers were made, and what the columns are, for a caption."""
        columns = "W/T/L: questions won, tied, lost. d: mean difference of a question over its standard deviation."
        return f"{self._draws} {columns} Seed {self.seed}."

    @property
    def test(self) -> str:
        """How the numbers were made, where there is no table."""
        return f"{self._draws} Seed {self.seed}."

    @property
    def _draws(self) -> str:
        text = (
            f"Differences are from {self.baseline}. 95 % intervals: bootstrap over questions, {self.resamples:,} "
            f"resamples. p: randomization test by question, {self.samples:,} samples, Holm-corrected over "
            f"{_counted(_comparisons(self.rows))}"
        )
        if self.language_rows:
            text += f" (over {_comparisons(self.language_rows):,} in the tables by language)"
        return f"{text}."

    def tables(self) -> list[Table]:
        """For a terminal, one table a task and measure, 80 columns wide; intervals stand below what they are of."""
        found = []
        for rows in (self.rows, self.language_rows):
            for key in dict.fromkeys((row.task, row.measure) for row in rows):
                group = [row for row in rows if (row.task, row.measure) == key]
                found.append(_by_language(group) if group[0].language else _overall(group))
        return found

    def table(self) -> Table:
        """One table to paste: a row a task, measure, language and system; differences that hold are bold."""
        header = ["task", "measure", "language", "system", "value [95 %]", "difference [95 %]", "p", "W/T/L", "d"]
        rows = [
            [
                row.task,
                row.title,
                row.language or "all",
                row.system,
                f"{number(row.value, row.measure)} {_interval(row.interval, row.measure)}",
                *_cells(row, " "),
            ]
            for row in self._all
        ]
        holds = frozenset((at, 5) for at, row in enumerate(self._all) if row.verdict in ("better", "worse"))
        if self.language_rows:
            return Table(header, rows, self.method, names=4, bold=holds)
        narrow = [[cell for place, cell in enumerate(row) if place != 2] for row in (header, *rows)]
        bold = frozenset((at, place - 1) for at, place in holds)
        return Table(narrow[0], narrow[1:], self.method, names=3, bold=bold)

    def csv(self) -> str:
        """One row a task, measure, language and system, with numbers in full; empty where there is none."""
        rows = [_flat(row, self.baseline) for row in self._all]
        return Table(
            list(rows[0]), [["" if cell is None else str(cell) for cell in row.values()] for row in rows]
        ).csv()

    def as_json(self) -> dict[str, Any]:
        """Everything as values that JSON has."""
        return {
            "baseline": self.baseline,
            "systems": [asdict(system) for system in self.systems],
            "correction": "holm",
            "comparisons": _comparisons(self.rows),
            "language_comparisons": _comparisons(self.language_rows),
            "samples": self.samples,
            "resamples": self.resamples,
            "seed": self.seed,
            "rows": [_flat(row, self.baseline) for row in self._all],
            "conclusions": self.conclusions,
            "notes": list(self.notes),
        }

    def json(self) -> str:
        """`as_json` as text."""
        return json.dumps(self.as_json(), ensure_ascii=False, indent=2)

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
    return Table(("system", "value", "difference", "p", "W/T/L"), cells, f"{rows[0].task}, {rows[0].title}")


def _by_language(rows: Sequence[ComparisonRow]) -> Table:
    cells = [[row.language or "", row.system, number(row.value, row.measure), *_cells(row, " ")[:3]] for row in rows]
    title = f"{rows[0].task}, {rows[0].title} by query language"
    return Table(("query", "system", "value", "difference [95 %]", "p", "W/T/L"), cells, title, names=2)


def _flat(row: ComparisonRow, baseline: str) -> dict[str, Any]:
    """A row as values by name; None for what a baseline does not have."""
    found = row.difference
    low, high = found.interval if found else (None, None)
    return {
        "task": row.task,
        "measure": row.measure,
        "lower_is_better": row.lower_is_better,
        "language": row.language,
        "system": row.system,
        "baseline": baseline,
        "value": row.value,
        "low": row.interval[0],
        "high": row.interval[1],
        "difference": found and found.value,
        "difference_low": low,
        "difference_high": high,
        "p": found and found.p,
        "p_raw": found and found.p_raw,
        "wins": found and found.wins,
        "ties": found and found.ties,
        "losses": found and found.losses,
        "effect_size": found and found.effect_size,
        "verdict": row.verdict,
    }


def _cells(row: ComparisonRow, space: str) -> list[str]:
    """Difference with interval, p, outcomes and effect size as text; dashes for the baseline."""
    found = row.difference
    if found is None:
        return ["-"] * 4
    return [
        f"{_signed(found.value, row.measure)}{space}{_interval(found.interval, row.measure)}",
        f"{found.p:.2g}",
        f"{found.wins}/{found.ties}/{found.losses}",
        "-" if found.effect_size is None else f"{found.effect_size:z.2f}",
    ]
