"""Messages to the user, and the progress of long work.

Messages go through the standard library's `logging`, under the logger "hbt_bench": each module has
``log = logging.getLogger(__name__)``. The command line writes them to stderr. A program that imports the library sees
the warnings, and all messages after ``logging.basicConfig(level="INFO")``.

Progress goes to one receiver. For example, to print it::

    with show_progress(lambda stage, done, total, note="": print(stage, done, total)):
        Evaluation(model, tasks, output).run()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """A receiver of progress: the name of a stage, the items done, and the items of the stage."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` items of `stage` are done; `note` is a short text about the last of them."""


def _nothing(stage: str, done: int, total: int, note: str = "") -> None:
    pass


_receivers: list[Progress] = [_nothing]


def progress(stage: str, done: int, total: int, note: str = "") -> None:
    """Send progress to the receiver of the innermost `show_progress`; if there is none, do nothing."""
    _receivers[-1](stage, done, total, note)


@contextmanager
def show_progress(receiver: Progress) -> Iterator[None]:
    """Send progress to `receiver` while the block lasts."""
    _receivers.append(receiver)
    try:
        yield
    finally:
        _receivers.pop()


def counter(stage: str, total: int, done: int = 0) -> Callable[[int], None]:
    """Return a function that counts more items of a stage as done and sends the progress."""

    def add(items: int) -> None:
        nonlocal done
        done += items
        progress(stage, done, total)

    return add
