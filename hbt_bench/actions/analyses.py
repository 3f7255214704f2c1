"""Analyse results: language bias, leaderboards and their charts."""

from __future__ import annotations

import logging
from collections.abc import Collection as Container
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from hbt_bench.errors import DataError, OutputError, UsageError
from hbt_bench.files import optional_path
from hbt_bench.identity.task_name import MODES, TaskName, parse_names
from hbt_bench.languages.groups import GROUPS, select
from hbt_bench.measures.registry import EXCESS
from hbt_bench.reports.bias import BiasReport, View
from hbt_bench.reports.columns import default_names, required_measures
from hbt_bench.reports.leaderboard import Leaderboard
from hbt_bench.reports.leaderboard_rows import ResultFilter
from hbt_bench.results import store
from hbt_bench.results.result import Result
from hbt_bench.settings import check_choice
from hbt_bench.tasks.registry import TaskRegistry

if TYPE_CHECKING:
    import altair

    from hbt_bench.data.collection import Collection
    from hbt_bench.results.ranks_file import StoredRanks

log = logging.getLogger(__name__)

Names = str | Iterable[str]


def bias(
    source: str | Path | Result,
    task: str | None = None,
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
        task: The task of a model, ``xquad-r-multi`` by default. A result has its own task.
        languages: The languages of a model's task, all by default. A result has its own languages.
        results: The folder of the results.
        data_dir: The folder of the data files, from which the worst questions are read.
        cluster: The clusters of the intervals, such as ``paragraph``; None for the coarsest with 30 clusters.
        view: Judge for all languages, or as ``user`` for a reader of the query's language alone.
        by: Add scores by ``script``, ``family`` or ``resources`` (the resource class) of the languages.
        registry: The tasks that can be found by name.

    Raises `UsageError` for a result of another mode, task or languages or of a single language, for an unknown view or
    group, and the errors of `evaluate`.
    """
    from hbt_bench.measures.bias import Bias

    check_choice("view", view, get_args(View))
    check_choice("by", by, (None, *GROUPS))
    registry, codes = registry or TaskRegistry(), parse_names(languages)
    if isinstance(source, Result):
        result = source
    elif not str(source).endswith(".json"):
        result = _result_of(
            str(source), task or "xquad-r-multi", registry, codes, Path(results), optional_path(data_dir)
        )
        task, codes = None, ()
    elif Path(source).is_file():
        result = Result.read(Path(source))
    else:
        raise UsageError(f"there is no file {source}: name a result, as in results/<model>/<revision>/<Task>.json")
    if result.ranks is None or TaskName.parse(result.task).mode != "multi":
        raise UsageError(f"{result.path} is a result of {result.task}: name a result of a multilingual task")
    if task is not None and not ResultFilter((task,)).has_task(result.collection, "multi"):
        raise UsageError(f"{result.path} is a result of {result.task}, not of {task}: leave the task out")
    stored = result.stored_ranks()
    if codes and set(select(codes, stored.judgements.languages, result.task)) != set(stored.judgements.languages):
        raise UsageError(
            f"{result.path} has the languages {' '.join(stored.judgements.languages)}, not only {' '.join(codes)}: "
            "leave the languages out, or name the model and its task"
        )
    if len(stored.judgements.languages) < 2:
        raise UsageError(f"{result.path} has a single language: language bias needs two")
    texts = _texts(result.task, stored, registry, optional_path(data_dir))
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
        raise OutputError(
            f"there are no results of multilingual collections in {folder}: run `hbt-bench run` first, or name another "
            "folder of results"
        )
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
    from hbt_bench.reports import bias_chart, charts

    if isinstance(shown, BiasReport):
        return bias_chart.bias(shown)
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
