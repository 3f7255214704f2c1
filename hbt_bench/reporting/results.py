"""Results on disk: MTEB's layout and JSON, with the ranks beside it.

``<output>/<model>/<revision>/<Task>.json`` is an MTEB `TaskResult`, with two more keys. ``hbt_bench`` is the first and
stands on a line of its own, the second of the file: the identity of the result and all that a leaderboard shows, so
that a thousand results are read by their heads. ``hbt_bench_intervals`` are the intervals of single subsets. A file is
written whole or not at all, and it is the last that is written of a task, so that a file that is there is complete.

Format 2 is this one. Format 1 has no ``format``, its ``hbt_bench`` comes last, and its intervals are made from the ranks.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hbt_bench.corpus.atomic import write_text
from hbt_bench.errors import OutputError
from hbt_bench.ranking.measures import Array
from hbt_bench.ranking.subsets import MODES, Mode
from hbt_bench.reporting.intervals import EXCESS, Interval, Intervals, decode_shares
from hbt_bench.reporting.stored_ranks import StoredRanks

__all__ = ["FORMAT", "HEAD_MEASURES", "Result", "StoredRanks", "find", "model_folder", "model_label", "read_all", "write"]

#: The format that is written.
FORMAT = 2
#: The measures whose values, subset by subset, are in the head of a result.
HEAD_MEASURES = ("AP", "R@1", "R@10", "rank_distance", EXCESS)
_HEAD = b'  "hbt_bench": '
#: Not scores, though they stand among them in MTEB's JSON.
_NO_SCORES = {"hf_subset", "languages", "mteb_version", "signature", "main_score", "queries"}


@dataclass(frozen=True)
class Result:
    """The scores of one model on one task: per subset, and as means over the subsets.

    `intervals` are those of the means and `subset_intervals` those of each subset, by measure, empty where they are
    not stored; `encoded_shares` are for `shares`. `parameters` is the number of the model's, `speed` the texts it
    encoded and ranked a second, `training` what its recipe says; None or empty where it is not known.
    """

    task: str
    mteb_name: str
    model: str
    revision: str
    signature: str
    subsets: Mapping[str, Mapping[str, float]]
    path: Path
    expected_subsets: int
    ranks: Path | None = None
    format: int = FORMAT
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    subset_intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    encoded_shares: Mapping[str, str] = field(default_factory=dict)
    parameters: int | None = None
    speed: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    prompts: Mapping[str, str] | None = None

    @property
    def scores(self) -> dict[str, float]:
        """Each measure averaged over the subsets, every subset counting the same (the paper's macro average)."""
        measures = list(dict.fromkeys(measure for scores in self.subsets.values() for measure in scores))
        means = {}
        for measure in measures:
            values = [scores[measure] for scores in self.subsets.values() if measure in scores]
            if len(values) == len(self.subsets):
                means[measure] = math.fsum(values) / len(values)
        return means

    @property
    def label(self) -> str:
        """Model and revision, a content hash shortened to 8 digits."""
        return model_label(self.model, self.revision)

    @property
    def complete(self) -> bool:
        """Whether every subset of the task is there."""
        return len(self.subsets) >= self.expected_subsets

    @property
    def fields(self) -> dict[str, str]:
        """The fields of the signature."""
        return {name: value for name, _, value in (part.partition(":") for part in self.signature.split("|"))}

    @property
    def place(self) -> tuple[str, Mode | None]:
        """Collection and mode of ``xquad-r-multi[de,en]``: ``xquad-r[de,en]`` and ``multi``; no mode for others' tasks."""
        name, bracket, part = self.task.partition("[")
        collection, _, mode = name.rpartition("-")
        found = next((known for known in MODES if known == mode), None)
        return (collection + bracket + part, found) if found else (self.task, None)

    def shares(self, measure: str) -> Array | None:
        """What each question adds to the mean of `measure`, (questions,), where it is stored."""
        text = self.encoded_shares.get(measure)
        return None if text is None else decode_shares(text)

    def computed_intervals(self, names: Collection[str] | None = None, measures: Collection[str] | None = None) -> Intervals:
        """Intervals from the ranks, of all subsets or those in `names`; empty for a result without ranks.

        Raises `OutputError` when the ranks cannot be read or are of other data.
        """
        mode = self.place[1]
        if self.ranks is None or mode is None:
            return Intervals()
        stored = StoredRanks.read(self.ranks)
        if stored.data != self.fields.get("data"):
            raise OutputError(f"{self.ranks} is of other data than {self.path.name}: run again with --overwrite")
        return Intervals.of(stored.judgements, stored.ranks, mode, names, measures)

    @classmethod
    def read(cls, path: Path, measures: Collection[str] | None = None) -> Result:
        """Read one file; raises `OutputError` when it is damaged or no result of this program.

        With `measures`, only these are promised to be among the scores; if the head has them, no more is read.
        """
        try:
            if measures is not None and set(measures) <= set(HEAD_MEASURES):
                about = _head(path)
                if about is not None:
                    names = about["values"]["subsets"]
                    columns = [(key, value) for key, value in about["values"].items() if key != "subsets"]
                    subsets: dict[str, dict[str, float]] = {
                        name: {key: column[row] for key, column in columns if column[row] is not None}
                        for row, name in enumerate(names)
                    }
                    return cls._of(path, about["mteb_name"], about, subsets, {})
            content = json.loads(path.read_bytes())
            about = content["hbt_bench"]
            if about.get("format", 1) > FORMAT:
                raise OutputError(f"{path} was written by a newer hbt-bench: upgrade to read it")
            subsets = _subsets(content["scores"], about["stock"])
            return cls._of(path, content["task_name"], about, subsets, content.get("hbt_bench_intervals", {}))
        except OSError as error:
            raise OutputError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise OutputError(
                f"{path} is no result of hbt-bench, or damaged ({error!r}): delete it and run again"
            ) from error

    @classmethod
    def _of(
        cls,
        path: Path,
        mteb_name: str,
        about: Mapping[str, Any],
        subsets: Mapping[str, Mapping[str, float]],
        intervals: Mapping[str, Any],
    ) -> Result:
        return cls(
            task=about["task"],
            mteb_name=mteb_name,
            model=about["model"],
            revision=about["revision"],
            signature=about["signature"],
            subsets=subsets,
            path=path,
            expected_subsets=about["subsets"],
            ranks=path.parent / str(about["ranks"]) if about.get("ranks") else None,
            format=about.get("format", 1),
            intervals={measure: (low, high) for measure, (low, high) in about.get("intervals", {}).items()},
            subset_intervals={
                measure: {name: (low, high) for name, (low, high) in found.items()}
                for measure, found in intervals.items()
            },
            encoded_shares=about.get("shares", {}),
            parameters=about.get("parameters"),
            speed=about.get("speed"),
            training=about.get("training") or {},
            prompts=about.get("prompts"),
        )

    def as_json(self) -> dict[str, Any]:
        """The entry of ``hbt-bench run --format json``; NaN, which JSON does not have, becomes null."""
        return {
            "task": self.task,
            "mteb_name": self.mteb_name,
            "model": self.model,
            "revision": self.revision,
            "scores": _finite(self.scores),
            "subsets": {name: _finite(scores) for name, scores in self.subsets.items()},
            "signature": self.signature,
            "path": str(self.path),
        }


def _head(path: Path) -> dict[str, Any] | None:
    """What stands under ``hbt_bench`` in a file of format 2, without reading the rest; None for another format."""
    with path.open("rb") as file:
        if file.readline() != b"{\n":
            return None
        line = file.readline()
        if not line.startswith(_HEAD) or b'"format": 2,' not in line[:40]:
            return None
        file.seek(-2, 2)
        if file.read() != b"}\n":
            raise ValueError("it has no end")
    about: dict[str, Any] = json.loads(line[len(_HEAD) :].rstrip(b",\n"))
    return about


def _subsets(splits: Mapping[str, Any], stock: bool) -> dict[str, dict[str, float]]:
    """The scores of each subset in MTEB's JSON, the split told where there are several."""
    return {
        f"{entry['hf_subset']}" if len(splits) == 1 else f"{entry['hf_subset']}/{split}": {
            key: float(value)
            for key, value in entry.items()
            if key not in _NO_SCORES and isinstance(value, int | float) and not isinstance(value, bool)
        }
        | ({"main_score": float(entry["main_score"])} if stock else {})
        for split, entries in splits.items()
        for entry in entries
    }


def _finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in scores.items()}


def model_label(model: str, revision: str) -> str:
    """``local/ckpt@9285d5c8``: enough to tell models apart in a table."""
    return f"{model}@{revision[:8] if re.fullmatch('[0-9a-f]{9,}', revision) else revision}" if revision else model


def model_folder(output: Path, model: str, revision: str, experiment: str | None = None) -> Path:
    """MTEB's folder of a model's results."""
    folder = output / model.replace("/", "__").replace(" ", "_") / revision
    return folder / "experiments" / experiment if experiment else folder


def find(path: Path, signature: str) -> Result | None:
    """The result at `path` if it is there with its ranks, complete, and has this very signature; else None."""
    if not path.is_file():
        return None
    try:
        result = Result.read(path)
        if result.signature != signature or not result.complete:
            return None
        if result.ranks and f"|data:{StoredRanks.read(result.ranks).data}|" not in signature:
            return None
    except OutputError:
        return None  # the result or its ranks are damaged or gone: they are written anew
    return result


def write(
    path: Path,
    task_result: Mapping[str, Any],
    about: Mapping[str, Any],
    model_meta: Mapping[str, Any],
    intervals: Intervals | None = None,
) -> Result:
    """Write MTEB's task result with `about` as its head, and the model's metadata beside it."""
    write_text(path.parent / "model_meta.json", json.dumps(model_meta, default=str, indent=4) + "\n")
    means, subset_intervals = (intervals or Intervals()).as_json()
    subsets = _subsets(task_result["scores"], bool(about["stock"]))
    values: dict[str, list[Any]] = {"subsets": list(subsets)}
    for measure in HEAD_MEASURES:
        if any(measure in scores for scores in subsets.values()):
            values[measure] = [_finite(scores).get(measure) for scores in subsets.values()]
    # the format comes first, as what tells a reader of heads that this is one
    head = {"format": FORMAT, **about, "mteb_name": task_result["task_name"], "values": values, **means}
    rest = {key: value for key, value in task_result.items() if key not in ("hbt_bench", "hbt_bench_intervals")}
    body = json.dumps(rest, indent=2, ensure_ascii=False)[1:-2]
    tail = f'"hbt_bench_intervals": {json.dumps(subset_intervals)}'
    write_text(path, f"{{\n{_HEAD.decode()}{json.dumps(head, ensure_ascii=False)},{body},\n  {tail}\n}}\n")
    return Result.read(path)


def read_all(output: Path, measures: Collection[str] | None = None) -> Iterator[Result | OutputError]:
    """All results below a folder, ordered by path; a damaged one comes as its error, for the caller to tell.

    With `measures`, only these are promised to be among the scores, and much less may be read.
    """
    if not output.is_dir():
        raise OutputError(f"there is no folder {output}: run `hbt-bench run` first, or name the folder of the results")
    found = [os.path.join(folder, name) for folder, _, names in os.walk(output) for name in names]  # noqa: PTH118
    for file in sorted(found):
        name = os.path.basename(file)  # noqa: PTH119 -- a thousand models are many files, and Path is slow
        if not name.endswith(".json") or name == "model_meta.json" or name.startswith("."):
            continue
        path = Path(file)
        try:
            yield Result.read(path, measures)
        except OutputError as error:
            if not _is_foreign(path):
                yield error


def _is_foreign(path: Path) -> bool:
    """Whether a JSON file is whole and not of this program, such as a result of MTEB's own."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return not isinstance(content, dict) or "hbt_bench" not in content
