"""Write files: the results page, model cards, exports and drafts of tasks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from hbt_bench.actions.analyses import Names, readable
from hbt_bench.errors import OutputError, UsageError
from hbt_bench.files import check_writable, optional_path, replacing, write_text
from hbt_bench.identity.task_name import parse_names
from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.leaderboard_rows import ResultFilter
from hbt_bench.tasks.registry import TaskRegistry

if TYPE_CHECKING:
    from hbt_bench.data.dialect import TableFormat
    from hbt_bench.tasks.draft import TaskDraft

log = logging.getLogger(__name__)

#: The layouts of `export`.
Layout = Literal["mteb-results", "mteb-task", "trec", "queries"]
#: The layout that an option of `export` belongs to.
_LAYOUT_OF: Mapping[str, Layout] = {
    "depth": "trec",
    "tasks": "queries",
    "measures": "queries",
    "cluster": "queries",
    "hub": "mteb-task",
    "revision": "mteb-task",
    "data-dir": "mteb-task",
}


def report(
    folder: str | Path = "results",
    output: str | Path = "report.html",
    *,
    title: str = "Multilingual retrieval",
    tasks: Names = (),
    models: Names = (),
    baseline: str | None = None,
    reported: bool = False,
    cluster: str | None = None,
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
        cluster: The clusters of the intervals and tests; a collection without them has its usual clusters.
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
    request = ReportRequest(shown, reported, baseline, optional_path(data_dir), registry or TaskRegistry(), cluster)
    write_text(path, results_page(request.content(readable(folder, MEASURES.in_summary())), title))
    return path


def site(
    folder: str | Path = "results",
    output: str | Path = "public",
    *,
    title: str = "Multilingual retrieval",
    tasks: Names = (),
    models: Names = (),
    baseline: str | None = None,
    reported: bool = False,
    cluster: str | None = None,
    data_dir: str | Path | None = None,
    registry: TaskRegistry | None = None,
) -> Path:
    """Write a static site on the results in a folder, with relative links only, and return its first page.

    For example, ``site("results", "public", reported=True)``. It has pages for each collection, its questions and
    each model. `output` is a new or empty folder, or has an earlier site. The other arguments are those of `report`.

    Raises `OutputError` if there are no results or the site cannot be written, and `UsageError` without the extra
    ``report``.
    """
    from hbt_bench.reports.page import ReportRequest
    from hbt_bench.reports.render import require_charts
    from hbt_bench.reports.site import Site, check_folder

    path = Path(output)
    check_folder(path)
    require_charts("the site")
    check_writable(path.resolve().parent)
    shown = ResultFilter(parse_names(tasks), parse_names(models))
    request = ReportRequest(
        shown, reported, baseline, optional_path(data_dir), registry or TaskRegistry(), cluster, explorer=True
    )
    Site(request.content(readable(folder, MEASURES.in_summary())), title).write(path)
    return path / "index.html"


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
    layout: Layout = "mteb-results",
    output: str | Path | None = None,
    *,
    depth: int | None = None,
    tasks: str | Iterable[str] | None = None,
    measures: str | Iterable[str] | None = None,
    cluster: str | None = None,
    hub: str | None = None,
    revision: str = "main",
    data_dir: str | Path | None = None,
    registry: TaskRegistry | None = None,
) -> Path:
    """Write results in the layout of another tool, and return the folder of the copies, or the table.

    For example, ``export("results", "trec", depth=20)`` or ``export("xquad-r-multi", "mteb-task", hub="org/name")``.

    Args:
        folder: The folder of the results, which stays unchanged; the name of the task for ``mteb-task``.
        layout: That of MTEB's results repository, a task for a pull request to MTEB, TREC runs and qrels of each
            subset, or a table with the value of each query.
        output: The folder of the copies, ``export/LAYOUT`` by default; the table, ``queries.parquet`` by default.
        depth: Documents of each query in TREC runs, None for all that are kept.
        tasks, measures: Names for the table of queries, as in `load_queries`.
        cluster: The clusters in the table of queries; see `load_queries`.
        hub, revision: The repository of the hub with the data of a task, and its commit.
        data_dir: The folder of the data files of a task.
        registry: The tasks that can be found by name.

    Raises `UsageError` for another layout and for an option of another layout, and `OutputError` if there is nothing
    to write.
    """
    layouts = get_args(Layout)
    if layout not in layouts:
        raise UsageError(f"there is no layout '{layout}': choose {', '.join(layouts[:-1])} or {layouts[-1]}")
    options: dict[str, object] = {"depth": depth, "tasks": tasks, "measures": measures, "cluster": cluster, "hub": hub}
    options |= {"revision": None if revision == "main" else revision, "data-dir": data_dir}
    for name, value in options.items():
        if value is not None and layout != _LAYOUT_OF[name]:
            raise UsageError(f"--{name} is for --for {_LAYOUT_OF[name]}. Leave it out.")
    if layout == "queries":
        return _export_queries(Path(folder), Path(output or "queries.parquet"), tasks, measures, cluster)
    target = optional_path(output) or Path("export") / layout
    if layout == "trec":
        from hbt_bench.reports.export_trec import export_trec

        log.info(f"the runs of {len(export_trec(Path(folder), target, depth)):,} results in {target}")
    elif layout == "mteb-results":
        from hbt_bench.reports.export import export_mteb

        log.info(f"{len(export_mteb(Path(folder), target)):,} files in {target}, read back with MTEB's loaders")
    elif hub is None:
        raise UsageError("--for mteb-task needs the repository of the data. Add --hub ORG/NAME.")
    else:
        from hbt_bench.reports.mteb_task import export_task

        made = export_task(str(folder), hub, target, optional_path(data_dir), registry or TaskRegistry(), revision)
        log.info(f"the steps of the pull request are in {target / 'PULL_REQUEST.md'}")
        return made
    return target


def _export_queries(
    folder: Path,
    output: Path,
    tasks: str | Iterable[str] | None,
    measures: str | Iterable[str] | None,
    cluster: str | None,
) -> Path:
    from hbt_bench.results.queries import load_queries

    if output.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{output} ends in neither .parquet nor .csv: name such a file")
    frame = load_queries(folder, measures, tasks, cluster)
    with replacing(output) as file:
        if output.suffix == ".parquet":
            frame.to_parquet(file, index=False)
        else:
            file.write(frame.to_csv(index=False).encode())
    log.info(f"{len(frame):,} rows")
    return output


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
        name,
        Path(data),
        optional_path(output),
        columns,
        language,
        optional_path(data_dir),
        registry,
        conventions,
        split,
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
