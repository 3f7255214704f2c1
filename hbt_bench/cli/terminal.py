"""The terminal: stdout and stderr that are safe for any text, tables, and progress bars.

An escape sequence in the name of a model or in the text of a question could retitle the window, move the cursor over
the output, or fill the clipboard. So if stdout is a terminal, it writes a question mark for every control code except
colours. `MessageHandler` does the same for messages on stderr.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hbt_bench.distributed import is_first
from hbt_bench.log import show_progress
from hbt_bench.text import HIDDEN, one_line

if TYPE_CHECKING:
    from hbt_bench.reports.table import Table
    from hbt_bench.results.result import Result

log = logging.getLogger(__name__)

_WINDOWS = os.name == "nt"
#: A hidden character that is not the start of a colour.
_CONTROL = re.compile(rf"(?!\x1b\[[0-9;]*m){HIDDEN}")


class Terminal:
    """A terminal that receives no control codes except colours."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # click writes to it if the encoding is ASCII
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text` with a question mark for each control code."""
        self._stream.write(_CONTROL.sub("?", text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of `lines` as `write` does."""
        for line in lines:
            self.write(line)


class MessageHandler(logging.Handler):
    """Write each message to stderr on a line without control codes: ``hbt-bench: MESSAGE``."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message of `record`."""
        sys.stderr.write(f"hbt-bench: {one_line(record.getMessage())}\n")


def print_table(table: Table, name_width: int = 8) -> None:
    """Print a table to stdout, and fold its names to `name_width` characters if the terminal is too narrow."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(table.rich(console.width, name_width), crop=False)
    console.print()


def show_results(results: Sequence[Result], more: Sequence[str] = ()) -> None:
    """Print the table of results and their paths; `more` are measures that the tasks add."""
    from hbt_bench.reports.results import results_table
    from hbt_bench.results.drop import drop

    print_table(results_table(results, more))
    for result in results:
        click.echo(f"{result.path}")
        if reason := drop(result)[1]:
            log.warning(f"no drop for {result.task}: {reason}")


@contextmanager
def safe_streams() -> Iterator[None]:
    """Make stdout and stderr safe for any text, and send messages to stderr, while the block lasts."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _usable(sys.stdout), _usable(sys.stderr)
    if sys.stdout.isatty():
        sys.stdout = Terminal(sys.stdout)
    logger = logging.getLogger("hbt_bench")
    handler = MessageHandler()
    settings = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False  # libraries may install a handler of their own at the root
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(settings[0])
        logger.propagate = settings[1]
        sys.stdout, sys.stderr = streams


def _usable(stream: Any) -> Any:
    """Return a stream that replaces unknown characters; if it is closed, as after ``>&-``, return the null device.

    A file or pipe gets UTF-8 on Windows, too, where Python would use a code page without most scripts.
    """
    if stream is None:  # the next file that is opened would take its number
        return Path(os.devnull).open("w", encoding="utf-8")
    if hasattr(stream, "reconfigure") and stream.errors in ("strict", "surrogateescape"):  # which may raise
        stream.reconfigure(errors="replace")
        if _WINDOWS and not stream.isatty() and not os.environ.get("PYTHONIOENCODING"):
            stream.reconfigure(encoding="utf-8")
    return stream


@contextmanager
def progress_bars() -> Iterator[None]:
    """Show a bar on stderr for each stage of the block, if stderr is a terminal and this is the first process.

    Messages appear above the bar, and it is removed when its stage ends. The block must not print to stdout.
    """
    if not sys.stderr.isatty() or not is_first():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    bars = Progress(
        TextColumn("{task.fields[stage]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )

    def move(stage: str, done: int, total: int, note: str = "") -> None:
        for task in bars.tasks:
            if task.fields["stage"] != stage or done < task.completed:  # another stage, or the same again
                bars.remove_task(task.id)
        if not bars.tasks:
            bars.add_task("", stage=stage, note=note, total=total)
        [task] = bars.tasks
        bars.update(task.id, completed=done, total=total, note=note)
        if done >= total:
            bars.refresh()
            bars.remove_task(task.id)

    with bars, show_progress(move):
        yield
