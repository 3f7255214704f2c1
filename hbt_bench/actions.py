"""The commands as functions: in Python, they return what the command line prints or writes.

The functions take the options of the commands. `evaluate`, `compare`, `load_results` and `score` are in the packages
that do their work.
"""

from __future__ import annotations

import logging
from collections.abc import Collection as Container
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hbt_bench.errors import DataError, OutputError, UsageError
from hbt_bench.files import check_writable, file_name, write_text
from hbt_bench.identity.task_name import MODES, TaskName, parse_names
from hbt_bench.measures.registry import EXCESS, MEASURES
from hbt_bench.reports.bias import BiasReport
from hbt_bench.reports.columns import default_names, required_measures
from hbt_bench.reports.leaderboard import Leaderboard
from hbt_bench.reports.rows import ResultFilter
from hbt_bench.results import store
from hbt_bench.results.result import Result
from hbt_bench.tasks.registry import TaskRegistry

if TYPE_CHECKING:
    import altair

    from hbt_bench.data.collection import Collection
    from hbt_bench.data.dialect import TableFormat
    from hbt_bench.reports.bias import View
    from hbt_bench.results.ranks_file import StoredRanks
    from hbt_bench.studies.jobs import StudyPlan
    from hbt_bench.studies.report import Report
    from hbt_bench.tasks.draft import TaskDraft
    from hbt_bench.training.recipe import Recipe

log = logging.getLogger(__name__)

Names = str | Iterable[str]


# Train


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
    folders = tuple(search_folders(_path(data_dir), path.parent if path else None))
    return Training(settings, folder, folders, drop_overlap=drop_overlap, resume=resume, overwrite=overwrite).run()


def folder_of_recipe(recipe: Recipe, path: Path | None) -> Path:
    """Return the folder of a model, from the name of its recipe or of the recipe's file."""
    name = recipe.name or (path.stem if path else f"{recipe.strategy}-seed{recipe.seed}")
    return Path(*(file_name(part) for part in name.split("/") if part.strip(". ")))


# Analyse results


def bias(
    source: str | Path | Result,
    task: str = "xquad-r-multi",
    *,
    languages: Names = (),
    results: str | Path = "results",
    data_dir: str | Path | None = None,
    cluster: str | None = None,
    view: View = "fair",
    by: str | None = None,
    registry: TaskRegistry | None = None,
) -> BiasReport:
    """Return the language bias of a model on a multilingual task; a notebook shows it as tables.

    For example, ``bias(evaluate(model, "cldr-facts-multi", name="me/exp3")[0])``, and `plot` draws it.

    Args:
        source: A result, the path of its JSON file, or a model. A model is looked up in the results by its name, and
            evaluated if it has no result.
        task: The task, if the source is a model.
        languages: The languages of the task, all by default.
        results: The folder of the results.
        data_dir: The folder of the data files, from which the worst questions are read.
        cluster: The clusters of the intervals, such as ``paragraph``; None for the coarsest with 30 clusters.
        view: Judge for all languages, or as ``user`` for a reader of the query's language alone.
        by: Add scores by ``script``, ``family`` or ``class`` of the languages.
        registry: The tasks that can be found by name.

    Raises `UsageError` for a result of another mode or of a single language, and the errors of `evaluate`.
    """
    from hbt_bench.measures.bias import Bias

    registry = registry or TaskRegistry()
    if isinstance(source, Result):
        result = source
    elif not str(source).endswith(".json"):
        result = _result_of(str(source), task, registry, parse_names(languages), Path(results), _path(data_dir))
    elif Path(source).is_file():
        result = Result.read(Path(source))
    else:
        raise UsageError(f"there is no file {source}: name a result, as in results/<model>/<revision>/<Task>.json")
    if result.ranks is None or TaskName.parse(result.task).mode != "multi":
        raise UsageError(f"{result.path} is a result of {result.task}: name a result of a multilingual task")
    stored = result.stored_ranks()
    if len(stored.judgements.languages) < 2:
        raise UsageError(f"{result.path} has a single language: language bias needs two")
    texts = _texts(result.task, stored, registry, _path(data_dir))
    measured = Bias(stored.judgements, stored.ranks)
    return BiasReport.from_bias(measured, result.task, result.label, result.signature, texts, cluster, view=view, by=by)


def _result_of(
    model: str,
    task: str,
    registry: TaskRegistry,
    languages: tuple[str, ...],
    output: Path,
    data_dir: Path | None,
) -> Result:
    """Return the result of a model, and evaluate the model if the result is missing.

    A name that is neither a folder nor BM25 may be that of a result whose model is not here.
    """
    from hbt_bench.mteb.models import BM25, ModelRequest
    from hbt_bench.reports.systems import ModelResults
    from hbt_bench.results.evaluate import Evaluation

    selections = registry.select(task)
    spec = selections[0].spec
    if len(selections) != 1 or spec is None or "multi" not in selections[0].modes:
        raise UsageError(f"--task {task} is not a multilingual task: name, for example, xquad-r-multi")
    chosen = spec.select(languages or None)
    if len(chosen) < 2:
        raise UsageError("language bias needs two languages: add a language to --languages")
    if not Path(model).is_dir() and model.partition("@")[0] != BM25:
        path = ModelResults.find(model, output).folder / f"{spec.mteb_task_name('multi', chosen)}.json"
        if path.is_file():
            return Result.read(path)
    selections = [replace(selections[0], modes=("multi",))]  # a collection or a task file selects all modes
    return Evaluation(ModelRequest(model), selections, output, languages or None, data_dir).run()[0]


def _texts(task: str, stored: StoredRanks, registry: TaskRegistry, data_dir: Path | None) -> Collection | None:
    """Return the collection with the texts, or None if it is missing or is not that of the result."""
    name = TaskName.parse(task).mode_name
    try:
        if name not in registry.tasks:
            raise registry.unknown(name)
        texts = registry.tasks[name][0].load(stored.judgements.languages, data_dir)
    except (DataError, UsageError) as error:
        log.warning(f"the texts are left out: {error}")
        return None
    if texts.fingerprint == stored.data:
        return texts
    log.warning("the texts are left out: the data here are not those of the result")
    return None


def leaderboard(
    folder: str | Path = "results",
    *,
    tasks: Names = (),
    models: Names = (),
    languages: Names = (),
    columns: Sequence[str] = (),
    reported: bool = False,
    sort: str | None = None,
    intervals: bool = True,
    cluster: str | None = None,
) -> Leaderboard:
    """Return the leaderboard of the results in a folder; a notebook shows it as tables.

    For example, ``leaderboard("results", tasks="xquad-r", models="local/*,bm25")``, and `plot` draws it.

    Args:
        folder: The folder of the results.
        tasks, models, languages: The collections, patterns of model names, and languages to show; all by default.
        columns: The columns that will be shown, None for the usual columns.
        reported: Add the scores that papers report.
        sort: The column to sort by.
        intervals: Add intervals, and ranks that models share if no test finds a difference.
        cluster: The clusters of the intervals and tests.

    Raises `OutputError` if there are no results, and `UsageError` for an unknown column or if nothing is left to show.
    """
    shown = ResultFilter(parse_names(tasks), parse_names(models), parse_names(languages))
    needed = required_measures([*(columns or default_names()), *([sort] if sort else []), "AP", EXCESS])
    board = Leaderboard.from_results(readable(folder, needed), reported, shown, sort, intervals, cluster)
    if not board.rows:
        raise OutputError(f"there are no results of multilingual collections in {folder}: run `hbt-bench run` first")
    for note in board.notes:
        log.warning(note)
    return board


def readable(folder: str | Path, measures: Container[str] | None = None) -> Iterator[Result]:
    """Yield the results in a folder, and log a warning for each file that cannot be read."""
    for result in store.read_all(Path(folder), measures):
        if isinstance(result, OutputError):
            log.warning(f"left out: {result}")
        else:
            yield result


def plot(shown: BiasReport | Leaderboard) -> altair.TopLevelMixin:
    """Return the chart of a bias report, or of the three modes of a leaderboard, which a notebook shows.

    For example, ``plot(bias("bm25", "cldr-facts-multi"))``; its method ``save("bias.html")`` writes it.

    Raises `UsageError` without the extra ``report``, and for a leaderboard with several collections.
    """
    from hbt_bench.reports.render import require_charts

    require_charts("a plot")
    from hbt_bench.reports import charts

    if isinstance(shown, BiasReport):
        return charts.bias(shown)
    if len(shown.boards) != 1:
        names = ", ".join(each.collection for each in shown.boards)
        raise UsageError(f"--plot shows a single collection, and these are {names}. Choose with --tasks.")
    (board,) = shown.boards
    values = [
        {
            "model": row.label,
            "measured": row.measured,
            "excess": row.value(("multi", EXCESS)),
            **{mode: row.value((mode, "AP")) for mode in MODES},
        }
        for row in board.rows
    ]
    return charts.modes(values, board.chance(), "own-language bias: excess in the top 10")


# Write files


def report(
    folder: str | Path = "results",
    output: str | Path = "report.html",
    *,
    title: str = "Multilingual retrieval",
    tasks: Names = (),
    models: Names = (),
    baseline: str | None = None,
    reported: bool = False,
    data_dir: str | Path | None = None,
    registry: TaskRegistry | None = None,
) -> Path:
    """Write an HTML page on the results in a folder, which opens without network, and return its path.

    For example, ``report("results", "report.html", tasks="xquad-r", baseline="bm25")``.

    Args:
        folder: The folder of the results.
        output: The file of the page. A file that is not such a page is not replaced.
        title: The heading.
        tasks, models: The collections and the patterns of model names to show.
        baseline: The model to compare with, the best by default.
        reported: Add the scores that papers report.
        data_dir: The folder of the data files, from which the worst questions are read.
        registry: The tasks that can be found by name.

    Raises `OutputError` if there are no results or the page cannot be written, and `UsageError` without the extra
    ``report``.
    """
    from hbt_bench.reports.page import ReportRequest, results_page
    from hbt_bench.reports.render import is_page, require_charts

    path = Path(output)
    if path.is_file() and not is_page(path.read_bytes()):
        raise OutputError(f"{path} is not a page of hbt-bench: choose another --output, or move the file away")
    require_charts("the report")
    check_writable(path.resolve().parent)
    shown = ResultFilter(parse_names(tasks), parse_names(models))
    request = ReportRequest(shown, reported, baseline, _path(data_dir), registry or TaskRegistry())
    write_text(path, results_page(request.content(readable(folder, MEASURES.in_summary())), title))
    return path


def card(checkpoint: str | Path, results: str | Path = "results") -> Path:
    """Write the evaluation block of a checkpoint's model card from its results, and return the path of the card.

    For example, ``card("ckpt")``. Other text of the card stays. Raises `ModelError` if the folder has no model, and
    `OutputError` if there are no results.
    """
    from hbt_bench.identity.checkpoint import Checkpoint
    from hbt_bench.reports.card import write_card

    return write_card(Checkpoint.from_folder(Path(checkpoint)), Path(results))


def export(
    folder: str | Path = "results",
    layout: Literal["mteb-results", "trec"] = "mteb-results",
    output: str | Path | None = None,
    *,
    depth: int | None = None,
) -> Path:
    """Write results in the layout of another tool, and return the folder of the copies.

    For example, ``export("results", "trec", depth=20)``. `load_queries` returns the value of each query.

    Args:
        folder: The folder of the results, which stays unchanged.
        layout: That of MTEB's results repository, or TREC runs and qrels of each subset.
        output: The folder of the copies, ``export/LAYOUT`` by default.
        depth: Documents of each query in TREC runs, None for all that are kept.

    Raises `UsageError` for another layout, and `OutputError` if there is nothing to write.
    """
    from hbt_bench.reports.export import export_mteb
    from hbt_bench.reports.export_trec import export_trec

    target = Path("export") / layout if output is None else Path(output)
    if layout == "trec":
        export_trec(Path(folder), target, depth)
    elif layout == "mteb-results":
        export_mteb(Path(folder), target)
    else:
        raise UsageError(f"there is no layout '{layout}': choose mteb-results or trec")
    return target


def draft_task(
    name: str,
    data: str | Path,
    output: str | Path | None = None,
    *,
    columns: str = "",
    language: str | None = None,
    split: str | None = None,
    overwrite: bool = False,
    data_dir: str | Path | None = None,
    registry: TaskRegistry | None = None,
    **table: Any,
) -> TaskDraft:
    """Write the file of a task for a data file or a folder in BEIR's layout, and return the draft with its `path`.

    For example, ``draft_task("my-task", "data.jsonl", columns="query=title,document=body").path``.

    Args:
        name: The name of the task.
        data: The data.
        output: The folder of the task file.
        columns: Fields that are not detected, as ``query=title,document=body``.
        language: The language, if the data have no field for it.
        split: The split of a BEIR folder.
        overwrite: Replace an existing file.
        data_dir: The folder of the data files.
        registry: The tasks with names that are taken.
        table: The conventions of a table in a text file: `quoting`, `delimiter` and `header`.

    Raises `UsageError` with the option to set if the data leave a doubt, and `DataError` if they are damaged.
    """
    from hbt_bench.tasks.draft import TaskDraft

    conventions = _table_format(table)
    draft = TaskDraft.from_data(
        name, Path(data), _path(output), columns, language, _path(data_dir), registry, conventions, split
    )
    draft.write(overwrite)
    for note in draft.notes:
        log.info(note)
    return draft


def _table_format(keys: Mapping[str, Any]) -> TableFormat:
    """Return the conventions of a table; raises `UsageError` for a wrong value."""
    from pydantic import ValidationError

    from hbt_bench.data.dialect import TableFormat

    try:
        return TableFormat.model_validate(keys)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}") from error


# Studies


def study(
    name: str,
    scale: Literal["smoke", "small", "paper"] = "smoke",
    output: str | Path = "runs",
    data_dir: str | Path | None = None,
) -> Report:
    """Run the rest of a study, write its report, and return the report.

    For example, ``study("ood-low-resource").answer`` is a sentence. The files of the report are in a folder below
    `output`. Raises `UsageError` for an unknown study, and the errors of training and evaluation.
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
    from hbt_bench.studies.jobs import StudyPaths, StudyPlan
    from hbt_bench.studies.study import find_study

    design = find_study(name).at(scale)
    if init is not None:
        design = design.with_init(init)
    folder = _path(data_dir)
    return StudyPlan(design, StudyPaths(Path(output), search_folders(folder, None), folder, design.study.drop_overlap))


def _path(folder: str | Path | None) -> Path | None:
    return None if folder is None else Path(folder)
