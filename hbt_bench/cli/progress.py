"""Progress on stderr: one bar a stage, gone when it is done."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from hbt_bench.log import tell

_LABELS = {"encode": "encoding texts", "rank": "ranking queries"}


class Bars:
    """Bars that appear when their stage starts; on a stderr that is no terminal, or if not `shown`, there are none."""

    def __init__(self, *, shown: bool = True) -> None:
        self._shown = shown
        self._stage = ""
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, message: str) -> None:
        """Print a notice without tearing a bar."""
        if self._shown:
            tell(message)

    def update(self, stage: str, count: int, total: int) -> None:
        """Advance the bar of `stage` by `count` of `total`."""
        from tqdm import tqdm

        if self._bar is None or stage != self._stage or self._bar.n >= total:
            if self._bar is not None:
                self._bar.close()
            self._stage = stage
            self._bar = tqdm(
                total=total,
                desc=_LABELS.get(stage, stage),
                unit="",
                leave=False,
                file=sys.stderr,
                disable=not self._shown or not sys.stderr.isatty(),
            )
        self._bar.update(count)
        if self._bar.disable:
            self._bar.n += count

    def train(self, step: int, steps: int, line: str) -> None:
        """Show the step of a training run that was reached, with a line about it."""
        from tqdm import tqdm

        if self._bar is None or self._stage != "train":
            if self._bar is not None:
                self._bar.close()
            self._stage = "train"
            self._bar = tqdm(
                total=steps,
                initial=step - 1,
                desc="training",
                unit="",
                leave=False,
                file=sys.stderr,
                disable=not self._shown or not sys.stderr.isatty(),
            )
        self._bar.set_postfix_str(line, refresh=False)
        self._bar.update(step - self._bar.n)
        if step == steps:
            self._bar.close()
            self._bar = None
