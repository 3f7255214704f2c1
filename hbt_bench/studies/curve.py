"""The trade-off over alpha: score within languages, across them and in the pool, and rank distance, with intervals."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from hbt_bench.studies.findings import Figure, Findings

#: Of Okabe and Ito, which colour-blind readers can tell apart; markers say the same again.
_LOOKS = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#e69f00", "v"), ("#000000", "P"))


def lines(findings: Findings, points: Sequence[tuple[float, str]]) -> dict[str, list[Figure]]:
    """For each task and measure in and out of the domain, the figures along `points` (alpha, system)."""
    found: dict[str, list[Figure]] = {}
    for _, system in points:
        for one in findings.select(kind="score", system=system, language="", baseline=""):
            if one.group != "shifted":
                name, _, _ = one.task.partition("[")
                where = "in" if one.group == "in-domain" else "out"
                found.setdefault(f"{name} {one.measure.replace('_', ' ')} ({where})", []).append(one)
    return {name: line for name, line in found.items() if len(line) == len(points)}


def draw(alphas: Sequence[float], figures: Mapping[str, Sequence[Figure]]) -> str | None:
    """An SVG, the same bytes for the same figures; None where matplotlib, an extra, is not installed."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure as Drawing
    except ImportError:
        return None
    with mpl.rc_context({"svg.hashsalt": "hbt-bench", "svg.fonttype": "none", "font.size": 10}):
        drawing = Drawing(figsize=(10.5, 4.2), layout="constrained")
        for axes, distance in zip(drawing.subplots(1, 2), (False, True), strict=True):
            chosen = {name: line for name, line in figures.items() if ("rank distance" in name) == distance}
            for (name, line), (colour, marker) in zip(chosen.items(), _LOOKS, strict=False):
                values = [one.value for one in line]
                bars = [
                    [one.value - one.low for one in line],
                    [one.high - one.value for one in line],
                ]
                axes.errorbar(alphas, values, yerr=bars, label=name, color=colour, marker=marker, capsize=3)
            axes.set(xlabel="alpha: share of batches of one language", xticks=list(alphas))
            axes.set_title("rank distance (lower is better)" if distance else "AP (higher is better)")
            if chosen:
                axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
        buffer = io.StringIO()
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
