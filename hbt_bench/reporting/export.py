"""Results in the form in which others take them: MTEB's repository of results, and a data set on the hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hbt_bench.corpus.atomic import check_writable, write_bytes, write_text
from hbt_bench.errors import OutputError
from hbt_bench.reporting.frame import long_form
from hbt_bench.reporting.leaderboard import Leaderboard
from hbt_bench.reporting.results import Result, read_all
from hbt_bench.reporting.table import render
from hbt_bench.tasks.registry import mteb_task_names

#: What is left of our own keys in MTEB's repository: enough for hbt-bench to read the file again.
_KEPT = ("task", "model", "revision", "signature", "subsets", "stock", "prompts")


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
    check_writable(output)
    files = []
    for result in results:
        place = output / "results" / result.path.relative_to(_root(result))
        content = json.loads(result.path.read_bytes())
        about = content.pop("hbt_bench")
        content.pop("hbt_bench_intervals", None)
        content["hbt_bench"] = {key: about[key] for key in _KEPT if key in about}
        write_bytes(place.parent / "model_meta.json", (result.path.parent / "model_meta.json").read_bytes())
        write_text(place, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        files.append(place)
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
    Raises `OutputError` when there is nothing to export.
    """
    results, notes = _complete(folder)
    check_writable(output)
    frame = long_form(results)
    table = output / "data" / "results.parquet"
    table.parent.mkdir(parents=True, exist_ok=True)
    temporary = table.with_name(".results.parquet.tmp")
    frame.to_parquet(temporary, index=False)
    temporary.replace(table)
    files = [table]
    for result in results:
        for path in (result.path, result.path.parent / "model_meta.json", result.ranks):
            if path is not None and path.is_file():
                place = output / "results" / path.relative_to(_root(result))
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)
                files.append(place)
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


def _root(result: Result) -> Path:
    """The folder that the model's folder lies in."""
    place = result.path.parent
    place = place.parent.parent if place.parent.name == "experiments" else place
    return place.parent.parent


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
    cached = cache.load_results(include_remote=False, load_experiments="match_name")
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
