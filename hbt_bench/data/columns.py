"""From rows to a collection: which fields of a row hold the question, the query and the document, and in what language.

A field is a path of names with dots. ``{language}`` in a path stands for the code, so that one row may hold all
languages; a number picks from a list, and ``*`` takes all its members: ``questions.*.{language}.question``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.rows import Row, whole
from hbt_bench.errors import DataError, did_you_mean

#: What stands for the language's code in a path.
PLACEHOLDER = "{language}"


@dataclass(frozen=True)
class Columns:
    """Where the parts of a row are; `text` is for parallel sentences, `query` and `document` for everything else.

    `id` names the question: its versions in several languages share it. Without `id` a row is a question of its own.
    `document_id` is for documents that answer several questions. `language` is the field that has the code, where no
    path has the placeholder. `merge` takes equal sentences, or equal documents, of one language for one. With
    `unanswered` questions may lack a document, and are then left out. Without `parallel` an id is that of one
    language, and equal ids in two languages have nothing to do with each other.
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
        """The top-level fields of a row that are used."""
        paths = [*self.id, *self.document_id, self.language, self.query, self.document, self.title, self.text]
        return {path.split(".")[0] for path in paths if path and not path.startswith(PLACEHOLDER)}


def collect(
    name: str, rows: Iterable[Row], columns: Columns, languages: Mapping[str, str], *, whole: bool = True
) -> Collection:
    """Make a collection of rows; `languages` maps our codes to those that the data use.

    Where they are not the `whole` of the data set, a question whose documents are all in other languages is left out.

    Rows in other languages are passed over. Raises `DataError` with the line for a field that is missing or no text,
    a question or document that has two texts in one language, languages that are paired by row and have unlike numbers
    of rows, and what `Collection.from_records` refuses.
    """
    table = _Sentences(name, columns) if columns.text else _Table(name, columns, whole)
    own = {label: code for code, label in languages.items()}
    seen: Counter[str | None] = Counter()
    others: Counter[str] = Counter()
    for row in rows:
        key = _key(row, columns.id) or f"row-{seen[row.language]}"
        seen[row.language] += 1
        if row.language is None and columns.language is None:
            for label, code in own.items():
                table.add(row, key, code, label, whole=False)
            continue
        label = row.language or _one(row, columns.language or "")
        if label in own:
            table.add(row, key, own[label], label, whole=True)
        else:
            others[label] += 1
    if not columns.id and columns.parallel:
        _check_aligned(name, {own[label]: seen[label] for label in own} if seen.keys() & own.keys() else {})
    if others and not seen.total() - others.total():
        labels = ", ".join(label[:20] for label, _ in others.most_common(5))
        raise DataError(f"{name} has no row in {' '.join(own)}: the codes of the data are {labels}")
    return table.collection()


def _check_aligned(name: str, counts: Mapping[str, int]) -> None:
    """Raise `DataError` unless the languages have the same number of rows, by which alone they are paired."""
    if len(set(counts.values())) > 1:
        (least, few), *_, (most, many) = sorted(counts.items(), key=lambda item: item[1])
        raise DataError(
            f"{name} has {few:,} rows in '{least}' and {many:,} in '{most}', which are paired by their number: align "
            "the files, or name the `id` that pairs them"
        )


@dataclass
class _Texts:
    """Texts by language and key; a key that comes again must bring the same text."""

    name: str
    kind: str
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    seen: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, language: str, key: str, text: str, where: str) -> None:
        if not text.strip():
            raise DataError(f"{where}: the {self.kind} is empty in '{language}'")
        if self.texts.setdefault((language, key), text) != text:
            raise DataError(
                f"{where}: the {self.kind} '{key}' has another text in '{language}' than in "
                f"{self.seen[language, key]}: give each its own id"
            )
        self.seen.setdefault((language, key), where)


class _Table:
    """Questions with their documents."""

    def __init__(self, name: str, columns: Columns, whole: bool) -> None:
        self.name, self.columns, self.whole = name, columns, whole
        self.queries = _Texts(name, "query")
        self.documents = _Texts(name, "document")
        self.answers: dict[str, dict[str, None]] = {}  # question -> documents, in the order they come
        self.versions: dict[str, dict[str, None]] = {}  # document -> ids of its versions
        self.known: dict[tuple[str, str], str] = {}  # language and text -> document, when equal ones are merged

    def add(self, row: Row, key: str, code: str, label: str, *, whole: bool) -> None:
        """Take what a row has in one language; a row that is `whole` must have both parts."""
        columns = self.columns
        document = _key(row, columns.document_id, label) or key
        if not columns.parallel:
            key, document = f"{code}/{key}", f"{code}/{document}"
        body = _texts(row, columns.document or "", label, required=whole and not columns.unanswered)
        title = _texts(row, columns.title, label, required=False) if columns.title else []
        listed = "*" in (columns.document or "").split(".")
        for place, text in body:
            if columns.unanswered and not text.strip():
                continue
            full = " ".join([*(part for _, part in title if part), text])
            name = f"{document}/{place}" if listed else document
            kept = self.known.setdefault((code, full), name) if columns.merge else name
            self.documents.add(code, kept, full, row.where)
            self.versions.setdefault(document, {})[f"{code}-d-{kept}"] = None
        queries = _texts(row, columns.query or "", label, required=whole)
        several = "*" in (columns.query or "").split(".")
        for place, text in queries:
            question = f"{key}/{place}" if several else key
            self.queries.add(code, question, text, row.where)
            self.answers.setdefault(question, {})[document] = None

    def collection(self) -> Collection:
        """Every version of a question has the versions of its documents in all languages."""
        relevant = {}
        for code, question in self.queries.texts:
            judged = [one for document in self.answers[question] for one in self.versions.get(document, ())]
            if not judged and self.whole and not self.columns.unanswered:
                where = self.queries.seen[code, question]
                raise DataError(f"{where}: the question '{question}' has no document in any of the languages")
            if judged:
                relevant[f"{code}-q-{question}"] = dict.fromkeys(judged, 1)
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
    """Parallel sentences: each is the query for its translations, and no candidate for itself.

    Where equal sentences are merged, rows that share one are versions of the same, and so are those that share one with
    these: what is the translation of a translation is a translation.
    """

    def __init__(self, name: str, columns: Columns) -> None:
        self.name, self.columns = name, columns
        self.sentences = _Texts(name, "sentence")
        self.rows: dict[str, dict[str, str]] = {}  # row -> language -> sentence
        self.known: dict[tuple[str, str], str] = {}  # language and text -> sentence, when equal ones are merged

    def add(self, row: Row, key: str, code: str, label: str, *, whole: bool) -> None:
        """Take the sentence of a row in one language."""
        for _, text in _texts(row, self.columns.text or "", label, required=whole)[:1]:
            sentence = self.known.setdefault((code, text), key) if self.columns.merge else key
            self.sentences.add(code, sentence, text, row.where)
            self.rows.setdefault(key, {})[code] = sentence

    def collection(self) -> Collection:
        """A sentence without a translation is a candidate only."""
        meanings = self._meanings()
        members: dict[str, list[tuple[str, str]]] = {}  # meaning -> its sentences
        for sentence, meaning in meanings.items():
            members.setdefault(meaning, []).append(sentence)
        relevant = {}
        for (code, key), meaning in meanings.items():
            others = {f"{other}-{name}": 1 for other, name in members[meaning] if other != code}
            if others:
                relevant[f"{code}-{key}"] = others
        if not relevant:
            raise DataError(f"{self.name} has no sentence in two of its languages: name languages that share rows")
        texts = [(f"{one[0]}-{one[1]}", one[0], text, meanings[one]) for one, text in self.sentences.texts.items()]
        return Collection.from_records(
            self.name,
            [Query(*fields) for fields in texts if fields[0] in relevant],
            [Document(*fields[:3]) for fields in texts],
            relevant,
            own_copies=True,
        )

    def _meanings(self) -> dict[tuple[str, str], str]:
        """The meaning of each sentence: the first row of all that hang together by the sentences they share."""
        parents: dict[str, str] = {}

        def root(row: str) -> str:
            while parents.setdefault(row, row) != row:
                parents[row] = row = parents[parents[row]]
            return row

        order = {row: place for place, row in enumerate(self.rows)}
        for row, versions in self.rows.items():
            for sentence in versions.values():  # a sentence bears the name of the first row that has it
                one, two = sorted((root(row), root(sentence)), key=order.__getitem__)
                parents[two] = one
        return {one: root(one[1]) for one in self.sentences.texts}


def _key(row: Row, paths: tuple[str, ...], label: str = "") -> str:
    return "/".join(_one(row, path, label) for path in paths)


def _one(row: Row, path: str, label: str = "") -> str:
    """The single text or number at `path`."""
    found = [value for value in _values(row.fields, path.split("."), label) if value is not None]
    if len(found) != 1 or isinstance(found[0], bool) or not isinstance(found[0], str | int) or found[0] == "":
        raise _missing(row, path, f"no text or number at '{path}'")
    return whole(str(found[0]), row, path)


def _texts(row: Row, path: str, label: str, *, required: bool) -> list[tuple[int, str]]:
    """The texts at `path` in one language with their places in a list; a language that is not there has none."""
    values = list(_values(row.fields, path.split("."), label))
    found = [(place, value) for place, value in enumerate(values) if value is not None]
    for _, value in found:
        if not isinstance(value, str):
            raise DataError(f"{row.where}: '{path.replace(PLACEHOLDER, label)}' must be a text, not {value!r:.40}")
    if required and not values:
        raise _missing(row, path, f"no field '{path}'")
    return [(place, whole(value, row, path)) for place, value in found]


def _missing(row: Row, path: str, text: str) -> DataError:
    near = did_you_mean(path.split(".")[0], [str(name) for name in row.fields])
    return DataError(f"{row.where}: {text}{near or f' (there are {_names(row)})'}")


def _names(row: Row) -> str:
    return ", ".join(str(name) for name in list(row.fields)[:8]) or "no fields"


def _values(value: Any, path: list[str], label: str) -> Iterator[Any]:
    if not path:
        yield value
        return
    name, rest = path[0].replace(PLACEHOLDER, label), path[1:]
    if name == "*":
        for member in value if isinstance(value, list) else ():
            yield from list(_values(member, rest, label)) or [None]
    elif isinstance(value, list):
        if name.isdecimal() and int(name) < len(value):
            yield from _values(value[int(name)], rest, label)
    elif isinstance(value, Mapping) and name in value:
        yield from _values(value[name], rest, label)
