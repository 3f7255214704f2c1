"""``hbt-bench data``: the files of a collection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from hbt_bench.cli import options
from hbt_bench.data import download
from hbt_bench.tasks.registry import TaskRegistry


@click.group("data")
def command() -> None:
    """Fetch or verify the data files of a task."""


@command.command("fetch")
@click.argument("name")
@options.languages()
@options.data_dir
@options.task_dir
def fetch(name: str, languages: tuple[str, ...] | None, data_dir: Path | None, registry: TaskRegistry) -> None:
    """Download the pinned files of a task into the cache, and check its counts."""
    _each(registry, name, languages, data_dir, download.fetch)


@command.command("verify")
@click.argument("name")
@options.languages()
@options.data_dir
@options.task_dir
def verify(name: str, languages: tuple[str, ...] | None, data_dir: Path | None, registry: TaskRegistry) -> None:
    """Check size, SHA-256 and counts of the files of a task; nothing is downloaded."""
    _each(registry, name, languages, data_dir, download.locate)


def _each(
    registry: TaskRegistry,
    name: str,
    languages: tuple[str, ...] | None,
    data_dir: Path | None,
    get: Callable[..., Path],
) -> None:
    if name not in registry.tasks:
        raise registry.unknown(name, registry.tasks)
    spec = registry.tasks[name][0]
    chosen = spec.select(languages)
    for language, file in spec.source.remote_files().items():
        if language in chosen:
            click.echo(f"{language}  {get(file, owner=spec.name, data_dir=data_dir)}")
    collection = spec.load(chosen, data_dir)
    click.echo(
        f"{spec.name}: {len(collection.queries):,} queries, {len(collection.documents):,} documents, "
        f"data {collection.fingerprint}"
    )
