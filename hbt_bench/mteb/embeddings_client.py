"""Send texts to a server of the OpenAI-compatible embeddings interface, and check the vectors that come back.

A request is repeated if the server is busy or the connection breaks. Every other answer that has no usable vectors is
an error in one sentence. The key stays in the environment: it is read for each request, and is no field of any object.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.text import encodable, one_line

if TYPE_CHECKING:  # requests is slow to import
    import requests

log = logging.getLogger(__name__)

Vectors = NDArray[np.float32]

#: The environment variable with the key.
KEY = "HBT_BENCH_API_KEY"
_CONNECT = 10.0  # seconds
#: Seconds before each repetition, and the longest pause that a server may ask for.
_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_LONGEST_PAUSE = 600.0
#: Answers of a busy server, or of a proxy in front of it; 529 is "overloaded".
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
#: Bytes of an answer; 2,048 vectors of 8,192 numbers have fewer.
_LARGEST = 1 << 29
_ERRNO = re.compile(r"\[Errno -?\d+\] ([\w ]+)")


def is_url(name: str) -> bool:
    """Return whether a model's name is the URL of a server."""
    return name.lower().startswith(("http://", "https://"))


def embeddings_url(text: str) -> str:
    """Return the URL of the requests to a server, from its address or the base of its interface.

    Raises `UsageError` for a URL that has credentials or lacks a host. The message does not repeat the URL.

    >>> embeddings_url("http://localhost:8000")
    'http://localhost:8000/v1/embeddings'
    >>> embeddings_url("https://example.org/api/v1/")
    'https://example.org/api/v1/embeddings'
    """
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0) and text.isprintable()
    except ValueError:
        usable = False
    if not usable or " " in text:
        raise UsageError("the URL of the server is not valid: write it as in http://localhost:8000")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"the URL of the server has a user name, a password or parameters, which results would show: leave them "
            f"out, and put the key into the environment variable {KEY}"
        )
    path = parts.path.rstrip("/") or "/v1"
    if not path.endswith("/embeddings"):
        path += "/embeddings"
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{path}"


def authorization() -> str | None:
    """Return the value of the Authorization header, None without a key; a key with a blank is the whole value.

    Raises `UsageError` if the key has characters that a header cannot have.
    """
    key = os.environ.get(KEY, "").strip()
    if not re.fullmatch(r"([\x21-\x7e]+( [\x21-\x7e]+)?)?", key):
        raise UsageError(f"{KEY} is not a key: it has characters that keys do not have. Set it again.")
    return key if not key or " " in key else f"Bearer {key}"


@dataclass(frozen=True, eq=False)
class EmbeddingsClient:
    """A client of a server, for several threads.

    For example, ``EmbeddingsClient("http://localhost:8000/v1/embeddings").vectors({"model": "bge-m3"}, ["text"])``.

    Attributes:
        url: The URL of the requests.
        connections: The number of requests at the same time.
        timeout: Seconds until an answer must be complete.
        stopped: Ends the pauses of all threads, for example if the user interrupts the run.
    """

    url: str
    connections: int = 1
    timeout: float = 120.0
    stopped: Event = field(default_factory=Event)

    def vectors(self, fields: Mapping[str, Any], texts: Sequence[str], patient: bool = True) -> Vectors:
        """Return the vectors of `texts`, shape (texts, dimensions); `fields` are the other fields of the request.

        Without `patient`, a server that does not answer is not asked again. Raises `ModelError` if there are no
        usable vectors.
        """
        for text in texts:
            if not encodable(text):
                raise ModelError(f"'{text[:60]!a}' contains an unpaired surrogate, which UTF-8 cannot encode")
        body = json.dumps({**fields, "input": list(texts), "encoding_format": "float"}, ensure_ascii=False)
        try:
            return read_vectors(self._content(body.encode(), patient), len(texts))
        except _UnusableError as error:
            raise ModelError(f"{self.url} {error}") from error

    def _content(self, body: bytes, patient: bool) -> bytes:
        """Return the content of a successful answer. A request is repeated if the reason may pass."""
        pauses = _PAUSES if patient else ()
        for repetition in range(len(_PAUSES) + 1):
            try:
                return self._send(body)
            except _BusyError as error:
                pauses = _PAUSES if error.answered else pauses
                if repetition >= len(pauses):
                    times = f", {repetition + 1} times in a row" if repetition else ""
                    raise _UnusableError(f"{error}{times}. {error.advice}") from error
                # at random, or the threads would come back at the same time
                pause = max(pauses[repetition] * random.uniform(0.5, 1), error.pause)
                if pause > _LONGEST_PAUSE:
                    raise _UnusableError(f"{error} and asks for a pause of {pause:,.0f} s: continue later") from error
                log.info(f"{self.url} {error}: waiting {pause:.0f} s")
            if self.stopped.wait(pause):
                break
        raise _UnusableError("is not asked any more, because another request failed")

    def _send(self, body: bytes) -> bytes:
        """Send a request and return the content of its answer.

        Raises `_BusyError` if the request may be repeated, and `_UnusableError` for other answers than success.
        """
        import requests

        deadline = monotonic() + self.timeout
        try:
            with self._session.post(
                self.url,
                data=body,
                headers={"Content-Type": "application/json"},
                auth=_sign,  # always, or the client takes a password from ~/.netrc
                timeout=(_CONNECT, self.timeout),
                stream=True,
                allow_redirects=False,  # the key is for this server
            ) as response:
                content = bytearray()
                for piece in response.iter_content(None):
                    content += piece
                    if monotonic() > deadline:
                        raise requests.Timeout
                    if len(content) > _LARGEST:
                        raise _UnusableError(f"sends more than {_LARGEST:,} bytes. Is it a server of embeddings?")
                status, pause = response.status_code, _asked_pause(response.headers.get("Retry-After", ""))
        except requests.RequestException as error:
            stalled = isinstance(error, requests.Timeout) or "timed out" in str(error)
            reason = _ERRNO.search(str(error))
            cause = f": {reason[1]}" if reason else ""
            problem = f"did not answer within {self.timeout:g} s" if stalled else f"cannot be reached{cause}"
            raise _BusyError(problem, "Check that the server runs, and run again to continue.") from error
        if status == 200:
            return bytes(content)
        message = _server_message(bytes(content))
        if status in _BUSY:
            raise _BusyError(f"answers HTTP {status}{message}", "Run again later to continue.", pause, answered=True)
        raise _UnusableError(_refusal(status, message))

    @cached_property
    def _session(self) -> requests.Session:
        import requests

        session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=self.connections)
        for prefix in ("http://", "https://"):
            session.mount(prefix, adapter)
        if urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1"):
            session.trust_env = False  # a proxy does not reach this machine's own servers
        return session


class _UnusableError(Exception):
    """An answer without usable vectors. The text continues a sentence that begins with the URL."""


class _BusyError(Exception):
    """A reason that may pass; `answered` is whether the server itself said so. `pause` is in seconds."""

    def __init__(self, reason: str, advice: str, pause: float = 0.0, answered: bool = False) -> None:
        super().__init__(reason)
        self.advice, self.pause, self.answered = advice, pause, answered


def _sign(request: Any) -> Any:
    """Add the key to a request, if there is a key."""
    if value := authorization():
        request.headers["Authorization"] = value
    return request


def _asked_pause(text: str) -> float:
    """Return the seconds of a Retry-After header, which has seconds or a date; 0 if it has neither."""
    if re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _refusal(status: int, message: str) -> str:
    """Return the text about an answer that no repetition changes."""
    if status in (401, 403):  # its message may have a part of the key
        return f"refuses the key (HTTP {status}). Set {KEY} to a key that the server accepts."
    if status == 404:
        return f"answers HTTP 404{message}. Check the URL and --served-name."
    if 300 <= status < 400:
        return f"answers with a redirect (HTTP {status}). Name the URL that it leads to."
    advice = "a smaller --batch-size" if status == 413 else "its options, --served-name or a smaller --batch-size"
    return f"answers HTTP {status}{message}. Try {advice}."


def _server_message(content: bytes) -> str:
    """Return the server's own words in brackets, without the key; empty if there are none."""
    text: Any = content[:2000].decode(errors="replace")
    try:
        text = json.loads(content)
        for name in ("error", "message", "detail"):
            text = text.get(name, text) if isinstance(text, dict) else text
    except (ValueError, RecursionError):
        text = "" if "<" in text else text  # a page of a proxy
    for secret in sorted(os.environ.get(KEY, "").split(), key=len, reverse=True):
        text = str(text).replace(secret, "***")
    words = one_line(text).strip().rstrip(".")
    return f" ({words[:200]})" if words else ""


def read_vectors(content: bytes, count: int) -> Vectors:
    """Return the vectors in the content of an answer, in the order of the texts; raises `_UnusableError`."""
    try:
        entries = json.loads(content)["data"]
        numbers = [entry["index"] for entry in entries]
        values = [_numbers(entry["embedding"]) for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        start = one_line(content[:60].decode(errors="replace"))
        raise _UnusableError(f"returned no list of embeddings, but '{start}'. Is it a server of embeddings?") from error
    if len(values) != count:
        raise _UnusableError(f"returned {len(values)} vectors for {count} texts. Check the server.")
    if sorted(numbers, key=str) != sorted(range(count), key=str):
        raise _UnusableError(
            f"returned vectors for {count} texts that are not numbered from 0 to {count - 1}. Check the server."
        )
    sizes = sorted({len(vector) for vector in values})
    if len(sizes) > 1 or sizes[0] == 0:
        raise _UnusableError(f"returned vectors of different sizes ({', '.join(map(str, sizes))}). Check its model.")
    vectors = np.empty((count, sizes[0]), np.float32)
    for number, vector in zip(numbers, values, strict=True):
        vectors[number] = vector
    if not np.isfinite(vectors).all():
        raise _UnusableError("returned NaN or infinity. Its model overflows: use another precision on the server.")
    return vectors


def _numbers(value: object) -> Vectors:
    """Return a vector that is a list of numbers, or base64 of little-endian float32; raises `ValueError` otherwise."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), "<f4")
    with np.errstate(over="ignore"):  # an overflow becomes infinity, which is refused
        vector = np.asarray(value, np.float32)
    if vector.ndim != 1:
        raise ValueError(value)
    return vector
