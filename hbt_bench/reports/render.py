"""Render templates as HTML, and charts as PNG, SVG or PDF.

A page is a single file that loads nothing from a network. Charts need vl-convert from the extra `report`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from hbt_bench.errors import UsageError
from hbt_bench.files import write_bytes
from hbt_bench.text import visible

if TYPE_CHECKING:
    import altair
    from jinja2 import Environment

#: Liberation Sans comes with vl-convert, so the same chart gives the same bytes on all machines; Arial has its metrics.
_CONFIG = {
    "background": "white",
    "font": "Liberation Sans, Arial, sans-serif",
    "axis": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#e5e5e5"},
    "legend": {"labelFontSize": 11, "labelLimit": 400, "titleFontSize": 12},
    "title": {"fontSize": 13},
}


#: The beginning of every page, in ``templates/base.html``.
_PAGE_START = re.compile(rb"\s*<!DOCTYPE html>\s*<html lang=\"en\">.{,200}Content-Security-Policy.{,200}", re.DOTALL)


def is_page(content: bytes) -> bool:
    """Return whether this program wrote the content of a file, or whether it is empty."""
    return not content.strip() or bool(_PAGE_START.match(content))


def html(template: str, **values: Any) -> str:
    """Fill in a template of `templates/`. Values are escaped, and control characters become question marks.

    A `Markup` is HTML already and stays as is. For example, `html("tables.html", tables=[...], notes=["± is ..."])`.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hbt_bench.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else visible(value),
    )
    environment.filters |= {
        "sha256": lambda script: base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "code_spans": _code_spans,
    }
    return environment


def _code_spans(text: str) -> Markup:
    """Escape a paragraph and set the spans between backquotes as code."""
    spans = enumerate(visible(text).split("`"))
    return Markup().join(Markup("<code>{}</code>").format(span) if index % 2 else span for index, span in spans)


def inline_json(content: Mapping[str, Any]) -> Markup:
    """Return JSON without a character that an HTML parser could act on."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(visible(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def inline_script(source: str) -> Markup:
    """Return a script without the character sequences that would end its element."""
    return Markup(source.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def page_script(name: str) -> str:
    """Return a script of `templates/` with the helpers of all pages before it."""
    folder = files("hbt_bench.reports").joinpath("templates")
    return "".join(folder.joinpath(each).read_text(encoding="utf-8") for each in ("shared.js", name))


@cache
def chart_library() -> str:
    """Return the chart library as a script. Bundling takes seconds, so it happens once per process."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle


def can_draw() -> bool:
    """Check whether the extra `report` is installed."""
    return all(find_spec(name) for name in ("altair", "vl_convert"))


def require_charts(purpose: str) -> None:
    """Raise `UsageError` if the extra `report` is not installed; `purpose` is the subject of its message."""
    if not can_draw():
        raise UsageError(f"{purpose} needs an extra: run `pip install 'hbt-bench[report]'`")


def check_plot(path: Path) -> None:
    """Raise `UsageError` if a plot cannot have the ending of this path, or if the extra is not installed."""
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"a plot is written as .png, .svg or .pdf, not as '{path.suffix}'")
    require_charts("a plot")


def write_chart(chart: altair.TopLevelMixin, path: Path) -> None:
    """Write a chart in the format of the path. For example, `write_chart(bias(report), Path("bias.svg"))`."""
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
