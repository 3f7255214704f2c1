"""The form of data that are there: which fields hold what, in which languages, and what cannot be used of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hbt_bench.data.beir import names as beir_names
from hbt_bench.data.records import Row, read_rows, values
from hbt_bench.errors import UsageError
from hbt_bench.languages import LANGUAGES, from_mteb

#: Names that data sets give to the parts, most telling first.
_NAMES = {
    "id": ("id", "_id", "qid", "question_id", "query_id", "pair_id", "uid", "idx"),
    "language": ("language", "lang", "locale", "language_code", "lang_code"),
    "query": ("query", "question", "claim", "premise", "anchor", "prompt", "sentence1"),
    "document": ("document", "passage", "context", "answer_sentence", "answer", "positive", "body", "response", "text"),
}
#: Rows that are looked at to find out the form, and how deep.
_LOOK, _DEPTH = 200, 3


@dataclass(frozen=True)
class Form:
    """The `source` of a task file that fits the data, and `notes` on what was concluded or left out."""

    source: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: Path, relative: str, columns: str, language: str | None) -> Form:
        """Look at a file or BEIR folder; `columns` are those that the user named, `relative` is the path in the task.

        Raises `UsageError` with the way to say it where the form cannot be told, and `DataError` for bad data.
        """
        given = _given(columns)
        return _beir(data, relative, language) if data.is_dir() else _table(data, relative, given, language)


def _given(columns: str) -> dict[str, str]:
    given = {}
    for part in filter(None, (part.strip() for part in columns.split(","))):
        key, equals, value = part.partition("=")
        if not equals or key not in ("id", "language", "query", "document", "document_id", "title", "text"):
            raise UsageError(f"--columns '{part}': write it like query=question,document=answer,language=lang,id=id")
        given[key] = value
    return given


def _beir(data: Path, relative: str, language: str | None) -> Form:
    """One folder in BEIR's layout, or one for each language."""
    folders, notes = {data: relative}, []
    codes: dict[str, str] = {language or "en": language or "en"}
    path, split = relative, _split(data)
    if split is None:
        labels = {child.name: child for child in sorted(data.iterdir()) if child.is_dir() and _split(child)}
        codes, left = _sorted_out(labels)
        notes = _left_out(dict.fromkeys(left, 1), "folder", codes)
        if not codes:
            raise UsageError(
                f"{data} is no folder in BEIR's layout: corpus.jsonl, queries.jsonl and qrels/test.tsv, in it or in a "
                "folder for each language, named by its code"
            )
        path = f"{relative}/{{language}}"
        folders = {labels[label]: f"{relative}/{label}" for label in codes.values()}
        split = _split(next(iter(folders)))
    elif language is None:
        raise UsageError(f"say in which language {data} is, as in --language en")
    pins = {}
    for folder, name in folders.items():
        for choice in beir_names(str(split)):
            found = next((one for one in choice if (folder / one).is_file()), choice[0])
            pins[f"{name}/{found}"] = _pin(folder / found)
    source = {"kind": "beir", "path": path, "split": split, "languages": _short(codes), "pins": pins}
    return Form(source if len(codes) == 1 else {**source, "parallel": "none"}, tuple(notes))


def _split(folder: Path) -> str | None:
    """The split of a folder in BEIR's layout, test before others; None where it is none."""
    found = {path.name.split(".")[0] for path in folder.glob("qrels/*.tsv*")}
    here = any((folder / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))
    return next((split for split in ("test", *sorted(found)) if split in found), None) if here else None


def _table(data: Path, relative: str, given: Mapping[str, str], language: str | None) -> Form:
    """A file with rows: the columns that are given, and those that have telling names."""
    sample = list(islice(read_rows(data), _LOOK))
    if not sample:
        raise UsageError(f"{data} is empty")
    columns = dict(given)
    if "language" not in columns and not any("{language}" in path for path in columns.values()):
        columns |= _by_language(sample, columns)
    if "text" not in columns:
        for part in ("query", "document"):
            columns.setdefault(part, _named(sample, part, columns) or "")
            if not columns[part]:
                names = ", ".join(sorted({str(name) for row in sample for name in row.fields}))
                raise UsageError(
                    f"{data}: cannot tell which field is the {part} (there are {names}): say it with "
                    f"--columns {part}=FIELD"
                )
    if "id" not in columns and (name := _named(sample, "id", columns)):
        columns["id"] = name
    codes, notes = _codes(data, columns, language)
    kind = "bitext" if "text" in columns else "jsonl" if ".jsonl" in data.name else "csv"
    source: dict[str, Any] = {
        "kind": kind,
        "path": relative,
        "languages": _short(codes),
        "columns": {key: columns[key] for key in ("id", "language", *columns) if key in columns},
    }
    if "language" in columns and "text" not in columns:
        source["parallel"], note = _shared(data, columns, set(codes.values()))
        notes.append(note)
    return Form({**source, "pins": {relative: _pin(data)}}, tuple(notes))


def _by_language(sample: list[Row], given: Mapping[str, str]) -> dict[str, str]:
    """Where the language is: a column of codes, or a field for each code."""
    for name in _NAMES["language"]:
        if all(_code(row.fields.get(name)) for row in sample):
            return {"language": name}
    found: dict[str, str] = {}
    for row in sample:
        for path in _placed(row.fields):
            found.setdefault(path, path)
    if not found or given.keys() >= {"query", "document"}:
        return {}
    inner = {path: path.rsplit(".", 1)[-1] for path in found}
    parts = {}
    for part in ("query", "document"):
        parts[part] = next((path for name in _NAMES[part] for path in found if inner[path] == name), "")
    if parts["query"] and parts["document"]:
        return parts
    plain = [path for path in found if path.endswith("{language}")]
    return {"text": plain[0]} if plain else {}


def _placed(fields: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The paths with ``{language}`` of a row: where the keys of a mapping are codes."""
    if not isinstance(fields, Mapping) or len(path) > _DEPTH:
        return
    codes = [key for key in fields if _code(key)]
    if codes and (len(codes) == len(fields) or (not path and len(codes) > 1)):
        for code in codes:
            value = fields[code]
            if isinstance(value, str):
                yield ".".join([*path, "{language}"])
            elif isinstance(value, Mapping):
                yield from (".".join([*path, "{language}", key]) for key in value if isinstance(value[key], str))
        return
    for key, value in fields.items():
        yield from _placed(value, (*path, str(key)))


def _code(value: object) -> str | None:
    """Our code of a label such as ``en``, ``eng_Latn`` or ``eng``."""
    if not isinstance(value, str):
        return None
    return value if value in LANGUAGES else from_mteb(value)


def _named(sample: list[Row], part: str, columns: Mapping[str, str]) -> str | None:
    """The field with a telling name that every row has and that has no other use."""
    used = set(columns.values())
    kinds = (str, int) if part == "id" else (str,)
    for name in _NAMES[part]:
        if name not in used and all(isinstance(row.fields.get(name), kinds) for row in sample):
            return name
    return None


def _codes(data: Path, columns: Mapping[str, str], language: str | None) -> tuple[dict[str, str], list[str]]:
    """All languages of the file: our codes with its own, and what is said of rows in others."""
    if "language" in columns:
        labels = Counter(str(row.fields.get(columns["language"])) for row in read_rows(data))
    else:
        path = next((path for path in columns.values() if "{language}" in path), None)
        if path is None:
            if language is None:
                raise UsageError(f"say in which language {data} is, as in --language en, or --columns language=FIELD")
            return {language: language}, []
        prefix = path.split("{language}")[0].rstrip(".")
        labels = Counter(key for row in read_rows(data) for key in _keys(row, prefix))
    codes, left = _sorted_out(labels)
    if not codes:
        raise UsageError(f"{data} has no known language code (there are {', '.join(sorted(labels)[:5])})")
    return codes, _left_out({label: labels[label] for label in left}, "row", codes)


def _sorted_out(labels: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Our codes with the labels of the data, and the labels that no language has or that come second for one."""
    codes: dict[str, str] = {}
    left = []
    for label in sorted(labels, key=lambda label: (label not in LANGUAGES, label)):
        code = _code(label)
        if code is None or code in codes:
            left.append(label)
        else:
            codes[code] = label
    return dict(sorted(codes.items())), left


def _left_out(counts: Mapping[str, int], kind: str, codes: Mapping[str, str]) -> list[str]:
    """What is said of labels that are not used, with the number of rows or folders of each."""
    if not counts:
        return []
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    used = {label: f", as '{codes[code]}' is {code}" for label in counts if (code := _code(label)) is not None}
    listed = ", ".join(f"'{label[:30]}' ({count:,}{used.get(label, '')})" for label, count in shown[:8])
    more = f" and {len(shown) - 8} more" if len(shown) > 8 else ""
    total = sum(counts.values())
    return [
        f"{total:,} {kind}{'s are' if total > 1 else ' is'} left out, whose language is not known or taken: {listed}"
        f"{more}; give those that you want a code in `languages`, as in {{sw: kiswahili}}"
    ]


def _keys(row: Row, path: str) -> set[str]:
    """Return the keys of all mappings at `path`; an empty path means the row."""
    mappings = values(row.fields, path) if path else [row.fields]
    return {str(key) for mapping in mappings if isinstance(mapping, Mapping) for key in mapping}


def _shared(data: Path, columns: Mapping[str, str], labels: set[str]) -> tuple[bool, str]:
    """Whether most ids are there in several of the languages, and what is said of that."""
    if "id" not in columns:
        return False, "there is no id, so that languages are taken for apart (parallel: false)"
    languages: dict[str, set[str]] = {}
    for row in read_rows(data):
        label = str(row.fields.get(columns["language"]))
        if label in labels:
            languages.setdefault(str(row.fields.get(columns["id"])), set()).add(label)
    shared = sum(len(found) > 1 for found in languages.values())
    found = f"{shared:,} of {len(languages):,} ids are there in several languages"
    if 2 * shared > len(languages):
        return True, f"{found}, so that they are taken for translations (parallel: true): look at some, or say false"
    return False, f"{found}, too few for translations, so that languages are taken for apart (parallel: false)"


def _short(codes: Mapping[str, str]) -> Any:
    return sorted(codes) if all(code == label for code, label in codes.items()) else dict(codes)


def _pin(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                digest.update(chunk)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return {"sha256": digest.hexdigest(), "size": path.stat().st_size}
