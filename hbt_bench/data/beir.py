"""BEIR's layout (arXiv 2104.08663): a folder with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, plain or gzipped.

The tables of MS MARCO, collection.tsv, queries.SPLIT.tsv and qrels.SPLIT.tsv without headers, are read too. A data set
in several languages has a folder for each, or a field with the language of each row.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection as Names
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hbt_bench.data.collection import Collection
from hbt_bench.data.dialect import TableFormat
from hbt_bench.data.judgements import MAX_GRADE
from hbt_bench.data.language_pairs import pair_splits
from hbt_bench.data.lines import read_lines, suffix
from hbt_bench.data.readers import CollectionBuilder, Defect, Entry, Parallel, respelled
from hbt_bench.data.records import Row, checked_text, first_value, identifier, label_text, read_rows
from hbt_bench.data.row_fields import USUAL_FIELDS, usual_fields
from hbt_bench.errors import DataError
from hbt_bench.languages import general, read_label

log = logging.getLogger(__name__)

#: The usual names of the columns of a file of judgements, besides those of fields with ids and grades.
_COLUMNS = (
    {"query_id", "qid", "query", "topic", "topic_id"},
    {*USUAL_FIELDS["document_id"], "doc", "document"},
    {*USUAL_FIELDS["grade"], "score"},
)
#: The conventions of MS MARCO's tables.
_MS_MARCO = TableFormat(quoting="none", delimiter="\t", header=("_id", "text"))
#: First words of the names of splits to evaluate on, preferred words first.
_EVALUATION = ("test", "dev", "validation", "valid", "val", "eval")
#: A whole number; a column of numbers with a missing value becomes a column of floats.
_GRADE = re.compile(r"([+-]?[0-9]+)(?:\.0*)?")


class BeirFiles(NamedTuple):
    """The three files of a folder, and the languages of its queries and documents."""

    corpus: Path
    queries: Path
    qrels: Path
    query_language: str
    document_language: str


@dataclass(frozen=True)
class LanguageField:
    """The field `name` with the language of each row; `codes` maps the labels in the data to our codes.

    Queries without the field are in `query_language`, if it is given.
    """

    name: str
    codes: Mapping[str, str]
    query_language: str | None = None


def beir_names(split: str) -> tuple[tuple[str, ...], ...]:
    """Return the names of corpus, queries and qrels, preferred names first."""
    choices = (
        ("corpus.jsonl", "collection.tsv"),
        ("queries.jsonl", f"queries.{split}.tsv"),
        (f"qrels/{split}.tsv", f"qrels.{split}.tsv"),
    )
    return tuple(tuple(f"{name}{ending}" for name in names for ending in ("", ".gz")) for names in choices)


def find_splits(folder: Path) -> tuple[str, ...]:
    """Return the splits with judgements in a folder, sorted; for example, ``("dev", "test")``."""
    names = [path.name.removesuffix(".gz") for path in folder.glob("qrels/*.tsv*")]
    names += [path.name.removesuffix(".gz").removeprefix("qrels.") for path in folder.glob("qrels.*.tsv*")]
    return tuple(sorted({name.removesuffix(".tsv") for name in names if name.endswith(".tsv")}))


def preferred_split(splits: Names[str]) -> str | None:
    """Return the split to evaluate on: test before development, and train only if it is the only split.

    The result is None if none of the splits has a usual name, and there are several. For example,
    ``preferred_split(["train", "validation"])`` is "validation".
    """
    usual = [split for word in _EVALUATION for split in sorted(splits) if re.split("[-_.]", split.lower())[0] == word]
    others = [split for split in splits if not split.lower().startswith("train")]
    if usual:
        return usual[0]
    return others[0] if len(others) == 1 else next(iter(splits)) if len(splits) == 1 else None


def read_beir(
    name: str,
    folders: Iterable[BeirFiles],
    parallel: Parallel = "none",
    ignore_identical_ids: bool | None = None,
    language: LanguageField | None = None,
    pairs: bool = False,
    skip: frozenset[Defect] = frozenset(),
) -> Collection:
    """Read a folder, or a folder per language, into a collection.

    A document's text is its title, a space and its text, as in BEIR and MTEB. Queries without a judgement are dropped.
    With `parallel` "none", ids are unrelated across folders, even if their queries are in the same language.
    `ignore_identical_ids` is the rule for documents with the id of a query. `language` is for rows of several languages
    in one folder. With `pairs`, the folders of a query language share its queries, and those of a document language its
    documents, which may have another id in each folder. `skip` has the defects of the data that are skipped.

    Raises `DataError` with the line if a file does not have BEIR's layout.

    For example, ``read_beir("demo", [BeirFiles(corpus, queries, qrels, "en", "en")])`` with three paths.
    """
    builder = CollectionBuilder(name, parallel, pairs, ignore_identical_ids, skip)
    for files in folders:
        if language is not None:
            _add_by_row(builder, files, language)
            continue
        other_language = files.query_language != files.document_language
        prefix = f"{files.document_language}/" if parallel == "none" and other_language and not pairs else ""
        queries = {entry.id: entry.body for entry in _entries(files.queries, files.query_language, builder)}
        documents = _entries(files.corpus, files.document_language, builder)
        judgements = read_qrels(files.qrels, queries)
        builder.add((files.query_language, queries), (files.document_language, documents), judgements, prefix)
    return builder.build()


def _entries(path: Path, language: str, builder: CollectionBuilder) -> Iterator[Entry]:
    """Yield the entries of a file in a language, and warn if a field of its rows names other languages."""
    seen: set[str] = set()
    others: Counter[tuple[str, str]] = Counter()
    for row in entry_rows(path):
        entry = read_entry(row)
        if not builder.check_id(entry.id, entry.id in seen, row.where):
            continue
        seen.add(entry.id)
        field = language_field(row)
        label = label_text(first_value(row.fields, field)) if field else ""
        if (code := read_label(label)) and general(code) != general(language) and not _has_half(label, language):
            others[field, label] += 1
        yield entry
    if others:
        field = next(iter(others))[0]
        counts = ", ".join(f"{count:,} in {label}" for (_, label), count in others.most_common(5))
        log.warning(
            f"{path}: by the field '{field}', {counts}, but all rows are read as {language}; to use the field, add "
            f"`language: {field}` and its codes under `languages` to the source"
        )


def _has_half(label: str, language: str) -> bool:
    """Return whether a label of two languages, such as ``en-de``, has the language."""
    halves = (read_label(half) for first, _, second in pair_splits(label) for half in (first, second))
    return any(code and general(code) == general(language) for code in halves)


def entry_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a corpus or of queries, in JSON lines or in a table of MS MARCO, perhaps with a header."""
    if suffix(path) == ".jsonl":
        yield from read_rows(path)
        return
    names = {*USUAL_FIELDS["id"], *USUAL_FIELDS["document_id"]}
    rows = read_rows(path, _MS_MARCO)
    yield from (row for number, row in enumerate(rows) if number or str(row.fields["_id"]).lower() not in names)


def language_field(row: Row) -> str:
    """Return the path to the field with a usual name for the language, in the row or its `metadata`, else ""."""
    metadata = row.fields.get("metadata")
    nested = [f"metadata.{name}" for name in usual_fields(metadata, "language")] if isinstance(metadata, dict) else []
    paths = [*usual_fields(row.fields, "language"), *nested]
    return next((path for path in paths if isinstance(first_value(row.fields, path), str)), "")


def read_entry(row: Row) -> Entry:
    """Return the document or query of a row; raises `DataError` if it has no id or no text."""
    title = _text(row, "title") if row.fields.get("title") else ""
    return Entry(_id(row), _text(row, "text"), title)


def _id(row: Row) -> str:
    for name in ("_id", "id"):
        value = row.fields.get(name)
        key = value.strip() if isinstance(value, str) else identifier(value)  # as the cells of judgements
        if key:
            return checked_text(key, row, name)
    raise DataError(f"{row.where}: the row has no '_id'")


def _text(row: Row, field: str) -> str:
    value = row.fields.get(field)
    if not isinstance(value, str):
        raise DataError(f"{row.where}: the row has no text in '{field}'")
    return checked_text(value, row, field)


# Rows of several languages in a folder


def _add_by_row(builder: CollectionBuilder, files: BeirFiles, language: LanguageField) -> None:
    """Add a part for each pair of a query language and a document language."""
    queries = _by_language(files.queries, language, builder, language.query_language)
    documents = _by_language(files.corpus, language, builder)
    query_ids, document_ids = (
        {key for entries in by_language.values() for key in entries} for by_language in (queries, documents)
    )
    judgements = respelled(read_qrels(files.qrels, query_ids), query_ids, document_ids)
    judgements = builder.known(judgements, query_ids, document_ids)
    _check_known(builder.name, judgements, query_ids, document_ids)
    added: set[str] = set()
    for query_language in filter(None, queries):
        texts = {key: entry.body for key, entry in queries[query_language].items()}
        for document_language in filter(None, documents):
            entries = documents[document_language]
            relevant = {
                query: {document: grade for document, grade in grades.items() if document in entries}
                for query, grades in judgements.items()
                if query in texts
            }
            if document_language in added:  # the builder has the documents: give those that concern these queries
                needed = texts.keys() | {document for grades in relevant.values() for document in grades}
                entries = {key: entries[key] for key in entries.keys() & needed}
            added.add(document_language)
            builder.add((query_language, texts), (document_language, entries.values()), relevant)


def _by_language(
    path: Path, language: LanguageField, builder: CollectionBuilder, default: str | None = None
) -> dict[str, dict[str, Entry]]:
    """Return the entries of a file by language and id. Those in languages that are not read have the empty code."""
    entries: dict[str, dict[str, Entry]] = {}
    seen: dict[str, set[str]] = {}
    codes = {label_text(label): code for label, code in language.codes.items()}
    for row in entry_rows(path):
        value, entry = first_value(row.fields, language.name), read_entry(row)
        label = None if value is None else label_text(value)
        if label is None and default is None:
            raise DataError(f"{row.where}: the row has no language in '{language.name}'")
        code = default if label is None else codes.get(label, "")
        labels = seen.setdefault(entry.id, set())
        if not builder.check_id(entry.id, str(label) in labels, row.where):
            continue
        if labels and builder.parallel == "none":
            raise DataError(
                f"{row.where}: the id '{entry.id}' is repeated in another language; if equal ids are translations, set "
                "`parallel: documents`, or `parallel: queries` if only equal query ids are"
            )
        labels.add(str(label))
        entries.setdefault(code or "", {})[entry.id] = entry
    return entries


def _check_known(
    name: str,
    judgements: Mapping[str, Mapping[str, int]],
    query_ids: Container[str],
    document_ids: Container[str],
) -> None:
    """Raise `DataError` if no language has a judged query or a relevant document."""
    for query, grades in judgements.items():
        if query not in query_ids:
            raise DataError(f"{name} judges the query '{query}', which does not exist")
        missing = next((key for key, grade in grades.items() if grade > 0 and key not in document_ids), None)
        if missing is not None:
            raise DataError(f"{name}: query '{query}' names the document '{missing}', which does not exist")


# Judgements


def read_qrels(path: Path, queries: Container[str] = ()) -> dict[str, dict[str, int]]:
    """Return the grades by query and document, from BEIR's three columns or TREC's four, with or without a header.

    The first line is a header if its last cell is not a grade and its first cell is not one of the `queries`. If a
    header has usual names, they give the order of the columns. A grade is a whole number, also written as "1.0" or
    "+1". Raises `DataError` with the line for other grades and if a document has two grades for a query.

    For example, ``read_qrels(Path("qrels/test.tsv"))["q1"]`` is ``{"d1": 1}``.
    """
    relevant: dict[str, dict[str, int]] = {}
    lines = ((number, cells) for number, line in read_lines(path) if (cells := _cells(line)))
    columns = (0, -2, -1)
    for position, (number, cells) in enumerate(lines):
        if len(cells) not in (3, 4):
            raise DataError(f"{path}:{number}: {len(cells)} columns instead of query, document and grade")
        if position == 0 and not _GRADE.fullmatch(cells[-1]) and cells[0] not in queries:
            columns = _columns(cells)
            continue
        if len(cells) <= max(columns):
            raise DataError(f"{path}:{number}: {len(cells)} columns instead of the {max(columns) + 1} of the header")
        query, document, text = (cells[column] for column in columns)
        grade = parse_grade(text, f"{path}:{number}")
        if relevant.setdefault(query, {}).setdefault(document, grade) != grade:
            raise DataError(f"{path}:{number}: query '{query}' and document '{document}' are judged twice")
    return relevant


def _cells(line: str) -> list[str]:
    line = line.rstrip()  # CIRAL has tabs at the end of some lines
    return [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()


def _columns(header: list[str]) -> tuple[int, int, int]:
    """Return the positions of query, document and grade by their names, or by their usual order."""
    names, *usual = ([re.sub("[^a-z]", "", name.lower()) for name in names] for names in (header, *_COLUMNS))
    positions = [[index for index, name in enumerate(names) if name in role] for role in usual]
    if all(len(indexes) == 1 for indexes in positions):
        return positions[0][0], positions[1][0], positions[2][0]
    return 0, -2, -1


def parse_grade(text: str, where: str) -> int:
    """Return a grade, written as "1", "1.0" or "+1"; raises `DataError` if it is not a whole number or too large."""
    match = _GRADE.fullmatch(text)
    if match is None or len(match[1]) > 10:
        raise DataError(f"{where}: the grade '{text[:20]}' is not a whole number")
    grade = int(match[1])
    if grade > MAX_GRADE:
        raise DataError(f"{where}: the grade {grade} is above {MAX_GRADE}")
    return grade
