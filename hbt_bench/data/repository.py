"""MTEB's layout of retrieval data: the configurations corpus, queries and qrels, on the hub or in a folder.

A data set in several languages has the three configurations for each language, such as ``de-corpus``, ``de-queries``
and ``de-qrels``, or for each pair of languages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hbt_bench.data import records
from hbt_bench.data.beir import parse_grade, read_entry
from hbt_bench.data.collection import Collection
from hbt_bench.data.readers import CollectionBuilder, Entry
from hbt_bench.data.records import Row, identifier
from hbt_bench.errors import DataError

#: The names of the configurations, preferred names first.
_CORPUS, _QUERIES, _QRELS = ("corpus",), ("queries", "query"), ("qrels", "default")
_JUDGEMENT = {"query-id", "corpus-id", "score"}


@dataclass(frozen=True)
class Repository:
    """A data set of the hub at a commit, or a local folder if `source` is a `Path`.

    For example, ``Repository(Path("dataset"), None, "test").read(builder, {"de": ("de", "de")})`` reads the
    configurations of the prefix ``de``: queries in German, documents in German.
    """

    source: str | Path
    revision: str | None
    split: str

    @cached_property
    def configs(self) -> frozenset[str]:
        """The names of all configurations."""
        if isinstance(self.source, str):
            records.check_remote(self.source)
            records.spare_retries()
        with records.data_errors(self.source):
            import datasets

            return frozenset(datasets.get_dataset_config_names(str(self.source), revision=self.revision))

    def has(self, prefix: str) -> bool:
        """Return whether there is a corpus under a prefix."""
        return _prefixed(prefix, _CORPUS[0]) in self.configs

    def read(self, builder: CollectionBuilder, prefixes: Mapping[str, tuple[str, str]]) -> Collection:
        """Return the collection of the configurations under `prefixes`, with their languages of queries and documents.

        Raises `DataError` if a configuration is missing or a row lacks a field. Instructions are not read.
        """
        for prefix, (query_language, document_language) in prefixes.items():
            queries = {entry.id: entry.body for entry in self._entries(prefix, _QUERIES, builder)}
            documents = self._entries(prefix, _CORPUS, builder)
            builder.add((query_language, queries), (document_language, documents), self._judgements(prefix))
        return builder.build()

    def _entries(self, prefix: str, names: tuple[str, ...], builder: CollectionBuilder) -> Iterator[Entry]:
        seen: set[str] = set()
        for row in self._rows(prefix, names):
            entry = read_entry(row)
            if builder.check_id(entry.id, entry.id in seen, row.where):
                seen.add(entry.id)
                yield entry

    def _judgements(self, prefix: str) -> dict[str, dict[str, int]]:
        relevant: dict[str, dict[str, int]] = {}
        for row in self._rows(prefix, _QRELS, _JUDGEMENT):
            query, document = (identifier(row.fields[name]) for name in ("query-id", "corpus-id"))
            if query is None or document is None:
                raise DataError(f"{row.where}: the judgement has no 'query-id' or no 'corpus-id'")
            grade = parse_grade(str(row.fields["score"]), row.where)
            if relevant.setdefault(query, {}).setdefault(document, grade) != grade:
                raise DataError(f"{row.where}: query '{query}' has two grades for the document '{document}'")
        return relevant

    def _rows(self, prefix: str, names: tuple[str, ...], fields: set[str] | None = None) -> Iterator[Row]:
        """Yield the rows of the first configuration of `names` that exists."""
        choices = [_prefixed(prefix, name) for name in names]
        config = next((name for name in choices if name in self.configs), None)
        if config is None:
            raise DataError(
                f"{self.source} has no configuration '{choices[0]}': check `config` and `languages` (it has "
                f"{', '.join(sorted(self.configs)[:6])}, ...)"
            )
        yield from records.read_hub(self.source, self.revision, config, self._split(config), fields=fields)

    def _split(self, config: str) -> str:
        """Return the split, or the only split that a configuration has, as in MTEB."""
        with records.data_errors(self.source):
            import datasets

            splits = datasets.get_dataset_split_names(str(self.source), config, revision=self.revision)
        if self.split in splits or len(splits) != 1:
            return self.split
        return str(splits[0])


def _prefixed(prefix: str, name: str) -> str:
    return f"{prefix}-{name}" if prefix else name
