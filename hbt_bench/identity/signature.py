"""The signature of a score: everything the score depends on, short enough to paste into a paper."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import ClassVar

from hbt_bench.errors import UsageError

#: Ties go to the greater document id, as in trec_eval.
TIE_RULE = "docid-desc"

#: Versions of hbt-bench that compute the same scores, oldest first. A release that changes a score begins a new list.
SAME_SCORES = ("0.1.0", "0.2.0")

#: Fields that every signature has.
_REQUIRED = ("task", "text", "data", "model", "prompt", "ties")


@dataclass(frozen=True)
class Prompts:
    """The texts put before queries and documents, empty without a prompt."""

    query: str = ""
    document: str = ""

    #: Names of the prompts in sentence-transformers configurations, in the order in which MTEB prefers them for a
    #: retrieval task. "passage" and "corpus" are older words for "document".
    QUERY_NAMES: ClassVar = ("Retrieval-query", "Retrieval", "query")
    DOCUMENT_NAMES: ClassVar = ("Retrieval-document", "Retrieval", "document", "passage", "corpus")

    @classmethod
    def from_config(cls, prompts: Mapping[str, str | None] | None) -> Prompts:
        """Return the retrieval prompts of a sentence-transformers configuration.

        >>> Prompts.from_config({"query": "query: ", "passage": "passage: "})
        Prompts(query='query: ', document='passage: ')
        """
        prompts = prompts or {}
        query, document = (
            next((text for name in names if (text := prompts.get(name))), "")
            for names in (cls.QUERY_NAMES, cls.DOCUMENT_NAMES)
        )
        return cls(query, document)

    @property
    def label(self) -> str:
        """The label in signatures: ``none``, or the first 8 hexadecimal digits of a SHA-256 over both texts."""
        if not self.query and not self.document:
            return "none"
        return hashlib.sha256(json.dumps([self.query, self.document]).encode()).hexdigest()[:8]


def scores_version(installed: str) -> str:
    """Return the oldest version of hbt-bench with the scores of a version.

    >>> scores_version("0.2.0")
    '0.1.0'
    """
    return SAME_SCORES[0] if installed in SAME_SCORES else installed


def has_equal_scores(stored: str, expected: str) -> bool:
    """Return whether two signatures differ at most in versions of hbt-bench that compute the same scores."""
    first, second = (
        {name: scores_version(value) if name == "hbt" else value for name, value in parse_fields(signature).items()}
        for signature in (stored, expected)
    )
    return first == second


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    # cached because a task may have a thousand subsets
    return ("hbt", version("hbt-bench")), ("mteb", version("mteb"))


@dataclass(frozen=True)
class Signature:
    """The fields of a signature, ``task:...|text:...|data:...|model:...|prompt:...|ties:...|hbt:...|mteb:...``.

    `task` is the task name, `text` the kind of a candidate's text and `data` the collection's fingerprint, or MTEB's
    data set revision. `model` is a name and a content hash or commit, joined by ``@``. `prompt` is a label of
    `Prompts`. `depth` is the number of documents up to which the rankings of a run are complete, None for whole
    rankings. `versions` are pairs of a program and its version, by default the installed versions.
    """

    task: str
    text: str
    data: str
    model: str
    prompt: str
    ties: str = TIE_RULE
    depth: int | None = None
    versions: tuple[tuple[str, str], ...] = field(default_factory=_versions)

    @classmethod
    def parse(cls, text: str) -> Signature:
        """Read a signature, for example from a paper. Unknown fields are kept in `versions`.

        Raises `UsageError` if `text` is not a signature or lacks a field.
        """
        fields = parse_fields(text.strip().strip("`"))
        if "task" not in fields:
            raise UsageError(f"'{text[:60]}' is not a signature, which begins with task: (copy all of it, in quotes)")
        missing = [name for name in _REQUIRED if not fields.get(name)]
        if missing:
            raise UsageError(f"the signature lacks {', '.join(missing)}: copy all of it, in quotes")
        required = {name: fields.pop(name) for name in _REQUIRED}
        depth = int(fields.pop("depth")) if fields.get("depth", "").isdecimal() else None
        return cls(**required, depth=depth, versions=tuple(fields.items()))

    @property
    def fields(self) -> dict[str, str]:
        """All fields by name, in the order in which they are written."""
        depth = {} if self.depth is None else {"depth": str(self.depth)}
        return {name: getattr(self, name) for name in _REQUIRED} | depth | dict(self.versions)

    def __str__(self) -> str:
        return "|".join(f"{name}:{value.replace('|', '/')}" for name, value in self.fields.items())


def parse_fields(text: str) -> dict[str, str]:
    """Return the fields of a signature by name, of a cut or damaged signature too.

    >>> parse_fields("task:xquad-r-multi|text:sentence")
    {'task': 'xquad-r-multi', 'text': 'sentence'}
    """
    pairs = (pair.partition(":") for pair in text.split("|"))
    return {name: value for name, colon, value in pairs if colon}
