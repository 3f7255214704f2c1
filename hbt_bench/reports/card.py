"""The evaluation block of a model card: ``model-index`` for the hub, a table and signatures for readers."""

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
from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.markdown_block import marks, replace_block
from hbt_bench.reports.table import Table, number
from hbt_bench.results.store import Result, read_all
from hbt_bench.text import as_code, one_line

log = logging.getLogger(__name__)

#: The block's name in its marks.
BLOCK = "hbt-bench"
#: Data sets of ours in ``model-index``: what is replaced when the card is written again.
_OWNER = "hbt-bench/"
_FRONT = re.compile(r"\A---[ \t]*(\r\n|\n)(.*?)(?<=\n)---[ \t]*(?=\r\n|\n|\Z)", re.DOTALL)
#: The key with everything below it, up to the next key.
_INDEX = re.compile(r"^model-index:.*(?:\r\n|\n|\Z)(?:(?:[ \t-].*)?(?:\r\n|\n))*", re.MULTILINE)


def write_card(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write or update the evaluation block of ``README.md``; all the rest stays byte for byte.

    A second call with the same results changes nothing. Raises `DataError` when there are no results of this very
    checkpoint, and `OutputError` for a card that is a link, cannot be read or has damaged metadata.
    """
    results = find_results(checkpoint, folder)
    path = checkpoint.path / "README.md"
    if path.is_symlink():  # as in the hub's cache, whose files are shared, or to any other file
        raise OutputError(f"{path} is a link, and what it leads to stays as it is: put a copy in its place first")
    try:
        old = path.read_bytes().decode("utf-8") if path.is_file() else ""
        new = updated(old, checkpoint.path.name, results)
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise OutputError(
            f"cannot update {path}, whose metadata or block is damaged ({reason}): mend it first"
        ) from error
    if new != old:
        write_bytes(path, new.encode("utf-8"))
    return path


def find_results(checkpoint: Checkpoint, folder: Path) -> list[Result]:
    """The complete results of a checkpoint, known by the hash of its files whatever its name was."""
    found: list[Result] = []
    for one in read_all(folder):
        if isinstance(one, Result):
            found.append(one)
        else:
            log.warning(f"left out: {one}")
    own = [one for one in found if one.revision == checkpoint.revision and one.path.parent.parent.name != "experiments"]
    whole = [one for one in own if one.complete and one.mode]
    if not whole:
        again = f"run `hbt-bench run --model {checkpoint.path} --tasks xquad-r --output {folder}` first"
        raise DataError(
            f"there are no complete results of {checkpoint.path} ({checkpoint.revision}) in {folder}: {again}"
        )
    return sorted(whole, key=lambda one: (one.collection, MODES.index(one.mode or "mono")))


def updated(text: str, name: str, results: Sequence[Result]) -> str:
    """The card `text` with the results in its metadata and in its block; new parts where it has none."""
    newline = "\r\n" if "\r\n" in text else "\n"
    body = block(results)
    front = _FRONT.match(text)
    start_of_text = front.end() if front else 0  # a name in the metadata may look like a mark
    metadata, readable = text[:start_of_text], text[start_of_text:]
    with_block = replace_block(readable, BLOCK, body)
    if with_block is None:
        start, end = marks(BLOCK)
        lines = [start, "", *body.split("\n"), "", end, ""]
        title = "" if text.strip() else f"# {name}{newline}{newline}"
        space = "" if not text else newline if text.endswith("\n") else newline * 2
        with_block = readable + space + title + newline.join(lines)
    return _with_index(metadata + with_block, name, results, newline)


def _measures() -> list[str]:
    """Return the measures that a card shows."""
    return [name for name in MEASURES.in_tables() if MEASURES[name].summary]


def block(results: Sequence[Result]) -> str:
    """The part for readers."""
    rows = []
    for result in results:
        scores = result.scores
        cells = []
        for measure in _measures():
            interval = result.intervals.get(measure)
            text = number(scores.get(measure), measure)
            cells.append(text + (f" [{', '.join(number(bound, measure) for bound in interval)}]" if interval else ""))
        rows.append([result.task, *cells, str(len(result.subsets))])
    measures = [MEASURES[name] for name in _measures()]
    headings = [f"{measure.title or measure.name} {measure.arrow}" for measure in measures]
    table = Table(("task", *headings, "subsets"), rows)
    signatures = "\n".join(as_code(result.signature) for result in results)
    return (
        "## Evaluation with hbt-bench\n\n"
        "Means over the language subsets of each task, with 95 % bootstrap intervals over questions.\n\n"
        f"{table.markdown()}\n\nEach number is that of its signature; `hbt-bench show` explains one and prints the "
        f"command that makes it again.\n\n```\n{signatures}\n```"
    )


def _with_index(text: str, name: str, results: Sequence[Result], newline: str) -> str:
    front = _FRONT.match(text)
    metadata = (yaml.safe_load(front[2]) or {}) if front else {}
    if not isinstance(metadata, dict):
        raise TypeError("its metadata are no mapping")
    index = _merged(metadata.get("model-index"), name, results)
    lines = yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True, width=1000).replace(
        "\n", newline
    )
    if not front:
        return f"---{newline}{lines}---{newline}{newline}{text}"
    if "model-index" not in metadata:
        return text[: front.end(2)] + lines + text[front.end(2) :]
    place = _INDEX.search(front[2])
    if place is None:
        raise ValueError("its model-index is not at the start of a line")
    start = front.start(2)
    return text[: start + place.start()] + lines + text[start + place.end() :]


def _merged(index: Any, name: str, results: Sequence[Result]) -> list[dict[str, Any]]:
    """The ``model-index`` with ours in place of older ones of ours; others' stay. The hub's parser checks it."""
    from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

    merged: list[dict[str, Any]] = [dict(entry) for entry in index or [{"name": name, "results": []}]]
    others = [one for one in merged[0].get("results") or [] if not str(one["dataset"]["type"]).startswith(_OWNER)]
    ours = eval_results_to_model_index(merged[0]["name"], _eval_results(results))[0]["results"]
    merged[0]["results"] = [*others, *ours]
    model_index_to_eval_results(merged)
    return merged


def _eval_results(results: Sequence[Result]) -> list[Any]:
    from huggingface_hub import EvalResult

    found = []
    for result in results:
        collection, mode = result.collection, result.mode
        for measure in _measures():
            value = result.scores.get(measure)
            if value is not None:
                found.append(
                    EvalResult(
                        task_type="text-retrieval",
                        task_name="Retrieval",
                        dataset_type=f"{_OWNER}{collection.partition('[')[0]}",
                        dataset_name=one_line(result.task),
                        dataset_config=mode,
                        dataset_split="test",
                        dataset_revision=result.fields["data"],
                        metric_type=measure,
                        metric_name=measure,
                        metric_value=round(value, 6),
                        metric_args={"signature": one_line(result.signature)},
                    )
                )
    return found
