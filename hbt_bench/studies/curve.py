"""The trade-off over alpha: scores within languages, across them and in the pool, and rank distance, with intervals."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from hbt_bench.studies.findings import Figure, Findings

#: Of Okabe and Ito, which colour-blind readers can tell apart; markers say the same again.
_LOOKS = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#e69f00", "v"), ("#000000", "P"))
#: Columns of the table, by the mode in a task's name and the measure.
COLUMNS = {
    ("mono", "AP"): "mono AP",
    ("cross", "AP"): "cross AP",
    ("multi", "AP"): "multi AP",
    ("multi", "rank_distance"): "rank distance",
}
#: What stands at the x and the y axis of each panel; alpha is no score.
_PANELS = (
    ("alpha", "mono AP"),
    ("alpha", "cross AP"),
    ("alpha", "multi AP"),
    ("alpha", "rank distance"),
    ("mono AP", "multi AP"),
    ("mono AP", "rank distance"),
)

#: One collection and init: the figures along alpha by column.
Line = dict[str, list[Figure]]


def lines(findings: Findings) -> dict[str, tuple[list[float], Line]]:
    """The curve of each collection in and out of the domain, and of each init where there are several, with alphas."""
    points = sorted(((one.alpha, one) for one in findings.costs if one.alpha is not None), key=lambda point: point[0])
    several = len({one.init for _, one in points}) > 1
    found: dict[str, tuple[list[float], Line]] = {}
    for alpha, cost in points:
        for one in findings.select(kind="score", system=cost.system, language="", baseline=""):
            name, _, mode = one.task.partition("[")[0].rpartition("-")
            column = COLUMNS.get((mode, one.measure))
            if column is None or one.group == "shifted":
                continue
            where = "in" if one.group == "in-domain" else "out"
            alphas, line = found.setdefault(f"{name} ({where}{f', {cost.init}' if several else ''})", ([], {}))
            line.setdefault(column, []).append(one)
            if alpha not in alphas:
                alphas.append(alpha)
    return found


def draw(curves: Mapping[str, tuple[list[float], Line]]) -> str | None:
    """An SVG, the same bytes for the same figures; None where matplotlib, an extra, is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure as Drawing
    except ImportError:
        return None
    with mpl.rc_context({"svg.hashsalt": "hbt-bench", "svg.fonttype": "none", "font.size": 9}):
        drawing = Drawing(figsize=(10.5, 6.4), layout="constrained")
        handles: dict[str, Any] = {}
        for axes, (x, y) in zip(drawing.subplots(2, 3).flat, _PANELS, strict=True):
            for number, (name, (alphas, line)) in enumerate(curves.items()):
                colour, marker = _LOOKS[number % len(_LOOKS)]
                # against each other in the domain only: out of it the points of small models lie on one another
                if y in line and (x == "alpha" or (x in line and "(in" in name)):
                    handles[name] = _line(axes, alphas, line.get(x), line[y], {"color": colour, "marker": marker})
            axes.set(xlabel="alpha: share of batches of one language" if x == "alpha" else x, ylabel=y)
        drawing.legend(handles.values(), handles, frameon=False, loc="outside lower center", ncols=3)
        buffer = io.StringIO()
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _line(axes: Any, alphas: Sequence[float], x: Sequence[Figure] | None, y: Sequence[Figure], look: Any) -> Any:
    """A curve with error bars; where x is a score too, the points are labelled with their alpha."""
    across = [one.value for one in x] if x else alphas
    drawn = axes.errorbar(
        across, [one.value for one in y], yerr=_bars(y), xerr=_bars(x) if x else None, capsize=2, elinewidth=0.8, **look
    )
    if x:
        for alpha, one, two in zip(alphas, x, y, strict=True):
            axes.annotate(f"{alpha:g}", (one.value, two.value), (4, 4), textcoords="offset points", fontsize=8)
    return drawn


def _bars(line: Sequence[Figure]) -> tuple[list[float], list[float]]:
    return [one.value - one.low for one in line], [one.high - one.value for one in line]
