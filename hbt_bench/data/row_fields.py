"""The fields of a row: which hold the question, the query, the document and the language, and their texts.

Fields are paths as in `hbt_bench.data.records`, for example ``questions.*.{language}.question``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hbt_bench.data.language_pairs import LabelForm
from hbt_bench.data.records import PLACEHOLDER, Row, checked_text, identifier, is_missing, values
from hbt_bench.errors import DataError, did_you_mean

#: The language and the id of a query or document.
Key = tuple[str, str]

#: The usual names of fields in data sets, by role, most specific first.
USUAL_FIELDS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "_id", "qid", "question_id", "query_id", "pair_id", "uid", "idx"),
    "language": ("language", "lang", "locale", "language_code", "lang_code"),
    "query": ("query", "question", "claim", "premise", "anchor", "prompt", "sentence1"),
    "document": ("document", "passage", "context", "answer_sentence", "answer", "positive", "body", "response", "text"),
    "document_id": ("document_id", "doc_id", "docid", "did", "passage_id", "corpus_id", "pid"),
    "grade": ("grade", "relevance", "rel", "label", "judgement", "judgment", "relevant", "is_relevant", "is_selected"),
}


def usual_fields(names: Iterable[object], role: str) -> Iterator[str]:
    """Yield the fields with a usual name for `role`, most specific first; upper and lower case are the same."""
    spelled = [str(name) for name in names]
    yield from (name for usual in USUAL_FIELDS[role] for name in spelled if name.lower() == usual)


def is_negative_field(name: object) -> bool:
    """Return whether a field has a usual name of negative documents, such as "negative_passages" or "hard_neg_1"."""
    return re.fullmatch(r"(?:hard[ _-]?)?neg(?:ative)?s?(?:[ _-]\w+)?", str(name).lower()) is not None


@dataclass(frozen=True)
class Columns:
    """Paths to the fields of a row: `query` and `document`, or `text` for parallel sentences.

    `id` identifies the question, and its versions in several languages share it; without `id`, rows with equal queries
    are the same question. A question has several documents if several rows have its id, if `document` has several
    paths, or a list. `document_id` is for documents that answer several questions. `grade` is for rows that judge a
    document: it is relevant if its grade is above 0, and else only a candidate. If `document` is a list, its
    `document_id`, `title` and `grade` may be lists in the same order. `language` is the field with the
    language code, if no path has the placeholder; `language_form` is the form of its values if they name the languages
    of query and document, as in "en-de". `merge` treats equal sentences, or equal documents, of a language as
    the same. With `unanswered`, questions may lack a document, and are then dropped. Without `parallel`, equal ids in
    two languages are unrelated. `clusters` has the field with the id of a question's cluster by level, from fine to
    coarse, for example that of its article; a row may lack it. `ignore_identical_ids` is the rule for documents with
    the id of a query; see `hbt_bench.data.own_documents`.

    For example, ``Columns(id=("id",), language="lang", query="question", document="answer")``.
    """

    id: tuple[str, ...] = ()
    language: str | None = None
    query: str | None = None
    document: str | tuple[str, ...] | None = None
    document_id: tuple[str, ...] = ()
    title: str | None = None
    grade: str | None = None
    text: str | None = None
    merge: bool = False
    unanswered: bool = False
    clusters: Mapping[str, str] = field(default_factory=dict)
    parallel: bool = True
    ignore_identical_ids: bool | None = None
    language_form: LabelForm | None = None

    @property
    def documents(self) -> tuple[str, ...]:
        """The paths to documents."""
        return (self.document,) if isinstance(self.document, str) else self.document or ()

    def fields(self) -> set[str]:
        """Return the top-level fields that the paths start with."""
        paths = [
            *self.id,
            *self.document_id,
            self.language,
            self.query,
            *self.documents,
            self.title,
            self.grade,
            self.text,
            *self.clusters.values(),
        ]
        return {path.split(".")[0] for path in paths if path and not path.startswith(PLACEHOLDER)}


@dataclass
class KeyedTexts:
    """Texts by language and key; a repeated key must have the same text."""

    name: str
    kind: str
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    lines: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def languages(self) -> set[str]:
        """The languages with a text."""
        return {language for language, _ in self.texts}

    def add(self, language: str, key: str, text: str, where: str) -> None:
        """Add a text, which is at `where`; raises `DataError` if it is empty, or if the key has another text."""
        if not text.strip():
            raise DataError(f"{where}: the {self.kind} is empty in '{language}'")
        if self.texts.setdefault((language, key), text) != text:
            raise DataError(
                f"{where}: the {self.kind} '{key}' has another text in '{language}' than in "
                f"{self.lines[language, key]}: give each its own id"
            )
        self.lines.setdefault((language, key), where)


class ClusterIds:
    """The ids of the questions' clusters, from the fields of `Columns.clusters` by level."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = paths
        self.ids: dict[str, list[tuple[str, str]]] = {level: [] for level in paths}

    def add(self, row: Row, question: str, label: str) -> None:
        """Add the clusters of a row's question; a row may lack them. Raises `DataError` if there are several."""
        for level, path in self.paths.items():
            if not all(map(is_missing, values(row.fields, path, label))):
                self.ids[level].append((question, single_text(row, path, label)))

    def pairs(self, name: str, questions: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
        """Return pairs of a question and a cluster; `questions` has the question of each added row.

        Raises `DataError` if no row has a level.
        """
        for level, ids in self.ids.items():
            if not ids:
                raise DataError(f"{name}: no row has the field '{self.paths[level]}' of the clusters '{level}'")
        return {level: [(questions[row], key) for row, key in ids] for level, ids in self.ids.items()}


def key_of(row: Row, paths: tuple[str, ...], label: str = "") -> str:
    """Return the id of a row from the values at `paths`, empty without paths; raises `DataError` if one is missing."""
    return "/".join(single_text(row, path, label) for path in paths)


def single_text(row: Row, path: str, label: str = "") -> str:
    """Return the only text or number at `path`, as text; a number without a fraction is a whole number."""
    present = [value for value in values(row.fields, path, label) if not is_missing(value)]
    if not present:
        raise missing_field(row, path, f"no text or number at '{path}'")
    text = identifier(present[0]) if len(present) == 1 else None
    if text is None:
        value = present[0] if len(present) == 1 else present
        raise DataError(f"{row.where}: '{path}' must be a text or a whole number, not {value!r:.40}")
    return checked_text(text, row, path)


def texts_at(row: Row, path: str, label: str, *, required: bool) -> list[tuple[int, str]]:
    """Return the texts at `path` in a language with their positions in a list; empty if the language is missing."""
    candidates = list(values(row.fields, path, label))
    if required and not candidates:
        raise missing_field(row, path, f"no field '{path}'")
    for value in candidates:
        if value is not None and not isinstance(value, str):
            raise DataError(f"{row.where}: '{path.replace(PLACEHOLDER, label)}' must be a text, not {value!r:.40}")
    return [(index, checked_text(value, row, path)) for index, value in enumerate(candidates) if value is not None]


def missing_field(row: Row, path: str, problem: str) -> DataError:
    """Return the error for a row without a field, with the fields that it has."""
    fields = ", ".join(str(name) for name in list(row.fields)[:8]) or "no fields"
    others = [str(name) for name in row.fields if name != path]
    hint = did_you_mean(path.split(".")[0], others) or f" (the row has {fields})"
    return DataError(f"{row.where}: {problem}{hint}")


def first_of_group(rows: Iterable[str], same: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return for each row the first row of its group; the pairs in `same` connect rows to groups."""
    from scipy.cluster.hierarchy import DisjointSet

    rows = list(rows)
    sets = DisjointSet(rows)
    for row, other in same:
        sets.merge(row, other)
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(sets[row], row)
    return {row: first[sets[row]] for row in rows}
