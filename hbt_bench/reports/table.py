"""One table, every format: terminal, Markdown, CSV, LaTeX, HTML and JSON come from the same rows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hbt_bench.text import as_csv, as_html, as_latex, as_markdown, one_line

if TYPE_CHECKING:
    import rich.table


def number(value: float | None, measure: str, decimals: int | None = None) -> str:
    """A score in four decimals, a rank distance in one, or in as many as are given; a dash where there is none."""
    if value is None:
        return "-"
    if decimals is None:
        decimals = 1 if "rank_distance" in measure else 4
    return f"{value:z.{decimals}f}"


@dataclass(frozen=True)
class Table:
    """Cells as text, the first `names` columns being names and the others numbers.

    A second line of a cell is a note to it, such as an interval. `bold` are cells, as (row, column), that Markdown,
    LaTeX and HTML set in bold; `heading` is the column that names a row. `records` gives the rows as values in full,
    which CSV and JSON take instead of the text.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    names: int = 1
    bold: frozenset[tuple[int, int]] = frozenset()
    heading: int = 0
    records: Callable[[], Sequence[Mapping[str, Any]]] | None = None

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

    def text(self, widths: Sequence[int], strong: Callable[[str], str] = lambda text: text) -> str:
        """Plain text with columns of these widths, in cells of a terminal, many times as fast as `rich`.

        What does not fit is folded; `strong` marks the bold cells.
        """
        from rich.cells import cell_len, chop_cells

        def folded(cell: str, width: int) -> list[str]:
            cell = "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in cell)  # no escape codes
            lines = [line for whole in cell.split("\n") for line in _before_revision(whole, cell_len(whole) > width)]
            return [part for line in lines for part in (chop_cells(line, width) or [""])]

        def drawn(cells: Sequence[list[str]], row: int) -> Iterator[str]:
            for line in range(max(map(len, cells))):
                parts = []
                for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
                    part = cell[line] if line < len(cell) else ""
                    space = " " * (width - cell_len(part))
                    part = strong(part) if line == 0 and (row, column) in self.bold else part
                    parts.append(part + space if column < self.names else space + part)
                yield "  ".join(parts).rstrip()

        header = [_heading(name, width) for name, width in zip(self.header, widths, strict=True)]
        deepest = max(map(len, header))
        lines = [self.title, ""] if self.title else []
        lines += drawn([[""] * (deepest - len(cell)) + cell for cell in header], -1)
        lines.append("─" * (sum(widths) + 2 * len(widths) - 2))
        for row, cells in enumerate(self.rows):
            lines += drawn([folded(cell, width) for cell, width in zip(cells, widths, strict=True)], row)
        return "\n".join(lines)

    def markdown(self) -> str:
        """A GitHub table."""
        header, *rows = ([as_markdown(cell) for cell in row] for row in (self.header, *self.rows))
        for row, column in self.bold:
            rows[row][column] = f"**{rows[row][column]}**"
        rule = ["---" if column < self.names else "---:" for column in range(len(self.header))]
        return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))

    def latex(self) -> str:
        """A tabular to paste, for the package booktabs; the title is a comment above it."""
        header, *rows = ([as_latex(cell) for cell in row] for row in (self.header, *self.rows))
        for row, column in self.bold:
            rows[row][column] = rf"\textbf{{{rows[row][column]}}}"
        columns = "l" * self.names + "r" * (len(self.header) - self.names)
        comment = [f"% {one_line(self.title)}"] if self.title else []
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _latex_row(header), r"\midrule"]
        lines += [*map(_latex_row, rows), r"\bottomrule", r"\end{tabular}"]
        return "\n".join([*comment, *lines])

    def html(self) -> str:
        """A table to paste into a page, everything escaped, with a caption and headings for screen readers."""
        caption = [f"<caption>{as_html(self.title)}</caption>"] if self.title else []
        header = "".join(f'<th scope="col">{as_html(name)}</th>' for name in self.header)
        lines = ["<table>", *caption, f"<thead><tr>{header}</tr></thead>", "<tbody>"]
        for place, row in enumerate(self.rows):
            cells = []
            for column, cell in enumerate(row):
                text, _, note = cell.partition("\n")
                inner = f"<strong>{as_html(text)}</strong>" if (place, column) in self.bold else as_html(text)
                inner += f" <small>{as_html(note)}</small>" if note else ""
                tag, end = ('th scope="row"', "th") if column == self.heading else ("td", "td")
                cells.append(f"<{tag}>{inner}</{end}>")
            lines.append(f"<tr>{''.join(cells)}</tr>")
        return "\n".join([*lines, "</tbody>", "</table>"])

    def csv(self) -> str:
        """RFC 4180, with a quote before a cell that a spreadsheet would take for a formula."""
        return _csv([self])

    def json(self) -> str:
        """A list of objects, one a row."""
        return _json([self])

    @property
    def _records(self) -> Sequence[Mapping[str, Any]]:
        return self.records() if self.records else [dict(zip(self.header, row, strict=True)) for row in self.rows]


def render(tables: Sequence[Table], style: str, notes: Sequence[str] = ()) -> str:
    """Several tables as one text: ``md``, ``latex``, ``html``, or all rows in one ``csv`` or ``json``.

    `notes` are what the marks in the tables mean, each a sentence, which stands below them; CSV and JSON have fields
    for that.
    """
    if style in ("csv", "json"):
        return _csv(tables) if style == "csv" else _json(tables)
    if style == "md":
        parts = [f"**{as_markdown(table.title)}**\n\n{table.markdown()}" for table in tables]
        parts += [as_markdown(f"{note}.") for note in notes]
    elif style == "latex":
        parts = [table.latex() for table in tables]
        if notes:
            lines = "\n".join(f"{as_latex(note)}.\\par" for note in notes)
            parts.append(f"\\par\\medskip\n{{\\footnotesize\\noindent\n{lines}\n}}")
    else:
        parts = [table.html() for table in tables]
        if notes:
            parts.append("<ul>\n" + "\n".join(f"<li>{as_html(note)}.</li>" for note in notes) + "\n</ul>")
    return "\n\n".join(parts)


def _csv(tables: Sequence[Table]) -> str:
    records = [record for table in tables for record in table._records]
    header = list(dict.fromkeys(key for record in records for key in record)) or list(tables[0].header)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(as_csv, header))
    writer.writerows([as_csv(record.get(key)) for key in header] for record in records)
    return buffer.getvalue().rstrip("\n")


def _json(tables: Sequence[Table]) -> str:
    return json.dumps([record for table in tables for record in table._records], ensure_ascii=False, indent=2)


def _before_revision(line: str, long: bool) -> list[str]:
    """A model's name and its revision, each whole on a line of its own if both do not fit one."""
    return re.split(r"(?=@)", line, maxsplit=1) if long else [line]


def _heading(name: str, width: int) -> list[str]:
    """A heading on as many lines as it needs, its arrow on the line of its last word."""
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
