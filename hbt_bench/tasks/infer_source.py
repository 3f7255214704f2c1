"""Infer the `source` of a task file from a data file or a folder in BEIR's layout."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hbt_bench.data.beir import beir_names
from hbt_bench.data.records import PLACEHOLDER, Row, read_rows, values
from hbt_bench.errors import UsageError
from hbt_bench.languages import read_label
from hbt_bench.tasks.labels import describe_unused, match_codes
from hbt_bench.tasks.pair_folders import PairFolders, parallel_queries

#: The usual names of fields in data sets, by role, most specific first.
_USUAL_NAMES = {
    "id": ("id", "_id", "qid", "question_id", "query_id", "pair_id", "uid", "idx"),
    "language": ("language", "lang", "locale", "language_code", "lang_code"),
    "query": ("query", "question", "claim", "premise", "anchor", "prompt", "sentence1"),
    "document": ("document", "passage", "context", "answer_sentence", "answer", "positive", "body", "response", "text"),
}
#: The keys of `columns` that the command line can set.
_KEYS = ("id", "language", "query", "document", "document_id", "title", "text")
#: The number of rows in which fields are detected, and the deepest level of nested fields.
_SAMPLE, _MAX_DEPTH = 200, 3


@dataclass(frozen=True)
class InferredSource:
    """The `source` of a task file that fits the data, and `notes` for the author on choices and unused data."""

    source: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def infer_source(data: Path, relative: str, columns: str, language: str | None) -> InferredSource:
    """Infer the source from a data file or a folder in BEIR's layout.

    `relative` is the path of the data in the task file, `columns` the columns that the user names. Raises `UsageError`
    with the option to set if a column or the language cannot be inferred, and `DataError` if the data are damaged. For
    example, ``infer_source(Path("data.jsonl"), "data.jsonl", "query=title", "en")``.
    """
    chosen = _parse_columns(columns)
    return _from_beir(data, relative, language) if data.is_dir() else _from_rows(data, relative, chosen, language)


def _parse_columns(columns: str) -> dict[str, str]:
    """Parse the value of ``--columns``; for example, "query=q,document=d" becomes ``{"query": "q", ...}``."""
    chosen = {}
    for entry in filter(None, (entry.strip() for entry in columns.split(","))):
        key, equals, field = entry.partition("=")
        if not equals or key not in _KEYS:
            raise UsageError(
                f"--columns '{entry}' is not KEY=FIELD with a key among {', '.join(_KEYS)}: write, for example, "
                "query=question,document=answer,language=lang,id=id"
            )
        chosen[key] = field
    return chosen


# Folders in BEIR's layout


def _from_beir(data: Path, relative: str, language: str | None) -> InferredSource:
    """Infer the source from a folder in BEIR's layout, or from a folder with such a folder for each language."""
    folders, notes = {data: relative}, []
    codes: dict[str, str] = {language or "en": language or "en"}
    path, split = relative, _find_split(data)
    if split is None:
        labels = {child.name: child for child in sorted(data.iterdir()) if child.is_dir() and _find_split(child)}
        if pairs := PairFolders.detect(labels):
            return _from_pairs(pairs, labels, relative)
        codes, unused = match_codes(labels)
        notes = describe_unused(dict.fromkeys(unused, 1), "folder", codes)
        if not codes:
            raise UsageError(
                f"{data} is not a folder in BEIR's layout: it needs corpus.jsonl, queries.jsonl and qrels/test.tsv, or "
                "a folder with these files for each language, named by its code"
            )
        path = f"{relative}/{PLACEHOLDER}"
        folders = {labels[label]: f"{relative}/{label}" for label in codes.values()}
        split = _find_split(next(iter(folders)))
    elif language is None:
        raise UsageError(f"the language of {data} is unknown: set it, for example with --language en")
    pins = _beir_pins(folders, str(split))
    source = {"kind": "beir", "path": path, "split": split, "languages": _abbreviated(codes), "pins": pins}
    return InferredSource(source if len(codes) == 1 else {**source, "parallel": "none"}, tuple(notes))


def _from_pairs(pairs: PairFolders, labels: Mapping[str, Path], relative: str) -> InferredSource:
    """Infer the source from a folder for each pair of languages."""
    position = pairs.query_position
    codes = pairs.codes
    folders = {
        pair: folder for pair, folder in pairs.by_language(position or 0).items() if set(pair) <= set(codes.values())
    }
    order = f"{relative}/{pairs.path(position or 0)}"
    notes = [f"the folders are read as pairs of languages, by the path {order}"]
    if position is None:
        notes = [f"{notes[0]}: if the first language is that of the documents, write {relative}/{pairs.path(1)}"]
    unused = dict.fromkeys((label for label in labels if labels[label] not in folders.values()), 1)
    notes += describe_unused(unused, "folder", codes)
    split = str(_find_split(next(iter(folders.values()))))
    is_parallel, note = parallel_queries(folders, split)
    source = {
        "kind": "beir",
        "path": order,
        "split": split,
        "languages": _abbreviated(codes),
        "pins": _beir_pins({folder: f"{relative}/{folder.name}" for folder in folders.values()}, split),
        "parallel": "queries" if is_parallel else "none",
    }
    return InferredSource(source, (*notes, note))


def _beir_pins(folders: Mapping[Path, str], split: str) -> dict[str, Any]:
    """Return the pins of the files of some folders, by their paths in the task file."""
    pins = {}
    for folder, name in folders.items():
        for names in beir_names(split):
            file = next((candidate for candidate in names if (folder / candidate).is_file()), names[0])
            pins[f"{name}/{file}"] = _pin(folder / file)
    return pins


def _find_split(folder: Path) -> str | None:
    """Return the split of a folder in BEIR's layout, preferably "test", or None for other folders."""
    splits = {path.name.split(".")[0] for path in folder.glob("qrels/*.tsv*")}
    has_corpus = any((folder / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))
    return next((split for split in ("test", *sorted(splits)) if split in splits), None) if has_corpus else None


# Files with rows


def _from_rows(data: Path, relative: str, chosen: Mapping[str, str], language: str | None) -> InferredSource:
    """Infer the source from a file with rows: the chosen columns, and fields with usual names for the others."""
    sample = list(islice(read_rows(data), _SAMPLE))
    if not sample:
        raise UsageError(f"{data} is empty")
    columns = _complete(data, sample, chosen)
    codes, notes = _languages(data, columns, language)
    kind = "bitext" if "text" in columns else "jsonl" if ".jsonl" in data.name else "csv"
    source: dict[str, Any] = {
        "kind": kind,
        "path": relative,
        "languages": _abbreviated(codes),
        "columns": {key: columns[key] for key in ("id", "language", *columns) if key in columns},
    }
    if "language" in columns and "text" not in columns:
        source["parallel"], note = _infer_parallel(data, columns, set(codes.values()))
        notes.append(note)
    return InferredSource({**source, "pins": {relative: _pin(data)}}, tuple(notes))


def _complete(data: Path, sample: list[Row], chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the chosen columns with those that are detected; raises `UsageError` if query or document is unknown."""
    columns = dict(chosen)
    if "language" not in columns and not any(PLACEHOLDER in path for path in columns.values()):
        columns |= _detect_languages(sample, columns)
    if "text" not in columns:
        for role in ("query", "document"):
            columns.setdefault(role, _usual_field(sample, role, columns) or "")
            if not columns[role]:
                names = ", ".join(sorted({str(name) for row in sample for name in row.fields}))
                raise UsageError(
                    f"{data} has no field with a usual name for the {role} (its fields are {names}): name the field "
                    f"with --columns {role}=FIELD"
                )
    if "id" not in columns and (name := _usual_field(sample, "id", columns)):
        columns["id"] = name
    return columns


def _detect_languages(sample: list[Row], chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the column of language codes, or the columns with a path that has a field for each code."""
    for name in _USUAL_NAMES["language"]:
        known = sum(read_label(row.fields.get(name), rare=True) is not None for row in sample)
        if 2 * known > len(sample):
            return {"language": name}
    paths = list(dict.fromkeys(path for row in sample for path in _paths_by_language(row.fields)))
    if not paths or chosen.keys() >= {"query", "document"}:
        return {}
    last_names = {path: path.rsplit(".", 1)[-1] for path in paths}
    columns = {}
    for role in ("query", "document"):
        columns[role] = next((path for name in _USUAL_NAMES[role] for path in paths if last_names[path] == name), "")
    if columns["query"] and columns["document"]:
        return columns
    if all(_usual_field(sample, role, chosen) for role in ("query", "document")):
        return {}  # the fields named "id" and "no" are not Indonesian and Norwegian
    sentences = [path for path in paths if path.endswith(PLACEHOLDER)]
    return {"text": sentences[0]} if sentences else {}


def _paths_by_language(fields: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the paths to texts by language code, with ``{language}`` for the code; for example, "x.{language}"."""
    if not isinstance(fields, Mapping) or len(path) > _MAX_DEPTH:
        return
    codes = [key for key in fields if read_label(key)]
    if codes and (len(codes) == len(fields) or (not path and len(codes) > 1)):
        for code in codes:
            value = fields[code]
            if isinstance(value, str):
                yield ".".join([*path, PLACEHOLDER])
            elif isinstance(value, Mapping):
                yield from (".".join([*path, PLACEHOLDER, key]) for key in value if isinstance(value[key], str))
        return
    for key, value in fields.items():
        yield from _paths_by_language(value, (*path, str(key)))


def _usual_field(sample: list[Row], role: str, columns: Mapping[str, str]) -> str | None:
    """Return the field with a usual name for `role` that all rows have and no other column uses."""
    used = set(columns.values())
    types = (str, int) if role == "id" else (str,)
    for name in _USUAL_NAMES[role]:
        if name not in used and all(isinstance(row.fields.get(name), types) for row in sample):
            return name
    return None


def _infer_parallel(data: Path, columns: Mapping[str, str], labels: set[str]) -> tuple[bool, str]:
    """Return whether most ids occur in several languages, and a note with the reason."""
    if "id" not in columns:
        return False, "the rows have no id, so the languages are treated as independent (parallel: false)"
    languages: dict[str, set[str]] = {}
    for row in read_rows(data):
        label = str(row.fields.get(columns["language"]))
        if label in labels:
            languages.setdefault(str(row.fields.get(columns["id"])), set()).add(label)
    shared = sum(len(of_id) > 1 for of_id in languages.values())
    counts = f"{shared:,} of {len(languages):,} ids occur in several languages"
    if 2 * shared > len(languages):
        return True, f"{counts}, so equal ids are treated as translations (parallel: true): compare a few rows"
    return False, f"{counts}, too few for translations, so the languages are treated as independent (parallel: false)"


# Languages


def _languages(data: Path, columns: Mapping[str, str], language: str | None) -> tuple[dict[str, str], list[str]]:
    """Return all languages of the file, our codes with those in the data, and notes on rows in other languages."""
    if "language" in columns:
        labels = Counter(str(row.fields.get(columns["language"])) for row in read_rows(data))
    else:
        path = next((path for path in columns.values() if PLACEHOLDER in path), None)
        if path is None:
            if language is None:
                raise UsageError(
                    f"the language of {data} is unknown: set it, for example with --language en, or name its field "
                    "with --columns language=FIELD"
                )
            return {language: language}, []
        prefix = path.split(PLACEHOLDER)[0].rstrip(".")
        labels = Counter(key for row in read_rows(data) for key in _keys(row, prefix))
    codes, unused = match_codes(labels, rare="language" in columns)
    if not codes:
        raise UsageError(f"{data} has no known language code, only {', '.join(sorted(labels)[:5])}")
    return codes, describe_unused({label: labels[label] for label in unused}, "row", codes)


def _keys(row: Row, path: str) -> set[str]:
    """Return the keys of all mappings at `path`; an empty path means the row."""
    mappings = values(row.fields, path) if path else [row.fields]
    return {str(key) for mapping in mappings if isinstance(mapping, Mapping) for key in mapping}


def _abbreviated(codes: Mapping[str, str]) -> Any:
    """Return a list of codes if the data use the same codes, else the mapping."""
    return sorted(codes) if all(code == label for code, label in codes.items()) else dict(codes)


def _pin(path: Path) -> dict[str, Any]:
    """Return SHA-256 and size of a file; raises `UsageError` if it cannot be read."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return {"sha256": digest, "size": path.stat().st_size}
