"""``hbt-bench train``: train a dual encoder from a recipe."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import yaml

from hbt_bench.cli import flags, options
from hbt_bench.log import tell
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.sources import data_folders


@click.command("train", context_settings={"max_content_width": 100})
@click.argument("recipe", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the model; by default the recipe's name.")
@options.data_dir
@click.option("--drop-overlap", is_flag=True, help="Leave out training texts that evaluation data has too.")
@click.option("--resume/--no-resume", default=True, help="Continue a run that was stopped.  [default: resume]")
@click.option("--overwrite", is_flag=True, help="Train even if the folder has a model.")
@click.option("--preview", type=click.IntRange(min=1), help="Show this many batches and the shares; train nothing.")
@click.option("--show-recipe", is_flag=True, help="Print the whole recipe as YAML; train nothing.")
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
    """Train a dual encoder as RECIPE says, a YAML file; every key of it is also a flag, which overrides the file.

    Without a recipe the embedded facts are trained on. The result is a sentence-transformers model:
    `hbt-bench run --model FOLDER` evaluates it.
    """
    chosen = Recipe.read(recipe, flags.values(fields))
    folders = data_folders(data_dir, recipe.parent if recipe else None)
    if show_recipe:
        click.echo(yaml.safe_dump(chosen.resolved(), sort_keys=False, allow_unicode=True), nl=False)
        return
    if preview:
        from hbt_bench.cli.preview import show
        from hbt_bench.training.data import TrainingData

        show(TrainingData.load(chosen, folders, drop_overlap=drop_overlap, say=tell), preview)
        return
    folder = output or Path(chosen.name or (recipe.stem if recipe else f"{chosen.strategy}-seed{chosen.seed}"))
    train(chosen, folder, folders, drop_overlap=drop_overlap, resume=resume, overwrite=overwrite)
    if os.environ.get("RANK", "0") != "0":
        return
    click.echo(folder)
    tell(f"evaluate it with `{_evaluation(folder)}`")


def _evaluation(folder: Path) -> str:
    return shlex.join(["hbt-bench", "run", "--model", str(folder), "--tasks", "xquad-r"])


def train(recipe: Recipe, output: Path, folders: Iterable[Path], **options: Any) -> Path:
    """Train with a bar on stderr."""
    from hbt_bench.cli.progress import Bars
    from hbt_bench.training.run import Training

    with Bars(shown=os.environ.get("RANK", "0") == "0") as bars:
        return Training(recipe, output, tuple(folders), say=bars.say, progress=bars.train, **options).run()
