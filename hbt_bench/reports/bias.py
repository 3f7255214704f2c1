"""The language bias of a model on a collection: summary, matrices, worst questions and a diagnosis.

`BiasReport` is the report of a single model, and `model_details` the part of the results page on each model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError
from hbt_bench.identity.task_name import Mode
from hbt_bench.languages import find
from hbt_bench.measures.bias import DEPTH, Bias, LanguageGap
from hbt_bench.measures.registry import EXCESS, MEASURES
from hbt_bench.ranking.subsets import pair_name
from hbt_bench.reports.table import Table
from hbt_bench.results.store import Result
from hbt_bench.stats.clusters import Clusters
from hbt_bench.text import as_code, as_prose

#: A preference is mentioned if a language's share of the top 10 differs from its share of the pool by more than this.
_NOTICEABLE = 0.05
#: Worst questions in a report.
_MAX_QUESTIONS = 10
#: Bins of a distribution of rank distance, equal for all models on a collection.
BINS = 40
#: Characters of a text on the results page.
_MAX_TEXT = 400


@dataclass(frozen=True)
class BiasFigure:
    """A measure: its mean over languages, the 95 % interval over questions, and the mean of each language."""

    measure: str
    value: float
    low: float
    high: float
    languages: dict[str, float]

    @property
    def worst(self) -> str:
        """Return the language with the worst mean."""
        pick = max if MEASURES[self.measure].lower_is_better else min
        return pick(self.languages, key=lambda code: self.languages[code])


@dataclass(frozen=True)
class WorstQuery:
    """A query with distant answers: the rank of the best answer in each language, and the text that ranks first."""

    query: str
    language: str
    text: str
    rank_distance: int
    ranks: dict[str, int]
    first_language: str
    first_text: str


@dataclass(frozen=True, eq=False)
class BiasReport:
    """The report of `hbt-bench bias`. For example, `BiasReport.from_bias(...).markdown()`.

    `top_shares` and `mean_ranks` are matrices (query languages, document languages). `spread` is the rank distance of
    each query, or the rank of its last answer if the answers are not translations of each other. `notes` are the
    measures that are left out, with the reason.
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
    def from_bias(cls, bias: Bias, task: str, model: str, signature: str, collection: Collection | None) -> BiasReport:
        """Compute all bias measures. `collection` has the texts of the worst questions."""
        figures, notes = [], []
        for measure in (measure for measure in MEASURES if measure.bias):
            name = measure.name
            try:
                values = measure.pool_values(bias)
            except DataError as error:
                notes.append(f"{name} is left out. {error}")
                continue
            if not np.isfinite(values).any():
                notes.append(f"{name} is left out. It applies to none of the queries.")
                continue
            clusters = Clusters.from_values(values, bias.judgements.questions, bias.judgements.query_languages)
            means = zip(bias.judgements.languages, bias.by_language(values).tolist(), strict=True)
            languages = {code: mean for code, mean in means if np.isfinite(mean)}
            average = float(np.mean(list(languages.values())))
            figures.append(BiasFigure(name, average, *clusters.interval(), languages))
        has_distance = any(figure.measure == "rank_distance" for figure in figures)
        return cls(
            task,
            model,
            signature,
            bias.judgements.languages,
            tuple(figures),
            bias.by_language(bias.top_shares()),
            bias.mean_ranks(),
            bias.pool_shares,
            bias.rank_distance() if has_distance else bias.max_rank(),
            bias.gap(),
            _worst_questions(bias, collection) if collection and has_distance else (),
            tuple(notes),
        )

    def figure(self, measure: str) -> BiasFigure | None:
        """Return the figure of a measure, or None if it is left out."""
        return next((figure for figure in self.figures if figure.measure == measure), None)

    @property
    def diagnosis(self) -> str:
        """Return the preference for a language and the distance between answers, in words."""
        distance, relative = self.figure("rank_distance"), self.figure("rank_distance_relative")
        if distance is None or relative is None:
            return f"{self._preference}."
        return (
            f"{self._preference}. The answers to a question span {distance.value:,.0f} ranks, {relative.value:.0%} of "
            "the span in a random ranking."
        )

    @property
    def _preference(self) -> str:
        """Return the language that takes more of the top 10 than of the pool, as a clause."""
        excess = self.figure(EXCESS)
        if excess is not None and (excess.low > _NOTICEABLE or excess.high < -_NOTICEABLE):
            indices = [self.languages.index(code) for code in excess.languages]
            share, fair = float(self.top_shares[indices, indices].mean()), float(self.pool_shares[indices].mean())
            verb = "prefers" if excess.low > _NOTICEABLE else "avoids"
            return f"It {verb} documents in the query's language: {_shares(share, fair)}"
        shares = np.nanmean(self.top_shares, axis=0)
        favourite = int(np.argmax(shares - self.pool_shares))
        share, fair = float(shares[favourite]), float(self.pool_shares[favourite])
        if share - fair > _NOTICEABLE:
            name = _name(self.languages[favourite])
            return f"It prefers documents in {name}, whatever the query's language: {_shares(share, fair)}"
        if self.pool_shares.max() == 1:
            name = _name(self.languages[int(np.argmax(self.pool_shares))])
            return f"All documents are in {name}, so no language is preferred"
        return f"It shows no preference for a language in the top {DEPTH}"

    @property
    def gap_sentence(self) -> str:
        """Return the differences in AP between query languages, in words."""
        gap = self.gap
        best, worst = (f"{code} {gap.languages[code]:.4f}" for code in (gap.best, gap.worst))
        return f"AP by query language: best {best}, worst {worst}, gap {gap.gap:.4f}, deviation {gap.deviation:.4f}."

    def summary(self) -> Table:
        """Return the figures with their intervals and worst languages; an arrow points to better values."""
        rows = [
            [
                f"{figure.measure} {MEASURES[figure.measure].arrow}",
                _short(figure.value),
                f"[{_short(figure.low)}, {_short(figure.high)}]",
                f"{figure.worst} {_short(figure.languages[figure.worst])}",
            ]
            for figure in self.figures
        ]
        return Table(("measure", "mean", "95 % interval", "worst language"), rows)

    def matrices(self) -> tuple[Table, Table]:
        """Return the shares of the top 10 in percent, and the mean ranks: query languages by document languages."""

        def table(title: str, names: Sequence[str], matrix: NDArray[np.float64]) -> Table:
            texts = [["-" if np.isnan(value) else f"{value:.0f}" for value in row] for row in matrix.tolist()]
            rows = [[name, *cells] for name, cells in zip(names, texts, strict=True)]
            return Table(("query", *self.languages), rows, f"{title}, by document language")

        shares = 100 * np.vstack([self.top_shares, self.pool_shares])
        return (
            table(f"% of the top {DEPTH}", [*self.languages, "fair"], shares),
            table("mean rank of the answers", self.languages, self.mean_ranks),
        )

    def by_language(self) -> Table:
        """Return a row per measure and language; the language "all" is the mean over languages."""
        rows = []
        for figure in self.figures:
            rows.append([figure.measure, "all", repr(figure.value), repr(figure.low), repr(figure.high)])
            rows += [[figure.measure, code, repr(value), "", ""] for code, value in figure.languages.items()]
        return Table(("measure", "language", "value", "low", "high"), rows)

    def json(self) -> str:
        """Return the whole report as JSON."""
        content: dict[str, Any] = {
            "task": self.task,
            "model": self.model,
            "signature": self.signature,
            "diagnosis": self.diagnosis,
            "measures": {
                figure.measure: {key: value for key, value in vars(figure).items() if key != "measure"}
                for figure in self.figures
            },
            "AP": {key: getattr(self.gap, key) for key in ("languages", "best", "worst", "gap", "deviation")},
            "languages": list(self.languages),
            f"top{DEPTH}_shares": _as_lists(self.top_shares),
            "mean_ranks": _as_lists(self.mean_ranks),
            "pool_shares": self.pool_shares.tolist(),
            "worst": [vars(query) for query in self.worst],
            "notes": list(self.notes),
        }
        return json.dumps(content, ensure_ascii=False, indent=2)

    def markdown(self) -> str:
        """Return the whole report as Markdown."""
        shares, ranks = self.matrices()
        blocks = [
            f"# Language bias of {as_prose(self.model)} on {as_prose(self.task)}",
            as_prose(self.diagnosis),
            as_prose(self.gap_sentence),
            self.summary().markdown(),
        ]
        for table in (shares, ranks):
            blocks += [f"**{table.title}**", table.markdown()]
        if self.worst:
            rows = [
                [
                    f"{query.text} ({query.language})",
                    f"{query.rank_distance:,}",
                    " ".join(f"{code} {rank:,}" for code, rank in query.ranks.items()),
                    f"{query.first_text} ({query.first_language})",
                ]
                for query in self.worst
            ]
            worst = Table(("question", "rank distance", "ranks of the answers", "ranked first"), rows)
            blocks += [f"**The {len(rows)} worst questions**", worst.markdown()]
        return "\n\n".join([*blocks, *map(as_prose, self.notes), f"`{as_code(self.signature)}`"])


def _worst_questions(bias: Bias, collection: Collection) -> tuple[WorstQuery, ...]:
    """Return the questions with the largest rank distance, each in the language with its largest distance."""
    distances = bias.rank_distance()
    worst: dict[int, WorstQuery] = {}
    for row in np.argsort(-distances, kind="stable"):
        question = int(collection.questions[row])
        if question in worst or not np.isfinite(distances[row]):
            continue
        pairs = slice(collection.qrels.offsets[row], collection.qrels.offsets[row + 1])
        ranks: dict[str, int] = {}
        for column, rank in zip(collection.qrels.documents[pairs], bias.ranks.pool[pairs], strict=True):
            language = collection.documents[column].language
            ranks[language] = min(int(rank), ranks.get(language, int(rank)))
        first = collection.documents[bias.ranks.top[row, 0]]
        query = collection.queries[row]
        worst[question] = WorstQuery(
            query.id, query.language, query.text, int(distances[row]), ranks, first.language, first.text
        )
        if len(worst) == _MAX_QUESTIONS:
            break
    return tuple(worst.values())


def model_details(results: Mapping[Mode, Result], collection: Collection | None) -> dict[str, Any] | None:
    """Return the details of a model on the results page, as JSON values, or None if it has no ranks.

    Matrices are (query languages, document languages); a missing value is None. `ap` has the monolingual mode on its
    diagonal and the cross-lingual mode elsewhere. `ranks` are mean ranks of the answers in the pool, `shares`
    percentages of the top 10 by document language. `distances` are the shares of queries in each of `BINS` bins of rank
    distance from 0 to the size of the pool; `mean` is the mean rank distance, and `random` that of a random ranking.

    `results` are those of the model by mode, and `collection` has the texts of the worst questions. Raises
    `OutputError` if the ranks do not belong to the results.
    """
    ranked = [result.stored_ranks() for result in results.values() if result.ranks]  # every mode checks its ranks
    if not ranked:
        return None
    judgements = ranked[0].judgements
    bias, languages = Bias(judgements, ranked[0].ranks), judgements.languages
    scores = {name: values for mode in results if mode != "multi" for name, values in results[mode].subsets.items()}
    details: dict[str, Any] = {
        "languages": languages,
        "ap": [[scores.get(pair_name(query, document), {}).get("AP") for document in languages] for query in languages],
        "ranks": [],
        "shares": [],
        "pool": len(judgements.document_languages),
        "distances": [],
        "mean": None,
        "random": None,
        "worst": [],
    }
    if "multi" in results:
        details["ranks"] = _as_lists(np.round(bias.mean_ranks()))
        details["shares"] = _as_lists(np.round(100 * bias.by_language(bias.top_shares())))
        if judgements.parallel:  # other answers have no distance
            details |= _distances(bias, details["pool"])
            worst = _worst_questions(bias, collection) if collection else ()
            details["worst"] = [
                vars(query) | {"text": _cut(query.text), "first_text": _cut(query.first_text)} for query in worst
            ]
    return details


def _distances(bias: Bias, pool: int) -> dict[str, Any]:
    """Return the distribution of rank distance, its mean, and the mean of a random ranking."""
    distance, relative = bias.rank_distance(), bias.relative_rank_distance()
    finite = np.isfinite(distance)
    counts = np.histogram(distance[finite], bins=BINS, range=(0, pool))[0]
    positive = finite & (relative > 0)
    return {
        "distances": [round(share, 4) for share in (counts / max(1, counts.sum())).tolist()],
        "mean": float(distance[finite].mean()) if finite.any() else None,
        "random": float((distance[positive] / relative[positive]).mean()) if positive.any() else None,
    }


def _shares(top: float, pool: float) -> str:
    return f"they fill {top:.0%} of the top {DEPTH}, but {pool:.0%} of the pool"


def _name(code: str) -> str:
    language = find(code)
    return language.name if language else code


def _short(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT].rstrip() + " …"


def _as_lists(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in matrix.tolist()]
