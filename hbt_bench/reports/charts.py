"""Charts, each a function that returns an Altair chart.

A chart shows itself in a notebook. `write_chart` writes it as PNG, SVG or PDF, and the page of `hbt-bench report` draws
the charts of `PAGE_CHARTS`. To add a chart to the page, write its function and its values here and add it there.

Colours are those of Okabe and Ito, which colour-blind readers can distinguish. Shapes and dashes repeat them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt

from hbt_bench.identity.task_name import MODES, Mode
from hbt_bench.identity.variant import Variant
from hbt_bench.measures.chance import RANDOM_RANKING
from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.columns import charted_scores
from hbt_bench.reports.model_details import BINS

Values = Sequence[Mapping[str, Any]]

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442"]
#: Shapes of measured models, and of figures that papers report.
SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-right", "triangle-left", "wedge"]
REPORTED = "cross"
GREY = "#8a8a8a"
DASHES = [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [4, 4], [10, 4], [1, 3], [12, 2]]
CHANCE_DASH = [5, 4]
_LEGEND = alt.Legend(title=None, orient="bottom", symbolSize=90, symbolOpacity=1)
_COLOUR_SCALE = alt.Scale(range=COLOURS)


def chance_rule(base: alt.Chart, **position: Any) -> alt.Chart:
    """Return a dashed rule at the value of a random ranking, which the legend names.

    `position` is the channel of the value. The legend is that of the opacity, because models have the other channels.
    """
    look = {"symbolType": "stroke", "symbolStrokeColor": GREY, "symbolStrokeWidth": 1.5, "symbolDash": CHANCE_DASH}
    legend = alt.Legend(title=None, orient="bottom", symbolSize=200, symbolOpacity=1, **look)
    opacity = alt.Opacity("chance:O", scale=alt.Scale(range=[1]), legend=legend)
    rule = base.transform_calculate(chance=f"'{RANDOM_RANKING}'").mark_rule(color=GREY, strokeDash=CHANCE_DASH)
    return rule.encode(opacity=opacity, **position)


def tradeoff(values: Values | None = None) -> alt.HConcatChart:
    """Return monolingual AP against cross-lingual and multilingual AP and rank distance, a point per model.

    Values have `model`, `measured`, `picked`, `mono`, `cross`, `multi`, `distance`. Only picked models have a colour.
    An arrow goes to a corrected model from the same model without a correction, whose values are in `from_mono`,
    `from_cross`, `from_multi` and `from_distance`. `random_cross`, `random_multi` and `random_distance` are the scores
    of a random ranking.
    """
    panels = [
        _scatter("cross", "AP across languages"),
        _scatter("multi", "AP in the pool"),
        _scatter("distance", "rank distance (lower is better)", ".1f"),
    ]
    return alt.concat(*panels, data=_data(values), columns=3, spacing=24).properties(
        description="Points, one per model: AP within a language against AP across languages, AP and rank distance in "
        "the pool of all. Arrows lead from a model to its corrected self. Dashed rules: a random ranking"
    )


def _scatter(mode: str, title: str, form: str = ".4f") -> alt.LayerChart:
    x, y = {"shorthand": "mono:Q", "title": "AP within a language"}, {"shorthand": f"{mode}:Q", "title": title}
    scale = alt.Scale(zero=False, nice=True)
    axes = {
        "x": alt.X(**x, scale=scale),
        "y": alt.Y(**y, scale=scale),
        "tooltip": ["model:N", alt.Tooltip(**x, format=".4f"), alt.Tooltip(**y, format=form)],
    }
    shape = alt.when("datum.measured").then(alt.value(SHAPES[0])).otherwise(alt.value(REPORTED))
    others = alt.Chart().transform_filter("!datum.picked").mark_point(filled=False, size=45, color=GREY)
    picked = alt.Chart().transform_filter("datum.picked").mark_point(filled=True, size=130, opacity=1)
    # of a model without a correction, the arrow has no length: Vega warns of layers without values
    start = {f"start_{key}": f"isValid(datum.from_{key}) ? datum.from_{key} : datum.{key}" for key in ("mono", mode)}
    arrows = alt.Chart().transform_calculate(**start)
    shaft = arrows.mark_rule(color=GREY, strokeWidth=1.5, aria=False).encode(
        x=alt.X("start_mono:Q"), y=alt.Y(f"start_{mode}:Q"), x2="mono:Q", y2=f"{mode}:Q"
    )
    right, down = (
        f"(scale('{mode}_{axis}', datum.{key}) - scale('{mode}_{axis}', datum.start_{key}))"
        for axis, key in (("x", "mono"), ("y", mode))
    )
    length = f"(sqrt({right} * {right} + {down} * {down}) || 1)"
    head = arrows.mark_point(
        shape="triangle-up",
        aria=False,
        filled=True,
        size=alt.expr(f"isValid(datum.from_mono) && isValid(datum.from_{mode}) ? 70 : 0"),
        color=GREY,
        opacity=1,
        angle=alt.expr(f"atan2({right}, -{down}) * 180 / PI"),
        xOffset=alt.expr(f"-8 * {right} / {length}"),
        yOffset=alt.expr(f"-8 * {down} / {length}"),
    )
    random = alt.Chart().transform_aggregate(random=f"max(random_{mode})").transform_filter("isValid(datum.random)")
    layers = alt.layer(
        chance_rule(random, y="random:Q"),
        shaft,
        head.encode(x="mono:Q", y=f"{mode}:Q"),
        others.encode(**axes, shape=shape),
        picked.encode(
            **axes,
            color=alt.Color("model:N", scale=_COLOUR_SCALE, legend=_LEGEND),
            shape=alt.Shape("model:N", scale=alt.Scale(range=SHAPES), legend=_LEGEND),
        ),
    )
    return layers.transform_filter(f"isValid(datum.mono) && isValid(datum.{mode})").properties(
        name=mode, width=215, height=240
    )


#: The three modes in words.
_MODE_TITLES: Mapping[Mode, str] = {"mono": "its own language", "cross": "another language", "multi": "all languages"}


def modes(values: Values, chance: Mapping[Mode, float], excess: str) -> alt.HConcatChart:
    """Return AP in the three modes, a line per model, beside the reason why it falls: the bias for the own language.

    Values have `model`, `measured`, the AP of each mode, and `excess`, the share of the top 10 in the query's language
    beyond that language's share of the pool. `chance` is the AP of a random ranking by mode, and `excess` the title of
    the second panel.
    """
    order = [value["model"] for value in values]
    legend = alt.Legend(title=None, orient="bottom", symbolSize=90, columns=1)
    colour = alt.Color("model:N", scale=alt.Scale(domain=order, range=COLOURS), sort=order, legend=legend)
    shape = alt.Shape("model:N", scale=alt.Scale(domain=order, range=SHAPES), sort=order, legend=legend)
    dash = alt.when("datum.measured").then(alt.value([1, 0])).otherwise(alt.value([5, 4]))
    points = [
        {**value, "mode": title, "AP": value[mode]}
        for value in values
        for mode, title in _MODE_TITLES.items()
        if value.get(mode) is not None
    ]
    titles = list(_MODE_TITLES.values())
    x = alt.X(
        "mode:N",
        sort=titles,
        title="the answer is searched in",
        axis=alt.Axis(labelAngle=0),
        scale=alt.Scale(padding=0.3),
    )
    base = alt.Chart(alt.Data(values=points)).encode(x=x, y=alt.Y("AP:Q", title="AP", scale=alt.Scale(zero=True)))
    lines = base.mark_line(strokeWidth=2).encode(color=colour, strokeDash=dash)
    marks = base.mark_point(filled=True, size=90, opacity=1).encode(color=colour, shape=shape)
    random = [{"mode": title, "AP": chance[mode]} for mode, title in _MODE_TITLES.items() if mode in chance]
    rule = alt.Chart(alt.Data(values=random)).encode(x=x, y="AP:Q").mark_line(color=GREY, strokeDash=[2, 3])
    note = alt.Chart(alt.Data(values=random[:1])).mark_text(align="left", dx=6, dy=-8, color=GREY, text=RANDOM_RANKING)
    first = alt.layer(rule, note.encode(x=x, y="AP:Q"), lines, marks).properties(width=330, height=250)
    bars = (
        alt.Chart(alt.Data(values=[value for value in values if value.get("excess") is not None]))
        .mark_bar(size=28)
        .encode(
            x=alt.X("excess:Q", title=excess, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")),
            y=alt.Y("model:N", sort=order, title=None, axis=None),
            color=colour,
        )
    )
    numbers = bars.mark_text(align="left", dx=4).encode(
        text=alt.Text("excess:Q", format=".0%"), color=alt.value("black")
    )
    return alt.hconcat(first, (bars + numbers).properties(width=230, height=250), spacing=40).properties(
        description="Left: AP in three modes, a line per model. Right: own-language bias in the pool, a bar per model"
    )


def distances(values: Values | None = None) -> alt.LayerChart:
    """Return the distribution of rank distance, a line per model, with a rule at the mean of a random ranking.

    Values have `model`, `shares` (of queries, by bin of rank distance), `pool` (documents) and `random`.
    """
    lines = (
        alt.Chart()
        .transform_flatten(["shares"])
        .transform_window(bin="row_number()", groupby=["model"])
        .transform_calculate(distance=f"(datum.bin - 0.5) * datum.pool / {BINS}")
        .mark_line(interpolate="step", strokeWidth=2)
        .encode(
            x=alt.X("distance:Q", title="rank distance: last minus first rank of the answers"),
            y=alt.Y("shares:Q", title="queries", axis=alt.Axis(format=".0%")),
            color=alt.Color("model:N", scale=_COLOUR_SCALE, legend=_LEGEND),
            strokeDash=alt.StrokeDash("model:N", scale=alt.Scale(range=DASHES), legend=_LEGEND),
            tooltip=[
                alt.Tooltip("model:N"),
                alt.Tooltip("distance:Q", title="about", format=",.0f"),
                alt.Tooltip("shares:Q", title="of the queries", format=".1%"),
            ],
        )
    )
    random = chance_rule(alt.Chart().transform_aggregate(random="max(random)"), x="random:Q")
    return alt.layer(lines, random, data=_data(values)).properties(
        width="container",
        height=240,
        description="Lines, one per model: the share of queries by rank distance; dashed rule: a random ranking",
    )


def alpha(values: Values | None = None) -> alt.FacetChart:
    """Return scores against alpha, a panel per measure: mean over seeds, with a band from minimum to maximum.

    Values have `line`, `strategy`, `alpha`, `seed`, `measure`, `value` and `model`. The pure strategies, which are the
    ends of a line, have their own shape.
    """
    base = alt.Chart().encode(
        x=alt.X("alpha:Q", title="alpha: probability of a monolingual batch", scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("line:N", scale=_COLOUR_SCALE, legend=_LEGEND),
    )
    y = {"title": None, "scale": alt.Scale(zero=False)}
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("min(value):Q", **y), y2="max(value):Q")
    means = base.mark_line(strokeWidth=2).encode(
        y=alt.Y("mean(value):Q", **y),
        strokeDash=alt.StrokeDash("line:N", scale=alt.Scale(range=DASHES), legend=None),
    )
    points = base.mark_point(filled=True, size=50, opacity=1).encode(
        y=alt.Y("value:Q", **y),
        shape=alt.Shape("strategy:N", scale=alt.Scale(range=SHAPES), legend=_LEGEND),
        tooltip=["model:N", "strategy:N", "alpha:Q", "seed:O", alt.Tooltip("value:Q", format=".4f")],
    )
    panel = alt.Facet("measure:N", title=None, sort=None)
    return (
        alt.layer(band, means, points, data=_data(values))
        .properties(width=270, height=190)
        .facet(facet=panel, columns=2)
        .resolve_scale(y="independent")
        .properties(description="Lines, one per training setting: mean score over seeds against alpha, with a band")
    )


@dataclass(frozen=True)
class PageChart:
    """A chart of the page, with the values that it takes from a collection.

    `values` gets a collection as `ReportRequest.content` describes it. Each value has `row`, the index of its model;
    the page adds `model`, `measured` and `picked`. A value is shown if its model is measured, picked, or if the reader
    asks for reported figures; with `only_picked`, only if it is picked. The chart is hidden unless a value has numbers
    in all `fields`. Below the chart are the signatures of the modes `modes`.
    """

    caption: str
    draw: Callable[..., Any]
    values: Callable[[Mapping[str, Any]], Iterable[dict[str, Any]]]
    modes: tuple[str, ...] = MODES
    fields: tuple[str, ...] = ()
    only_picked: bool = False

    def as_values(self) -> dict[str, Any]:
        """Return everything that the page's script needs, as JSON values; the script sets colours and widths."""
        return {"spec": _spec(self.draw), "modes": self.modes, "fields": self.fields, "only_picked": self.only_picked}


@cache
def _spec(draw: Callable[[], alt.TopLevelMixin]) -> dict[str, Any]:
    """Return the specification of a chart without values; a site needs it for each page."""
    spec: dict[str, Any] = draw().to_dict()
    spec.pop("config")
    return spec


def _tradeoff_values(board: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    keys: dict[str, str] = {**{str(mode): f"{mode}:AP" for mode in MODES}, "distance": "multi:rank_distance"}
    points = {
        row["label"]: {name: row["values"].get(key) for name, key in keys.items()}
        for row in board["rows"]
        if not row["incomplete"]
    }
    for index, row in enumerate(board["rows"]):
        scores = points.get(row["label"], {})
        if any(scores.get(mode) is not None for mode in MODES):
            name, _, revision = row["label"].partition("@")
            correction = Variant.split(revision)[1].correction
            before = points.get(f"{name}@{revision.removesuffix(f'-{correction}')}", {}) if correction else {}
            random = {f"random_{name}": board["chance"].get(key) for name, key in keys.items() if name != "mono"}
            yield {"row": index, **scores, **{f"from_{key}": before.get(key) for key in keys}, **random}


def _distance_values(board: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for index, row in enumerate(board["rows"]):
        details = row["details"]
        if details and details["distances"]:
            yield {"row": index, "shares": details["distances"], **{key: details[key] for key in ("pool", "random")}}


def _alpha_values(board: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield the points of the curves. The heading of a panel has the chance: a rule would flatten its curves."""
    headings = {}
    for (mode, name), title in charted_scores().items():
        value, decimals = board["chance"].get(f"{mode}:{name}"), MEASURES.describe(name).decimals
        headings[title] = title if value is None else f"{title} (random ranking {value:,.{decimals}f})"
    for point in board["sweep"]:
        yield point | {"measure": headings[point["measure"]]}


PAGE_CHARTS = {
    "tradeoff": PageChart(
        "Trade-off between the three modes. Picked models are filled, others are grey. Crosses are figures that papers "
        "report (†). An arrow leads from a model to its corrected self. The dashed rule is a random ranking.",
        tradeoff,
        _tradeoff_values,
        fields=MODES,
    ),
    "distances": PageChart(
        "Distance between the first and the last answer to a question in the pool of all languages. The dashed rule is "
        "a random ranking.",
        distances,
        _distance_values,
        modes=("multi",),
        only_picked=True,
    ),
    "alpha": PageChart(
        "Score against alpha. A point is a model; the line is the mean over seeds. The ends of "
        "hybrid batches are the pure strategies with the same training.",
        alpha,
        _alpha_values,
    ),
}


def _data(values: Values | None) -> alt.Data:
    """Return data by value, or if there are none, by the name under which the page puts them in."""
    return alt.NamedData("values") if values is None else alt.Data(values=list(values))
