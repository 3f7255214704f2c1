"""Scores by script, family or resource class of the query's and the document's language, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import DataError
from hbt_bench.languages.groups import group_of
from hbt_bench.measures.bias import DEPTH, Bias
from hbt_bench.measures.registry import EXCESS, MEASURES
from hbt_bench.reports.table import Table, number
from hbt_bench.results.scores import hierarchy_of
from hbt_bench.stats.clusters import Clusters, Level

#: The measures by group of the query's language.
_BY_QUERY = ("AP", "rank_distance", "same_language_first", EXCESS)
#: The measure by groups of both languages.
_BY_PAIR = f"TLR@{DEPTH}"


@dataclass(frozen=True)
class Stratum:
    """A measure of the queries in a group of languages: the mean over languages, and the 95 % interval.

    `documents` is a group, too, or None for all documents.
    """

    measure: str
    queries: str
    documents: str | None
    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The value with the wider half of its interval."""
        width = max(self.high - self.value, self.value - self.low)
        return f"{number(self.value, self.measure)}\n±{number(width, self.measure)}"


@dataclass(frozen=True, eq=False)
class Strata:
    """All strata of a model `by` script, family or resources; `groups` has the languages of each group."""

    by: str
    groups: Mapping[str, Sequence[str]]
    strata: tuple[Stratum, ...]

    @classmethod
    def from_bias(cls, bias: Bias, by: str, cluster: str | None = None) -> Strata:
        """Compute the strata. `by` is "script", "family" or "resources".

        TLR@10 counts the answers in other languages only, so the query's own language does not blur its group. A
        measure that does not apply to the collection is left out.
        """
        groups: dict[str, list[str]] = {}
        for code in bias.judgements.languages:
            groups.setdefault(group_of(code, by), []).append(code)
        ordered = {name: groups[name] for name in sorted(groups)}
        level = hierarchy_of(bias.judgements).level(cluster)
        return cls(by, ordered, tuple(_strata(bias, ordered, level)))

    def tables(self, for_user: bool = False) -> tuple[Table, Table]:
        """Return a row per group of query languages: the measures, and TLR@10 by group of the documents.

        With `for_user`, arrows point to the values that are better for a reader of the query's language alone.
        """
        texts = {(stratum.measure, stratum.queries, stratum.documents): stratum.text for stratum in self.strata}
        measures = [name for name in _BY_QUERY if any(stratum.measure == name for stratum in self.strata)]
        headings = [MEASURES[name].heading_in("multi") for name in measures]
        for place, name in enumerate(measures):
            if for_user and (better := MEASURES[name].for_user):
                headings[place] = headings[place][:-1] + {"higher": "↑", "lower": "↓"}[better]
        by_query = [
            [name, " ".join(codes), *(texts.get((measure, name, None), "-") for measure in measures)]
            for name, codes in self.groups.items()
        ]
        by_pair = [[name, *(texts.get((_BY_PAIR, name, other), "-") for other in self.groups)] for name in self.groups]
        return (
            Table(("queries", "languages", *headings), by_query, f"by {self._title} of the query", names=2),
            Table(
                ("queries", *self.groups),
                by_pair,
                f"{_BY_PAIR} by {self._title} of the query and of the answers in other languages",
            ),
        )

    @property
    def _title(self) -> str:
        return "resource class" if self.by == "resources" else self.by

    def records(self) -> list[dict[str, Any]]:
        """Return the strata as JSON values."""
        return [{"by": self.by, **asdict(stratum)} for stratum in self.strata]


def _strata(bias: Bias, groups: Mapping[str, Sequence[str]], level: Level) -> Iterator[Stratum]:
    """Yield the strata of every measure; a stratum without a value is left out."""
    languages = bias.judgements.languages
    members = {name: np.isin(languages, codes) for name, codes in groups.items()}
    for name in _BY_QUERY:
        try:
            values = MEASURES[name].pool_values(bias)
        except DataError:
            continue
        for queries, inside in members.items():
            yield from _stratum(bias, level, values, inside, (name, queries, None))
    if bias.ranking.known_to(DEPTH):
        for documents, among in members.items():
            values = bias.target_language_recall(DEPTH, among)
            for queries, inside in members.items():
                yield from _stratum(bias, level, values, inside, (_BY_PAIR, queries, documents))


def _stratum(
    bias: Bias,
    level: Level,
    values: NDArray[np.float64],
    inside: NDArray[np.bool_],
    names: tuple[str, str, str | None],
) -> Iterator[Stratum]:
    """Yield the stratum of the queries in the languages `inside` (languages,), if it has a value."""
    chosen = np.where(inside[bias.judgements.query_languages], values, np.nan)
    if np.isfinite(chosen).any():
        clusters = Clusters.from_values(chosen, bias.judgements.questions, bias.judgements.query_languages)
        yield Stratum(*names, clusters.average, *clusters.at(level).interval())
