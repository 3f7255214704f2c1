"""Score the rankings of any system: a run becomes a result with ranks, as that of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hbt_bench.data.run_files import read_run, tables_from_frame, tables_from_mapping
from hbt_bench.errors import DataError, UsageError
from hbt_bench.identity.task_name import MODES, Mode, parse_names
from hbt_bench.mteb.given import GivenModel
from hbt_bench.mteb.run_model import RunModel, RunRules
from hbt_bench.ranking.subsets import subsets
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.result import Result
from hbt_bench.tasks.registry import Selection, select_tasks

if TYPE_CHECKING:
    import pandas as pd

    from hbt_bench.data.run_files import Tables

    Run: TypeAlias = pd.DataFrame | Mapping[str, Any] | str | Path | Sequence[str | Path]


def score(
    run: Run,
    tasks: str | Iterable[str],
    output: str | Path = "results",
    *,
    name: str | None = None,
    depth: int | None = None,
    order: Literal["score", "rank"] | None = None,
    query_ids: str = "{id}",
    document_ids: str = "{id}",
    missing: Literal["refuse", "empty"] = "refuse",
    verify: bool = False,
    languages: Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    overwrite: bool = False,
) -> list[Result]:
    """Score a run on the tasks of a collection, and return a result for each task.

    For example, with a dict of scores by query and document::

        results = hbt_bench.score({"q1": {"d3": 0.9, "d1": 0.2}, ...}, "xquad-r-multi", name="me/colbert")

    The results are those of a model with these rankings, with ranks, so that every command reads them. A run is cut:
    its signature has the ``depth`` up to which its rankings are complete. A measure that depends on ranks below it is
    left out, with the lowest and highest value that the cut leaves open in `Result.limits`.

    Args:
        run: ``{query: {document: score}}``, or ``{subset: run}`` for several subsets; a data frame with the columns
            query, document and score, and perhaps rank and subset; or paths of files, as in ``run.trec``,
            ``run.json.gz``, ``run.parquet`` and the predictions of MTEB. ``en-de=PATH`` or ``multi=PATH`` states the
            subset or mode of a file.
        tasks: Names of tasks of a single collection, ``xquad-r`` for all modes.
        output: The folder of the results.
        name: The name of the system in results, as ``me/colbert``; MTEB's predictions have a name.
        depth: The documents that are kept of each ranking, None for all.
        order: "score" or "rank", the column that ranks; None for scores, which ranks must not contradict.
        query_ids, document_ids: The ids of the run, as patterns of ours: ``{id}``, ``{language}``, ``{row}``.
        missing: "refuse" a run that lacks a query, or count the query as "empty", with no document retrieved.
        verify: Compute the measures with trec_eval, too, and refuse a run if they differ.
        languages: The languages to which the collection is restricted, None for all.
        data_dir: The folder of the data files, None to look them up or download them.
        overwrite: Score again if there are results.

    Raises `UsageError` if the run has no name or its subset is unknown, `DataError` for rankings that cannot be, and
    the errors of `Evaluation.run`.
    """
    codes = None if languages is None else parse_names(languages)
    rules = RunRules(depth, order, query_ids, document_ids, missing, verify)
    return score_selections(run, select_tasks(tasks), Path(output), name, rules, codes, data_dir, overwrite)


def score_selections(
    run: Run,
    selections: Sequence[Selection],
    output: Path,
    name: str | None,
    rules: RunRules,
    languages: tuple[str, ...] | None = None,
    data_dir: str | Path | None = None,
    overwrite: bool = False,
) -> list[Result]:
    """Score a run on selected tasks; see `score`."""
    tables, origin = run_tables(run, selections, languages)
    selection = selections[0]
    assert selection.spec is not None  # checked with the tables
    for mode in selection.modes:
        if not {mode, *(subset.name for subset in subsets(selection.spec.select(languages), mode))} & tables.keys():
            raise UsageError(
                f"the run has no rankings of {selection.spec.task_name(mode)}: add a file of it, or choose another task"
            )
    if not (origin if name is None else name.strip()):
        raise UsageError("the run does not state its system: name it, as in --name me/colbert")
    model = GivenModel(RunModel(tables, name or origin or "", rules))
    folder = Path(data_dir) if data_dir else None
    return Evaluation(model, selections, output, languages, folder, overwrite=overwrite).run()


def run_tables(
    run: Run, selections: Sequence[Selection], languages: tuple[str, ...] | None = None
) -> tuple[Tables, str | None]:
    """Return the tables of a run by mode or subset, and the name of the system if a file states it.

    Raises `UsageError` for tasks of several collections or of MTEB.
    """
    selection = selections[0]
    if len(selections) > 1 or selection.spec is None:
        raise UsageError("a run is of a single collection of hbt-bench: name tasks such as xquad-r-multi or xquad-r")
    keys = [subset.name for mode in selection.modes for subset in subsets(selection.spec.select(languages), mode)]
    return _tables(run, selection.modes, keys)


def _tables(run: Run, modes: Sequence[Mode], keys: Sequence[str]) -> tuple[Tables, str | None]:
    """Return the tables of a run by mode or subset, and the name of the system if a file states it."""
    if isinstance(run, Mapping):
        tables, origin = tables_from_mapping(run)
        return {_key(table, None, modes, keys): rows for table, rows in tables.items()}, origin and origin[0]
    if not isinstance(run, str | Path | Sequence):
        if not hasattr(run, "columns"):
            raise UsageError(f"the run is {type(run).__name__}: give a dict, a data frame, or paths of files")
        return {_key(table, None, modes, keys): rows for table, rows in tables_from_frame(run).items()}, None
    merged: Tables = {}
    names = []
    for text in [run] if isinstance(run, str | Path) else run:
        key, path = _stated(str(text), keys)
        tables, origin = read_run(path)
        names += [origin[0]] if origin else []
        for table, rows in tables.items():
            chosen = _key(table or key, path, modes, keys)
            if chosen in merged:
                raise DataError(f"{path}: another file has rankings of {chosen}, too. Name each subset once.")
            merged[chosen] = rows
    if len(set(names)) > 1:
        raise DataError(f"the files are of different systems, {', '.join(dict.fromkeys(names))}: score them singly")
    return merged, names[0] if names else None


def _stated(text: str, keys: Sequence[str]) -> tuple[str, Path]:
    """Return the subset or mode that is stated before a path, "" if none is, and the path."""
    key, separator, path = text.partition("=")
    return (key, Path(path)) if separator and key in (*MODES, *keys) else ("", Path(text))


def _key(key: str, path: Path | None, modes: Sequence[Mode], keys: Sequence[str]) -> str:
    """Return the subset or mode of a table: as stated, from the name of the file, or that of the only task."""
    known = (*modes, *keys)
    if key:
        if key not in known:
            raise UsageError(f"the run has rankings of {key}, which the tasks do not have: choose its task, too")
        return key
    for word in reversed(path.name.split(".") if path else []):
        if word in known:
            return word
        if word in MODES:
            raise UsageError(
                f"{path} has rankings of the mode {word} by its name, which the tasks do not have: choose its task, or "
                f"state another mode, as in {modes[0]}={path}"
            )
    if len(modes) > 1:
        raise UsageError(
            f"{path or 'the run'} may be of any mode: choose one task, as in xquad-r-multi, or state the mode or "
            f"subset of each file, as in multi=run.trec or {keys[0]}=run.trec"
        )
    return modes[0]
