"""HTML pages from the templates in `templates/`. A page is a single file that loads nothing from a network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from hbt_bench.text import visible

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = files("hbt_bench.reports").joinpath("templates")


def render(template: str, **values: Any) -> str:
    """Fill in a template. Values are escaped, and control characters become question marks.

    A `Markup` is HTML already and stays as is. For example, `render("tables.html", tables=[...], notes=["± is ..."])`.
    """
    return _environment().get_template(template).render(values)


def results_page(content: Mapping[str, Any], title: str) -> str:
    """Return the page that shows `content`, which comes from `ReportRequest.content`.

    The leaderboards are HTML, so they are readable without scripts. The page's Content-Security-Policy forbids it to
    load anything, and allows its own two scripts only, which the policy names by their hashes.
    """
    from hbt_bench.reports.charts import PAGE_CHARTS, REPORTED

    data = {
        "boards": [_script_values(board) for board in content["boards"]],
        "names": content["names"],
        "charts": {name: chart.as_values() for name, chart in PAGE_CHARTS.items()},
        "reported_shape": REPORTED,
    }
    scripts = [_script(_vega()), _script(_TEMPLATES.joinpath("report.js").read_text(encoding="utf-8"))]
    return render("report.html", title=title, scripts=scripts, data=_json(data), charts=PAGE_CHARTS, **content)


def _script_values(board: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a collection that the page's script needs, with the values of its charts."""
    from hbt_bench.reports.charts import PAGE_CHARTS

    return {
        **_subset(board, ("collection", "columns", "sorted_by", "texts")),
        "rows": [
            {**_subset(row, ("label", "measured", "incomplete", "cells", "signatures")), "details": _details(row)}
            for row in board["rows"]
        ],
        "charts": {name: list(chart.values(board)) for name, chart in PAGE_CHARTS.items()},
    }


def _details(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the details of a model for the heat map and the questions; charts have their own values."""
    details = row["details"]
    return _subset(details, ("languages", "ap", "ranks", "shares", "pool", "worst")) if details else None


def _subset(values: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: values[key] for key in keys}


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
    environment.filters |= {"sha256": _sha256, "code_spans": _code_spans}
    return environment


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _code_spans(text: str) -> Markup:
    """Escape a paragraph and set the spans between backquotes as code."""
    spans = enumerate(visible(text).split("`"))
    return Markup().join(Markup("<code>{}</code>").format(span) if index % 2 else span for index, span in spans)


@cache
def _vega() -> str:
    """Return the chart library as a script. Bundling takes seconds, so it happens once per process."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle


def _json(content: Mapping[str, Any]) -> Markup:
    """Return JSON without a character that an HTML parser could act on."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(visible(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _script(source: str) -> Markup:
    """Return a script without the character sequences that would end its element."""
    return Markup(source.replace("</script", "<\\/script").replace("<!--", "<\\!--"))
