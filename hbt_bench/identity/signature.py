"""The signature of a number: everything it depends on, short enough to paste into a paper."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import ClassVar

#: Ties go to the greater document id, as in trec_eval.
TIE_RULE = "docid-desc"


@dataclass(frozen=True)
class Prompts:
    """The texts put before queries and documents; empty for none."""

    query: str = ""
    document: str = ""

    #: Names of the prompts in sentence-transformers configurations, in the order in which MTEB prefers them for a
    #: retrieval task; "passage" and "corpus" are older words for "document".
    QUERY_NAMES: ClassVar = ("Retrieval-query", "Retrieval", "query")
    DOCUMENT_NAMES: ClassVar = ("Retrieval-document", "Retrieval", "document", "passage", "corpus")

    @classmethod
    def of(cls, prompts: Mapping[str, str | None] | None) -> Prompts:
        """Read the prompts of a sentence-transformers configuration."""
        prompts = prompts or {}
        query, document = (
            next((text for name in names if (text := prompts.get(name))), "")
            for names in (cls.QUERY_NAMES, cls.DOCUMENT_NAMES)
        )
        return cls(query, document)

    @property
    def label(self) -> str:
        """``none``, or 8 hexadecimal digits of the SHA-256 of both."""
        if not self.query and not self.document:
            return "none"
        return hashlib.sha256(json.dumps([self.query, self.document]).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Signature:
    """What a score depends on, written as ``task:...|text:...|data:...|model:...|prompt:...|ties:...|hbt:...|mteb:..``.

    `task` is the name on the command line, `text` what a candidate's text is, `data` the collection's fingerprint
    (or MTEB's data set revision), `model` the name and the content hash or commit, `prompt` a label of `Prompts`.
    """

    task: str
    text: str
    data: str
    model: str
    prompt: str
    ties: str = TIE_RULE

    def __str__(self) -> str:
        fields = ("task", "text", "data", "model", "prompt", "ties")
        parts = [f"{field}:{getattr(self, field).replace('|', '/')}" for field in fields]
        return "|".join([*parts, *_versions()])


@cache
def _versions() -> tuple[str, ...]:
    """Looked up once, for a task may have a thousand subsets."""
    return f"hbt:{version('hbt-bench')}", f"mteb:{version('mteb')}"
