"""Show progress on stderr: a bar for each stage, removed at its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hbt_bench.distributed import is_first
from hbt_bench.log import show_progress


@contextmanager
def progress_bars() -> Iterator[None]:
    """Show a bar on stderr for the work of the block, if stderr is a terminal and this is the first process."""
    if not sys.stderr.isatty() or not is_first():
        yield
        return
    bars = _Bars()
    try:
        with show_progress(bars):
            yield
    finally:
        bars.close()


class _Bars:
    """The bar of the current stage; messages and output appear above it."""

    def __init__(self) -> None:
        self._stage = ""
        self._done = 0
        self._display: Any = None

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Move the bar of `stage`, or start it; see `Progress`."""
        if stage != self._stage or done < self._done or self._display is None:
            self.close()
            self._display = _display()
            self._display.start()
            self._task = self._display.add_task("", stage=stage, note=note, total=total)
        self._stage, self._done = stage, done
        self._display.update(self._task, completed=done, total=total, note=note)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Remove the bar."""
        if self._display is not None:
            self._display.stop()
            self._display = None


def _display() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.fields[stage]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=Console(stderr=True),
        transient=True,
    )
