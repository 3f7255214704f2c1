"""The parts of an inferred source: the codes of labels, the files with rows, pins, and notes for the author."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hbt_bench.data.dialect import TableFormat
from hbt_bench.data.lines import suffix
from hbt_bench.data.records import PLACEHOLDER, Row, read_rows
from hbt_bench.errors import DataError, UsageError
from hbt_bench.files import file_hash
from hbt_bench.languages import general, match_labels, read_label
from hbt_bench.tasks.fields import label_spans
from hbt_bench.tasks.pair_labels import PairLabels

#: The largest number of labels that a note lists.
_MAX_LISTED = 8
#: The endings of files with rows in a folder. A line of a text file is a sentence, not a row.
_ENDINGS = (".jsonl", ".csv", ".tsv", ".tab")
#: The number of rows in which fields are detected.
_SAMPLE = 200


@dataclass(frozen=True)
class InferredSource:
    """The `source` of a task file that fits the data, and `notes` for the author on choices and unused data."""

    source: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def abbreviated(codes: Mapping[str, str]) -> list[str] | dict[str, str]:
    """Return a list of codes if the data use the same codes, else the mapping."""
    return sorted(codes) if all(code == label for code, label in codes.items()) else dict(codes)


def pin(path: Path) -> dict[str, Any]:
    """Return SHA-256 and size of a file; raises `UsageError` if it cannot be read."""
    try:
        return {"sha256": file_hash(path), "size": path.stat().st_size}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


# Labels of languages


def match_codes(labels: Iterable[str], rare: bool = False) -> tuple[dict[str, str], list[str]]:
    """Return our codes with the labels of the data, and the labels that are unknown or repeat a language.

    `rare` states that the labels are languages, so rare codes count too; see `hbt_bench.languages.read_label`.
    """
    labels = list(labels)
    codes = match_labels(labels, rare=rare)
    used = set(codes.values())
    return codes, [label for label in labels if label not in used]


def describe_unused(counts: Mapping[str, int], unit: str, codes: Mapping[str, str]) -> list[str]:
    """Return a note on the labels that are not used, with the number of rows or folders of each."""
    if not counts:
        return []
    most_frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(
        f"'{label[:30]}' ({count:,}{_reason(label, codes)})" for label, count in most_frequent[:_MAX_LISTED]
    )
    more = f" and {len(counts) - _MAX_LISTED} more" if len(counts) > _MAX_LISTED else ""
    total = sum(counts.values())
    return [
        f"{total:,} {unit}{'s are' if total > 1 else ' is'} left out, because the language is unknown or repeated: "
        f"{listed}{more}; to use them, add them to `languages`, for example {{sw: kiswahili}}"
    ]


def _reason(label: str, codes: Mapping[str, str]) -> str:
    """Return which label is used for the language of an unused label, or an empty text for an unknown language."""
    code = read_label(label, rare=True)
    if code is None:
        return ""
    code = code if code in codes else general(code)
    return f"; '{codes[code]}' is used for {code}" if code in codes else ""


# Files with rows


@dataclass(frozen=True)
class RowFiles:
    """The rows of a file, or of a file for each language, by the labels in their names.

    `data` is the file or folder of the user, `relative` its path in the task file, with ``{language}`` for a label, and
    `notes` are on files that are left out. To iterate reads all rows.
    """

    data: Path
    relative: str
    files: Mapping[str | None, Path]
    table: TableFormat
    notes: tuple[str, ...] = ()

    @classmethod
    def find(cls, data: Path, relative: str, table: TableFormat) -> RowFiles:
        """Find the files. Raises `UsageError` if a folder has no files by language, `DataError` if a name is a pair."""
        if not data.is_dir():
            return cls(data, relative, {None: data}, table)
        paths = sorted(path for path in data.iterdir() if path.is_file() and suffix(path) in _ENDINGS)
        name, files = _by_language(data, paths)
        codes, unused = match_codes(files)
        others = [path.name for path in paths if path not in files.values()]
        notes = describe_unused(dict.fromkeys([*unused, *others], 1), "file", codes)
        used: dict[str | None, Path] = {label: files[label] for label in codes.values()}
        return cls(data, f"{relative}/{name}", used, table, tuple(notes))

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows of all files, with the label of the file."""
        for label, path in self.files.items():
            for row in read_rows(path, self.table):
                yield row._replace(language=label)

    def sample(self) -> list[Row]:
        """Return the first rows of all files."""
        share = -(-_SAMPLE // len(self.files))
        return [row for path in self.files.values() for row in islice(read_rows(path, self.table), share)]

    def named(self) -> dict[str, Path]:
        """Return the files by their paths in the task file."""
        return {self.relative.replace(PLACEHOLDER, label or ""): path for label, path in self.files.items()}

    @property
    def by_language(self) -> bool:
        """Whether each language has a file."""
        return None not in self.files

    @property
    def first(self) -> Path:
        """The first file."""
        return next(iter(self.files.values()))


def no_layout(folder: Path) -> str:
    """Return the message for a folder that is in no layout of data."""
    return (
        f"{folder} is not a folder in BEIR's layout: it needs corpus.jsonl, queries.jsonl and qrels/test.tsv (or "
        "MS MARCO's collection.tsv, queries.test.tsv and qrels.test.tsv), or a folder with these files for each "
        "language, named by its code, or a file with rows for each language, such as en.jsonl and de.jsonl"
    )


def _by_language(folder: Path, paths: Iterable[Path]) -> tuple[str, dict[str, Path]]:
    """Return the name of files with ``{language}``, and the files by their labels."""
    names: dict[str, dict[str, Path]] = {}
    stems: dict[str, int] = {}
    for path in paths:
        stem = path.name.removesuffix(".gz").removesuffix(suffix(path))
        ending = path.name.removeprefix(stem)
        stems[stem] = 1
        spans = [(0, len(stem))] if read_label(stem) else label_spans(stem)
        for start, end in spans:
            if read_label(label := stem[start:end]):
                names.setdefault(f"{stem[:start]}{PLACEHOLDER}{stem[end:]}{ending}", {})[label] = path
    pairs = PairLabels.detect(stems)
    if pairs is not None and pairs.doubtful:
        raise DataError(
            f"the names of the files in {folder} may be locales or pairs of languages, for example "
            f"'{pairs.doubtful[0]}': write all rows into one file, with the name in a field such as 'lang'"
        )
    several = {name: files for name, files in names.items() if len(files) > 1}
    if not several:
        raise UsageError(no_layout(folder))
    most = max(map(len, several.values()))
    chosen = [name for name, files in several.items() if len(files) == most]
    if len(chosen) > 1:
        raise UsageError(
            f"{folder} has several files for each language ({', '.join(chosen[:4])}): put those of the task into a "
            "folder, or join queries and documents in the rows of one file"
        )
    return chosen[0], several[chosen[0]]
