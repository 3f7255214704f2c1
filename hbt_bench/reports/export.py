"""Results in the form in which others take them: MTEB's repository of results, and a data set on the hub."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hbt_bench.errors import OutputError
from hbt_bench.files import check_writable, replacing, write_bytes, write_text
from hbt_bench.reports.leaderboard import Leaderboard
from hbt_bench.reports.table import render
from hbt_bench.results.frame import long_form
from hbt_bench.results.store import Result, read_all
from hbt_bench.results.summary import open_regular
from hbt_bench.tasks.registry import mteb_task_names

#: What is left of our own keys in MTEB's repository: enough for hbt-bench to read the file again.
_KEPT = ("task", "model", "revision", "signature", "subsets", "stock", "prompts")
#: MTEB's description of the model, beside its results.
_META = "model_meta.json"
#: Tasks that a note names, of many.
_NAMED = 5


@dataclass(frozen=True)
class Exported:
    """The `files` that were written, and `notes` on what the taker may refuse."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def export_mteb(folder: Path, output: Path) -> Exported:
    """Lay results out as embeddings-benchmark/results does, and read them back with MTEB's own loaders.

    ``<output>/results/<org__model>/<revision>/<Task>.json`` with ``model_meta.json``; incomplete results are left out.
    Raises `OutputError` when nothing is left, or MTEB does not read what was written.
    """
    results, notes = _complete(folder)
    places = _places(results)
    check_writable(output)
    for place, result in places.items():
        content = json.loads(_read(result.path))
        about = content.pop("hbt_bench")
        content.pop("hbt_bench_intervals", None)
        content["hbt_bench"] = {key: about[key] for key in _KEPT if key in about}
        write_bytes(output / place.parent / _META, _read(result.path.parent / _META))
        write_text(output / place, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    files = [output / place for place in places]
    _validate(output, results, files)
    local = sorted({result.model for result in results if result.model.startswith("local/")})
    if local:
        notes.append(
            f"{', '.join(local)} has the name of a local folder: the repository takes models that are on the hub, so "
            "publish it and evaluate it under its name there"
        )
    unknown = sorted({result.mteb_name for result in results} - mteb_task_names())
    if unknown:
        named = ", ".join(unknown[:_NAMED]) + (f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else "")
        notes.append(
            f"{named}: mteb {version('mteb')} has no such task, and the repository takes results of tasks that mteb "
            "has, so it would not accept these as they are: propose the tasks to mteb first"
        )
    return Exported(tuple(files), tuple(notes))


def export_hub(folder: Path, output: Path) -> Exported:
    """Make a data set folder: the long form as Parquet, the files as they are, and a card with the leaderboard.

    Incomplete results are in none of them, and `notes` name them.
    Raises `OutputError` when there is nothing to export, or for ranks that are damaged or of other results.
    """
    results, notes = _complete(folder)
    places = _places(results)
    check_writable(output)
    frame = long_form(results)
    table = output / "data" / "results.parquet"
    with replacing(table) as file:
        frame.to_parquet(file, index=False)
    files = [table]
    for place, result in places.items():
        if result.ranks is not None and not result.ranks.is_symlink():  # of a link, `_read` tells
            result.stored_ranks()
        for path in (result.path, result.path.parent / _META, result.ranks):
            if path is not None and (path.exists() or path.is_symlink()):
                files.append(output / place.parent / path.name)
                write_bytes(files[-1], _read(path))
    write_text(output / "README.md", _dataset_card(Leaderboard.of(results), len(frame)))
    return Exported((*dict.fromkeys(files), output / "README.md"), tuple(notes))


def _complete(folder: Path) -> tuple[list[Result], list[str]]:
    results, notes = [], []
    for found in read_all(folder):
        if isinstance(found, OutputError):
            notes.append(f"left out: {found}")
        elif not found.complete:
            have = f"{len(found.subsets)} of {found.expected_subsets} subsets"
            notes.append(f"left out: {found.path} is incomplete ({have})")
        else:
            results.append(found)
    if not results:
        raise OutputError(f"there are no complete results in {folder}: run `hbt-bench run` first")
    return results, notes


def _places(results: Iterable[Result]) -> dict[Path, Result]:
    """Where each result goes; raises `OutputError` for two that would go to one place."""
    places: dict[Path, Result] = {}
    for result in results:
        place = "results" / result.path.relative_to(_root(result))
        if place in places:
            raise OutputError(
                f"{places[place].path} and {result.path} are of the same task, model and revision: export the folder "
                "of one of them"
            )
        places[place] = result
    return places


def _root(result: Result) -> Path:
    """The folder that the model's folder lies in."""
    place = result.path.parent
    place = place.parent.parent if place.parent.name == "experiments" else place
    return place.parent.parent


def _read(path: Path) -> bytes:
    """A file that is to be published; raises `OutputError` for a link, which may lead to any file of the machine."""
    if path.is_symlink():
        raise OutputError(f"{path} is a link, and what it leads to may not be meant to be published: copy the file")
    try:
        with open_regular(path, sys.maxsize) as file:
            content = file.read()
        if path.name == _META:
            json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise OutputError(f"cannot read {path} ({reason}): evaluate again with --overwrite") from error
    return content


def _validate(output: Path, results: Iterable[Result], files: Iterable[Path]) -> None:
    """Read every file with `TaskResult.from_disk` and all of them with `ResultCache.load_results`."""
    import mteb
    from mteb.results import TaskResult

    expected: dict[tuple[str, str], set[str]] = {}
    for result, path in zip(results, files, strict=True):
        try:
            loaded: Any = TaskResult.from_disk(path)
            subsets = sum(len(entries) for entries in loaded.scores.values())
        except Exception as error:  # pydantic, JSON and MTEB's own checks
            raise OutputError(f"MTEB does not read {path}: {' '.join(str(error).split())[:200]}") from error
        if loaded.task_name != result.mteb_name or subsets != len(result.subsets):
            raise OutputError(
                f"MTEB reads {path} as {loaded.task_name} with {subsets} subsets: report this as a defect"
            )
        expected.setdefault((result.model, result.revision), set()).add(result.mteb_name)
    cache = mteb.ResultCache(cache_path=output)
    try:
        cached = cache.load_results(include_remote=False, load_experiments="match_name")
    except Exception as error:  # as above, of what else is in the folder
        raise OutputError(f"MTEB does not read {output}: {' '.join(str(error).split())[:200]}") from error
    found: dict[tuple[str, str], set[str]] = {}
    for model in cached.model_results:
        names = {task.task_name for task in model.task_results}
        found.setdefault((model.model_name, model.model_revision), set()).update(names)
    for key, names in expected.items():
        if missing := names - found.get(key, set()):
            raise OutputError(f"MTEB's ResultCache does not find {', '.join(sorted(missing))} of {key[0]} in {output}")


def _dataset_card(board: Leaderboard, rows: int) -> str:
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(
        pretty_name="hbt-bench results",
        tags=["hbt-bench", "mteb", "multilingual retrieval", "benchmark results"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/results.parquet"}]}],
    )
    text = (
        f"# Results of hbt-bench\n\n`data/results.parquet` has {rows:,} rows: model, task, mode, subset, measure, "
        "value, and the 95 % interval low and high. Only complete results are in it. `results/` has the files as MTEB "
        "reads them, and the ranks.\n\n"
        f"{render(board.tables(), 'md', board.legend)}\n"
    )
    return f"---\n{data.to_yaml()}\n---\n\n{text}"
