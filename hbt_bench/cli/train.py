"""``hbt-bench train``: train a dual encoder, or preview its batches."""

from __future__ import annotations

import logging
import shlex
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from hbt_bench.cli import options
from hbt_bench.cli.terminal import print_table, progress_bars
from hbt_bench.data.data_files import search_folders
from hbt_bench.distributed import is_first
from hbt_bench.errors import UsageError
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.strategies import STRATEGIES
from hbt_bench.yaml_file import parse

if TYPE_CHECKING:
    from rich.console import Console

    from hbt_bench.training.data import TrainingData
    from hbt_bench.training.plan import Batch, BatchPlan

log = logging.getLogger(__name__)

#: The preview shows the shares of this many language pairs.
_PAIRS_SHOWN = 12
#: The keys whose texts may have line ends.
_PREFIXES = ("query_prefix", "passage_prefix")
#: Examples of flags that are mappings.
_FORMS = {"lora": "{r: 16}", "max_length": "{query: 32, passage: 256}"}
#: The preview shows this many hard negatives of a row.
_NEGATIVES_SHOWN = 2
#: Characters of the column "pair" with its borders.
_PAIR_WIDTH = 11


def _recipe_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add a flag for each field of a recipe; the command receives their values as keyword arguments."""
    for name, info in reversed(Recipe.model_fields.items()):
        flag, text = "--" + name.replace("_", "-"), info.description
        kind: dict[str, Any] = {"metavar": "VALUE"}
        if info.annotation is bool:
            flag, kind = f"{flag}/--no-{flag[2:]}", {"default": None}
        elif name in ("data", "dev_data", "instruction", "lora"):
            kind = {"multiple": name in ("data", "dev_data"), "metavar": "YAML"}
        elif name == "strategy":  # the list of choices is wider than a terminal, so the text has it
            kind = {"type": click.Choice(list(STRATEGIES)), "metavar": "NAME"}
            text = f"{text} One of {', '.join(STRATEGIES)}."
        elif typing.get_origin(info.annotation) is typing.Literal:
            kind = {"type": click.Choice(typing.get_args(info.annotation))}
        if info.default not in (None, ()) and info.annotation is not bool and name != "data":
            text = f"{text}  [default: {_shown(info.default)}]"
        command = click.option(flag, name, **kind, help=text)(command)
    return command


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return repr(value) if isinstance(value, str) and value.strip() != value else str(value)


@click.command("train", context_settings={"max_content_width": 100})
@click.argument("recipe", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the model.  [default: the recipe's name]")
@options.data_dir
@click.option("--drop-overlap", is_flag=True, help="Leave out training texts that occur in evaluation data.")
@click.option("--resume/--no-resume", default=True, help="Continue an interrupted run.  [default: resume]")
@click.option("--overwrite", is_flag=True, help="Replace the model in the folder.")
@click.option("--preview", type=click.IntRange(min=1), help="Show this many batches and the shares, without training.")
@click.option("--show-recipe", is_flag=True, help="Print the whole recipe as YAML, without training.")
@_recipe_flags
def command(
    recipe: Path | None,
    output: Path | None,
    data_dir: Path | None,
    drop_overlap: bool,
    resume: bool,
    overwrite: bool,
    preview: int | None,
    show_recipe: bool,
    **fields: Any,
) -> None:
    """Train a dual encoder by RECIPE, a YAML file. Each key is also a flag, which overrides the file.

    If RECIPE is missing, train on built-in facts. The result is a model of sentence-transformers.

    \b
    hbt-bench train --strategy hybrid --alpha 0.5 --output ckpt/
    hbt-bench train recipe.yaml --seed 1 --output ckpt/
    hbt-bench run --model ckpt/ --tasks xquad-r
    """  # noqa: D301 -- click needs the character
    values = _recipe_values(fields)
    settings = Recipe.read(recipe, values)
    for name in _PREFIXES:
        if name not in values and r"\n" in getattr(settings, name):
            log.warning(rf"{recipe}: \n in {name} is a backslash and an n; for a line end, use double quotes in YAML")
    folders = search_folders(data_dir, recipe.parent if recipe else None)
    if show_recipe:
        content = {name: info.default for name, info in Recipe.model_fields.items()} | settings.resolved()
        click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), nl=False)
        return
    if preview:
        from hbt_bench.training.data import TrainingData

        show(TrainingData.from_recipe(settings, folders, drop_overlap=drop_overlap), preview)
        return
    from hbt_bench.actions import train

    with progress_bars():
        folder = train(
            recipe,
            output,
            data_dir=data_dir,
            drop_overlap=drop_overlap,
            resume=resume,
            overwrite=overwrite,
            **values,
        )
    if is_first():
        click.echo(folder)
        advice = shlex.join(["hbt-bench", "run", "--model", str(folder), "--tasks", "xquad-r"])
        log.info(f"evaluate it with `{advice}`")


def _recipe_values(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the flags that the user set, as YAML has them; raises `UsageError`."""
    return {name: _value(name, value) for name, value in flags.items() if value not in (None, ())}


def _value(name: str, text: Any) -> Any:
    if name in ("data", "dev_data"):
        return [_inline(name, entry) if entry.startswith("{") else entry for entry in text]
    if name in _PREFIXES:
        return options.typed(f"--{name.replace('_', '-')}", text)
    if name in ("instruction", "lora") or (name == "max_length" and text.startswith("{")):
        return _inline(name, text)
    if name in ("languages", "matryoshka", "guard", "freeze", "report_to"):
        return [item.strip() for item in text.split(",") if item.strip()]
    if name == "language_weights" and "=" in text:
        pairs = [pair.strip().split("=", 1) for pair in text.split(",") if pair.strip()]
        if any(len(pair) < 2 for pair in pairs):
            raise UsageError(f"--language-weights: '{text}' has a language without a weight: write CODE=WEIGHT,...")
        return dict(pairs)
    return text


def _inline(name: str, text: str) -> Any:
    try:
        return parse(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # an impossible date, or endless nesting
        form = _FORMS.get(name, "{path: FILE, query: FIELD, ...}")
        raise UsageError(f"--{name.replace('_', '-')}: '{text}' is not valid YAML: write {form}") from None


def show(data: TrainingData, batches: int) -> None:
    """Print the first batches, the planned shares, and the number of texts left out."""
    from rich.console import Console

    console = Console()
    for step in range(min(batches, data.plan.steps)):
        _show_batch(console, data.plan.batch_at(step))
    _show_shares(data.plan)
    for (source, language, reason), count in sorted(data.dropped.items()):
        click.echo(f"left out of {source}: {count} texts in {language} ({reason})")


def _show_batch(console: Console, batch: Batch) -> None:
    from rich.table import Table
    from rich.text import Text

    codes, texts = batch.source.languages, batch.source.texts
    console.print(Text(f"batch {batch.step + 1}: {batch.type}, {batch.source.name}"))
    table = Table()
    table.add_column("pair", no_wrap=True)
    depth = batch.negatives.shape[1]
    shown = min(depth, _NEGATIVES_SHOWN)
    numbers = [f" {number} of {depth}" for number in range(1, shown + 1)] if depth > 1 else [""] * depth
    headings = ["query", "passage", *(f"hard negative{number}" for number in numbers)]
    # without a width, rich shrinks the pair in favour of longer texts
    width = max(8, (console.width - _PAIR_WIDTH - 3 * len(headings)) // len(headings))
    for heading in headings:
        table.add_column(heading, no_wrap=True, overflow="ellipsis", max_width=width)
    for row, (query, passage) in enumerate(batch.pairs.tolist()):
        indexes = [batch.queries[row], batch.passages[row], *batch.negatives[row, :shown]]
        table.add_row(f"{codes[query]}-{codes[passage]}", *(Text(texts[index]) for index in indexes))
    console.print(table)


def _show_shares(plan: BatchPlan) -> None:
    from hbt_bench.reports.table import Table

    batches, queries, pairs = Counter[str](), Counter[str](), Counter[str]()
    for (source, batch_type, query, passage), share in plan.batch_shares().items():
        batches[f"{source}, {batch_type}"] += share  # type: ignore[assignment]
        queries[f"queries in {query}"] += share  # type: ignore[assignment]
        pairs[f"pair {query}-{passage}"] += share  # type: ignore[assignment]
    rows = []
    for shares, digits in ((batches, 1), (queries, 1), (pairs, 2)):
        ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
        shown = _PAIRS_SHOWN if shares is pairs else len(ordered)
        rows += [(name, f"{share:.{digits}%}") for name, share in ordered[:shown]]
        if ordered[shown:]:
            rest = sum(share for _, share in ordered[shown:])
            rows.append((f"{len(ordered) - shown} other pairs", f"{rest:.1%}"))
    size = f"{plan.steps} batches of {plan.batch_size}, {plan.steps * plan.batch_size:,} rows"
    click.echo(f"planned shares of {size}")
    print_table(Table(("share of", "share"), rows))
