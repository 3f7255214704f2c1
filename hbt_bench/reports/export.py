"""Export results for MTEB's repository of results, embeddings-benchmark/results."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hbt_bench.errors import OutputError, UsageError
from hbt_bench.files import check_writable, write_bytes, write_text
from hbt_bench.results.schema import MODEL_META
from hbt_bench.results.store import Result, read_all
from hbt_bench.tasks.registry import mteb_task_names

log = logging.getLogger(__name__)

#: The keys of our summary that an exported file keeps: enough for hbt-bench to read it again.
_SUMMARY_KEYS = ("task", "model", "revision", "signature", "subsets", "stock", "prompts", "prompts_by_hand")
#: MTEB's record of the settings of each task and split, as JSON lines in the folder of the results.
_RUN_SETTINGS = "run_settings.jsonl"
#: Tasks that a note lists by name.
_MAX_NAMES = 5


def export_mteb(folder: Path, output: Path) -> list[Path]:
    """Copy results into the layout of embeddings-benchmark/results, and read them back with MTEB's own loaders.

    The layout is ``<output>/results/<org__model>/<revision>/<Task>.json`` with ``model_meta.json`` and
    ``run_settings.jsonl`` in each folder.
    Return the paths. Logs a warning for results that are left out, or that the repository would refuse. For example,
    ``export_mteb(Path("results"), Path("submission"))``.

    Raises `UsageError` if the output is in the folder, and `OutputError` if there are no complete results, if a file is
    a link, if a result of another program is in the place of an export, or if MTEB cannot read the export.
    """
    if output.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{output} is in {folder}, whose results would then be read twice: choose another --output")
    results = _complete_results(folder)
    targets = _targets(results)
    if foreign := [path for target in targets if (path := output / target).exists() and not _is_export(path)]:
        raise OutputError(f"{foreign[0]} was not exported by hbt-bench: choose another --output, or move the file away")
    check_writable(output)
    for target, result in targets.items():
        content = json.loads(_read(result.path))
        summary = content.pop("hbt_bench", None) or _plain_summary(result)
        content.pop("hbt_bench_intervals", None)
        content["hbt_bench"] = {key: summary[key] for key in _SUMMARY_KEYS if key in summary}
        description, others = output / target.parent / MODEL_META, (output / target.parent).glob("*.json")
        if not description.exists() or all(_is_export(path) for path in others if path.name != MODEL_META):
            write_bytes(description, _read(result.path.parent / MODEL_META))
        write_text(output / target, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        _write_run_settings((output / target).with_name(_RUN_SETTINGS), result, content)
    _check(results, output)
    for note in _refusals(results):
        log.warning(note)
    return [output / target for target in targets]


def _plain_summary(result: Result) -> dict[str, object]:
    """Return the summary of a result that plain `mteb.evaluate` wrote without one."""
    keys = {"task": result.task, "model": result.model, "revision": result.revision, "signature": result.signature}
    return {**keys, "subsets": result.expected_subsets, "stock": False}


def _write_run_settings(path: Path, result: Result, content: Mapping[str, Any]) -> None:
    """Write the settings of a result in place of those that an earlier export wrote of the task.

    They are those that MTEB recorded in the folder of the result, or else the versions that the result names.
    """
    task, recorded = content["task_name"], result.path.with_name(_RUN_SETTINGS)
    entries = [entry for entry in _read_lines(recorded) if entry.get("task") == task]
    if not entries:
        versions = {"mteb": content.get("mteb_version"), "hbt-bench": result.fields.get("hbt")}
        for split, scores in content["scores"].items():
            subsets = sorted({entry["hf_subset"] for entry in scores})
            entries.append(
                {"task": task, "splits": [split], "version": versions, "encode_kwargs": {}, "subsets": subsets}
            )
    others = [entry for entry in _read_lines(path) if entry.get("task") != task]
    write_text(path, "".join(json.dumps(entry) + "\n" for entry in (*others, *entries)))


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of JSON lines, without lines of other content. A link is not read: it may be private."""
    entries = []
    if path.is_file() and not path.is_symlink():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, RecursionError):
                if isinstance(entry := json.loads(line), dict):
                    entries.append(entry)
    return entries


def _is_export(path: Path) -> bool:
    """Return whether a file is a result that hbt-bench exported."""
    try:
        return "hbt_bench" in json.loads(path.read_bytes())
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _complete_results(folder: Path) -> list[Result]:
    """Return the complete results in a folder. Logs a warning for each other result."""
    results = []
    for result in read_all(folder):
        if isinstance(result, OutputError):
            log.warning(f"left out: {result}")
        elif not result.complete:
            count = f"{len(result.subsets)} of {result.expected_subsets} subsets"
            log.warning(f"left out: {result.path} is incomplete ({count})")
        else:
            results.append(result)
    if not results:
        raise OutputError(f"there are no complete results in {folder}. Run `hbt-bench run` first.")
    return results


def _targets(results: Iterable[Result]) -> dict[Path, Result]:
    """Return each result by its path in the export. Raises `OutputError` if two results have the same path."""
    targets: dict[Path, Result] = {}
    for result in results:
        folder = result.path.parent
        revision = folder.parent.parent if folder.parent.name == "experiments" else folder
        target = "results" / result.path.relative_to(revision.parent.parent)
        if target in targets:
            raise OutputError(
                f"{targets[target].path} and {result.path} are of the same task, model and revision. Export them "
                "into different folders."
            )
        targets[target] = result
    return targets


def _read(path: Path) -> bytes:
    """Read a file to publish. Raises `OutputError` for a link, because it may lead to a private file."""
    if path.is_symlink():
        raise OutputError(f"{path} is a link to a file that may be private. Replace it with a copy of the file.")
    try:
        content = path.read_bytes()
        json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"cannot read {path} ({_summary(error)}). Evaluate again with --overwrite.") from error
    return content


def _check(results: Iterable[Result], output: Path) -> None:
    """Read the export with MTEB's `ResultCache`. Raises `OutputError` if a task or one of its subsets is missing."""
    import mteb

    try:
        loaded = mteb.ResultCache(cache_path=output).load_results(include_remote=False, load_experiments="match_name")
    except Exception as error:  # pydantic, JSON and MTEB's own checks
        raise OutputError(f"MTEB cannot read {output}: {_summary(error)}") from error
    subsets = {
        (model.model_name, model.model_revision, task.task_name): sum(map(len, task.scores.values()))
        for model in loaded.model_results
        for task in model.task_results
    }
    missing = sorted(
        f"{result.mteb_name} of {result.model}"
        for result in results
        if subsets.get((result.model, result.revision, result.mteb_name)) != len(result.subsets)
    )
    if missing:
        raise OutputError(f"MTEB's ResultCache does not find {', '.join(missing)} with all subsets in {output}")


def _refusals(results: Iterable[Result]) -> list[str]:
    """Return notes on the results that MTEB's repository would refuse."""
    notes = []
    local = sorted({result.model for result in results if result.model.startswith("local/")})
    if local:
        notes.append(
            f"{', '.join(local)} has the name of a local folder, but the repository takes models of the hub only. "
            "Publish the model, and evaluate it by its name on the hub."
        )
    unknown = sorted({result.mteb_name for result in results} - mteb_task_names())
    if unknown:
        names = ", ".join(unknown[:_MAX_NAMES])
        more = f" and {len(unknown) - _MAX_NAMES} more" if len(unknown) > _MAX_NAMES else ""
        notes.append(
            f"mteb {version('mteb')} has no task {names}{more}, and the repository takes results of MTEB's tasks only. "
            "Propose the tasks to MTEB first."
        )
    return notes


def _summary(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
