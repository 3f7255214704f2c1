"""Plots of a bias report, with matplotlib (an extra)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hbt_bench.errors import UsageError
from hbt_bench.files import write_bytes
from hbt_bench.measures.bias import DEPTH
from hbt_bench.text import visible

if TYPE_CHECKING:
    from hbt_bench.reports.bias import BiasFigure, BiasReport

FORMATS = (".png", ".svg")


def check(path: Path) -> None:
    """Raise `UsageError` when the file has another ending, or matplotlib is missing."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"a plot is written as {' or '.join(FORMATS)}, not as '{path.suffix}'")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError("plots need an extra: run `pip install 'hbt-bench[plot]'`") from None


def plot_bias(report: BiasReport, path: Path) -> None:
    """Write a heat map of the top 10, the distribution of rank distance (or of last ranks), and bars by language."""
    from matplotlib.figure import Figure as Canvas

    size = len(report.languages)
    figure = Canvas(figsize=(14, 4.8), layout="constrained")
    heat, spread, bars = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    _heat_map(heat, report)
    shown, name = report.figure("rank_distance"), "rank distance"
    if shown is None:
        shown, name = next(one for one in report.figures if one.measure == "Max@R"), "rank of the last answer"
    _distribution(spread, report, shown, name)
    bars.barh(list(shown.languages), list(shown.languages.values()), color="#3b6ea8")
    bars.invert_yaxis()
    bars.set(title=f"{name} by query language", xlabel=f"mean {name}")
    bars.tick_params(axis="y", labelsize=9 if size <= 14 else 7)
    figure.suptitle(visible(f"{report.model} on {report.task}"), fontsize=12, parse_math=False)
    buffer = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    # no date in the file, so that equal reports give equal bytes
    figure.savefig(buffer, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
    write_bytes(path, buffer.getvalue())


def _heat_map(axes: Any, report: BiasReport) -> None:
    shares = 100 * report.top_shares
    size = len(report.languages)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=max(np.nanmax(shares), 1), aspect="auto")
    for row in range(size):
        for column in range(size):
            if np.isfinite(shares[row, column]):
                dark = shares[row, column] > np.nanmax(shares) / 2
                axes.text(
                    column,
                    row,
                    f"{shares[row, column]:.0f}",
                    ha="center",
                    va="center",
                    fontsize=8 if size <= 14 else 6,
                    color="white" if dark else "black",
                )
    labels = list(report.languages)
    axes.set_xticks(range(size), labels, fontsize=9 if size <= 14 else 7)
    axes.set_yticks(range(size), labels, fontsize=9 if size <= 14 else 7)
    axes.set(title=f"% of the top {DEPTH}", xlabel="language of the document", ylabel="language of the query")
    axes.figure.colorbar(image, ax=axes, shrink=0.8)


def _distribution(axes: Any, report: BiasReport, shown: BiasFigure, name: str) -> None:
    axes.hist(report.spread[np.isfinite(report.spread)], bins=40, color="#3b6ea8")
    axes.axvline(shown.value, color="black", label=f"mean {shown.value:,.0f}")
    relative = report.figure("rank_distance_relative")
    if relative is not None:
        expected = shown.value / relative.value
        axes.axvline(expected, color="#c0392b", linestyle="--", label=f"random {expected:,.0f}")
    axes.legend(frameon=False)
    label = "rank of a question's last answer" if relative is None else "last minus first rank of a question's answers"
    axes.set(title=name, xlabel=label, ylabel="queries")
