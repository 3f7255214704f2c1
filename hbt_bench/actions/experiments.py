"""Train a model, and run a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hbt_bench.errors import UsageError
from hbt_bench.files import file_name, optional_path

if TYPE_CHECKING:
    from hbt_bench.studies.report import Report
    from hbt_bench.studies.study_plan import StudyPlan
    from hbt_bench.training.recipe import Recipe


def train(
    recipe: str | Path | None = None,
    output: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    drop_overlap: bool = False,
    resume: bool = True,
    overwrite: bool = False,
    **fields: Any,
) -> Path:
    """Train a dual encoder, and return the folder of the model of sentence-transformers.

    For example, ``train(strategy="hybrid", alpha=0.5, steps=200, output="ckpt")``.

    Args:
        recipe: The file of a recipe, None to train on built-in facts.
        output: The folder of the model, by default the recipe's name.
        data_dir: The folder of the data files.
        drop_overlap: Leave out training texts that occur in evaluation data.
        resume: Continue an interrupted run.
        overwrite: Replace the model in the folder.
        fields: Keys of a recipe, which override the file.

    Raises the errors of `hbt_bench.errors`.
    """
    from hbt_bench.data.data_files import search_folders
    from hbt_bench.training.recipe import Recipe
    from hbt_bench.training.run import Training

    path = None if recipe is None else Path(recipe)
    settings = Recipe.read(path, fields)
    folder = folder_of_recipe(settings, path) if output is None else Path(output)
    folders = tuple(search_folders(optional_path(data_dir), path.parent if path else None))
    return Training(settings, folder, folders, drop_overlap=drop_overlap, resume=resume, overwrite=overwrite).run()


def folder_of_recipe(recipe: Recipe, path: Path | None) -> Path:
    """Return the folder of a model, from the name of its recipe or of the recipe's file."""
    name = recipe.name or (path.stem if path else f"{recipe.strategy}-seed{recipe.seed}")
    return Path(*(file_name(section) for section in name.split("/") if section.strip(". ")))


def study(
    name: str,
    scale: Literal["smoke", "small", "paper"] = "smoke",
    output: str | Path = "runs",
    data_dir: str | Path | None = None,
) -> Report:
    """Run the rest of a study, write its report, and return the report.

    For example, ``study("ood-low-resource").answer`` is a sentence. The files of the report are in a folder below
    `output`. Raises `UsageError` for an unknown study or scale, and the errors of training and evaluation.
    """
    from hbt_bench.studies import report
    from hbt_bench.studies.study_result import run_study

    plan = study_plan(name, scale, output, data_dir)
    run_study(plan)
    made = report.Report.from_plan(plan)
    made.write(report.folder(plan))
    return made


def study_plan(
    name: str, scale: Any, output: str | Path, data_dir: str | Path | None, init: str | None = None
) -> StudyPlan:
    """Return the jobs of a study, which are not run. `init` replaces its inits."""
    from hbt_bench.data.data_files import search_folders
    from hbt_bench.settings import check_choice
    from hbt_bench.studies.jobs import StudyPaths
    from hbt_bench.studies.study import find_study
    from hbt_bench.studies.study_plan import StudyPlan

    if init == "":
        raise UsageError("--init is empty: name a folder or a model of the hub")
    definition = find_study(name)
    check_choice("scale", scale, definition.scales)
    design = definition.at(scale)
    if init is not None:
        design = design.with_init(init)
    folder = optional_path(data_dir)
    return StudyPlan(design, StudyPaths(Path(output), search_folders(folder, None), folder, design.study.drop_overlap))
