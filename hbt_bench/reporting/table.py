"""One table, every format: terminal, Markdown, CSV and JSON come from the same cells."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.table


def number(value: float | None, measure: str) -> str:
    """A score in four decimals, a rank distance in one; a dash for a score that is not there."""
    if value is None:
        return "-"
    return f"{value:.1f}" if "rank_distance" in measure else f"{value:.4f}"


@dataclass(frozen=True)
class Table:
    """Cells as text, the first column being names and the others numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""

    def rich(self) -> rich.table.Table:
        """For a terminal; long names are folded, numbers are not."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(
            title=Text(self.title) if self.title else None,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1),
        )
        table.add_column(self.header[0], overflow="fold")
        for name in self.header[1:]:
            table.add_column(name, justify="right", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table

    def markdown(self) -> str:
        """A GitHub table."""
        cells = [[cell.replace("|", "\\|") for cell in row] for row in (self.header, *self.rows)]
        rule = ["---", *("---:" for _ in self.header[1:])]
        return "\n".join("| " + " | ".join(row) + " |" for row in (cells[0], rule, *cells[1:]))

    def csv(self) -> str:
        """RFC 4180, with a quote before a cell that a spreadsheet would take for a formula."""
        buffer = io.StringIO()
        safe = [["'" + cell if cell[:1] in "=+@" and cell else cell for cell in row] for row in self.rows]
        csv.writer(buffer, lineterminator="\n").writerows([self.header, *safe])
        return buffer.getvalue().rstrip("\n")

    def json(self) -> str:
        """A list of objects, one a row."""
        rows = [dict(zip(self.header, row, strict=True)) for row in self.rows]
        return json.dumps(rows, ensure_ascii=False, indent=2)
