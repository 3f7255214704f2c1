"""Infer the `source` of a task file from a file with rows: the columns, the languages and their relation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hbt_bench.data.dialect import INFERRED, TableFormat, stated_keys
from hbt_bench.data.lines import suffix
from hbt_bench.data.records import PLACEHOLDER, Row, first_value, identifier, is_missing, read_rows, values
from hbt_bench.errors import UsageError
from hbt_bench.languages import read_label
from hbt_bench.tasks.document_fields import document_paths, find_grades, find_ids, sibling_paths
from hbt_bench.tasks.inferred import InferredSource, abbreviated, pin
from hbt_bench.tasks.labels import describe_unused, match_codes
from hbt_bench.tasks.language_fields import count_labels, name_of, paths_by_language

#: The usual names of fields in data sets, by role, most specific first.
_USUAL_NAMES = {
    "id": ("id", "_id", "qid", "question_id", "query_id", "pair_id", "uid", "idx"),
    "language": ("language", "lang", "locale", "language_code", "lang_code"),
    "query": ("query", "question", "claim", "premise", "anchor", "prompt", "sentence1"),
    "document": ("document", "passage", "context", "answer_sentence", "answer", "positive", "body", "response", "text"),
}
#: The keys of `columns` that the command line can set.
_KEYS = ("id", "language", "query", "document", "document_id", "title", "grade", "text")
#: The note on a field of sentences that nobody named.
_SENTENCES = (
    "the texts at {} are read as parallel sentences, each a query for its translations; for questions with documents, "
    "use --columns query=FIELD,document=FIELD"
)
#: The number of rows in which fields are detected.
_SAMPLE = 200


def infer_rows(
    data: Path, relative: str, columns: str, language: str | None, table: TableFormat = INFERRED
) -> InferredSource:
    """Infer the source from a file with rows.

    `relative` is the path of the data in the task file, `columns` the columns that the user names, and `table` the
    conventions of a table. Raises `UsageError` with the option to set if a column or the language cannot be inferred,
    and `DataError` if the data are damaged. For example,
    ``infer_rows(Path("data.jsonl"), "data.jsonl", "query=title", "en")``.
    """
    return _Rows(data, table).infer(relative, _parse_columns(columns), language)


def _parse_columns(columns: str) -> dict[str, str]:
    """Parse the value of ``--columns``; for example, "query=q,document=d" becomes ``{"query": "q", ...}``.

    Several documents are joined by a comma, which cannot be in a name.
    """
    chosen: dict[str, str] = {}
    for entry in filter(None, (entry.strip() for entry in columns.split(","))):
        key, equals, field = entry.partition("=")
        if not equals or key not in _KEYS:
            raise UsageError(
                f"--columns '{entry}' is not KEY=FIELD with a key among {', '.join(_KEYS)}: write, for example, "
                "query=question,document=answer,language=lang,id=id"
            )
        if key in chosen and key != "document":
            raise UsageError(f"--columns names two fields for {key}, '{chosen[key]}' and '{field}': name one of them")
        chosen[key] = f"{chosen[key]},{field}" if key in chosen else field
    return chosen


@dataclass(frozen=True)
class _Rows:
    """A file with rows."""

    data: Path
    table: TableFormat

    def infer(self, relative: str, chosen: Mapping[str, str], language: str | None) -> InferredSource:
        """Infer the source: the chosen columns, and fields with usual names for the others."""
        sample = list(islice(read_rows(self.data, self.table), _SAMPLE))
        if not sample:
            raise UsageError(f"{self.data} is empty")
        columns = self._complete(sample, chosen)
        codes, notes = self._languages(columns, language)
        if "id" not in chosen and (note := self._note_on_row_ids(columns)):
            del columns["id"]
            notes.append(note)
        notes += self._detail_documents(sample, columns, chosen)
        documents = columns.get("document", "").split(",")
        if len(documents) > 1 or "*" in documents[0]:
            notes.append(f"all texts in {' and '.join(documents)} are relevant documents of the query in their row")
        is_table = suffix(self.data) != ".jsonl"
        source: dict[str, Any] = {
            "kind": "bitext" if "text" in columns else "csv" if is_table else "jsonl",
            "path": relative,
            **(stated_keys(self.data, self.table) if is_table else {}),
            "languages": abbreviated(codes),
            "columns": {key: columns[key] for key in ("id", "language", *columns) if key in columns},
        }
        if len(documents) > 1:
            source["columns"]["document"] = documents
        if empty := self._count_empty(documents[0]):
            source["columns"]["unanswered"] = True
            notes.append(f"{empty:,} rows have no text in {documents[0]}, and are left out (unanswered: true)")
        if "language" in columns and "text" not in columns and len(codes) > 1:
            source["parallel"], note = self._infer_parallel(columns, set(codes.values()))
            notes.append(note)
        return InferredSource({**source, "pins": {relative: pin(self.data)}}, tuple(notes))

    # Columns

    def _complete(self, sample: Sequence[Row], chosen: Mapping[str, str]) -> dict[str, str]:
        """Return the chosen and detected columns; raises `UsageError` if query or document is unknown."""
        columns = dict(chosen)
        paths = paths_by_language(sample)
        if "language" not in columns and not any(PLACEHOLDER in path for path in columns.values()):
            columns |= self._detect_languages(sample, columns, paths)
        if "text" not in columns:
            for role in ("query", "document"):
                columns.setdefault(role, _usual_field(sample, role, columns) or "")
                if not columns[role] and role == "document":
                    names = _USUAL_NAMES["document"]
                    columns[role] = ",".join(document_paths(sample, names, set(columns.values())))
                if not columns[role]:
                    raise UsageError(self._unknown(role, sample, paths))
        if "id" not in columns and (name := _usual_field(sample, "id", columns)):
            columns["id"] = name
        return columns

    def _detail_documents(self, sample: Sequence[Row], columns: dict[str, str], chosen: Mapping[str, str]) -> list[str]:
        """Add the fields with the id, the title and the grade of documents to the columns, and return notes on them."""
        if "text" in columns:
            return [] if "text" in chosen else [_SENTENCES.format(columns["text"])]
        document, notes = columns["document"], []
        siblings = {
            name: path for name, path in sibling_paths(sample, document).items() if path not in columns.values()
        }
        if "grade" not in columns and (grade := find_grades(siblings, read_rows(self.data, self.table))):
            columns["grade"] = grade
            notes.append(
                f"'{grade}' is the grade of a document, relevant if above 0; if it is not, remove `grade` "
                "from columns, and `expect`"
            )
        if "document_id" not in columns and (
            path := find_ids(siblings, read_rows(self.data, self.table), document, columns.get("language"))
        ):
            columns["document_id"] = path
            notes.append(f"'{path}' is the id of a document, and equal ids are a single document")
        if "title" not in columns and "title" in siblings:
            if "*" in document:
                columns["title"] = siblings["title"]
                notes.append(f"'{siblings['title']}' is put before the text of a document")
            else:
                notes.append(
                    "the field 'title' is not used; to put it before the text of a document, use --columns title=title"
                )
        return notes

    def _count_empty(self, document: str) -> int:
        """Return the number of rows whose list of documents is empty."""
        if "*" not in document or PLACEHOLDER in document:
            return 0
        rows = read_rows(self.data, self.table)
        return sum(not any(isinstance(value, str) for value in values(row.fields, document)) for row in rows)

    def _note_on_row_ids(self, columns: Mapping[str, str]) -> str:
        """Return a note if the ids number the rows and not the queries, of which most have several rows, else ""."""
        if not {"id", "query"} <= columns.keys() or "language" in columns or PLACEHOLDER in columns["query"]:
            return ""
        ids: dict[str, str | None] = {}  # query -> id of its first row
        rows = others = 0
        for row in read_rows(self.data, self.table):
            query, key = first_value(row.fields, columns["query"]), identifier(first_value(row.fields, columns["id"]))
            if isinstance(query, str):
                rows += 1
                others += ids.setdefault(query, key) != key
        if not others or 3 * len(ids) > 2 * rows:
            return ""
        return (
            f"'{columns['id']}' has another value in {others:,} rows that repeat a query, so it is the id of a row, "
            f"and rows with equal queries are a single query; if they are not, add `id: {columns['id']}` to columns"
        )

    def _unknown(self, role: str, sample: Sequence[Row], paths: Sequence[str]) -> str:
        names = ", ".join(sorted({str(name) for row in sample for name in row.fields}))
        nested = f", by language {', '.join(paths)}" if paths else ""
        header = ""
        if suffix(self.data) != ".jsonl" and not self.table.header:
            header = "; if the first line is a row, name all columns with --header"
        return (
            f"{self.data} has no field with a usual name for the {role} (its fields are {names}{nested}): name the "
            f"field with --columns {role}=FIELD{header}"
        )

    def _detect_languages(
        self, sample: Sequence[Row], chosen: Mapping[str, str], paths: Sequence[str]
    ) -> dict[str, str]:
        """Return the column of language codes, or the columns with a path that has a field for each code."""
        for name in _fields(sample, "language"):
            if any(isinstance(row.fields.get(name), str) for row in sample):
                labels = self._count_languages(name)
                languages = sum(count for label, count in labels.items() if read_label(label, rare=True))
                if 2 * languages > labels.total():
                    return {"language": name}
        if not paths or chosen.keys() >= {"query", "document"}:
            return {}
        columns = {
            role: next((path for name in _USUAL_NAMES[role] for path in paths if name_of(path).lower() == name), "")
            for role in ("query", "document")
        }
        if columns["query"] and columns["document"]:
            return columns
        if all(_usual_field(sample, role, chosen) for role in ("query", "document")):
            return {}
        sentences = [path for path in paths if PLACEHOLDER in path.rsplit(".", 1)[-1]]
        return {"text": sentences[0]} if len(sentences) == 1 else {}

    # Languages

    def _count_languages(self, path: str) -> Counter[str]:
        """Return the labels in a column with their rows; rows without a label are not counted."""
        labels = (first_value(row.fields, path) for row in read_rows(self.data, self.table))
        return Counter(str(label) for label in labels if not is_missing(label))

    def _languages(self, columns: Mapping[str, str], language: str | None) -> tuple[dict[str, str], list[str]]:
        """Return all languages of the file, our codes with those in the data, and notes on rows in other languages."""
        notes: list[str] = []
        if "language" in columns:
            counts = self._count_languages(columns["language"])
        else:
            paths = [path for path in columns.values() if PLACEHOLDER in path]
            if not paths and language is None:
                raise UsageError(
                    f"the language of {self.data} is unknown: set it, for example with --language en, or name its "
                    "field with --columns language=FIELD"
                )
            if not paths:
                return {str(language): str(language)}, []
            counts, notes = self._count_in_paths(paths)
        codes, unused = match_codes(counts, rare="language" in columns)
        if not codes:
            listed = ", ".join(sorted(counts)[:5]) or "no label of a language"
            raise UsageError(
                f"{self.data} has no known language code, only {listed}: map the codes in a task file, for example "
                "`languages: {sw: kiswahili}`"
            )
        return codes, [*notes, *describe_unused({label: counts[label] for label in unused}, "row", codes)]

    def _count_in_paths(self, paths: Sequence[str]) -> tuple[Counter[str], list[str]]:
        """Return the labels of the texts at paths with their rows, and a note on those that a column lacks."""
        counts, *others = (count_labels(read_rows(self.data, self.table), path) for path in paths)
        if all(PLACEHOLDER in path.split(".") for path in paths):  # a label is a key of a mapping
            return counts, []
        partial = sorted(set().union(counts, *others) - set(counts).intersection(*others))
        shared = Counter({label: count for label, count in counts.items() if label not in partial})
        names = ", ".join(f"'{label}'" for label in partial)
        return shared, [f"{names}: left out, because not all of {', '.join(paths)} have it"] if partial else []

    def _infer_parallel(self, columns: Mapping[str, str], labels: set[str]) -> tuple[bool, str]:
        """Return whether most ids occur in several languages, and a note with the reason."""
        if "id" not in columns:
            return False, "the rows have no id, so the languages are treated as independent (parallel: false)"
        languages: dict[str, set[str]] = {}
        for row in read_rows(self.data, self.table):
            label = str(first_value(row.fields, columns["language"]))
            key = identifier(first_value(row.fields, columns["id"]))
            if label in labels and key is not None:
                languages.setdefault(key, set()).add(label)
        shared = sum(len(of_id) > 1 for of_id in languages.values())
        counts = f"{shared:,} of {len(languages):,} ids occur in several languages"
        if 2 * shared > len(languages):
            return True, f"{counts}, so equal ids are treated as translations (parallel: true): compare a few rows"
        return (
            False,
            f"{counts}, too few for translations, so the languages are treated as independent (parallel: false)",
        )


def _fields(sample: Sequence[Row], role: str) -> list[str]:
    """Return the fields with a usual name for `role`, most specific first; upper and lower case are the same."""
    names = dict.fromkeys(str(name) for row in sample for name in row.fields)
    return [name for usual in _USUAL_NAMES[role] for name in names if name.lower() == usual]


def _usual_field(sample: Sequence[Row], role: str, columns: Mapping[str, str]) -> str | None:
    """Return the field with a usual name for `role` that most rows have and no other column uses."""
    used = set(columns.values())
    for name in _fields(sample, role):
        present = [value for row in sample if not is_missing(value := row.fields.get(name))]
        fits = all((identifier(value) is not None) if role == "id" else isinstance(value, str) for value in present)
        if name not in used and fits and 2 * len(present) > len(sample):
            return name
    return None
