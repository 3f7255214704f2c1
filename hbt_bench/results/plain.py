"""Results that plain `mteb.evaluate` wrote: MTEB's JSON, without our summary, ranks and intervals.

Our tasks put their signature and the number of their subsets into the scores of each subset, so the result can be
identified. All other files of MTEB's cache are of tasks that only MTEB knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hbt_bench.errors import OutputError
from hbt_bench.identity.signature import parse_fields
from hbt_bench.results.schema import FORMAT, read_json

#: Fields of a signature that may differ between the subsets of a result, because MTEB evaluates missing subsets later.
_VERSIONS = ("hbt", "mteb")


class ForeignError(OutputError):
    """The file has JSON of another program."""


class StockError(ForeignError):
    """The file is a result of MTEB's own task that plain `mteb.evaluate` wrote."""


def with_summary(path: Path, content: Any) -> dict[str, Any]:
    """Return the JSON of a result of our task with a summary, which identifies the result.

    Raises `StockError` for a task of MTEB, `ForeignError` for other JSON, `OutputError` for a result without signature,
    and `ValueError` for subsets that do not belong together.
    """
    entries = list(_entries(content))
    if not entries:
        raise ForeignError(f"{path} is not a result of hbt-bench. Name a file that `hbt-bench run` wrote.")
    signatures = [str(entry.get("signature", "")) for entry in entries]
    if not any(signatures):
        if any("AP" in entry for entry in entries):
            raise OutputError(
                f"{path} has no signature, so its data and model are unknown: evaluate it with `hbt-bench run`."
            )
        raise StockError(
            f"{path} is a result of MTEB's own task. Evaluate it with `hbt-bench run --tasks {content['task_name']}`."
        )
    fields = [_identity(signature) for signature in signatures]
    if any(other != fields[0] for other in fields):
        raise ValueError("its subsets have different signatures")
    if content.get("dataset_revision") != fields[0].get("data"):
        raise ValueError("its signature is of other data")
    model, _, revision = fields[0].get("model", "").rpartition("@")
    expected = max(int(entry.get("subsets", 0)) for entry in entries)
    summary = {
        "format": FORMAT,
        "task": fields[0].get("task"),
        "model": model,
        "revision": revision,
        "signature": signatures[0],
        "subsets": max(expected, len(entries)),
        "stock": False,
        "parameters": _parameters(path),
    }
    return {**content, "hbt_bench": summary}


def _entries(content: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the scores of each subset of a result in MTEB's layout."""
    splits = content.get("scores") if isinstance(content, dict) and "task_name" in content else None
    for entries in splits.values() if isinstance(splits, dict) else ():
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                yield entry


def _identity(signature: str) -> dict[str, str]:
    return {name: value for name, value in parse_fields(signature).items() if name not in _VERSIONS}


def _parameters(path: Path) -> int | None:
    """Return the number of parameters in MTEB's metadata of the model, None if it is unknown."""
    try:
        number = read_json(path.with_name("model_meta.json")).get("n_parameters")
    except (OSError, ValueError, AttributeError):  # missing or damaged
        return None
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None
