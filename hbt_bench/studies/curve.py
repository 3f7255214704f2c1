"""The trade-off over alpha: scores within languages, across them and in the pool, and rank distance, with intervals."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hbt_bench.studies.study_result import Estimate, StudyResult

#: Of Okabe and Ito, which colour-blind readers can tell apart; markers say the same again.
_LOOKS = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#e69f00", "v"), ("#000000", "P"))
#: Columns of the table, by the mode in a task's name and the measure.
COLUMNS = {
    ("mono", "AP"): "mono AP",
    ("cross", "AP"): "cross AP",
    ("multi", "AP"): "multi AP",
    ("multi", "rank_distance"): "rank distance",
}
#: Trade-offs that are drawn of each collection in the domain; out of it the points of small models lie on one another.
_AGAINST = (("mono AP", "multi AP"), ("mono AP", "rank distance"))
#: How many collections in the domain are drawn so.
_MOST = 2

#: The figures along alpha by column.
Line = dict[str, list[Estimate]]


@dataclass
class Curve:
    """One collection and init along alpha: its figures, and how they differ from those of the strategy of the answer.

    The differences are paired by seed and question, so their intervals are those of a change, which the intervals of
    the figures, wide as the questions differ, do not show.
    """

    inside: bool
    alphas: list[float] = field(default_factory=list)
    scores: Line = field(default_factory=dict)
    changes: Line = field(default_factory=dict)


def curves(findings: StudyResult) -> dict[str, Curve]:
    """The curve of each collection in and out of the domain, and of each init where there are several, by its name."""
    points = sorted(((one.alpha, one) for one in findings.costs if one.alpha is not None), key=lambda point: point[0])
    several = len({one.init for _, one in points}) > 1
    found: dict[str, Curve] = {}
    for alpha, cost in points:
        for one in findings.select(kind="score", system=cost.system, language="", baseline=""):
            name, _, mode = one.task.partition("[")[0].rpartition("-")
            column = COLUMNS.get((mode, one.measure))
            if column is None or one.group == "shifted":
                continue
            inside = one.group == "in-domain"
            where = f"{'in' if inside else 'out'}{f', {cost.init}' if several else ''}"
            curve = found.setdefault(f"{name} ({where})", Curve(inside))
            curve.scores.setdefault(column, []).append(one)
            curve.changes.setdefault(column, []).append(_change(findings, one))
            if alpha not in curve.alphas:
                curve.alphas.append(alpha)
    return found


def _change(findings: StudyResult, one: Estimate) -> Estimate:
    """Against the strategy of the answer, which is compared with all others of its init: the other way round."""
    names = {"kind": "score", "group": one.group, "task": one.task, "measure": one.measure, "language": ""}
    paired = findings.select(baseline=one.system, **names)
    if not paired:
        return replace(one, value=0.0, low=0.0, high=0.0)
    [other] = paired
    return replace(one, value=-other.value, low=-other.high, high=-other.low)


def draw(found: Mapping[str, Curve], base: str) -> str | None:
    """An SVG, the same bytes for the same figures; None where matplotlib, an extra, is not installed.

    Above, what changes with alpha against `base`; below, of collections in the domain, what one gives for another.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure as Drawing
    except ImportError:
        return None
    with mpl.rc_context({"svg.hashsalt": "hbt-bench", "svg.fonttype": "none", "font.size": 9}):
        drawing = Drawing(figsize=(13, 6.6), layout="constrained")
        panels = list(drawing.subplots(2, 4).flat)
        handles: dict[str, Any] = {}
        for axes, column in zip(panels, COLUMNS.values(), strict=False):
            axes.axhline(0, color="#888888", linewidth=0.8)
            for number, (name, curve) in enumerate(found.items()):
                if column in curve.changes:
                    handles[name] = _line(axes, curve.alphas, None, curve.changes[column], _look(number))
            axes.set(xlabel="alpha: share of batches of one language", ylabel=f"{column}, minus that of {base}")
        below = [
            (number, name, curve, pair)
            for number, (name, curve) in enumerate(found.items())
            for pair in _AGAINST
            if curve.inside and all(column in curve.scores for column in pair)
        ]
        for axes, (number, name, curve, (x, y)) in zip(panels[4:], below[: 2 * _MOST], strict=False):
            _line(axes, curve.alphas, curve.scores[x], curve.scores[y], _look(number))
            axes.set(title=name, xlabel=x, ylabel=y)
        for axes in panels[4 + len(below) :]:
            axes.set_axis_off()
        drawing.legend(handles.values(), handles, frameon=False, loc="outside lower center", ncols=4)
        buffer = io.StringIO()
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _look(number: int) -> dict[str, str]:
    colour, marker = _LOOKS[number % len(_LOOKS)]
    return {"color": colour, "marker": marker}


def _line(axes: Any, alphas: Sequence[float], x: Sequence[Estimate] | None, y: Sequence[Estimate], look: Any) -> Any:
    """A curve with error bars; where x is a score too, the points are labelled with their alpha."""
    across = [one.value for one in x] if x else alphas
    drawn = axes.errorbar(
        across, [one.value for one in y], yerr=_bars(y), xerr=_bars(x) if x else None, capsize=2, elinewidth=0.8, **look
    )
    if x:
        for alpha, one, two in zip(alphas, x, y, strict=True):
            axes.annotate(f"{alpha:g}", (one.value, two.value), (4, 4), textcoords="offset points", fontsize=8)
    return drawn


def _bars(line: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    return [one.value - one.low for one in line], [one.high - one.value for one in line]
