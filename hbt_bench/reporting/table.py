"""One table, every format: terminal, Markdown, CSV, LaTeX and JSON come from the same cells."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.table


#: What LaTeX takes for a command, or prints as something else in its old fonts.
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$"}
)


def number(value: float | None, measure: str) -> str:
    """A score in four decimals, a rank distance in one; a dash for a score that is not there."""
    if value is None:
        return "-"
    return f"{value:z.1f}" if "rank_distance" in measure else f"{value:z.4f}"


@dataclass(frozen=True)
class Table:
    """Cells as text, the first `names` columns being names and the others numbers.

    `bold` are cells, as (row, column), that Markdown and LaTeX set in bold.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    names: int = 1
    bold: frozenset[tuple[int, int]] = frozenset()

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
        for column, name in enumerate(self.header):
            table.add_column(name, justify="left" if column < self.names else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table

    def markdown(self) -> str:
        """A GitHub table."""
        header, *rows = ([cell.replace("|", "\\|") for cell in row] for row in (self.header, *self.rows))
        for row, column in self.bold:
            rows[row][column] = f"**{rows[row][column]}**"
        rule = ["---" if column < self.names else "---:" for column in range(len(self.header))]
        return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))

    def latex(self) -> str:
        """A tabular to paste, for the package booktabs; the title is a comment above it."""
        header, *rows = ([_latex(cell) for cell in row] for row in (self.header, *self.rows))
        for row, column in self.bold:
            rows[row][column] = rf"\textbf{{{rows[row][column]}}}"
        columns = "l" * self.names + "r" * (len(self.header) - self.names)
        comment = [f"% {' '.join(self.title.split())}"] if self.title else []
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_row(header), r"\midrule"]
        lines += [*map(_latex_row, rows), r"\bottomrule", r"\end{tabular}"]
        return "\n".join([*comment, *lines])

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


def _latex(cell: str) -> str:
    """A cell with everything escaped, and a minus sign before a number that is negative."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", " ".join(cell.split()).translate(_LATEX))


def _latex_row(cells: Sequence[str]) -> str:
    # after \\ or a rule, LaTeX would read an opening bracket or an asterisk as its argument
    first = "{}" + cells[0] if cells[0][:1] in ("[", "*") else cells[0]
    return " & ".join([first, *cells[1:]]) + r" \\"
