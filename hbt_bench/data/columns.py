"""Collections from rows: questions with their documents, or parallel sentences."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from hbt_bench.data.cells import WrittenStructures
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.language_pairs import pair_splits
from hbt_bench.data.questions import QuestionTable
from hbt_bench.data.records import Row, is_missing, label_text, values
from hbt_bench.data.row_fields import ClusterIds, Columns, KeyedTexts, first_of_group, key_of, single_text, texts_at
from hbt_bench.errors import DataError

__all__ = ["Columns", "collect"]

log = logging.getLogger(__name__)


def collect(
    name: str, rows: Iterable[Row], columns: Columns, languages: Mapping[str, str], *, complete: bool = True
) -> Collection:
    """Build a collection from rows; `languages` maps our language codes to the codes in the data.

    Blanks and direction marks around a code in the data are dropped. Rows in other languages are skipped, and so are
    rows without a language or an id, with a warning. If the languages are not the `complete` data set, questions are
    dropped if all their documents are in other languages; if they are, each language must have a text.

    Raises `DataError` with the line for a field that is not a text or that no row has, and for a question or document
    with two texts in the same language; also if languages that are paired by row have different numbers of rows, and
    for texts that are lists or mappings written as text, and for records that `Collection.from_records` refuses.
    """
    table = _Sentences(name, columns) if columns.text else QuestionTable(name, columns, complete)
    codes = {label_text(label): code for code, label in languages.items()}
    counts: Counter[str | None] = Counter()
    skipped: Counter[str] = Counter()
    incomplete = _Incomplete(name, columns)
    for row in rows:
        own = None if row.language is None else label_text(row.language)
        counts[own] += 1
        if incomplete.has(row):
            continue
        key = key_of(row, columns.id) or f"row-{counts[own] - 1}"
        if own is None and columns.language is None:
            for label, code in codes.items():
                table.add(row, key, code, label, required=False)
            continue
        label = own or label_text(single_text(row, columns.language or ""))
        if columns.language_form and (pair := columns.language_form.codes(label, codes)):
            table.add(row, key, pair[1], label, required=True, query_code=pair[0])
        elif not columns.language_form and label in codes:
            table.add(row, key, codes[label], label, required=True)
        else:
            skipped[label] += 1
    incomplete.report(counts.total())
    if not columns.id and columns.parallel:
        _check_aligned(name, {codes[label]: counts[label] for label in codes} if counts.keys() & codes.keys() else {})
    if skipped and counts.total() == skipped.total() + incomplete.total:
        raise _no_rows(name, columns, codes, skipped)
    collection = table.collection()
    # the rows of a pair with another language are not read, so a language may have no text without it
    lacking = [code for code in languages if code not in table.languages and (complete or not columns.language_form)]
    if lacking:
        raise _no_texts(name, languages, lacking[0], skipped)
    _check_cells(collection)
    return collection


def _no_rows(name: str, columns: Columns, codes: Iterable[str], skipped: Counter[str]) -> DataError:
    """Return the error for rows that are all in languages which are not read; `skipped` counts their labels."""
    labels = ", ".join(label[:20] for label, _ in skipped.most_common(5))
    advice = ""
    if columns.language and not columns.language_form and any(next(pair_splits(label), None) for label in skipped):
        advice = "; if they are pairs of languages, set `language_form: '{query_language}-{language}'` in columns"
    return DataError(f"{name} has no row in {' '.join(codes)}: the codes in the data are {labels}{advice}")


def _no_texts(name: str, languages: Mapping[str, str], code: str, skipped: Counter[str]) -> DataError:
    """Return the error for a language without a text; `skipped` counts the rows in labels that are not read."""
    others = ", ".join(f"'{label:.20}'" for label, _ in skipped.most_common(5))
    unread = f"; rows in {others} are not read" if skipped else ""
    return DataError(
        f"{name} has no texts in {code}, which the data call '{languages[code]}'{unread}: map the code, as in "
        f"`languages: {{{code}: CODE}}`, or leave {code} out"
    )


def _check_cells(collection: Collection) -> None:
    """Raise `DataError` if all queries or all documents are lists or mappings written as text; warn of some."""
    written = WrittenStructures(collection.name)
    for query in collection.queries:
        written.add("query", query.text)
    for document in collection.documents:
        written.add("document", document.text)
    written.check()


class _Incomplete:
    """The rows that lack a language or an id, which some rows of exported tables do."""

    def __init__(self, name: str, columns: Columns) -> None:
        self.name = name
        self.paths = {"id": columns.id, "language": (columns.language,) if columns.language else ()}
        self.first: dict[str, Row] = {}  # what is missing -> the first row
        self.counts: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """The number of rows."""
        return self.counts.total()

    def has(self, row: Row) -> bool:
        """Count a row if it lacks a language or an id."""
        for kind, paths in self.paths.items():
            is_empty = _has_no_label if kind == "language" else is_missing
            if any(all(map(is_empty, values(row.fields, path))) for path in paths):
                self.first.setdefault(kind, row)
                self.counts[kind] += 1
                return True
        return False

    def report(self, rows: int) -> None:
        """Log the rows that are left out; raises `DataError` if these are all `rows`."""
        for kind, count in self.counts.items():
            first = self.first[kind]
            if count == rows:
                for path in self.paths[kind]:
                    single_text(first, path)  # raises the error of the missing field
            number = f"{count:,} rows have" if count > 1 else "1 row has"
            log.warning(f"{self.name}: {number} no {kind} and {'are' if count > 1 else 'is'} left out ({first.where})")


def _has_no_label(value: object) -> bool:
    """Return whether a value is missing, or has only blanks and direction marks."""
    return is_missing(value) or not label_text(value)


def _check_aligned(name: str, counts: Mapping[str, int]) -> None:
    """Raise `DataError` unless all languages have the same number of rows, because only the row number pairs them."""
    if len(set(counts.values())) > 1:
        (least, few), *_, (most, many) = sorted(counts.items(), key=lambda item: item[1])
        raise DataError(
            f"{name} has {few:,} rows in '{least}' and {many:,} in '{most}', but they are paired by row number: align "
            "the files, or name the `id` that pairs them"
        )


class _Sentences:
    """Parallel sentences: each is the query for its translations, and never a candidate for itself.

    If equal sentences are merged, rows that share a sentence are versions of the same meaning, and so on transitively:
    the translation of a translation is a translation.
    """

    def __init__(self, name: str, columns: Columns) -> None:
        self.name, self.columns = name, columns
        self.sentences = KeyedTexts(name, "sentence")
        self.rows: dict[str, dict[str, str]] = {}  # row -> language -> sentence
        self.merged: dict[tuple[str, str], str] = {}  # language and text -> sentence, if equal sentences are merged
        self.clusters = ClusterIds(columns.clusters)

    @property
    def languages(self) -> set[str]:
        """The languages with a sentence."""
        return self.sentences.languages

    def add(self, row: Row, key: str, code: str, label: str, *, required: bool, query_code: str | None = None) -> None:
        """Add the sentence of a row in a language; if `required`, a missing field is an error."""
        assert query_code is None, "a sentence has a single language"
        for _, text in texts_at(row, self.columns.text or "", label, required=required)[:1]:
            sentence = self.merged.setdefault((code, text), key) if self.columns.merge else key
            self.sentences.add(code, sentence, text, row.where)
            self.rows.setdefault(key, {})[code] = sentence
            self.clusters.add(row, key, label)

    def collection(self) -> Collection:
        """Build the collection; a sentence without a translation is only a candidate."""
        first = self._first_rows()
        meanings = {(code, key): first[key] for code, key in self.sentences.texts}
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
            clusters=self.clusters.pairs(self.name, first),
        )

    def _first_rows(self) -> dict[str, str]:
        """Return for each row the first of the rows that are connected by shared sentences."""
        # a sentence is named after the first row that has it
        shared = ((row, sentence) for row, versions in self.rows.items() for sentence in versions.values())
        return first_of_group(self.rows, shared)
