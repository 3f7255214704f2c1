"""The evaluation part of a model card: ``model-index`` in the metadata for the hub, and a block for readers.

A block is a part of a Markdown file between two comments that is rewritten, while the rest stays byte for byte.
huggingface_hub makes and checks the ``model-index``. Its `ModelCard` does not write the file, because it would format
all metadata anew: it moves keys and drops comments.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from hbt_bench.errors import DataError, OutputError
from hbt_bench.files import write_bytes
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.identity.task_name import MODES
from hbt_bench.measures.registry import MEASURES, Measure
from hbt_bench.reports.table import Table, number
from hbt_bench.results.store import Result, read_all
from hbt_bench.text import as_code, one_line

log = logging.getLogger(__name__)

#: The name of the block in its marks.
_BLOCK = "hbt-bench"
#: The start of our data sets' names in ``model-index``. An update replaces their entries.
_OWNER = "hbt-bench/"
_METADATA = re.compile(r"\A---[ \t]*(\r\n|\n)(.*?)(?<=\n)---[ \t]*(?=\r\n|\n|\Z)", re.DOTALL)
#: The key with all indented lines below it.
_MODEL_INDEX = re.compile(r"^model-index:.*(?:\r\n|\n|\Z)(?:(?:[ \t-].*)?(?:\r\n|\n))*", re.MULTILINE)


def write_card(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write or update the evaluation part of ``README.md``; the rest of the file stays byte for byte.

    `folder` has the results. A second call with the same results changes nothing. For example,
    ``write_card(Checkpoint.from_folder(Path("ckpt")), Path("results"))``.

    Raises `DataError` if the checkpoint has no results, and `OutputError` if the card is a link or is damaged.
    """
    results = find_results(checkpoint, folder)
    path = checkpoint.path / "README.md"
    if path.is_symlink():  # it may lead to the hub's cache, which models share, or to any other file
        raise OutputError(f"{path} is a link to a file that must not change. Replace it with a copy of the file.")
    try:
        old = path.read_bytes().decode("utf-8") if path.is_file() else ""
        new = updated_card(old, checkpoint.path.name, results)
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise OutputError(
            f"cannot update {path}, because its metadata or block is damaged ({reason}). Repair it first."
        ) from error
    if new != old:
        write_bytes(path, new.encode("utf-8"))
    return path


def update_block(path: Path, name: str, block: str) -> None:
    """Rewrite the block of a file. Raises `OutputError` if it has none."""
    try:
        text = path.read_bytes().decode("utf-8")
        updated = replace_block(text, name, block)
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise OutputError(f"cannot update {path}: {error}") from error
    if updated is None:
        start, end = _marks(name)
        raise OutputError(f"{path} has no block to update. Put {start} and {end} where the table should be.")
    if updated != text:
        write_bytes(path, updated.encode("utf-8"))


def replace_block(text: str, name: str, block: str) -> str | None:
    """Return `text` with a new block, or None if it has no block. Line ends stay those of `text`.

    Raises `ValueError` if a mark is missing, doubled or misplaced.
    """
    start, end = _marks(name)
    if start not in text and end not in text:
        return None
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"it needs {start} once, and {end} once after it")
    newline = "\r\n" if "\r\n" in text else "\n"
    before, after = text[: text.index(start)], text[text.index(end) :]
    return before + newline.join([start, "", *block.split("\n"), "", after])


def _marks(name: str) -> tuple[str, str]:
    """Return the comments before and after a block. For example, ``<!-- x -->`` and ``<!-- /x -->``."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def find_results(checkpoint: Checkpoint, folder: Path) -> list[Result]:
    """Return the complete results of a checkpoint. The hash of its files identifies it, so its name may have changed.

    Logs a warning for each damaged file. Raises `DataError` if there are no results.
    """
    matches = []
    for result in read_all(folder):
        if not isinstance(result, Result):
            log.warning(f"left out: {result}")
        elif result.revision == checkpoint.revision and result.path.parent.parent.name != "experiments":
            matches.append(result)
    complete = [result for result in matches if result.complete and result.mode]
    if not complete:
        raise DataError(
            f"there are no complete results of {checkpoint.path} ({checkpoint.revision}) in {folder}. "
            f"Run `hbt-bench run --model {checkpoint.path} --tasks xquad-r --output {folder}` first."
        )
    return sorted(complete, key=lambda result: (result.collection, MODES.index(result.mode or "mono")))


def updated_card(text: str, name: str, results: Sequence[Result]) -> str:
    """Return a card with these results in its metadata and in its block, which are added if they are missing."""
    newline = "\r\n" if "\r\n" in text else "\n"
    body = _evaluation_block(results)
    metadata = _METADATA.match(text)
    end_of_metadata = metadata.end() if metadata else 0  # the metadata may contain a mark, as part of a name
    readable = text[end_of_metadata:]
    with_block = replace_block(readable, _BLOCK, body)
    if with_block is None:
        title = "" if text.strip() else f"# {name}{newline}{newline}"
        space = "" if not text else newline if text.endswith("\n") else newline * 2
        marks = newline.join([*_marks(_BLOCK), ""])
        with_block = replace_block(readable + space + title + marks, _BLOCK, body) or ""
    return _with_model_index(text[:end_of_metadata] + with_block, name, results, newline)


def _measures() -> list[Measure]:
    """Return the measures that a card shows."""
    return [MEASURES[name] for name in MEASURES.in_tables() if MEASURES[name].summary]


def _evaluation_block(results: Sequence[Result]) -> str:
    """Return the part for readers: a table of scores with intervals, and the signatures."""
    measures = _measures()
    rows = []
    for result in results:
        cells = []
        for measure in measures:
            text = number(result.scores.get(measure.name), measure.name)
            interval = result.intervals.get(measure.name)
            bounds = f" [{', '.join(number(bound, measure.name) for bound in interval)}]" if interval else ""
            cells.append(text + bounds)
        rows.append([result.task, *cells, str(len(result.subsets))])
    headings = [f"{measure.title or measure.name} {measure.arrow}" for measure in measures]
    table = Table(("task", *headings, "subsets"), rows)
    signatures = "\n".join(as_code(result.signature) for result in results)
    return (
        "## Evaluation with hbt-bench\n\n"
        "Means over the language subsets of each task, with 95 % bootstrap intervals over clusters of questions.\n\n"
        f"{table.markdown()}\n\nA signature names everything that the scores of a task depend on. `hbt-bench show` "
        f"explains it and prints the command that reproduces the scores.\n\n```\n{signatures}\n```"
    )


def _with_model_index(text: str, name: str, results: Sequence[Result], newline: str) -> str:
    """Return a card with the results in ``model-index``; other lines of the metadata stay unchanged."""
    metadata = _METADATA.match(text)
    values = (yaml.safe_load(metadata[2]) or {}) if metadata else {}
    if not isinstance(values, dict):
        raise TypeError("the metadata is not a mapping")
    index = _merged_index(values.get("model-index"), name, results)
    lines = yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True, width=1000)
    lines = lines.replace("\n", newline)
    if not metadata:
        return f"---{newline}{lines}---{newline}{newline}{text}"
    if "model-index" not in values:
        return text[: metadata.end(2)] + lines + text[metadata.end(2) :]
    old = _MODEL_INDEX.search(metadata[2])
    if old is None:
        raise ValueError("model-index is not at the start of a line")
    start = metadata.start(2)
    return text[: start + old.start()] + lines + text[start + old.end() :]


def _merged_index(index: Any, name: str, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return a ``model-index`` with our entries replaced; the hub's parser checks it, with the entries of others."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

    evaluations = [
        EvalResult(
            task_type="text-retrieval",
            task_name="Retrieval",
            dataset_type=f"{_OWNER}{result.collection.partition('[')[0]}",
            dataset_name=one_line(result.task),
            dataset_config=result.mode,
            dataset_split="test",
            dataset_revision=result.fields["data"],
            metric_type=measure.name,
            metric_name=measure.name,
            metric_value=round(result.scores[measure.name], 6),
            metric_args={"signature": one_line(result.signature)},
        )
        for result in results
        for measure in _measures()
        if measure.name in result.scores
    ]
    merged: list[dict[str, Any]] = [dict(entry) for entry in index or [{"name": name, "results": []}]]
    entries = merged[0].get("results") or []
    others = [entry for entry in entries if not str(entry["dataset"]["type"]).startswith(_OWNER)]
    ours = eval_results_to_model_index(merged[0]["name"], evaluations)[0]["results"]
    merged[0]["results"] = [*others, *ours]
    model_index_to_eval_results(merged)
    return merged
