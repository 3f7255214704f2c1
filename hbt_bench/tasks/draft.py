"""A first task file for data that are there: the form is found out, counted, pinned and written down."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hbt_bench.corpus.atomic import write_text
from hbt_bench.corpus.beir import names as beir_names
from hbt_bench.corpus.places import Places
from hbt_bench.corpus.rows import Row, read_rows
from hbt_bench.errors import UsageError
from hbt_bench.languages import LANGUAGES, from_mteb
from hbt_bench.tasks.registry import definitions
from hbt_bench.tasks.spec import Expect, TaskSpec

#: Names that data sets give to the parts, most telling first.
_NAMES = {
    "id": ("id", "_id", "qid", "question_id", "query_id", "pair_id", "uid", "idx"),
    "language": ("language", "lang", "locale", "language_code", "lang_code"),
    "query": ("query", "question", "claim", "premise", "anchor", "prompt", "sentence1"),
    "document": ("document", "passage", "context", "answer_sentence", "answer", "positive", "body", "response", "text"),
}
#: Rows that are looked at to find out the form, and how deep.
_LOOK, _DEPTH = 200, 3

_HEAD = """\
# A task of hbt-bench. `hbt-bench tasks validate` checks this file; docs/tasks.md explains every key.
"""
_ABOUT = """\
metadata:
  reference:  # address of the paper or of the data set's page
  license:    # as in cc-by-4.0
  citation:   # BibTeX
"""


@dataclass(frozen=True)
class Draft:
    """A definition that fits its data, and where it is to be written."""

    path: Path
    content: Mapping[str, Any]
    expect: Expect

    @classmethod
    def of(
        cls, name: str, data: Path, output: Path | None, columns: str, language: str | None, data_dir: Path | None
    ) -> Draft:
        """Find out the form of `data`, read all of it and count.

        Raises `UsageError` with the way to say it where the form cannot be told, and `DataError` for bad data.
        """
        if not data.exists():
            raise UsageError(f"there is no file or folder {data}")
        if name in definitions():
            raise UsageError(f"there is a task '{name}' already: choose another name")
        folder, relative = _place(data, output, data_dir, name)
        given = _given(columns)
        find = _beir if data.is_dir() else _table
        source = find(data, relative, given, language)
        content = {"name": name, "source": source}
        try:
            spec = TaskSpec.model_validate(content).in_folder(folder)
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(f"{data}: {first['msg'].removeprefix('Value error, ')} (say it with --columns)") from error
        collection = spec.load(data_dir=data_dir)
        return cls(folder / f"{name}.yaml", content, Expect.of(collection))

    def write(self, overwrite: bool = False) -> Path:
        """Write the task file and return its path; raises `UsageError` rather than replace one."""
        if self.path.exists() and not overwrite:
            raise UsageError(f"{self.path} is there already: choose another name, or replace it with --overwrite")
        write_text(self.path, self.text)
        return self.path

    @property
    def text(self) -> str:
        """The file, with the keys to fill in by hand."""
        counts = yaml.safe_dump(
            {"expect": self.expect.model_dump(exclude_none=True)}, width=10**6, sort_keys=False, default_flow_style=None
        )
        name = self.content["name"]
        head = f"name: {name}\ntitle: {name}\ndescription: What is asked, and what is to be found.\n"
        parts = [head, _dump({"source": self.content["source"]}), _ABOUT, counts]
        return _HEAD + "".join(parts)


def _dump(content: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6, default_flow_style=None))


def _place(data: Path, output: Path | None, data_dir: Path | None, name: str) -> tuple[Path, str]:
    """The folder of the task file, and the path of the data in it or in the data folder."""
    real = data.resolve()
    folder = (output or (Path.cwd() if real.is_relative_to(Path.cwd().resolve()) else None)) or None
    for root in Places(name, data_dir=data_dir).roots:
        if real.is_relative_to(root.resolve()):
            return folder or Path.cwd(), real.relative_to(root.resolve()).as_posix()
    folder = folder or data.parent
    if not real.is_relative_to(folder.resolve()):
        raise UsageError(
            f"{data} is not inside {folder}: a task file lies beside or above its data, or the data are in the folder "
            "that --data-dir or HBT_BENCH_DATA names"
        )
    return folder, real.relative_to(folder.resolve()).as_posix()


def _given(columns: str) -> dict[str, str]:
    given = {}
    for part in filter(None, (part.strip() for part in columns.split(","))):
        key, equals, value = part.partition("=")
        if not equals or key not in ("id", "language", "query", "document", "document_id", "title", "text"):
            raise UsageError(f"--columns '{part}': write it like query=question,document=answer,language=lang,id=id")
        given[key] = value
    return given


def _beir(data: Path, relative: str, given: Mapping[str, str], language: str | None) -> dict[str, Any]:
    """One folder in BEIR's layout, or one for each language."""
    folders = {data: relative}
    codes: dict[str, str] = {language or "en": language or "en"}
    path, split = relative, _split(data)
    if split is None:
        labels = {child.name: child for child in sorted(data.iterdir()) if child.is_dir() and _split(child)}
        codes = {code: label for label in labels if (code := label if label in LANGUAGES else from_mteb(label))}
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
    return source if len(codes) == 1 else {**source, "parallel": "none"}


def _split(folder: Path) -> str | None:
    """The split of a folder in BEIR's layout, test before others; None where it is none."""
    found = {path.name.split(".")[0] for path in folder.glob("qrels/*.tsv*")}
    here = any((folder / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))
    return next((split for split in ("test", *sorted(found)) if split in found), None) if here else None


def _table(data: Path, relative: str, given: Mapping[str, str], language: str | None) -> dict[str, Any]:
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
    codes = _codes(data, columns, language)
    kind = "bitext" if "text" in columns else "jsonl" if ".jsonl" in data.name else "csv"
    source: dict[str, Any] = {
        "kind": kind,
        "path": relative,
        "languages": _short(codes),
        "columns": {key: columns[key] for key in ("id", "language", *columns) if key in columns},
    }
    if "language" in columns and "text" not in columns:
        source["parallel"] = _shared(data, columns) if "id" in columns else False
    return {**source, "pins": {relative: _pin(data)}}


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


def _codes(data: Path, columns: Mapping[str, str], language: str | None) -> dict[str, str]:
    """All languages of the file: our codes with its own."""
    if "language" in columns:
        labels = {str(row.fields.get(columns["language"])) for row in read_rows(data)}
    else:
        path = next((path for path in columns.values() if "{language}" in path), None)
        if path is None:
            if language is None:
                raise UsageError(f"say in which language {data} is, as in --language en, or --columns language=FIELD")
            return {language: language}
        keys = path.split("{language}")[0].rstrip(".").split(".") if not path.startswith("{") else []
        labels = {str(key) for row in read_rows(data) for key in _keys(row.fields, keys)}
    codes: dict[str, str] = {}
    for label in sorted(labels, key=lambda label: (label not in LANGUAGES, label)):
        if (code := _code(label)) and code not in codes:
            codes[code] = label
    if not codes:
        raise UsageError(f"{data} has no known language code (there are {', '.join(sorted(labels)[:5])})")
    return dict(sorted(codes.items()))


def _keys(value: Any, path: list[str]) -> Iterator[str]:
    if path and path[0] == "*" and isinstance(value, list):
        for member in value:
            yield from _keys(member, path[1:])
    elif isinstance(value, Mapping):
        if path:
            yield from _keys(value.get(path[0]), path[1:])
        else:
            yield from value


def _shared(data: Path, columns: Mapping[str, str]) -> bool:
    """Whether any id is there in several languages."""
    seen: dict[str, str] = {}
    return any(
        seen.setdefault(str(row.fields.get(columns["id"])), str(row.fields.get(columns["language"])))
        != str(row.fields.get(columns["language"]))
        for row in read_rows(data)
    )


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
