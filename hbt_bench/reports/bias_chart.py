"""The chart of a model's language bias."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import numpy as np

from hbt_bench.measures.bias import DEPTH
from hbt_bench.reports.charts import COLOURS, DASHES, chance_rule
from hbt_bench.reports.model_details import BINS
from hbt_bench.text import visible

if TYPE_CHECKING:
    from hbt_bench.reports.bias import BiasFigure, BiasReport


def bias(report: BiasReport) -> alt.HConcatChart:
    """Return the language bias of a model: shares of the top 10, rank distances, and a bar per query language.

    If the answers are not translations of each other, ranks of the last answer replace rank distances.
    """
    figure, name = report.figure("rank_distance"), "rank distance"
    if figure is None:
        figure, name = next(figure for figure in report.figures if figure.measure == "Max@R"), "rank of the last answer"
    panels = [_top_shares(report), _histogram(report, figure, name), _language_bars(figure, name)]
    title = alt.Title(visible(f"{report.model} on {report.task}"), anchor="middle", fontSize=15, offset=14)
    chart = alt.hconcat(*panels, spacing=36).properties(title=title)
    return chart.resolve_scale(color="independent", strokeDash="independent", opacity="independent")


def _top_shares(report: BiasReport) -> alt.LayerChart:
    shares = 100 * report.top_shares
    values = [
        {"query": query, "document": document, "share": shares[row, column]}
        for row, query in enumerate(report.languages)
        for column, document in enumerate(report.languages)
        if np.isfinite(shares[row, column])
    ]
    languages = list(report.languages)
    highest = max(np.nanmax(shares), 1)
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("document:N", sort=languages, title="language of the document", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("query:N", sort=languages, title="language of the query"),
    )
    scale = alt.Scale(scheme="blues", domain=[0, highest])
    legend = alt.Legend(orient="right", gradientLength=250)
    cells = base.mark_rect().encode(color=alt.Color("share:Q", title=None, scale=scale, legend=legend))
    dark = alt.when(alt.datum.share > highest / 2).then(alt.value("white")).otherwise(alt.value("black"))
    size = 10 if len(languages) <= 14 else 7
    numbers = base.mark_text(fontSize=size).encode(text=alt.Text("share:Q", format=".0f"), color=dark)
    return (cells + numbers).properties(title=f"% of the top {DEPTH}", width=340, height=300)


def _histogram(report: BiasReport, figure: BiasFigure, name: str) -> alt.LayerChart:
    spread = report.spread[np.isfinite(report.spread)]
    counts, edges = np.histogram(spread, bins=BINS)
    bins = [
        {"start": start, "end": end, "queries": count}
        for count, start, end in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    relative = report.figure("rank_distance_relative")
    label = "rank of a question's last answer" if relative is None else "last minus first rank of a question's answers"
    bars = alt.Chart(alt.Data(values=bins), mark=alt.MarkDef("rect", color=COLOURS[0])).encode(
        x=alt.X("start:Q", title=label, axis=alt.Axis(tickCount=6)),
        x2="end:Q",
        y=alt.Y("queries:Q", title="queries", axis=alt.Axis(tickMinStep=1)),
        y2=alt.Y2Datum(0),
    )
    means = {"mean": figure.value}
    if relative is not None:
        means["random"] = figure.value / relative.value
    rules = [{"name": f"{key} {value:,.0f}", "value": value} for key, value in means.items()]
    key = alt.Legend(title=None, orient="top", symbolSize=200)
    order = [rule["name"] for rule in rules]
    lines = alt.Chart(alt.Data(values=rules), mark=alt.MarkDef("rule", strokeWidth=2)).encode(
        x="value:Q",
        color=alt.Color("name:N", scale=alt.Scale(domain=order, range=["#000000", COLOURS[1]]), legend=key),
        strokeDash=alt.StrokeDash("name:N", scale=alt.Scale(domain=order, range=DASHES[:2]), legend=key),
    )
    return (bars + lines).properties(title=name, width=320, height=300)


def _language_bars(figure: BiasFigure, name: str) -> alt.LayerChart:
    values = [{"language": code, "value": value} for code, value in figure.languages.items()]
    bars = alt.Chart(alt.Data(values=values)).mark_bar(color=COLOURS[0])
    axes = alt.X("value:Q", title=f"mean {name}"), alt.Y("language:N", sort=list(figure.languages), title=None)
    layers = [bars.encode(*axes)]
    if figure.chance is not None:
        layers.append(chance_rule(alt.Chart(alt.Data(values=[{"value": figure.chance}])), x="value:Q"))
    return alt.layer(*layers).properties(title=f"{name} by query language", width=280, height=300)
