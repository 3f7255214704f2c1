"""Options that several commands share."""

from __future__ import annotations

import functools
import json
import logging
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from hbt_bench.errors import UsageError
from hbt_bench.identity.task_name import parse_names

if TYPE_CHECKING:
    from hbt_bench.tasks.registry import TaskRegistry
    from hbt_bench.tasks.task import TaskSpec

log = logging.getLogger(__name__)

#: The type of a click option: a decorator of a command's function.
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with the data files; if it is set, nothing is downloaded.  [env: HBT_BENCH_DATA]",
)


def results(flag: str = "--results") -> Decorator:
    """Return the option for the folder of the results."""
    return click.option(
        flag, type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of the results."
    )


class FiniteRange(click.FloatRange):
    """The type of an option that is a finite number; click's own range lets ``nan`` and ``inf`` pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or fail with a message."""
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value} is not a finite number.", param, ctx)


#: A finite number above 0.
POSITIVE = FiniteRange(min=0, min_open=True)


def not_empty(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Return the value of an option; raises `UsageError` if it is empty, as from a variable that is not set."""
    texts = value if isinstance(value, tuple) else () if value is None else (value,)
    if any(not parse_names(text) for text in texts):
        raise UsageError(f"{option.opts[0]} is empty. Give it a value, or leave it out.")
    return value


def names(flag: str, metavar: str, text: str) -> Decorator:
    """Return an option for names with commas, which may be repeated; the command receives a tuple."""

    def parsed(context: click.Context, option: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
        return parse_names(not_empty(context, option, value))

    return click.option(flag, multiple=True, metavar=metavar, callback=parsed, help=text)


languages = names(
    "--languages", "CODES", "Only these languages, as in low-resource or en,de; the multilingual pool shrinks to them."
)


def language_choice(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for languages, those of a role, a script or a family to a command.

    The command receives a function that narrows a task to the languages that are in all options, as ``narrow``. It is
    None without a choice, and raises `UsageError` for a language or group that the task does not have.
    """

    @functools.wraps(command)
    def with_choice(
        *arguments: Any,
        languages: tuple[str, ...],
        query_languages: tuple[str, ...],
        document_languages: tuple[str, ...],
        script: tuple[str, ...],
        family: tuple[str, ...],
        **values: Any,
    ) -> Any:
        def narrow(spec: TaskSpec) -> TaskSpec:
            for groups, kind in ((script, "script"), (family, "family")):
                if groups:
                    spec = spec.narrowed([f"{kind}:{group}" for group in groups])
            if languages or query_languages or document_languages:
                spec = spec.narrowed(languages or None, query_languages or None, document_languages or None)
            return spec

        chosen = languages or query_languages or document_languages or script or family
        return command(*arguments, narrow=narrow if chosen else None, **values)

    flags: Callable[..., Any] = with_choice
    for option in (
        names("--family", "NAMES", "Only languages of these families or branches, as in Bantu or Turkic."),
        names("--script", "NAMES", "Only languages in these scripts, as in Arab or Deva."),
        names("--document-languages", "CODES", "Only documents in these languages."),
        names("--query-languages", "CODES", "Only queries in these languages."),
        languages,
    ):
        flags = option(flags)
    return flags


def _registry(context: click.Context, option: click.Parameter, value: tuple[Path, ...]) -> TaskRegistry:
    from hbt_bench.tasks.registry import TaskRegistry  # late, because the import takes a while

    # if the command is in a group, the group's --task-dir counts too
    group = context.parent.params.get("registry") if context.parent else None
    return TaskRegistry([*(group.paths if group else ()), *value])


task_dir = click.option(
    "--task-dir",
    "registry",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    callback=_registry,
    help="Folder with task files of your own.  [env: HBT_BENCH_TASKS]",
)


def typed(flag: str, text: str | None) -> str | None:
    r"""Return a text of a flag, with a line end for each typed ``\n``, which shells pass on as two characters.

    A doubled backslash keeps the two characters. For example, ``typed("--query-prompt", r"Instruct: find\nQuery: ")``.
    """
    if text is None or r"\n" not in text:
        return text
    read = re.sub(r"(\\?)\\n", lambda match: r"\n" if match[1] else "\n", text)
    if read.count("\n") > text.count("\n"):
        log.info(rf"{flag}: \n is read as a line end; to keep a backslash and an n, type \\n")
    return read


def variant(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for settings that change the vectors of a model; they are part of its signature."""
    for option in (
        click.option(
            "--precision",
            type=click.Choice(["int8", "binary"]),
            help="Precision of vectors when texts are compared.  [default: the model's]",
        ),
        click.option(
            "--max-seq-length", type=click.IntRange(min=1), help="Tokens read of a text.  [default: the model's]"
        ),
        click.option("--truncate-dim", type=click.IntRange(min=1), help="Dimensions kept of a vector.  [default: all]"),
        click.option(
            "--backend",
            type=click.Choice(["torch", "onnx", "openvino"]),
            default="torch",
            show_default=True,
            help="Engine that computes the model.",
        ),
        click.option(
            "--dtype",
            type=click.Choice(["fp16", "bf16", "fp32"]),
            help="Precision of the weights.  [default: the model's]",
        ),
    ):
        command = option(command)
    return command


def endpoint(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for a model on a server to a command, which receives them as ``endpoint``."""

    @functools.wraps(command)
    def with_endpoint(
        *arguments: Any,
        served_name: str | None,
        concurrency: int,
        timeout: float,
        similarity: Any,
        query_fields: str | None,
        document_fields: str | None,
        **values: Any,
    ) -> Any:
        from hbt_bench.mteb.endpoint import Endpoint

        fields = _fields("--query-fields", query_fields), _fields("--document-fields", document_fields)
        if served_name is None:
            _check_no_server()
            return command(*arguments, endpoint=None, **values)
        settings = Endpoint(served_name, concurrency, timeout, *fields, similarity)
        return command(*arguments, endpoint=settings, **values)

    flags: Callable[..., Any] = with_endpoint
    for option in (
        click.option("--document-fields", metavar="JSON", help="More fields of a server's requests for documents."),
        click.option("--query-fields", metavar="JSON", help="More fields of a server's requests for queries."),
        click.option(
            "--similarity",
            type=click.Choice(["cosine", "dot"]),
            default="cosine",
            show_default=True,
            help="Similarity of a server's vectors.",
        ),
        click.option(
            "--timeout",
            type=POSITIVE,
            default=120,
            show_default=True,
            help="Seconds until a server's answer is complete.",
        ),
        click.option(
            "--concurrency",
            type=click.IntRange(1, 64),
            default=4,
            show_default=True,
            help="Requests to a server at the same time.",
        ),
        click.option(
            "--served-name", metavar="NAME", help="The model's name, if --model is the URL of an embeddings server."
        ),
    ):
        flags = option(flags)
    return flags


def _check_no_server() -> None:
    """Raise `UsageError` if the command line has options of a server, whose model has no name."""
    source = click.get_current_context().get_parameter_source
    options = ("similarity", "concurrency", "timeout", "query_fields", "document_fields")
    if given := [f"--{name.replace('_', '-')}" for name in options if source(name) is ParameterSource.COMMANDLINE]:
        raise UsageError(f"{' and '.join(given)} is for a server: add --served-name, or leave it out")


def correction(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the correction of a model's vectors, which are part of its signature."""
    for option in (
        click.option(
            "--save-correction",
            type=click.Path(path_type=Path),
            metavar="PATH",
            help="Save the fit as FILE.npz, which --correct takes, or the corrected model as a folder.",
        ),
        click.option(
            "--correct-on",
            metavar="TEXTS",
            default="own",
            show_default=True,
            help="Texts to fit the correction on: own, or a task or file, as in ntrex-ood:400.",
        ),
        click.option("--correct", metavar="NAME", help="Correction, such as center or subspace:4, or a saved file."),
    ):
        command = option(command)
    return command


def _fields(flag: str, text: str | None) -> dict[str, Any]:
    """Return the JSON object of an option, {} without it."""
    try:
        fields = json.loads(text or "{}")
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise UsageError(f"""{flag} is not a JSON object: write it as in '{{"input_type": "query"}}'""")
    return fields


cluster = click.option(
    "--cluster",
    metavar="LEVEL",
    help="Clusters of intervals and tests: question, document, or a level of the data such as paragraph or article.  "
    "[default: the coarsest with at least 30 clusters]",
)


def plot(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with an option for the path of a chart."""
    path = click.Path(path_type=Path, dir_okay=False)
    return click.option("--plot", type=path, help="Also write a plot: .png, .svg or .pdf.")(command)


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
