"""What language bias a model has on one collection: summary, matrices, worst questions and a sentence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError
from hbt_bench.languages import LANGUAGES
from hbt_bench.measures.bias import DEPTH, MEASURES, Bias, LanguageGap
from hbt_bench.reports.table import Table
from hbt_bench.stats.paired import Clusters
from hbt_bench.text import as_code, as_prose

#: Measures that are small where there is little bias; of the others, large is good.
LOWER_IS_BETTER = {
    "rank_distance",
    "rank_distance_relative",
    "Max@R",
    "same_language_first",
    "same_language_excess@10",
    "remove_same_language",
}
#: Share of the top 10 above the fair share from which a preference is worth a sentence.
_NOTICEABLE = 0.05
_QUESTIONS = 10


@dataclass(frozen=True)
class BiasFigure:
    """A measure: mean over languages with its 95 % interval over questions, and the languages' own means."""

    measure: str
    value: float
    low: float
    high: float
    languages: dict[str, float]

    @property
    def worst(self) -> str:
        """The language with the worst mean."""
        pick = max if self.measure in LOWER_IS_BETTER else min
        return pick(self.languages, key=lambda code: self.languages[code])


@dataclass(frozen=True)
class WorstQuery:
    """A query whose answers lie far apart: the rank of each language's best answer, and what stood first."""

    query: str
    language: str
    text: str
    rank_distance: int
    ranks: dict[str, int]
    first_language: str
    first_text: str


@dataclass(frozen=True, eq=False)
class BiasReport:
    """Everything that `hbt-bench bias` tells; `notes` are measures left out, with the reason.

    `top_shares` and `mean_ranks` are matrices (query languages, document languages). `spread` is the rank distance of
    each query, and where answers are no translations of one another, or have none, the rank of the last one.
    """

    task: str
    model: str
    signature: str
    languages: tuple[str, ...]
    figures: tuple[BiasFigure, ...]
    top_shares: NDArray[np.float64]
    mean_ranks: NDArray[np.float64]
    pool_shares: NDArray[np.float64]
    spread: NDArray[np.float64]
    gap: LanguageGap
    worst: tuple[WorstQuery, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, bias: Bias, task: str, model: str, signature: str, collection: Collection | None) -> BiasReport:
        """Measure everything; without `collection` there are no texts, and so no worst questions."""
        figures, notes = [], []
        for name, measure in MEASURES.items():
            try:
                values = measure(bias)
            except DataError as error:
                notes.append(f"{name} is left out. {error}")
                continue
            if np.isfinite(values).any():
                figures.append(_figure(bias, name, values))
            else:
                notes.append(f"{name} is left out. It applies to none of the queries.")
        apart = any(figure.measure == "rank_distance" for figure in figures)
        return cls(
            task,
            model,
            signature,
            bias.judgements.languages,
            tuple(figures),
            bias.by_language(bias.top_shares()),
            bias.mean_ranks(),
            bias.pool_shares,
            bias.rank_distance() if apart else bias.max_rank(),
            bias.gap(),
            worst_questions(bias, collection) if collection and apart else (),
            tuple(notes),
        )

    def figure(self, measure: str) -> BiasFigure | None:
        """One of the figures; None where it was left out."""
        return next((figure for figure in self.figures if figure.measure == measure), None)

    @property
    def diagnosis(self) -> str:
        """One plain sentence."""
        apart = self.figure("rank_distance")
        relative = self.figure("rank_distance_relative")
        if apart is None or relative is None:
            return f"{self._preference}."
        return (
            f"{self._preference}; a question's answers lie {apart.value:,.0f} ranks apart, "
            f"{relative.value:.0%} of a random ranking's."
        )

    @property
    def _preference(self) -> str:
        """Which language stands in the top more often than its share of the pool."""
        by_document = np.nanmean(self.top_shares, axis=0) - self.pool_shares
        favourite = int(np.argmax(by_document))
        top = f"of the top {DEPTH} where"
        excess = self.figure(f"same_language_excess@{DEPTH}")
        if excess is not None and (excess.low > _NOTICEABLE or excess.high < -_NOTICEABLE):
            places = [self.languages.index(code) for code in excess.languages]
            own, fair = float(np.mean(self.top_shares[places, places])), float(np.mean(self.pool_shares[places]))
            verb = "prefers" if excess.low > _NOTICEABLE else "avoids"
            return f"It {verb} documents in the query's language: {own:.0%} {top} {fair:.0%} would be fair"
        if by_document[favourite] > _NOTICEABLE:
            name, share = _name(self.languages[favourite]), float(np.nanmean(self.top_shares[:, favourite]))
            return (
                f"It prefers documents in {name}, whatever the query's language: {share:.0%} {top} "
                f"{self.pool_shares[favourite]:.0%} would be fair"
            )
        if self.pool_shares.max() == 1:
            name = _name(self.languages[int(np.argmax(self.pool_shares))])
            return f"All documents are in {name}, so none is preferred for its language"
        return f"It shows no preference for a language in the top {DEPTH}"

    @property
    def gap_sentence(self) -> str:
        """How AP differs between the query languages."""
        gap = self.gap
        best, worst = (f"{code} {gap.languages[code]:.4f}" for code in (gap.best, gap.worst))
        return f"AP by query language: best {best}, worst {worst}, gap {gap.gap:.4f}, deviation {gap.deviation:.4f}."

    def summary(self) -> Table:
        """The figures with intervals and the worst language of each; an arrow says which way is better."""
        rows = [
            [
                f"{figure.measure} {'↓' if figure.measure in LOWER_IS_BETTER else '↑'}",
                _short(figure.value),
                f"[{_short(figure.low)}, {_short(figure.high)}]",
                f"{figure.worst} {_short(figure.languages[figure.worst])}",
            ]
            for figure in self.figures
        ]
        return Table(("measure", "mean", "95 % interval", "worst language"), rows)

    def matrices(self) -> tuple[Table, Table]:
        """Shares of the top 10 in percent, and mean ranks: a row a query language, a column a document language."""
        shares = [[code, *(_percent(value) for value in row)] for code, row in self._rows(self.top_shares)]
        ranks = [[code, *(_rank(value) for value in row)] for code, row in self._rows(self.mean_ranks)]
        fair = ["fair", *(_percent(value) for value in self.pool_shares)]
        return (
            Table(("query", *self.languages), [*shares, fair], f"% of the top {DEPTH}, by language of the document"),
            Table(("query", *self.languages), ranks, "mean rank of the answers, by language of the document"),
        )

    def _rows(self, matrix: NDArray[np.float64]) -> list[tuple[str, list[float]]]:
        return [(code, row.tolist()) for code, row in zip(self.languages, matrix, strict=True)]

    def by_language(self) -> Table:
        """One row a measure and language, with the mean over languages as language "all"."""
        rows = []
        for figure in self.figures:
            rows.append([figure.measure, "all", repr(figure.value), repr(figure.low), repr(figure.high)])
            rows += [[figure.measure, code, repr(value), "", ""] for code, value in figure.languages.items()]
        return Table(("measure", "language", "value", "low", "high"), rows)

    def json(self) -> str:
        """Everything as one document."""
        content: dict[str, Any] = {
            "task": self.task,
            "model": self.model,
            "signature": self.signature,
            "diagnosis": self.diagnosis,
            "measures": {
                figure.measure: {
                    "value": figure.value,
                    "low": figure.low,
                    "high": figure.high,
                    "languages": figure.languages,
                }
                for figure in self.figures
            },
            "AP": {
                "languages": self.gap.languages,
                "best": self.gap.best,
                "worst": self.gap.worst,
                "gap": self.gap.gap,
                "deviation": self.gap.deviation,
            },
            "languages": list(self.languages),
            f"top{DEPTH}_shares": _nested(self.top_shares),
            "mean_ranks": _nested(self.mean_ranks),
            "pool_shares": self.pool_shares.tolist(),
            "worst": [vars(query) for query in self.worst],
            "notes": list(self.notes),
        }
        return json.dumps(content, ensure_ascii=False, indent=2)

    def markdown(self) -> str:
        """The whole report in Markdown."""
        shares, ranks = self.matrices()
        parts = [
            f"# Language bias of {as_prose(self.model)} on {as_prose(self.task)}",
            as_prose(self.diagnosis),
            as_prose(self.gap_sentence),
            self.summary().markdown(),
        ]
        parts += [part for table in (shares, ranks) for part in (f"**{table.title}**", table.markdown())]
        if self.worst:
            parts += [f"**The {len(self.worst)} worst questions**", worst_table(self.worst).markdown()]
        return "\n\n".join([*parts, *map(as_prose, self.notes), f"`{as_code(self.signature)}`"])


def worst_table(worst: Sequence[WorstQuery]) -> Table:
    """The worst questions, one row each."""
    rows = [
        [
            f"{query.text} ({query.language})",
            f"{query.rank_distance:,}",
            " ".join(f"{code} {rank:,}" for code, rank in query.ranks.items()),
            f"{query.first_text} ({query.first_language})",
        ]
        for query in worst
    ]
    return Table(("question", "rank distance", "ranks of the answers", "what stood first"), rows)


def _figure(bias: Bias, name: str, values: NDArray[np.float64]) -> BiasFigure:
    clusters = Clusters.of(values, bias.judgements.questions, bias.judgements.query_languages)
    low, high = clusters.interval()
    means = bias.by_language(values)
    languages = {
        code: float(mean) for code, mean in zip(bias.judgements.languages, means, strict=True) if np.isfinite(mean)
    }
    return BiasFigure(name, float(np.mean(list(languages.values()))), low, high, languages)


def worst_questions(bias: Bias, collection: Collection) -> tuple[WorstQuery, ...]:
    """The questions with the largest rank distance, each in the language where it is largest."""
    distances = bias.rank_distance()
    found: dict[int, WorstQuery] = {}
    for row in np.argsort(-distances, kind="stable"):
        question = int(collection.questions[row])
        if question in found or not np.isfinite(distances[row]):
            continue
        pairs = slice(collection.qrels.offsets[row], collection.qrels.offsets[row + 1])
        ranks: dict[str, int] = {}
        for column, rank in zip(collection.qrels.documents[pairs], bias.ranks.pool[pairs], strict=True):
            language = collection.documents[column].language
            ranks[language] = min(int(rank), ranks.get(language, int(rank)))
        first = collection.documents[bias.ranks.top[row, 0]]
        query = collection.queries[row]
        found[question] = WorstQuery(
            query.id, query.language, query.text, int(distances[row]), ranks, first.language, first.text
        )
        if len(found) == _QUESTIONS:
            break
    return tuple(found.values())


def _name(code: str) -> str:
    return LANGUAGES[code].name if code in LANGUAGES else code


def _short(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.0f}"


def _rank(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.0f}"


def _nested(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in matrix.tolist()]
