"""The client of the Hugging Face hub: machines without network, names that a local folder hides, and its errors."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from hbt_bench.errors import DataError


def spare_retries() -> None:
    """Set the hub's client offline if its host has no address, or it would retry for minutes.

    Call it before anything imports the client, which reads the setting at import.
    """
    host = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co").hostname
    if any(name.lower() == "https_proxy" for name in os.environ):
        return
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"


def check_remote(path: str) -> None:
    """Raise `DataError` if the current folder has a file or folder with the data set's name.

    The `datasets` library would read it in place of the hub's data set, whatever the commit. Absolute paths, which
    users' MTEB tasks may have, are not names on the hub and pass.
    """
    if not Path(path).is_absolute() and os.path.lexists(path):
        raise DataError(
            f"{path} is a data set of the hub, but the current folder has a file or folder with that name, which would "
            "be read instead: run in another folder"
        )


@contextlib.contextmanager
def data_errors(source: str | Path) -> Iterator[None]:
    """Turn any error of the hub's client or of a file format into a `DataError` with a single sentence."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # the client, the file formats and MTEB's loaders raise many types
        reason = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
        origin, network = "", ""
        if isinstance(source, str):
            origin = " from the hub"
            network = ", and connect to the network once: later runs read the copy in the cache of `datasets`"
        raise DataError(
            f"cannot load the data set {source}{origin} ({type(error).__name__}: {reason}); check its name, "
            f"configuration and split{network}"
        ) from error
