"""Folders in BEIR's layout for pairs of languages, such as ``en-de``: queries in a language, documents in another."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from hbt_bench.data.beir import beir_names, read_qrels
from hbt_bench.data.language_pairs import LabelForm, pair_splits
from hbt_bench.data.readers import SharedIds
from hbt_bench.languages import match_labels, parse_code


@dataclass(frozen=True)
class PairFolders:
    """Folders by the labels of their languages, the first label in the name first.

    `separator` is the text between the labels, and `folders` the folder of each pair.
    """

    separator: str
    folders: Mapping[tuple[str, str], Path]

    @classmethod
    def detect(cls, folders: Mapping[str, Path]) -> PairFolders | None:
        """Return the folders with names of pairs, or None if most names are of another form.

        Names such as ``pt-br`` are pairs (Portuguese and Breton) as well as locales. If all names are, they are pairs
        only if folders with a language in common have the same queries or documents.
        """
        separators: dict[str, dict[tuple[str, str], Path]] = {}
        for name, folder in folders.items():
            for first, separator, second in list(_splits(name))[:1]:
                separators.setdefault(separator, {})[first, second] = folder
        if not separators:
            return None
        separator, pairs = max(separators.items(), key=lambda item: len(item[1]))
        detected = cls(separator, pairs)
        locales = all(parse_code(f"{first}{separator}{second}") for first, second in pairs)
        if 2 * len(pairs) <= len(folders) or (locales and detected.query_position is None):
            return None
        return detected

    @property
    def names(self) -> set[str]:
        """The names of the folders."""
        return {folder.name for folder in self.folders.values()}

    @property
    def codes(self) -> dict[str, str]:
        """Our codes with the labels in the names."""
        return match_labels(dict.fromkeys(label for pair in self.folders for label in pair), rare=True)

    @property
    def query_position(self) -> int | None:
        """The position of the query language in a name, 0 or 1, or None if the data do not show it.

        Folders with a query language in common have the same queries, and those with a document language the same
        documents.
        """
        for position in (0, 1):
            if self._share("queries", position) or self._share("corpus", 1 - position):
                return position
        return None

    def _share(self, kind: str, position: int) -> bool:
        """Return whether two folders with the same label at `position` have equal files of a kind."""
        names = next(names for names in beir_names("test") if names[0].startswith(kind))
        return any(
            _equal(self.folders[first], self.folders[second], names)
            for first, second in combinations(self.folders, 2)
            if first[position] == second[position]
        )

    def by_language(self, position: int) -> dict[tuple[str, str], Path]:
        """Return the folders by the labels of queries and documents, if the query language is at `position`."""
        return {(pair[position], pair[1 - position]): folder for pair, folder in self.folders.items()}

    def path(self, position: int) -> str:
        """Return the last part of the source's path, such as ``{query_language}-{language}``."""
        return str(LabelForm(self.separator, position))


def parallel_queries(folders: Mapping[tuple[str, str], Path], split: str) -> tuple[bool, str]:
    """Return whether equal ids of queries are versions of a question, and a note with the reason.

    They are if most of them have the same relevant documents in a language; if no documents are judged for two query
    languages, if most ids occur in several of them. `folders` are by the labels of queries and documents.
    """
    by_language: dict[str, list[tuple[str, Mapping[str, int]]]] = {}  # language of documents -> queries with grades
    languages: dict[str, set[str]] = {}
    for (queries, documents), folder in folders.items():
        name = next(name for name in beir_names(split)[2] if (folder / name).is_file())
        for query, grades in read_qrels(folder / name).items():
            languages.setdefault(query, set()).add(queries)
            by_language.setdefault(documents, []).append((query, grades))
    counts = [SharedIds.of(versions) for versions in by_language.values()]
    compared, equal = sum(ids.shared for ids in counts), sum(ids.equal for ids in counts)
    if compared:
        is_parallel = SharedIds(compared, compared, equal).are_likely_translations
        reason = (
            f"{equal:,} of {compared:,} judged query ids have the same relevant documents in several query languages"
        )
    else:
        shared = sum(len(of_query) > 1 for of_query in languages.values())
        is_parallel = SharedIds(len(languages), shared, 0).are_most_shared
        reason = f"{shared:,} of {len(languages):,} query ids occur in several languages"
    meaning = "versions of a question (parallel: queries)" if is_parallel else "unrelated (parallel: none)"
    return is_parallel, f"{reason}, so equal ids of queries are treated as {meaning}: compare a few queries"


def _splits(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield the ways to read a name as two labels with a separator; for example, "en", "-", "pt-BR"."""
    for first, separator, second in pair_splits(name):
        # a region is in upper case, as in pt-BR, but the code of a language is not
        if separator in "-_" and (second[:1].islower() or first.isupper()):
            yield first, separator, second


def _equal(folder: Path, other: Path, names: Iterable[str]) -> bool:
    """Return whether two folders have the same file under a name of `names`."""
    paths = [(folder / name, other / name) for name in names]
    return any(
        first.is_file() and second.is_file() and filecmp.cmp(first, second, shallow=False) for first, second in paths
    )
