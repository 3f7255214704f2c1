"""``hbt-bench data``: fetch or verify the files of a task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from hbt_bench.cli import options
from hbt_bench.data import data_files
from hbt_bench.tasks.registry import TaskRegistry


@click.group("data")
def command() -> None:
    """Fetch or verify the data files of a task.

    \b
    hbt-bench data fetch xquad-r
    """  # noqa: D301 -- click needs the character


@command.command("fetch")
@click.argument("name")
@options.languages
@options.data_dir
@options.task_dir
def fetch(name: str, languages: tuple[str, ...], data_dir: Path | None, registry: TaskRegistry) -> None:
    """Download the pinned files of a task.

    Files that are in the cache already are not downloaded again. Exit with code 3 if the counts are wrong.

    \b
    hbt-bench data fetch xquad-r --languages en,de
    """  # noqa: D301 -- click needs the character
    _check_files(registry, name, languages, data_dir, data_files.fetch)


@command.command("verify")
@click.argument("name")
@options.languages
@options.data_dir
@options.task_dir
def verify(name: str, languages: tuple[str, ...], data_dir: Path | None, registry: TaskRegistry) -> None:
    """Check the files of a task, without a download.

    Exit with code 3 if a file is missing, or if size, SHA-256 or counts are wrong.

    \b
    hbt-bench data verify xquad-r --data-dir data/
    """  # noqa: D301 -- click needs the character
    _check_files(registry, name, languages, data_dir, data_files.locate)


def _check_files(
    registry: TaskRegistry,
    name: str,
    languages: tuple[str, ...],
    data_dir: Path | None,
    find: Callable[..., Path],
) -> None:
    if name not in registry.tasks:
        raise registry.unknown(name, registry.tasks)
    spec = registry.tasks[name][0]
    codes = spec.select(languages or None)
    for language, file in spec.source.remote_files().items():
        if language in codes:
            click.echo(f"{language}  {find(file, owner=spec.name, data_dir=data_dir)}")
    collection = spec.load(codes, data_dir)
    click.echo(
        f"{spec.name}: {len(collection.queries):,} queries, {len(collection.documents):,} documents, "
        f"data {collection.fingerprint}"
    )
