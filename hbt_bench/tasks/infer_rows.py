"""Infer the `source` of a task file from files with rows: the columns, the languages and their relation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hbt_bench.data.dialect import INFERRED, TableFormat, stated_keys
from hbt_bench.data.language_pairs import LabelForm
from hbt_bench.data.lines import suffix
from hbt_bench.data.records import PLACEHOLDER, Row, first_value, identifier, is_missing, values
from hbt_bench.data.row_fields import USUAL_FIELDS, is_negative_field, usual_fields
from hbt_bench.errors import UsageError
from hbt_bench.tasks.fields import document_paths, find_grades, find_ids, name_of, paths_by_language, sibling_paths
from hbt_bench.tasks.inferred import InferredSource, RowFiles, abbreviated, pin
from hbt_bench.tasks.row_languages import RowLanguages, find_language_column

#: The keys of `columns` that the command line can set, and those that may have several fields.
_KEYS = ("id", "language", "query", "document", "document_id", "title", "grade", "text", "language_form")
_LISTS = ("id", "document", "document_id")
#: The note on a field of sentences that nobody named.
_SENTENCES = (
    "the texts at {} are read as parallel sentences, each a query for its translations; for questions with documents, "
    "use --columns query=FIELD,document=FIELD"
)
#: The note on fields with negative documents.
_NEGATIVES = (
    "the field {} is not used: its texts are no candidates, which makes the task easier; to add them, write a row for "
    "each document, with a `grade` of 0 for those that are not relevant"
)


def infer_rows(
    data: Path, relative: str, columns: str, language: str | None, table: TableFormat = INFERRED
) -> InferredSource:
    """Infer the source from a file with rows, or from a folder with such a file for each language.

    `relative` is the path of the data in the task file, `columns` the columns that the user names, and `table` the
    conventions of a table. Raises `UsageError` with the option to set if a column or the language cannot be inferred,
    and `DataError` if the data are damaged or have two meanings. For example,
    ``infer_rows(Path("data.jsonl"), "data.jsonl", "query=title", "en")``.
    """
    chosen = _parse_columns(columns)
    files = RowFiles.find(data, relative, table)
    if table != INFERRED and suffix(files.first) == ".jsonl":
        raise UsageError(f"{data} has JSON lines, not a table: leave out quoting, delimiter and header")
    try:
        form = LabelForm.parse(chosen["language_form"]) if "language_form" in chosen else None
    except ValueError as error:
        raise UsageError(f"--columns: {error}") from error
    languages = RowLanguages(files, form, is_stated=chosen.pop("language_form", None) is not None)
    return _Rows(files, languages).infer(chosen, language)


def _parse_columns(columns: str) -> dict[str, str]:
    """Parse the value of ``--columns``; for example, "query=q,document=d" becomes ``{"query": "q", ...}``.

    Several fields of a key are joined by a comma, which cannot be in a name.
    """
    chosen: dict[str, str] = {}
    for entry in filter(None, (entry.strip() for entry in columns.split(","))):
        key, equals, field = entry.partition("=")
        if not equals or not field or key not in _KEYS:
            raise UsageError(
                f"--columns '{entry}' is not KEY=FIELD with a key among {', '.join(_KEYS)}: write, for example, "
                "query=question,document=answer,language=lang,id=id; for two fields, repeat the key, as in id=a,id=b"
            )
        if key in chosen and key not in _LISTS:
            raise UsageError(f"--columns names two fields for {key}, '{chosen[key]}' and '{field}': name one of them")
        chosen[key] = f"{chosen[key]},{field}" if key in chosen else field
    return chosen


@dataclass(frozen=True)
class _Rows:
    """The rows of files, and their languages."""

    files: RowFiles
    languages: RowLanguages

    def infer(self, chosen: Mapping[str, str], language: str | None) -> InferredSource:
        """Infer the source: the chosen columns, and fields with usual names for the others."""
        sample = self.files.sample()
        if not sample:
            raise UsageError(f"{self.files.data} is empty")
        columns = self._complete(sample, chosen)
        codes, form, notes = self.languages.read(columns, language)
        if "id" not in chosen and (note := self._note_on_row_ids(columns, form)):
            del columns["id"]
            notes.append(note)
        notes += [*self._detail_documents(sample, columns, chosen, form), *_notes_on_negatives(sample, columns)]
        documents = columns.get("document", "").split(",")
        if len(documents) > 1 or "*" in documents[0]:
            notes.append(f"all texts in {' and '.join(documents)} are relevant documents of the query in their row")
        listed: dict[str, Any] = {
            key: columns[key].split(",") if "," in columns[key] else columns[key]
            for key in ("id", "language", *columns)
            if key in columns
        }
        source = {**self._keys_of_files("text" in columns), "languages": abbreviated(codes), "columns": listed}
        if form is not None:
            listed["language_form"] = str(form)
        if empty := self._count_empty(documents[0]):
            listed["unanswered"] = True
            notes.append(f"{empty:,} rows have no text in {documents[0]}, and are left out (unanswered: true)")
        has_rows_by_language = "language" in columns or self.files.by_language
        if has_rows_by_language and "text" not in columns and len(codes) > 1:
            source["parallel"], note = self.languages.infer_parallel(columns, set(codes.values()), form)
            notes.append(note)
        pins = {name: pin(path) for name, path in self.files.named().items()}
        return InferredSource({**source, "pins": pins}, (*notes, *self.files.notes))

    def _keys_of_files(self, has_sentences: bool) -> dict[str, Any]:
        """Return the keys of the source on its files."""
        is_table = suffix(self.files.first) != ".jsonl"
        return {
            "kind": "bitext" if has_sentences else "csv" if is_table else "jsonl",
            "path": self.files.relative,
            **(stated_keys(self.files.first, self.files.table) if is_table else {}),
        }

    # Columns

    def _complete(self, sample: Sequence[Row], chosen: Mapping[str, str]) -> dict[str, str]:
        """Return the chosen and detected columns; raises `UsageError` if query or document is unknown."""
        columns = dict(chosen)
        paths = [] if self.files.by_language else paths_by_language(sample)
        is_known = self.files.by_language or any(PLACEHOLDER in path for path in columns.values())
        if "language" not in columns and not is_known:
            columns |= self._detect_languages(sample, columns, paths)
        if "text" not in columns:
            for role in ("query", "document"):
                columns.setdefault(role, _usual_field(sample, role, columns) or "")
                if not columns[role] and role == "document":
                    columns[role] = ",".join(document_paths(sample, set(columns.values())))
                if not columns[role]:
                    raise UsageError(self._unknown(role, sample, paths))
        if "id" not in columns and (name := _usual_field(sample, "id", columns)):
            columns["id"] = name
        return columns

    def _detail_documents(
        self, sample: Sequence[Row], columns: dict[str, str], chosen: Mapping[str, str], form: LabelForm | None
    ) -> list[str]:
        """Add the fields with the id, the title and the grade of documents to the columns, and return notes on them."""
        if "text" in columns:
            return [] if "text" in chosen else [_SENTENCES.format(columns["text"])]
        document, notes = columns["document"], []
        siblings = {
            name: path for name, path in sibling_paths(sample, document).items() if path not in columns.values()
        }
        if "grade" not in columns and (grade := find_grades(siblings, self.files)):
            columns["grade"] = grade
            notes.append(
                f"'{grade}' is the grade of a document, relevant if above 0; if it is not, remove `grade` "
                "from columns, and `expect`"
            )
        if "document_id" not in columns and (
            path := find_ids(siblings, self.files, document, lambda row: self.languages.labels(row, columns, form)[1])
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
        return sum(not any(isinstance(value, str) for value in values(row.fields, document)) for row in self.files)

    def _note_on_row_ids(self, columns: Mapping[str, str], form: LabelForm | None) -> str:
        """Return a note if the ids number the rows and not the queries, of which most have several rows, else ""."""
        if not {"id", "query"} <= columns.keys() or PLACEHOLDER in columns["query"]:
            return ""
        if form is None and ("language" in columns or self.files.by_language):
            return ""
        ids: dict[tuple[str, str], str | None] = {}  # language and query -> id of its first row
        rows = others = 0
        for row in self.files:
            query, key = first_value(row.fields, columns["query"]), identifier(first_value(row.fields, columns["id"]))
            if isinstance(query, str):
                rows += 1
                label = self.languages.labels(row, columns, form)[0]
                others += ids.setdefault((label, query), key) != key
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
        if suffix(self.files.first) != ".jsonl" and not self.files.table.header:
            header = "; if the first line is a row, name all columns with --header"
        return (
            f"{self.files.data} has no field with a usual name for the {role} (its fields are {names}{nested}): name "
            f"the field with --columns {role}=FIELD{header}"
        )

    def _detect_languages(
        self, sample: Sequence[Row], chosen: Mapping[str, str], paths: Sequence[str]
    ) -> dict[str, str]:
        """Return the column of language codes, or the columns with a path that has a field for each code."""
        if name := find_language_column(self.files, sample):
            return {"language": name}
        if not paths or chosen.keys() >= {"query", "document"}:
            return {}
        columns = {
            role: next((path for name in USUAL_FIELDS[role] for path in paths if name_of(path).lower() == name), "")
            for role in ("query", "document")
        }
        if columns["query"] and columns["document"]:
            return columns
        if all(_usual_field(sample, role, chosen) for role in ("query", "document")):
            return {}
        sentences = [path for path in paths if PLACEHOLDER in path.rsplit(".", 1)[-1]]
        return {"text": sentences[0]} if len(sentences) == 1 else {}


def _usual_field(sample: Sequence[Row], role: str, columns: Mapping[str, str]) -> str | None:
    """Return the field with a usual name for `role` that most rows have and no other column uses."""
    used = set(columns.values())
    for name in usual_fields(dict.fromkeys(name for row in sample for name in row.fields), role):
        present = [value for row in sample if not is_missing(value := row.fields.get(name))]
        fits = all((identifier(value) is not None) if role == "id" else isinstance(value, str) for value in present)
        if name not in used and fits and 2 * len(present) > len(sample):
            return name
    return None


def _notes_on_negatives(sample: Sequence[Row], columns: Mapping[str, str]) -> list[str]:
    """Return a note on the fields of negative documents, which are not read."""
    used = {path.split(".")[0] for paths in columns.values() for path in paths.split(",")}
    names = dict.fromkeys(str(name) for row in sample for name, value in row.fields.items() if not is_missing(value))
    unused = [f"'{name}'" for name in names if is_negative_field(name) and name not in used]
    return [_NEGATIVES.format(" and ".join(unused))] if unused else []
