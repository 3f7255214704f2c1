"""A model behind an embeddings server, as an encoder that MTEB evaluates.

The vectors of each request are stored as they arrive, so that a run that was interrupted asks only for the others.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import numpy as np

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.identity.signature import Prompts
from hbt_bench.identity.variant import Variant
from hbt_bench.mteb.embeddings_client import EmbeddingsClient, Vectors, authorization, embeddings_url, is_url
from hbt_bench.ranking.store import EmbeddingStore
from hbt_bench.settings import check_choice, check_positive, check_whole

log = logging.getLogger(__name__)

Similarity = Literal["cosine", "dot"]

#: A text that is sent first: its vector shows the dimension, and whether the server has the model of an earlier run.
_PROBE = "How many moons does Jupiter have?"
#: Least cosine of two vectors of the same text and model; servers round differently from batch to batch.
_SAME = 0.99
#: Settings of a variant that a server has itself.
_OF_SERVER = ("--backend", "--dtype", "--max-seq-length")


@dataclass(frozen=True)
class Endpoint:
    """The settings of a model on a server of the OpenAI-compatible embeddings interface.

    For example, ``ModelRequest("http://localhost:8000", endpoint=Endpoint("bge-m3"))``. A key is read from the
    environment variable HBT_BENCH_API_KEY.

    Attributes:
        served_name: The name of the model on the server.
        concurrency: The number of requests at the same time.
        timeout: Seconds until an answer must be complete.
        query_fields, document_fields: More fields of the requests, such as ``{"input_type": "query"}``.
        similarity: The similarity of two vectors, ``cosine`` or ``dot``.
    """

    served_name: str
    concurrency: int = 4
    timeout: float = 120.0
    query_fields: Mapping[str, Any] = field(default_factory=dict)
    document_fields: Mapping[str, Any] = field(default_factory=dict)
    similarity: Similarity = "cosine"

    def __post_init__(self) -> None:
        """Raise `UsageError` for settings that cannot be."""
        if not self.served_name.strip():
            raise UsageError("--model is the URL of a server: name the model on it with --served-name")
        check_choice("similarity", self.similarity, get_args(Similarity))
        check_whole("concurrency", self.concurrency)
        check_positive("timeout", self.timeout)
        for flag, fields in (("--query-fields", self.query_fields), ("--document-fields", self.document_fields)):
            if reserved := {"input", "model", "encoding_format"} & fields.keys():
                raise UsageError(f"{flag} has '{min(reserved)}', which hbt-bench sets: leave it out")

    @property
    def name(self) -> str:
        """The name in results: the served name, as ``endpoint/NAME`` unless it has an organisation."""
        name = self.served_name.strip().strip("/")
        return name if "/" in name else f"endpoint/{name}"

    def revision(self, url: str, stated: str | None, dimension: int) -> str:
        """Return the revision: the stated version or a hash of the URL, the dimension, and settings of requests."""
        start = stated or hashlib.sha256(embeddings_url(url).encode()).hexdigest()[:8]
        fields = [dict(self.query_fields), dict(self.document_fields)]
        digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8] if any(fields) else ""
        dot = "-dot" if self.similarity == "dot" else ""
        return f"{start}-endpoint{dimension}{dot}{f'-fields{digest}' if digest else ''}"

    def stored_revision(self, url: str, stated: str | None, suffix: str, revisions: Iterable[str]) -> str | None:
        """Return the revision of this server's model among those of results; only they state the dimension.

        The result is None if there is none, or if results have several dimensions.
        """
        before, after = (self.revision(url, stated, 0) + suffix).split("-endpoint0")
        pattern = re.compile(re.escape(f"{before}-endpoint") + r"\d+" + re.escape(after))
        found = [revision for revision in revisions if pattern.fullmatch(revision)]
        return found[0] if len(found) == 1 else None

    def open(self, url: str, prompts: Prompts, stated: str | None = None) -> EndpointEncoder:
        """Return the encoder after a request for the vector of a text.

        Raises `ModelError` if the server does not answer with a vector.
        """
        from mteb.models import ModelMeta
        from mteb.models.model_meta import ScoringFunction

        client = EmbeddingsClient(embeddings_url(url), self.concurrency, self.timeout)
        parts = urlsplit(client.url)
        if parts.scheme == "http" and authorization() and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            log.warning(f"the key is sent to {parts.hostname} unencrypted; use https if you can")
        if prompts == Prompts() and not self.query_fields and not self.document_fields:
            log.info(
                "texts are sent without a prompt; if the model needs prompts and the server does not add them, set "
                "--query-prompt and --document-prompt"
            )
        probe = client.vectors({"model": self.served_name, **self.document_fields}, [_PROBE], patient=False)
        dot = self.similarity == "dot"
        meta = ModelMeta.create_empty(
            {
                "name": self.name,
                "revision": self.revision(url, stated, probe.shape[1]),
                "reference": client.url,
                "framework": ["API"],
                "embed_dim": probe.shape[1],
                "similarity_fn_name": ScoringFunction.DOT_PRODUCT if dot else ScoringFunction.COSINE,
            }
        )
        return EndpointEncoder(self, client, prompts, probe, meta)


def check_endpoint(url: str, endpoint: Endpoint | None, variant: Variant, local: Mapping[str, object]) -> None:
    """Raise `UsageError` for a URL, a key or settings that cannot be, without asking the server.

    `local` has the values of other options, by name, that only models in this process have.
    """
    if not is_url(url):
        raise UsageError(f"--served-name is for servers, and {url} is not a URL. Leave it out.")
    if endpoint is None:
        raise UsageError("--model is the URL of a server: name the model on it with --served-name")
    embeddings_url(url)
    authorization()
    options = [option for option in variant.options[::2] if option in _OF_SERVER]
    if options := [*(f"--{name}" for name, value in local.items() if value), *options]:
        raise UsageError(f"{' and '.join(options)} is for models that run here. Leave it out, or set it on the server.")


class EndpointEncoder:
    """A model on a server, as MTEB's protocol of encoders.

    Attributes:
        mteb_model_meta: The name and revision.
        vectors_depend_on: All that a vector depends on besides its text; not on the batch or on libraries here.
        client: The client of the server.
    """

    def __init__(
        self, endpoint: Endpoint, client: EmbeddingsClient, prompts: Prompts, probe: Vectors, meta: Any
    ) -> None:
        self.endpoint, self.client, self.prompts, self.probe = endpoint, client, prompts, probe
        self.mteb_model_meta = meta
        self.truncate_dim: int | None = None
        self._store: EmbeddingStore | None = None

    @property
    def vectors_depend_on(self) -> str:
        """The identity of stored vectors."""
        meta = self.mteb_model_meta
        return json.dumps(["endpoint 1", meta.name, meta.revision, self.prompts.query, self.prompts.document])

    def keep(self, store: EmbeddingStore) -> None:
        """Store the vectors of each request in `store`, and read those that are there.

        Raises `ModelError` if the vectors there are of another model.
        """
        stored = store.get([_PROBE], "probe", "")
        if stored is None:
            store.put([_PROBE], "probe", "", self.probe)
        elif _cosine(stored, self.probe) < _SAME:
            raise ModelError(
                f"{self.client.url} gives other vectors than in the interrupted run that this run would continue. If "
                "the server has another model now, state --revision, or start over with --overwrite."
            )
        self._store = store

    def encode(self, inputs: Any, *, prompt_type: Any = None, **options: Any) -> Vectors:
        """Return the vectors of batches of texts, shape (texts, dimensions) (MTEB's protocol)."""
        role = "query" if prompt_type is not None and prompt_type.value == "query" else "document"
        prompt = self.prompts.query if role == "query" else self.prompts.document
        batches = [tuple(prompt + text for text in batch["text"]) for batch in inputs]
        vectors = np.concatenate(self._all(batches, role))
        return vectors[:, : self.truncate_dim]

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the similarity of all pairs, shape (first, second) (MTEB's protocol)."""
        from mteb import similarity_functions

        dot = self.endpoint.similarity == "dot"
        return (similarity_functions.dot_score if dot else similarity_functions.cos_sim)(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the similarity of each pair (MTEB's protocol)."""
        from mteb import similarity_functions

        dot = self.endpoint.similarity == "dot"
        pairwise = similarity_functions.pairwise_dot_score if dot else similarity_functions.pairwise_cos_sim
        return pairwise(embeddings1, embeddings2)

    def _all(self, batches: Sequence[tuple[str, ...]], role: str) -> list[Vectors]:
        """Return the vectors of all batches, some at the same time. After an error, no further request is sent.

        Requests that are under way are awaited, because their vectors may be paid for, and are stored.
        """
        errors: list[BaseException] = []

        def run(batch: tuple[str, ...]) -> Vectors | None:
            if self.client.stopped.is_set():
                return None
            try:
                return self._batch(batch, role)
            except BaseException as error:
                errors.append(error)
                self.client.stopped.set()
                raise

        pool = ThreadPoolExecutor(self.endpoint.concurrency, thread_name_prefix="endpoint")
        try:
            futures = [pool.submit(run, batch) for batch in batches]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:  # also if the user interrupts the run
            self.client.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            self.client.stopped.clear()
        if errors:
            raise errors[0]
        return [vectors for future in futures if (vectors := future.result()) is not None]

    def _batch(self, texts: tuple[str, ...], role: str) -> Vectors:
        """Return the vectors of the texts of a request, from the store or from the server."""
        endpoint, key = self.endpoint, (texts, f"{role} request", "")
        if self._store is not None and (stored := self._store.get(*key)) is not None:
            return stored
        fields = endpoint.query_fields if role == "query" else endpoint.document_fields
        vectors = self.client.vectors({"model": endpoint.served_name, **fields}, texts)
        if vectors.shape[1] != self.probe.shape[1]:
            raise ModelError(
                f"{self.client.url} returned vectors of {vectors.shape[1]} dimensions, but of {self.probe.shape[1]} "
                "before. Give the vectors of queries and documents the same size."
            )
        if self._store is not None:
            self._store.put(*key, vectors)
        return vectors


def _cosine(first: Vectors, second: Vectors) -> float:
    """Return the cosine of two vectors of shape (1, dimensions), 0 if their sizes differ."""
    if first.shape != second.shape:
        return 0.0
    lengths = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    return float((first @ second.T).item()) / max(lengths, 1e-12)
