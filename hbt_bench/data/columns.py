"""Collections from rows: which fields hold the question, the query, the document and the language.

Fields are paths as in `hbt_bench.data.records`, for example ``questions.*.{language}.question``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.records import PLACEHOLDER, Row, checked_text, values
from hbt_bench.errors import DataError, did_you_mean


@dataclass(frozen=True)
class Columns:
    """Paths to the fields of a row: `query` and `document`, or `text` for parallel sentences.

    `id` identifies the question, and its versions in several languages share it; without `id`, each row is a separate
    question. `document_id` is for documents that answer several questions. `language` is the field with the language
    code, if no path has the placeholder. `merge` treats equal sentences, or equal documents, of a language as the
    same. With `unanswered`, questions may lack a document and are then dropped. Without `parallel`, equal ids in two
    languages are unrelated.

    For example, ``Columns(id=("id",), language="lang", query="question", document="answer")``.
    """

    id: tuple[str, ...] = ()
    language: str | None = None
    query: str | None = None
    document: str | None = None
    document_id: tuple[str, ...] = ()
    title: str | None = None
    text: str | None = None
    merge: bool = False
    unanswered: bool = False
    parallel: bool = True

    def fields(self) -> set[str]:
        """Return the top-level fields that the paths start with."""
        paths = [*self.id, *self.document_id, self.language, self.query, self.document, self.title, self.text]
        return {path.split(".")[0] for path in paths if path and not path.startswith(PLACEHOLDER)}


def collect(
    name: str, rows: Iterable[Row], columns: Columns, languages: Mapping[str, str], *, complete: bool = True
) -> Collection:
    """Build a collection from rows; `languages` maps our language codes to the codes in the data.

    Rows in other languages are skipped. If the languages are not the `complete` data set, questions are dropped if
    all their documents are in other languages.

    Raises `DataError` with the line for a field that is missing or is not a text, and for a question or document with
    two texts in the same language; also if languages that are paired by row have different numbers of rows, and for
    records that `Collection.from_records` refuses.
    """
    table = _Sentences(name, columns) if columns.text else _Table(name, columns, complete)
    codes = {label: code for code, label in languages.items()}
    counts: Counter[str | None] = Counter()
    skipped: Counter[str] = Counter()
    for row in rows:
        key = _key(row, columns.id) or f"row-{counts[row.language]}"
        counts[row.language] += 1
        if row.language is None and columns.language is None:
            for label, code in codes.items():
                table.add(row, key, code, label, required=False)
            continue
        label = row.language or _single(row, columns.language or "")
        if label in codes:
            table.add(row, key, codes[label], label, required=True)
        else:
            skipped[label] += 1
    if not columns.id and columns.parallel:
        _check_aligned(name, {codes[label]: counts[label] for label in codes} if counts.keys() & codes.keys() else {})
    if skipped and not counts.total() - skipped.total():
        labels = ", ".join(label[:20] for label, _ in skipped.most_common(5))
        raise DataError(f"{name} has no row in {' '.join(codes)}: the codes in the data are {labels}")
    return table.collection()


def _check_aligned(name: str, counts: Mapping[str, int]) -> None:
    """Raise `DataError` unless all languages have the same number of rows, because only the row number pairs them."""
    if len(set(counts.values())) > 1:
        (least, few), *_, (most, many) = sorted(counts.items(), key=lambda item: item[1])
        raise DataError(
            f"{name} has {few:,} rows in '{least}' and {many:,} in '{most}', but they are paired by row number: align "
            "the files, or name the `id` that pairs them"
        )


@dataclass
class _Texts:
    """Texts by language and key; a repeated key must have the same text."""

    name: str
    kind: str
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    lines: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, language: str, key: str, text: str, where: str) -> None:
        if not text.strip():
            raise DataError(f"{where}: the {self.kind} is empty in '{language}'")
        if self.texts.setdefault((language, key), text) != text:
            raise DataError(
                f"{where}: the {self.kind} '{key}' has another text in '{language}' than in "
                f"{self.lines[language, key]}: give each its own id"
            )
        self.lines.setdefault((language, key), where)


class _Table:
    """Questions with their documents."""

    def __init__(self, name: str, columns: Columns, complete: bool) -> None:
        self.name, self.columns, self.complete = name, columns, complete
        self.queries = _Texts(name, "query")
        self.documents = _Texts(name, "document")
        self.answers: dict[str, dict[str, None]] = {}  # question -> documents, in the order of the rows
        self.versions: dict[str, dict[str, None]] = {}  # document -> ids of its versions
        self.merged: dict[tuple[str, str], str] = {}  # language and text -> document, if equal documents are merged

    def add(self, row: Row, key: str, code: str, label: str, *, required: bool) -> None:
        """Add the query and the documents of a row in a language; if `required`, a missing field is an error."""
        columns = self.columns
        document = _key(row, columns.document_id, label) or key
        if not columns.parallel:
            key, document = f"{code}/{key}", f"{code}/{document}"
        bodies = _texts(row, columns.document or "", label, required=required and not columns.unanswered)
        title = _texts(row, columns.title, label, required=False) if columns.title else []
        listed = "*" in (columns.document or "").split(".")
        for position, body in bodies:
            if columns.unanswered and not body.strip():
                continue
            text = " ".join([*(heading for _, heading in title if heading), body])
            version = f"{document}/{position}" if listed else document
            if columns.merge:
                version = self.merged.setdefault((code, text), version)
            self.documents.add(code, version, text, row.where)
            self.versions.setdefault(document, {})[f"{code}-d-{version}"] = None
        queries = _texts(row, columns.query or "", label, required=required)
        several = "*" in (columns.query or "").split(".")
        for position, text in queries:
            question = f"{key}/{position}" if several else key
            self.queries.add(code, question, text, row.where)
            self.answers.setdefault(question, {})[document] = None

    def collection(self) -> Collection:
        """Build the collection: every version of a question has its documents' versions in all languages."""
        relevant = {}
        for code, question in self.queries.texts:
            answers = [version for document in self.answers[question] for version in self.versions.get(document, ())]
            if not answers and self.complete and not self.columns.unanswered:
                line = self.queries.lines[code, question]
                raise DataError(f"{line}: the question '{question}' has no document in any of the languages")
            if answers:
                relevant[f"{code}-q-{question}"] = dict.fromkeys(answers, 1)
        return Collection.from_records(
            self.name,
            [
                Query(name, code, text, key)
                for (code, key), text in self.queries.texts.items()
                if (name := f"{code}-q-{key}") in relevant
            ],
            [Document(f"{code}-d-{key}", code, text) for (code, key), text in self.documents.texts.items()],
            relevant,
            parallel=self.columns.parallel,
        )


class _Sentences:
    """Parallel sentences: each is the query for its translations, and never a candidate for itself.

    If equal sentences are merged, rows that share a sentence are versions of the same meaning, and so on transitively:
    the translation of a translation is a translation.
    """

    def __init__(self, name: str, columns: Columns) -> None:
        self.name, self.columns = name, columns
        self.sentences = _Texts(name, "sentence")
        self.rows: dict[str, dict[str, str]] = {}  # row -> language -> sentence
        self.merged: dict[tuple[str, str], str] = {}  # language and text -> sentence, if equal sentences are merged

    def add(self, row: Row, key: str, code: str, label: str, *, required: bool) -> None:
        """Add the sentence of a row in a language; if `required`, a missing field is an error."""
        for _, text in _texts(row, self.columns.text or "", label, required=required)[:1]:
            sentence = self.merged.setdefault((code, text), key) if self.columns.merge else key
            self.sentences.add(code, sentence, text, row.where)
            self.rows.setdefault(key, {})[code] = sentence

    def collection(self) -> Collection:
        """Build the collection; a sentence without a translation is only a candidate."""
        meanings = self._meanings()
        members: dict[str, list[tuple[str, str]]] = {}  # meaning -> its sentences
        for sentence, meaning in meanings.items():
            members.setdefault(meaning, []).append(sentence)
        relevant = {
            f"{code}-{key}": others
            for (code, key), meaning in meanings.items()
            if (others := {f"{other}-{name}": 1 for other, name in members[meaning] if other != code})
        }
        if not relevant:
            raise DataError(f"{self.name} has no sentence in two of its languages: name languages that share rows")
        texts = [
            (f"{code}-{key}", code, text, meanings[code, key]) for (code, key), text in self.sentences.texts.items()
        ]
        return Collection.from_records(
            self.name,
            [Query(*fields) for fields in texts if fields[0] in relevant],
            [Document(*fields[:3]) for fields in texts],
            relevant,
            own_copies=True,
        )

    def _meanings(self) -> dict[tuple[str, str], str]:
        """Return the meaning of each sentence: the first of the rows that are connected by shared sentences."""
        from scipy.cluster.hierarchy import DisjointSet

        sets = DisjointSet(self.rows)
        for row, versions in self.rows.items():
            for sentence in versions.values():  # a sentence is named after the first row that has it
                sets.merge(row, sentence)
        first: dict[str, str] = {}
        for row in self.rows:
            first.setdefault(sets[row], row)
        return {(code, key): first[sets[key]] for code, key in self.sentences.texts}


def _key(row: Row, paths: tuple[str, ...], label: str = "") -> str:
    return "/".join(_single(row, path, label) for path in paths)


def _single(row: Row, path: str, label: str = "") -> str:
    """Return the only text or number at `path`, as text."""
    present = [value for value in values(row.fields, path, label) if value is not None]
    if len(present) != 1 or isinstance(present[0], bool) or not isinstance(present[0], str | int) or present[0] == "":
        raise _missing(row, path, f"no text or number at '{path}'")
    return checked_text(str(present[0]), row, path)


def _texts(row: Row, path: str, label: str, *, required: bool) -> list[tuple[int, str]]:
    """Return the texts at `path` in a language with their positions in a list; empty if the language is missing."""
    candidates = list(values(row.fields, path, label))
    if required and not candidates:
        raise _missing(row, path, f"no field '{path}'")
    for value in candidates:
        if value is not None and not isinstance(value, str):
            raise DataError(f"{row.where}: '{path.replace(PLACEHOLDER, label)}' must be a text, not {value!r:.40}")
    return [(index, checked_text(value, row, path)) for index, value in enumerate(candidates) if value is not None]


def _missing(row: Row, path: str, problem: str) -> DataError:
    fields = ", ".join(str(name) for name in list(row.fields)[:8]) or "no fields"
    hint = did_you_mean(path.split(".")[0], [str(name) for name in row.fields]) or f" (the row has {fields})"
    return DataError(f"{row.where}: {problem}{hint}")
