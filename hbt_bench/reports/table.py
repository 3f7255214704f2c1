"""Tables in every format: terminal, Markdown, CSV, LaTeX, HTML and JSON have the same rows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.render import html
from hbt_bench.text import as_csv, as_latex, as_markdown, one_line, visible

if TYPE_CHECKING:
    import rich.table
    from rich.console import RenderableType


def number(value: float | None, measure: str, decimals: int | None = None) -> str:
    """Return a score with the measure's decimals, or with `decimals`. For example, ``0.5927``, or ``-`` for None."""
    if value is None:
        return "-"
    if decimals is None:
        decimals = MEASURES.describe(measure).decimals
    return f"{value:z.{decimals}f}"


#: The number of headings in a short description.
_SHOWN = 5


@dataclass(frozen=True)
class Table:
    """A table of text cells. The second line of a cell is a note, such as an interval.

    For example, ``Table(("model", "AP"), [["bm25", "0.4031"]]).markdown()``.

    Attributes:
        header, rows: The headings and the cells.
        title: The title, or the caption.
        names: The number of columns with names; they come first, and columns of numbers follow.
        bold: The bold cells, as (row, column).
        heading: The column that names a row, for screen readers.
        records: Returns the rows as unrounded values, which CSV and JSON write instead of the cells.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    names: int = 1
    bold: frozenset[tuple[int, int]] = frozenset()
    heading: int = 0
    records: Callable[[], Sequence[Mapping[str, Any]]] | None = None

    def __repr__(self) -> str:
        names = ", ".join(" ".join(name.split()) for name in self.header[:_SHOWN])
        return f"Table({names}{', ...' if len(self.header) > _SHOWN else ''})"

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        return render([self], "html")

    def widths(self, width: int, name_width: int = 8) -> list[int]:
        """Return the widths of the columns on a terminal of `width` characters. Two spaces separate columns.

        If the table is too wide, headings are broken into words, then names are folded to `name_width`. Numbers are
        never folded: half a number looks like another.
        """
        from rich.cells import cell_len

        def needed(heading_width: int) -> list[int]:
            headings = [_heading(name, heading_width) for name in self.header]
            columns = zip(headings, *(map(str.splitlines, row) for row in self.rows), strict=True)
            return [max(cell_len(line) for cell in column for line in cell) for column in columns]

        widths = needed(width)
        excess = sum(widths) + 2 * (len(widths) - 1) - width
        if excess > 0:
            widths = needed(0)
            excess = sum(widths) + 2 * (len(widths) - 1) - width
        for column in sorted(range(self.names), key=lambda column: -widths[column]):
            cut = max(0, min(excess, widths[column] - name_width))
            widths[column] -= cut
            excess -= cut
        return widths

    def rich(self, width: int = 80, name_width: int = 8) -> rich.table.Table:
        """Return the table for a terminal of `width` characters; see `widths`.

        For example, ``console.print(table.rich(console.width), crop=False)``.
        """
        from rich import box
        from rich.padding import Padding
        from rich.segment import Segment, Segments
        from rich.style import Style
        from rich.table import Table as RichTable
        from rich.text import Text

        widths = self.widths(width, name_width)
        # each cell has its own padding, because rich takes seconds to pad and fold the numbers of a thousand models
        gaps = [1] * (len(widths) - 1) + [0]
        table = RichTable(
            title=Text(visible(self.title)) if self.title else None,
            title_justify="left",
            title_style="",
            header_style="",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=0,
            width=sum(widths) + 2 * (len(widths) - 1),
        )
        headings = [_heading(name, width) for name, width in zip(self.header, widths, strict=True)]
        height = max(map(len, headings))
        for column, (heading, column_width, gap) in enumerate(zip(headings, widths, gaps, strict=True)):
            table.add_column(
                Padding(Text("\n".join([""] * (height - len(heading)) + heading)), (0, gap, 0, 0)),
                justify="left" if column < self.names else "right",
                width=column_width + gap,
                overflow="fold",
            )
        for index, row in enumerate(self.rows):
            cells: list[RenderableType] = []
            for column, (cell, column_width, gap) in enumerate(zip(row, widths, gaps, strict=True)):
                first, *notes = visible(cell).split("\n")
                style = "bold" if (index, column) in self.bold else ""
                if column < self.names:
                    text = Text(_folded("\n".join([first, *notes]), column_width))
                    text.stylize(style, 0, len(first))
                    cells.append(Padding(text, (0, gap, 0, 0)))
                else:
                    lines = [Segment(line.rjust(column_width) + " " * gap) for line in notes]
                    lines.insert(0, Segment(first.rjust(column_width) + " " * gap, Style.parse(style)))
                    cells.append(Segments(lines, new_lines=True))
            table.add_row(*cells)
        return table

    def markdown(self) -> str:
        """Return a table in GitHub's Markdown."""
        header, *rows = ([as_markdown(cell) for cell in row] for row in (self.header, *self.rows))
        for row, column in self.bold:
            rows[row][column] = f"**{rows[row][column]}**"
        rule = ["---" if column < self.names else "---:" for column in range(len(self.header))]
        return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))

    def latex(self) -> str:
        """Return a tabular for the package booktabs, with the title as a comment above it."""
        header, *rows = ([as_latex(cell) for cell in row] for row in (self.header, *self.rows))
        for row, column in self.bold:
            rows[row][column] = rf"\textbf{{{rows[row][column]}}}"
        columns = "l" * self.names + "r" * (len(self.header) - self.names)
        comment = [f"% {one_line(self.title)}"] if self.title else []
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_row(header), r"\midrule"]
        lines += [*map(_latex_row, rows), r"\bottomrule", r"\end{tabular}"]
        return "\n".join([*comment, *lines])

    def as_values(self) -> dict[str, Any]:
        """Return the table as JSON values for a template; a cell is its text, its note, and whether it is bold."""
        rows = []
        for index, row in enumerate(self.rows):
            cells = [cell.partition("\n") for cell in row]
            rows.append([[text, note, (index, column) in self.bold] for column, (text, _, note) in enumerate(cells)])
        return {
            "title": self.title,
            "header": list(self.header),
            "rows": rows,
            "names": self.names,
            "heading": self.heading,
        }

    def csv(self) -> str:
        """Return CSV (RFC 4180), with a quote before each cell that a spreadsheet would run as a formula."""
        return _csv([self])

    @property
    def _records(self) -> Sequence[Mapping[str, Any]]:
        return self.records() if self.records else [dict(zip(self.header, row, strict=True)) for row in self.rows]


def render(tables: Sequence[Table], style: str, notes: Sequence[str] = ()) -> str:
    """Return tables as text. `style` is "md", "latex", "html", or "csv" or "json", which join all rows.

    `notes` explain the marks in the tables, in a sentence each below the tables. CSV and JSON have fields instead.
    """
    if style == "csv":
        return _csv(tables)
    if style == "json":
        return json.dumps([record for table in tables for record in table._records], ensure_ascii=False, indent=2)
    if style == "md":
        parts = [f"**{as_markdown(table.title)}**\n\n{table.markdown()}" for table in tables]
        parts += [as_markdown(f"{note}.") for note in notes]
    elif style == "latex":
        parts = [table.latex() for table in tables]
        if notes:
            lines = "\n".join(f"{as_latex(note)}.\\par" for note in notes)
            parts.append(f"\\par\\medskip\n{{\\footnotesize\\noindent\n{lines}\n}}")
    else:
        return html("tables.html", tables=[table.as_values() for table in tables], notes=notes)
    return "\n\n".join(parts)


def _csv(tables: Sequence[Table]) -> str:
    records = [record for table in tables for record in table._records]
    header = list(dict.fromkeys(key for record in records for key in record)) or list(tables[0].header)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(as_csv, header))
    writer.writerows([as_csv(record.get(key)) for key in header] for record in records)
    return buffer.getvalue().rstrip("\n")


def _folded(cell: str, width: int) -> str:
    """Put the revision of a model on a line below its name if both do not fit."""
    lines = cell.split("\n")
    return "\n".join(re.sub(r"(?<=.)@", "\n@", line, count=1) if len(line) > width else line for line in lines)


def _heading(name: str, width: int) -> list[str]:
    """Break a heading into lines of `width`, without a line break before its arrow."""
    lines: list[str] = []
    for word in re.findall(r"\S+(?: [↑↓])?", name):
        if lines and len(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def _latex_row(cells: Sequence[str]) -> str:
    # after \\ or a rule, LaTeX would read an opening bracket or an asterisk as its argument
    first = "{}" + cells[0] if cells[0][:1] in ("[", "*") else cells[0]
    return " & ".join([first, *cells[1:]]) + r" \\"
