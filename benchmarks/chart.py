"""Draw results/benchmarks/growth.json, the growth of cost, as docs/images/growth.svg."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import altair as alt

from hbt_bench.reports.render import write_chart

TITLES = {"documents": "documents (1,000 queries)", "queries": "queries (10,000 documents)"}


def main(source: Path, target: Path) -> None:
    """Draw seconds over documents and over queries, each with a line of slope 1."""
    curves = json.loads(source.read_bytes())["curves"]
    panels = [panel(curves[name]["sizes"], curves[name]["seconds"], title) for name, title in TITLES.items()]
    write_chart(alt.hconcat(*panels, spacing=30).resolve_scale(y="shared"), target)


def panel(sizes: list[int], seconds: list[float], title: str) -> alt.LayerChart:
    """Return seconds over sizes with logarithmic axes."""
    linear = [seconds[-1] * size / sizes[-1] for size in sizes]
    lines = {"exact ranks": seconds, "linear": linear}
    values: list[dict[str, Any]] = [
        {"line": name, "size": size, "seconds": value}
        for name, line in lines.items()
        for size, value in zip(sizes, line, strict=True)
    ]
    names = list(lines)
    legend = alt.Legend(title=None, orient="top", symbolType="stroke", symbolSize=250)
    log = alt.Scale(type="log", nice=False)
    powers = [10**power for power in range(-3, 8)]
    points = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("size:Q", title=title, scale=log, axis=alt.Axis(values=powers, format=",")),
        y=alt.Y("seconds:Q", scale=log, axis=alt.Axis(values=powers, format="~r")),
        color=alt.Color("line:N", scale=alt.Scale(domain=names, range=["#0072b2", "#8a8a8a"]), legend=legend),
    )
    dash = alt.StrokeDash("line:N", scale=alt.Scale(domain=names, range=[[1, 0], [6, 3]]), legend=legend)
    marks = points.transform_filter(alt.datum.line == "exact ranks").mark_point(filled=True, size=40, opacity=1)
    return alt.layer(points.mark_line().encode(strokeDash=dash), marks).properties(width=270, height=190)


if __name__ == "__main__":
    main(
        *(Path(argument) for argument in sys.argv[1:3] or ["results/benchmarks/growth.json", "docs/images/growth.svg"])
    )
