"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hbt_bench.identity.task_name import parse_names

if TYPE_CHECKING:
    from hbt_bench.tasks.registry import TaskRegistry
    from hbt_bench.tasks.task import TaskSpec

#: The type of a click option: a decorator of a command's function.
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with the data files; nothing is downloaded. [env: HBT_BENCH_DATA]",
)


def languages() -> Decorator:
    """Return the option ``--languages en,de``, which may be repeated."""
    return click.option(
        "--languages",
        multiple=True,
        metavar="CODES",
        callback=lambda context, option, value: parse_names(value) or None,
        help="Only these languages, as in en,de,zh or low-resource; the multilingual pool shrinks to them.",
    )


def language_choice(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--languages`` to a command, and the options for languages of a role, a script or a family."""
    for option in reversed(
        (
            languages(),
            _codes("--query-languages", "Only queries in these languages."),
            _codes("--document-languages", "Only documents in these languages."),
            _codes("--script", "Only languages in these scripts, as in Arab or Deva."),
            _codes("--family", "Only languages of these families or branches, as in Bantu or Turkic."),
        )
    ):
        command = option(command)
    return command


def _codes(name: str, text: str) -> Decorator:
    return click.option(
        name,
        multiple=True,
        metavar="NAMES",
        callback=lambda context, option, value: parse_names(value) or None,
        help=text,
    )


def narrowed(
    spec: TaskSpec,
    languages: tuple[str, ...] | None,
    query_languages: tuple[str, ...] | None,
    document_languages: tuple[str, ...] | None,
    script: tuple[str, ...] | None,
    family: tuple[str, ...] | None,
) -> TaskSpec:
    """Return a task with the languages that the options of `language_choice` select; a language must be in all of them.

    Raises `UsageError` for a language or group that the task does not have.
    """
    for names, kind in ((script, "script"), (family, "family")):
        if names is not None:
            spec = spec.narrowed([f"{kind}:{name}" for name in names])
    if languages is None and query_languages is None and document_languages is None:
        return spec
    return spec.narrowed(languages, query_languages, document_languages)


def _registry(context: click.Context, option: click.Parameter, value: tuple[Path, ...]) -> TaskRegistry:
    from hbt_bench.tasks.registry import TaskRegistry  # late, because the import takes a while

    # of a group's subcommand: the group's option counts too
    outer = context.parent.params.get("registry") if context.parent else None
    return TaskRegistry([*(outer.paths if outer else ()), *value])


task_dir = click.option(
    "--task-dir",
    "registry",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    callback=_registry,
    help="Folder with task files of your own. [env: HBT_BENCH_TASKS]",
)


def formats(*names: str) -> Decorator:
    """Return the option ``--format``; the first of `names` is the default."""
    return click.option(
        "--format",
        "style",
        type=click.Choice(names),
        default=names[0],
        show_default=True,
        help="Format of the output.",
    )
