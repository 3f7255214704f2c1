"""The trade-off over alpha: AP within languages, across them and in the pool, and rank distance, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hbt_bench.identity.task_name import TaskName
from hbt_bench.reports.columns import charted_scores
from hbt_bench.studies.study_result import Estimate, StudyResult

if TYPE_CHECKING:
    import altair

#: Pairs of columns that are drawn against each other for each collection in the domain. Out of the domain, the points
#: of small models overlap.
_PAIRS = (("mono AP", "multi AP"), ("mono AP", "rank distance"))
#: Panels of such pairs, at most.
_MAX_PAIR_PANELS = 4
#: Pixels of a panel, width and height.
_SIZE = (215, 200)

#: Estimates along alpha, by column.
Line = dict[str, list[Estimate]]


@dataclass
class Curve:
    """Estimates of a collection and init along alpha, and their changes against the strategy of the answer.

    The changes are paired by seed and question. Their intervals are narrower than those of the scores, which vary with
    the questions.
    """

    in_domain: bool
    alphas: list[float] = field(default_factory=list)
    scores: Line = field(default_factory=dict)
    changes: Line = field(default_factory=dict)


def curves(result: StudyResult) -> dict[str, Curve]:
    """Return the curves in and out of the domain by name; the names have the init if there are several inits."""
    costs = sorted((cost for cost in result.costs if cost.alpha is not None), key=lambda cost: cost.alpha or 0)
    several = len({cost.init for cost in costs}) > 1
    by_name: dict[str, Curve] = {}
    for cost in costs:
        for score in result.select(kind="score", system=cost.system, language="", baseline=""):
            task = TaskName.parse(score.task)
            column = charted_scores().get((task.mode, score.measure)) if task.mode else None
            if column is None or score.group == "shifted":
                continue
            in_domain = score.group == "in-domain"
            group = f"{'in' if in_domain else 'out'}{f', {cost.init}' if several else ''}"
            curve = by_name.setdefault(f"{task.base} ({group})", Curve(in_domain))
            curve.scores.setdefault(column, []).append(score)
            # the result has the opposite differences: the strategy of the answer minus each other
            names = {"group": score.group, "task": score.task, "measure": score.measure, "language": ""}
            change = replace(score, value=0.0, low=0.0, high=0.0)
            for minus in result.select(kind="score", baseline=score.system, **names):
                change = replace(score, value=-minus.value, low=-minus.high, high=-minus.low)
            curve.changes.setdefault(column, []).append(change)
            if cost.alpha is not None and cost.alpha not in curve.alphas:
                curve.alphas.append(cost.alpha)
    return by_name


def draw(named_curves: Mapping[str, Curve], base: str) -> altair.VConcatChart:
    """Return the chart of the curves; needs the extra `report`.

    The upper panels have changes against `base` along alpha, the lower panels two scores against each other. A curve
    has the same colour and shape in all panels.
    """
    import altair as alt

    from hbt_bench.reports.charts import COLOURS, SHAPES

    names = list(named_curves)
    legend = alt.Legend(title=None, orient="bottom", columns=5, symbolSize=80)
    colour = alt.Color("curve:N", scale=alt.Scale(domain=names, range=COLOURS), legend=legend)
    shape = alt.Shape("curve:N", scale=alt.Scale(domain=names, range=SHAPES), legend=legend)
    pairs = [
        (name, curve, x, y)
        for name, curve in named_curves.items()
        for x, y in _PAIRS
        if curve.in_domain and x in curve.scores and y in curve.scores
    ]
    upper = [
        _change_panel(named_curves, column, f"{column}, minus {base}", colour, shape)
        for column in charted_scores().values()
    ]
    lower = [_pair_panel(*pair, colour, shape) for pair in pairs[:_MAX_PAIR_PANELS]]
    rows = [alt.hconcat(*panels, spacing=24) for panels in (upper, lower) if panels]
    return alt.vconcat(*rows, spacing=24).resolve_scale(color="shared", shape="shared")


def _change_panel(
    named_curves: Mapping[str, Curve], column: str, title: str, colour: altair.Color, shape: altair.Shape
) -> altair.LayerChart:
    import altair as alt

    values = [
        {"curve": name, "alpha": alpha, "value": change.value, "low": change.low, "high": change.high}
        for name, curve in named_curves.items()
        if column in curve.changes
        for alpha, change in zip(curve.alphas, curve.changes[column], strict=True)
    ]
    points = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("alpha:Q", title="alpha: share of monolingual batches", scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
        color=colour,
    )
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color="#8a8a8a").encode(y="zero:Q")
    intervals = points.mark_rule().encode(y=alt.Y("low:Q"), y2="high:Q")
    markers = points.mark_point(filled=True, size=45, opacity=1).encode(shape=shape)
    panel = alt.layer(zero, intervals, points.mark_line(), markers)
    return panel.properties(width=_SIZE[0], height=_SIZE[1])


def _pair_panel(
    name: str, curve: Curve, x: str, y: str, colour: altair.Color, shape: altair.Shape
) -> altair.LayerChart:
    import altair as alt

    values = [
        {"curve": name, "alpha": alpha, "x": across.value, "x_low": across.low, "x_high": across.high,
         "y": up.value, "y_low": up.low, "y_high": up.high}
        for alpha, across, up in zip(curve.alphas, curve.scores[x], curve.scores[y], strict=True)
    ]  # fmt: skip
    points = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("x:Q", title=x, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
        y=alt.Y("y:Q", title=y, scale=alt.Scale(zero=False)),
        color=colour,
    )
    panel = alt.layer(
        points.mark_rule(opacity=0.4).encode(y=alt.Y("y_low:Q"), y2="y_high:Q"),
        points.mark_rule(opacity=0.4).encode(x=alt.X("x_low:Q"), x2="x_high:Q"),
        points.mark_line().encode(order="alpha:Q"),
        points.mark_point(filled=True, size=45, opacity=1).encode(shape=shape),
        points.mark_text(align="left", dx=6, dy=-7).encode(text=alt.Text("alpha:Q"), color=alt.value("black")),
    )
    return panel.properties(title=name, width=_SIZE[0], height=_SIZE[1])
