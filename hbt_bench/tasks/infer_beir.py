"""Infer the `source` of a task file from folders in BEIR's layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hbt_bench.data.beir import beir_names, entry_rows, find_splits, language_field, preferred_split, read_qrels
from hbt_bench.data.language_pairs import LabelForm, pair_splits
from hbt_bench.data.readers import Parallel, SharedIds
from hbt_bench.data.records import PLACEHOLDER, first_value, label_text
from hbt_bench.errors import DataError, UsageError
from hbt_bench.languages import read_label
from hbt_bench.tasks.inferred import InferredSource, abbreviated, describe_unused, match_codes, no_layout, pin
from hbt_bench.tasks.pair_folders import PairFolders, parallel_queries
from hbt_bench.tasks.pair_labels import PairLabels


def infer_beir(data: Path, relative: str, language: str | None, split: str | None = None) -> InferredSource:
    """Infer the source from a folder in BEIR's layout, or from a folder with such a folder for each language.

    `relative` is the path of the data in the task file, `language` the language of a single folder, and `split` the
    split to evaluate on. Raises `UsageError` with the option to set if a choice is not certain. For example,
    ``infer_beir(Path("nano"), "nano", None)`` for folders nano/en and nano/de.
    """
    if _has_layout(data):
        return _from_folder(data, relative, language, split)
    labels = _children(data)
    if pairs := PairFolders.detect(labels):
        return _from_pairs(pairs, labels, relative, split)
    by_name = PairLabels.detect(dict.fromkeys(labels, 1))
    codes, unused = match_codes(labels)
    if not codes:
        raise UsageError(no_layout(data))
    folders = {label: labels[label] for label in codes.values()}
    split, notes = _choose_split(folders, split)
    notes += describe_unused(dict.fromkeys(unused, 1), "folder", codes)
    if by_name and not by_name.are_locales:
        form = LabelForm(by_name.separator)
        notes.append(
            f"the folders are read as locales, such as '{by_name.doubtful[0]}', because they share no queries or "
            f"documents; if they are pairs of languages, write {relative}/{form} and delete `expect`"
        )
    paths = {folder: f"{relative}/{label}" for label, folder in folders.items()}
    source = _source(f"{relative}/{PLACEHOLDER}", split, codes, paths)
    if len(codes) > 1:
        source["parallel"], note = _infer_parallel(folders, split)
        notes.append(note)
    return InferredSource(source, tuple(notes))


def is_beir(data: Path) -> bool:
    """Return whether `data` is a folder in BEIR's layout, or has such folders."""
    return data.is_dir() and (_has_layout(data) or bool(_children(data)))


def _children(data: Path) -> dict[str, Path]:
    """Return the folders in BEIR's layout in a folder, by name."""
    return {child.name: child for child in sorted(data.iterdir()) if child.is_dir() and _has_layout(child)}


def _has_layout(folder: Path) -> bool:
    """Return whether a folder has a corpus and judgements."""
    return bool(find_splits(folder)) and any((folder / name).is_file() for name in beir_names("test")[0])


def _source(path: str, split: str, codes: Mapping[str, str], folders: Mapping[Path, str]) -> dict[str, Any]:
    """Return the keys that every source of this kind has; `folders` are by their paths in the task file."""
    pins = {}
    for folder, name in folders.items():
        for names in beir_names(split):
            if not _file(folder, names).is_file() and not (folder / "qrels").is_dir():  # tables of MS MARCO
                listed = " or ".join(name for name in names if not name.endswith(".gz"))
                raise DataError(f"{folder} has no {listed}, which the judgements of the split '{split}' need: add it")
            file = _file(folder, names).relative_to(folder).as_posix()
            pins[f"{name}/{file}"] = pin(folder / file)
    return {"kind": "beir", "path": path, "split": split, "languages": abbreviated(codes), "pins": pins}


def _file(folder: Path, names: Sequence[str]) -> Path:
    """Return the file with the first of the names that the folder has."""
    return next((folder / name for name in names if (folder / name).is_file()), folder / names[0])


def _choose_split(folders: Mapping[str, Path], requested: str | None) -> tuple[str, list[str]]:
    """Return the split to evaluate on, which every folder has, and a note if it is a choice; see `preferred_split`."""
    splits = {name: find_splits(folder) for name, folder in folders.items()}
    everything = sorted({split for names in splits.values() for split in names})
    common = [split for split in everything if all(split in names for names in splits.values())]
    split = requested or preferred_split(common)
    if split is None and common:
        raise UsageError(f"there are judgements of the splits {', '.join(common)}: name a split with --split")
    if split is None or split not in common:
        problem = f"the split '{requested}' is not" if requested else "no split is"
        listed = "; ".join(f"{name} has {', '.join(names)}" for name, names in list(splits.items())[:5])
        raise UsageError(f"{problem} in every folder ({listed}): name a split with --split")
    others = " or ".join(name for name in everything if name != split)
    if others and not requested:
        return split, [f"the judgements of the split '{split}' are read; for those of {others}, use --split"]
    if split.startswith("train"):
        return split, [f"the judgements of the split '{split}' are read, on which models may have been trained"]
    return split, []


# A folder


def _from_folder(data: Path, relative: str, language: str | None, split: str | None) -> InferredSource:
    """Infer the source from a folder. A usual field of its rows may name their languages."""
    split, notes = _choose_split({data.name: data}, split)
    corpus, queries = (_file(data, names) for names in beir_names(split)[:2])
    name, labels = _language_field(corpus, queries)
    codes, unused = match_codes(dict.fromkeys(label for counts, _ in labels for label in counts if label), rare=True)
    if language is None or (len(codes) > 1 and labels[1].counts[""]):  # else it is the language of all rows
        _check_pairs(data, name, labels[0].counts + labels[1].counts)
    if language is None and len(codes) == 1:
        language = next(iter(codes))
        notes.append(f"all rows are read as {language}, by their field '{name}'; to change this, use --language")
    one_language = len(codes) < 2 or (language is not None and not labels[1].counts[""])
    if one_language and language is None:
        raise UsageError(f"the language of {data} is unknown: set it, for example with --language en")
    source = _source(relative, split, codes, {data: relative})
    if one_language:
        return InferredSource({**source, "languages": [language]}, tuple(notes))
    notes += describe_unused(
        {label: labels[0].counts[label] + labels[1].counts[label] for label in unused}, "row", codes
    )
    source["language"] = name
    if labels[1].counts[""]:
        if language is None:
            raise UsageError(f"{queries} has rows without '{name}': set the language of queries, as in --language en")
        source["query_language"] = language
    source["parallel"], note = _parallel_rows(*labels)
    return InferredSource(source, (*notes, f"the language of each row is that in its field '{name}'", note))


class _Labels(NamedTuple):
    """The rows of a file by the label of their language, empty if they have none, and the rows with an earlier id."""

    counts: Counter[str]
    repeated: int

    @classmethod
    def read(cls, path: Path, name: str) -> _Labels:
        """Read the labels in the field `name`."""
        counts: Counter[str] = Counter()
        ids = set()
        for row in entry_rows(path):
            label = first_value(row.fields, name)
            counts["" if label is None else label_text(label)] += 1
            ids.add(str(row.fields.get("_id", row.fields.get("id"))))
        return cls(counts, counts.total() - len(ids))


def _language_field(corpus: Path, queries: Path) -> tuple[str, tuple[_Labels, _Labels]]:
    """Return the usual field of languages that the first document has, and the labels of documents and of queries."""
    first = next(entry_rows(corpus), None)
    name = language_field(first) if first else ""
    label = label_text(first_value(first.fields, name)) if first and name else ""
    if not read_label(label, rare=True) and not any(pair_splits(label)):
        return "", (_Labels(Counter(), 0), _Labels(Counter(), 0))
    return name, (_Labels.read(corpus, name), _Labels.read(queries, name))


def _check_pairs(data: Path, name: str, counts: Counter[str]) -> None:
    """Raise `DataError` if labels of rows may be pairs of languages, because such rows need a folder for each pair."""
    pairs = PairLabels.detect({label: rows for label, rows in counts.items() if label})
    if pairs is None or pairs.are_locales:
        return
    label = pairs.doubtful[0]
    code = read_label(label, rare=True)
    locale = f", or, for a locale, map it in a task file, as in `languages: {{{code}: {label}}}`" if code else ""
    raise DataError(
        f"'{label}' in the field '{name}' of {data} may be a pair of languages: write the rows of each pair into a "
        f"folder such as {data.name}/{LabelForm('-')}{locale}"
    )


def _parallel_rows(documents: _Labels, queries: _Labels) -> tuple[Parallel, str]:
    """Return the meaning of equal ids in the rows of a folder, and a note with the reason."""
    if not queries.repeated:
        return "none", "no query id is repeated, so the languages are treated as independent (parallel: none)"
    parallel: Parallel = "documents" if documents.repeated else "queries"
    return (
        parallel,
        f"ids are repeated, so equal ids are treated as translations (parallel: {parallel}): compare a few rows",
    )


# A folder for each language, or for each pair


def _infer_parallel(folders: Mapping[str, Path], split: str) -> tuple[Parallel, str]:
    """Return the meaning of equal ids in several folders, and a note with the reason.

    Equal ids are translations if most query ids occur in several folders, and have the same relevant documents there.
    """
    ids = SharedIds.of(
        (query, grades)
        for folder in folders.values()
        for query, grades in read_qrels(_file(folder, beir_names(split)[2])).items()
    )
    counts = f"{ids.shared:,} of {ids.total:,} query ids occur in several folders"
    if not ids.are_most_shared:
        return "none", f"{counts}, too few for translations, so the folders are treated as independent (parallel: none)"
    if ids.are_translations:
        return "documents", (
            f"{counts}, all with the same relevant documents, so equal ids are treated as translations (parallel: "
            "documents): compare a few rows; if they are unrelated, write `parallel: none` and delete `expect`"
        )
    return "none", (
        f"{counts}, only {ids.equal:,} of them with the same relevant documents, so the folders are treated as "
        "independent (parallel: none); if the queries are translations of each other, write `parallel: queries` and "
        "delete `expect`"
    )


def _from_pairs(pairs: PairFolders, labels: Mapping[str, Path], relative: str, split: str | None) -> InferredSource:
    """Infer the source from a folder for each pair of languages."""
    position = pairs.query_position
    codes = pairs.codes
    folders = {
        pair: folder for pair, folder in pairs.by_language(position or 0).items() if set(pair) <= set(codes.values())
    }
    path = f"{relative}/{pairs.path(position or 0)}"
    notes = [f"the folders are read as pairs of languages, by the path {path}"]
    if position is None:
        notes = [f"{notes[0]}: if the first language is that of the documents, write {relative}/{pairs.path(1)}"]
    unused = dict.fromkeys((label for label in labels if labels[label] not in folders.values()), 1)
    notes += describe_unused(unused, "folder", codes)
    split, more = _choose_split({folder.name: folder for folder in folders.values()}, split)
    is_parallel, note = parallel_queries(folders, split)
    source = _source(path, split, codes, {folder: f"{relative}/{folder.name}" for folder in folders.values()})
    source["parallel"] = "queries" if is_parallel else "none"
    return InferredSource(source, (*notes, *more, note))
