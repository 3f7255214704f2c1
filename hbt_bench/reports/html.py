"""HTML pages from the templates in `templates/`. A page is a single file that loads nothing from a network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from hbt_bench.text import visible

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """Fill in a template. Values are escaped, and control characters become question marks.

    A `Markup` is HTML already and stays as is. For example, `render("tables.html", tables=[...], notes=["± is ..."])`.
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
    environment.filters |= {"sha256": _sha256, "code_spans": _code_spans}
    return environment


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _code_spans(text: str) -> Markup:
    """Escape a paragraph and set the spans between backquotes as code."""
    spans = enumerate(visible(text).split("`"))
    return Markup().join(Markup("<code>{}</code>").format(span) if index % 2 else span for index, span in spans)


@cache
def chart_library() -> str:
    """Return the chart library as a script. Bundling takes seconds, so it happens once per process."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle


def inline_json(content: Mapping[str, Any]) -> Markup:
    """Return JSON without a character that an HTML parser could act on."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(visible(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def inline_script(source: str) -> Markup:
    """Return a script without the character sequences that would end its element."""
    return Markup(source.replace("</script", "<\\/script").replace("<!--", "<\\!--"))
