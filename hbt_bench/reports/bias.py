"""The language bias of a model on a collection: summary, matrices, worst questions and a diagnosis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError
from hbt_bench.languages import find
from hbt_bench.measures.bias import DEPTH, Bias, LanguageGap
from hbt_bench.measures.chance import chance
from hbt_bench.measures.hubness import Hubness, hubness
from hbt_bench.measures.preference import FIRST
from hbt_bench.measures.registry import EXCESS, MEASURES
from hbt_bench.reports.strata import Strata
from hbt_bench.reports.table import Table, render
from hbt_bench.reports.worst_questions import WorstQuery, worst_questions
from hbt_bench.results.scores import hierarchy_of
from hbt_bench.stats.clusters import Clusters
from hbt_bench.text import as_code, as_prose

#: A preference is mentioned if a language's share of the top 10 differs from its share of the pool by more than this.
_NOTICEABLE = 0.05
#: Whose view a report takes: that of all languages, or that of a reader of the query's language alone.
View = Literal["fair", "user"]


@dataclass(frozen=True)
class BiasFigure:
    """A measure: its mean over languages, the 95 % interval over questions, and the mean of each language.

    `chance` is the value of a random ranking, None if the measure has none.
    """

    measure: str
    value: float
    low: float
    high: float
    languages: dict[str, float]
    chance: float | None = None

    def arrow(self, view: View = "fair") -> str:
        """Return an arrow in the direction of better values."""
        measure = MEASURES[self.measure]
        return measure.arrow if view == "fair" else {"higher": "↑", "lower": "↓"}[measure.for_user]

    @property
    def worst(self) -> str:
        """Return the language with the worst mean."""
        return self.worst_in("fair")

    def worst_in(self, view: View) -> str:
        """Return the language with the worst mean in a view."""
        pick = max if self.arrow(view) == "↓" else min
        return pick(self.languages, key=lambda code: self.languages[code])

    @property
    def at_chance(self) -> bool:
        """Whether the interval has the value of a random ranking, or the mean is on its worse side."""
        if self.chance is None:
            return False
        return self.high >= self.chance if self.arrow() == "↓" else self.low <= self.chance


@dataclass(frozen=True, eq=False)
class BiasReport:
    """The report of `hbt-bench bias`. For example, `BiasReport.from_bias(...).markdown()`.

    `top_shares` and `mean_ranks` are matrices (query languages, document languages). `spread` is the rank distance of
    each query, or the rank of its last answer if the answers are not translations of each other; it is empty if the
    cut of a run leaves both open, and `gap` is then None. `hubs` is the hubness of the pool, None if the top is too
    short, `view` decides which measures are shown, and `strata` are
    scores by groups of languages. `notes` are the measures that are left out, with the reason.
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
    gap: LanguageGap | None
    worst: tuple[WorstQuery, ...]
    notes: tuple[str, ...]
    interval_signature: str = ""
    hubs: Hubness | None = None
    view: View = "fair"
    strata: Strata | None = None

    def __repr__(self) -> str:
        return f"BiasReport({self.model} on {self.task}, {len(self.languages)} languages)"

    def _repr_html_(self) -> str:
        """Return the diagnosis, the summary and the matrices for a notebook."""
        sentences = [sentence.removesuffix(".") for sentence in (self.diagnosis, self.gap_sentence) if sentence]
        return render([self.summary(), *self.matrices()], "html", sentences)

    @classmethod
    def from_bias(
        cls,
        bias: Bias,
        task: str,
        model: str,
        signature: str,
        collection: Collection | None,
        cluster: str | None = None,
        *,
        view: View = "fair",
        by: str | None = None,
    ) -> BiasReport:
        """Compute all bias measures. `collection` has the texts of the worst questions.

        `cluster` is the level of the clusters in intervals; see `Level.choose`. `by` adds scores by script, family or
        resources of the languages.
        """
        level = hierarchy_of(bias.judgements).level(cluster)
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
            by_chance = chance(measure, bias.judgements, "multi")
            figures.append(BiasFigure(name, average, *clusters.at(level).interval(), languages, by_chance))
        has_distance = any(figure.measure == "rank_distance" for figure in figures)
        has_last = any(figure.measure == "Max@R" for figure in figures)
        return cls(
            task,
            model,
            signature,
            bias.judgements.languages,
            tuple(figures),
            bias.by_language(bias.top_shares()),
            bias.mean_ranks(),
            bias.pool_shares,
            bias.rank_distance() if has_distance else bias.max_rank() if has_last else np.empty(0),
            bias.gap(),
            worst_questions(bias, collection) if collection and has_distance else (),
            tuple(notes),
            level.signature(),
            hubness(bias.judgements, bias.ranks, DEPTH) if bias.ranks.top.shape[1] >= DEPTH else None,
            view,
            Strata.from_bias(bias, by, cluster) if by else None,
        )

    def figure(self, measure: str) -> BiasFigure | None:
        """Return the figure of a measure, or None if it is left out."""
        return next((figure for figure in self.figures if figure.measure == measure), None)

    @property
    def diagnosis(self) -> str:
        """Return the preference for a language and the distance between answers, or the user's view, in words."""
        if self.view == "user":
            return self._first_document
        distance, relative = self.figure("rank_distance"), self.figure("rank_distance_relative")
        if distance is None or relative is None:
            return f"{self._preference}."
        verdict = "" if not distance.at_chance else " This is no better than chance."
        return (
            f"{self._preference}. The answers to a question span {distance.value:,.0f} ranks, {relative.value:.0%} of "
            f"the {distance.chance:,.0f} in a random ranking.{verdict}"
        )

    @property
    def _first_document(self) -> str:
        """Return how well the first document serves a reader of the query's language, as sentences."""
        rate = self.figure("same_language_first")
        kinds = [self.figure(kind) for kind in FIRST]
        sentences = []
        if rate is not None:
            sentences.append(
                f"The first answer is in the query's language for {rate.value:.0%} of the queries "
                f"({rate.chance:.0%} by chance)."
            )
        if all(kinds):
            own, other, wrong_own, wrong_other = (f"{kind.value:.0%}" for kind in kinds if kind)
            sentences.append(
                f"The first document is an answer in the query's language for {own}, an answer in another language for "
                f"{other}, a wrong document in the query's language for {wrong_own}, and in another for {wrong_other}."
            )
        return " ".join(sentences) or "The ranks do not show the first documents."

    @property
    def _preference(self) -> str:
        """Return the language that takes more of the top 10 than of the pool, as a clause."""
        excess = self.figure(EXCESS)
        if excess is not None and (excess.low > _NOTICEABLE or excess.high < -_NOTICEABLE):
            indices = [self.languages.index(code) for code in excess.languages]
            share, fair = float(self.top_shares[indices, indices].mean()), float(self.pool_shares[indices].mean())
            verb = "prefers" if excess.low > _NOTICEABLE else "avoids"
            return f"It {verb} documents in the query's language: {_shares(share, fair)}"
        if np.isnan(self.top_shares).all():
            return f"The rankings of the run are too short for the shares of the top {DEPTH}"
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
        if gap is None:
            return "AP by query language is open, because relevant documents are below the cut of the run."
        best, worst = (f"{code} {gap.languages[code]:.4f}" for code in (gap.best, gap.worst))
        return f"AP by query language: best {best}, worst {worst}, gap {gap.gap:.4f}, deviation {gap.deviation:.4f}."

    def summary(self) -> Table:
        """Return the figures of the view with intervals, chance and worst languages; arrows point to better values."""
        rows = []
        for figure in self.figures:
            if self.view == "fair" or MEASURES[figure.measure].for_user:
                worst = figure.worst_in(self.view)
                name = MEASURES[figure.measure].shown_name
                rows.append(
                    [
                        f"{name} {figure.arrow(self.view)}",
                        _short(figure.value),
                        f"[{_short(figure.low)}, {_short(figure.high)}]",
                        "-" if figure.chance is None else _short(figure.chance),
                        f"{worst} {_short(figure.languages[worst])}",
                    ]
                )
        return Table(("measure", "mean", "95 % interval", "chance", "worst language"), rows)

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
            "interval_signature": self.interval_signature,
            "diagnosis": self.diagnosis,
            "measures": {
                figure.measure: {key: value for key, value in vars(figure).items() if key != "measure"}
                for figure in self.figures
            },
            "AP": {key: getattr(self.gap, key, None) for key in ("languages", "best", "worst", "gap", "deviation")},
            "languages": list(self.languages),
            f"top{DEPTH}_shares": as_lists(self.top_shares),
            "mean_ranks": as_lists(self.mean_ranks),
            "pool_shares": self.pool_shares.tolist(),
            "worst": [vars(query) for query in self.worst],
            "hubness": None if self.hubs is None else vars(self.hubs),
            "view": self.view,
            **({"strata": self.strata.records()} if self.strata else {}),
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
            *([] if self.hubs is None else [as_prose(self.hubs.sentence)]),
            self.summary().markdown(),
        ]
        for table in (*(self.strata.tables(self.view == "user") if self.strata else ()), shares, ranks):
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


def _shares(top: float, pool: float) -> str:
    return f"they fill {top:.0%} of the top {DEPTH}, but {pool:.0%} of the pool"


def _name(code: str) -> str:
    language = find(code)
    return language.name if language else code


def _short(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}"


def as_lists(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    """Return a matrix as JSON values; NaN becomes None."""
    return [[None if np.isnan(value) else value for value in row] for row in matrix.tolist()]
