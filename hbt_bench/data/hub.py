"""Rows of a data set on the Hugging Face hub, at a pinned commit, through the `datasets` library."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hbt_bench.data.rows import Row
from hbt_bench.errors import DataError


def read_rows(
    path: str, revision: str, config: str | None, split: str, fields: set[str], language: str | None = None
) -> Iterator[Row]:
    """The rows of one split, with the top-level `fields` only; no code of the data set is run.

    Raises `DataError` when the data set, its split or a field is not to be had.
    """
    data = load(path, revision, config, split)
    where = f"{path}{f'/{config}' if config else ''}[{split}]"
    missing = sorted(fields - set(data.column_names))
    if missing:
        raise DataError(f"{where} has no column '{missing[0]}' (it has {', '.join(data.column_names)})")
    for number, fields_of_row in enumerate(data.select_columns(sorted(fields))):
        yield Row(fields_of_row, f"{where}:{number}", language)


def spare_retries() -> None:
    """Set the hub's client offline when its host has no address, or it would retry for minutes.

    To be called before anything imports the client, which reads the setting then.
    """
    host = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co").hostname
    if any(name.lower() == "https_proxy" for name in os.environ):
        return
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"


def load(path: str, revision: str, config: str | None, split: str) -> Any:
    """One split as a `datasets.Dataset`."""
    check_remote(path)
    spare_retries()
    import datasets

    try:
        return datasets.load_dataset(path, config, split=split, revision=revision)
    except Exception as error:  # the client and the builders raise many kinds
        raise DataError(unreachable(path, error)) from error


def check_remote(path: str) -> None:
    """Raise `DataError` where the current folder has a file or folder of the data set's name.

    `datasets` would read that in the place of the data set of the hub, whatever the commit. An absolute path, as a
    task of one's own in MTEB may have, is no name on the hub.
    """
    if not Path(path).is_absolute() and os.path.lexists(path):
        raise DataError(
            f"{path} is a data set of the hub, and the current folder has a file or folder of that name, which would "
            "be read instead: run in another folder"
        )


def unreachable(path: str, error: Exception) -> str:
    """One sentence for a data set that cannot be loaded, with the way out."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return (
        f"cannot load the data set {path} from the hub: {reason.rstrip('.')}; connect to the network once, after which "
        "the copy in the cache of `datasets` is enough"
    )
