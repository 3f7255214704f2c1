"""Results on disk: MTEB's layout and JSON, with the ranks beside it.

``<output>/<model>/<revision>/<Task>.json`` is an MTEB `TaskResult`, with one more key, ``hbt_bench``. A file is
written whole or not at all, and it is the last that is written of a task, so that a file that is there is complete.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hbt_bench.corpus.atomic import write_bytes, write_text
from hbt_bench.corpus.collection import Judgements, Qrels
from hbt_bench.errors import OutputError
from hbt_bench.ranking.ranks import Ranks

#: Not scores, though they stand among them in MTEB's JSON.
_NO_SCORES = {"hf_subset", "languages", "mteb_version", "signature", "main_score", "queries"}


@dataclass(frozen=True)
class Result:
    """The scores of one model on one task: per subset, and as means over the subsets."""

    task: str
    mteb_name: str
    model: str
    revision: str
    signature: str
    subsets: Mapping[str, Mapping[str, float]]
    path: Path
    expected_subsets: int
    ranks: Path | None = None

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

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read one file; raises `OutputError` when it is damaged or no result of this program."""
        try:
            content = json.loads(path.read_bytes())
            about = content["hbt_bench"]
            subsets = {
                f"{entry['hf_subset']}" if len(content["scores"]) == 1 else f"{entry['hf_subset']}/{split}": {
                    key: float(value)
                    for key, value in entry.items()
                    if key not in _NO_SCORES and isinstance(value, int | float) and not isinstance(value, bool)
                }
                | ({"main_score": float(entry["main_score"])} if about["stock"] else {})
                for split, entries in content["scores"].items()
                for entry in entries
            }
            return cls(
                task=about["task"],
                mteb_name=content["task_name"],
                model=about["model"],
                revision=about["revision"],
                signature=about["signature"],
                subsets=subsets,
                path=path,
                expected_subsets=about["subsets"],
                ranks=path.parent / str(about["ranks"]) if about.get("ranks") else None,
            )
        except OSError as error:
            raise OutputError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{path} is no result of hbt-bench, or damaged ({error!r}): delete it and run again"
            ) from error

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
    path: Path, task_result: Mapping[str, Any], about: Mapping[str, Any], model_meta: Mapping[str, Any]
) -> Result:
    """Write MTEB's task result with `about` under ``hbt_bench``, and the model's metadata beside it."""
    write_text(path.parent / "model_meta.json", json.dumps(model_meta, default=str, indent=4) + "\n")
    write_text(path, json.dumps({**task_result, "hbt_bench": about}, indent=2, ensure_ascii=False) + "\n")
    return Result.read(path)


def read_all(output: Path) -> Iterator[Result | OutputError]:
    """All results below a folder, ordered by path; a damaged one comes as its error, for the caller to tell."""
    if not output.is_dir():
        raise OutputError(f"there is no folder {output}: run `hbt-bench run` first, or name the folder of the results")
    for path in sorted(output.rglob("*.json")):
        if path.name == "model_meta.json" or path.name.startswith("."):
            continue
        try:
            yield Result.read(path)
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


@dataclass(frozen=True, eq=False)
class StoredRanks:
    """Ranks with the judgements they are read with; `data` is the fingerprint of the collection."""

    data: str
    judgements: Judgements
    ranks: Ranks

    def write(self, path: Path) -> None:
        """Write everything into one file, atomically; equal ranks give equal bytes."""
        judgements, buffer = self.judgements, io.BytesIO()
        flags: dict[str, Any] = {} if judgements.parallel else {"parallel": np.array(False)}
        np.savez_compressed(
            buffer,
            data=np.array(self.data),
            languages=np.array(judgements.languages),
            **{name: getattr(self.ranks, name) for name in _RANKS},
            **flags,
            **{name: getattr(judgements.qrels, name) for name in _QRELS},
            **{name: getattr(judgements, name) for name in _JUDGEMENTS},
        )
        write_bytes(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> StoredRanks:
        """Read a file back; raises `OutputError` when it is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                languages = tuple(str(code) for code in arrays["languages"])
                qrels = Qrels(*(arrays[name] for name in _QRELS))
                judgements = Judgements(languages, qrels, *(arrays[name] for name in _JUDGEMENTS))
                if "parallel" in arrays:
                    judgements = replace(judgements, parallel=bool(arrays["parallel"]))
                return cls(str(arrays["data"]), judgements, Ranks(*(arrays[name] for name in _RANKS)))
        except Exception as error:  # numpy and zipfile raise many kinds for a damaged file
            raise OutputError(f"cannot read the ranks in {path} ({error}): delete it and run again") from error


_RANKS = ("pool", "block", "top")
_QRELS = ("offsets", "documents", "grades")
_JUDGEMENTS = ("query_languages", "questions", "document_languages")
