"""Write charts as PNG, SVG or PDF, with vl-convert from the extra `report`."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.errors import UsageError
from hbt_bench.files import write_bytes

if TYPE_CHECKING:
    import altair

FORMATS = (".png", ".svg", ".pdf")
#: Liberation Sans comes with vl-convert, so the same chart gives the same bytes on all machines; Arial has its metrics.
_CONFIG = {
    "background": "white",
    "font": "Liberation Sans, Arial, sans-serif",
    "axis": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#e5e5e5"},
    "legend": {"labelFontSize": 11, "labelLimit": 400, "titleFontSize": 12},
    "title": {"fontSize": 13},
}


def installed() -> bool:
    """Check whether the extra `report` is installed."""
    return all(find_spec(name) for name in ("altair", "vl_convert"))


def require(purpose: str) -> None:
    """Raise `UsageError` if the extra `report` is not installed; `purpose` is the subject of its message."""
    if not installed():
        raise UsageError(f"{purpose} needs an extra: run `pip install 'hbt-bench[report]'`")


def check(path: Path) -> None:
    """Raise `UsageError` if the path has another ending than `FORMATS`, or if the extra is not installed."""
    if path.suffix.lower() not in FORMATS:
        endings = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise UsageError(f"a plot is written as {endings}, not as '{path.suffix}'")
    require("a plot")


def write(chart: altair.TopLevelMixin, path: Path) -> None:
    """Write a chart; the ending of the path is the format. For example, `write(bias(report), Path("bias.svg"))`."""
    import vl_convert

    kind = path.suffix.lower()
    if kind == ".png":
        write_bytes(path, vl_convert.vegalite_to_png(_spec(chart), scale=2))
    elif kind == ".pdf":
        write_bytes(path, vl_convert.vegalite_to_pdf(_spec(chart)))
    else:
        write_bytes(path, svg(chart).encode())


def svg(chart: altair.TopLevelMixin) -> str:
    """Return a chart as SVG; equal charts give equal bytes."""
    import vl_convert

    names: dict[str, str] = {}
    # Vega numbers the gradients and clips of all charts of a process
    return re.sub(
        r"(?<=[\"#])(gradient_|clip)\d+",
        lambda match: names.setdefault(match[0], f"{match[1]}{len(names)}"),
        vl_convert.vegalite_to_svg(_spec(chart)),
    )


def _spec(chart: altair.TopLevelMixin) -> dict[str, Any]:
    # through JSON, because vl-convert takes no numbers of NumPy
    spec: dict[str, Any] = json.loads(chart.to_json())
    return {**spec, "config": {**spec.get("config", {}), **_CONFIG}}
