"""``hbt-bench train``: train a dual encoder."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import yaml

from hbt_bench.cli import flags, options
from hbt_bench.data.data_files import search_folders
from hbt_bench.distributed import is_first
from hbt_bench.training.recipe import Recipe

log = logging.getLogger(__name__)


@click.command("train", context_settings={"max_content_width": 100})
@click.argument("recipe", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the model.  [default: the recipe's name]")
@options.data_dir
@click.option("--drop-overlap", is_flag=True, help="Leave out training texts that occur in evaluation data.")
@click.option("--resume/--no-resume", default=True, help="Continue an interrupted run.  [default: resume]")
@click.option("--overwrite", is_flag=True, help="Replace the model in the folder.")
@click.option("--preview", type=click.IntRange(min=1), help="Show this many batches and the shares, without training.")
@click.option("--show-recipe", is_flag=True, help="Print the whole recipe as YAML, without training.")
@flags.recipe
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

    Without RECIPE, train on built-in facts. The result is a sentence-transformers model.

    \b
    hbt-bench train --strategy hybrid --alpha 0.5 --output ckpt/
    hbt-bench train recipe.yaml --seed 1 && hbt-bench run --model ckpt/ --tasks xquad-r
    """  # noqa: D301 -- click needs the character
    settings = Recipe.read(recipe, flags.values(fields))
    folders = search_folders(data_dir, recipe.parent if recipe else None)
    if show_recipe:
        click.echo(yaml.safe_dump(settings.resolved(), sort_keys=False, allow_unicode=True), nl=False)
        return
    if preview:
        from hbt_bench.cli.preview import show
        from hbt_bench.training.data import TrainingData

        show(TrainingData.from_recipe(settings, folders, drop_overlap=drop_overlap), preview)
        return
    folder = output or Path(settings.name or (recipe.stem if recipe else f"{settings.strategy}-seed{settings.seed}"))
    train(settings, folder, folders, drop_overlap=drop_overlap, resume=resume, overwrite=overwrite)
    if not is_first():
        return
    click.echo(folder)
    log.info(f"evaluate it with `{_evaluation(folder)}`")


def _evaluation(folder: Path) -> str:
    return shlex.join(["hbt-bench", "run", "--model", str(folder), "--tasks", "xquad-r"])


def train(recipe: Recipe, output: Path, folders: Iterable[Path], **options: Any) -> Path:
    """Train with a progress bar, and return the folder of the model."""
    from hbt_bench.cli.progress import progress_bars
    from hbt_bench.training.run import Training

    with progress_bars():
        return Training(recipe, output, tuple(folders), **options).run()
