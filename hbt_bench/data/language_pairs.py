"""Labels that name two languages, such as ``en-de``: that of a query and that of its documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hbt_bench.data.records import PLACEHOLDER
from hbt_bench.languages import read_label

#: The place of the query language in a path or a label; ``{language}`` is that of the documents.
QUERY_LANGUAGE = "{query_language}"
#: The separators of two languages in a label.
_SEPARATOR = re.compile(r"[-_ ]to[-_ ]|[^\w]+|_|2")


def pair_path(path: str, queries: str, documents: str) -> str:
    """Return a path with the labels of two languages put in; for example, "data/en-de"."""
    return path.replace(QUERY_LANGUAGE, queries).replace(PLACEHOLDER, documents)


@dataclass(frozen=True)
class LabelForm:
    """The form of a label with two languages, such as ``{query_language}-{language}``.

    `position` is that of the query language, 0 or 1. For example, ``str(LabelForm("-", 1))`` is
    "{language}-{query_language}".
    """

    separator: str
    position: int = 0

    @classmethod
    def parse(cls, text: str) -> LabelForm | None:
        """Read a form; raises `ValueError` if it is malformed. The form ``{language}`` of a single language is None."""
        if text == PLACEHOLDER:
            return None
        for position, (first, second) in enumerate([(QUERY_LANGUAGE, PLACEHOLDER), (PLACEHOLDER, QUERY_LANGUAGE)]):
            separator = text.removeprefix(first).removesuffix(second)
            if text == f"{first}{separator}{second}" and separator and not set("{}") & set(separator):
                return cls(separator, position)
        raise ValueError(f"'{text}' is not a form of labels: write {QUERY_LANGUAGE}-{PLACEHOLDER}, or {PLACEHOLDER}")

    def __str__(self) -> str:
        names = (QUERY_LANGUAGE, PLACEHOLDER) if self.position == 0 else (PLACEHOLDER, QUERY_LANGUAGE)
        return self.separator.join(names)

    def split(self, label: str) -> Iterator[tuple[str, str]]:
        """Yield the labels of query and document; several times if a label has the separator, as ``zh-Hant-en``."""
        start = label.find(self.separator)
        while start >= 0:
            halves = label[:start], label[start + len(self.separator) :]
            yield halves[self.position], halves[1 - self.position]
            start = label.find(self.separator, start + 1)

    def codes(self, label: str, codes: Mapping[str, str]) -> tuple[str, str] | None:
        """Return the codes of query and document, or None if `codes` lacks a label.

        A label of a single language is that of both.
        """
        if label in codes:
            return codes[label], codes[label]
        pairs = ((codes.get(queries), codes.get(documents)) for queries, documents in self.split(label))
        return next(((queries, documents) for queries, documents in pairs if queries and documents), None)


def pair_splits(label: str) -> Iterator[tuple[str, str, str]]:
    """Yield the ways to read a label as two languages with a separator; for example, "en", "-", "pt-BR"."""
    for match in _SEPARATOR.finditer(label):
        first, second = label[: match.start()], label[match.end() :]
        if read_label(first) and read_label(second):
            yield first, match[0], second
