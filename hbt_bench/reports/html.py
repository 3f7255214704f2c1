"""The report as one HTML file that asks nothing of a network: values, styles, scripts and Vega inside."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from hbt_bench.errors import UsageError
from hbt_bench.reports.charts import CHARTS
from hbt_bench.text import as_html, visible

#: Of cells that stand at the right.
_NUMBER = ' class="number"'
_CLASS = {"rank": ' class="rank"'}
_FOLDER = files("hbt_bench.reports").joinpath("templates")


def require() -> None:
    """Raise `UsageError` when the extra is not installed."""
    try:
        import vl_convert  # noqa: F401
    except ImportError:
        raise UsageError("the report needs an extra: run `pip install 'hbt-bench[report]'`") from None


def render(content: Mapping[str, Any], title: str) -> str:
    """The page that shows `content`, as `ReportRequest.content` gives it.

    The leaderboards are in the page itself, so that they are read without a script. A policy in the page forbids it to
    load anything and to run any script but its own two, which are named by their hashes.
    """
    specs = {name: make() for name, make in CHARTS.items()}
    scripts = [_script_safe(_vega()), _script_safe(_read("report.js"))]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return Template(_read("report.html")).substitute(
        title=as_html(title),
        policy=escape(policy, quote=False),
        style=_read("report.css"),
        boards="\n".join(_board(number, board) for number, board in enumerate(content["boards"])),
        choices="".join(
            f'<option value="{number}">{as_html(board["collection"])}</option>'
            for number, board in enumerate(content["boards"])
        ),
        legend="".join(f"<li>{as_html(line)}</li>" for line in content["legend"]),
        data=_data({**content, "specs": specs}),
        vega=scripts[0],
        script=scripts[1],
    )


@cache
def _vega() -> str:
    """The plotting library as one script, which takes seconds to put together."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle


def _read(name: str) -> str:
    return _FOLDER.joinpath(name).read_text(encoding="utf-8")


def _data(content: Mapping[str, Any]) -> str:
    """JSON that no HTML parser takes for anything else."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return visible(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _script_safe(script: str) -> str:
    """A script with nothing in it that ends its element."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _board(number: int, board: Mapping[str, Any]) -> str:
    """One collection: its leaderboard, the signatures of its numbers, and the comparison."""
    parts = [
        f'<section class="board" data-board="{number}" aria-labelledby="board-{number}">',
        f'<h2 id="board-{number}">{as_html(board["collection"])} <small>data {as_html(board["data"])}</small></h2>',
        '<div class="scroll" tabindex="0" role="region" '
        f'aria-label="Leaderboard of {as_html(board["collection"])}, scrolls sideways">',
        _leaderboard(number, board),
        "</div>",
        _comparison(number, board),
        _signatures(number, board),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _leaderboard(number: int, board: Mapping[str, Any]) -> str:
    bold = {tuple(cell) for cell in board["bold"]}
    columns = board["columns"]
    ranks = f" by {board['ranked_by']}" if board["ranked_by"] else ""
    header = "".join(
        f'<th scope="col" data-column="{at}"{_CLASS.get(column["name"], _NUMBER if column["measure"] else "")}>'
        f"{as_html(column['header'] + (ranks if column['name'] == 'rank' else ''))}</th>"
        for at, column in enumerate(columns)
    )
    order = next((column["header"] for column in columns if column["name"] == board["sorted_by"]), None)
    rows = []
    for at, row in enumerate(board["rows"]):
        cells = [_cell(number, at, place, column, row, (at, place) in bold) for place, column in enumerate(columns)]
        kind = "measured" if row["measured"] else "reported"
        rows.append(f'<tr class="{kind}" data-row="{at}">{"".join(cells)}</tr>')
    name, order = as_html(board["collection"]), as_html(f"sorted by {order}, best first" if order else "sorted")
    note = as_html(f"; ranks are{ranks}" if ranks else "")
    return (
        f'<table class="leaderboard"><caption>Leaderboard of {name}, <span class="order">{order}</span>{note}</caption>'
        f"<thead><tr>{header}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table>"
    )


def _cell(number: int, at: int, place: int, column: Mapping[str, Any], row: Mapping[str, Any], bold: bool) -> str:
    text, note, _, mode = row["cells"][place]
    inner = f"<strong>{as_html(text)}</strong>" if bold else as_html(text)
    if mode and text != "-":
        inner = f'<a href="#s-{number}-{at}-{mode}" title="the signature of this number">{inner}</a>'
    inner += f" <small>{as_html(note)}</small>" if note else ""
    if column["name"] == "model":
        return f'<th scope="row"><bdi>{inner}</bdi></th>'
    return f"<td{_NUMBER if column['measure'] else ''}>{inner}</td>"


def _signatures(number: int, board: Mapping[str, Any]) -> str:
    rows = [
        f'<tr id="s-{number}-{at}-{as_html(mode)}"><th scope="row">{as_html(row["label"])}</th><td>{as_html(mode)}</td>'
        f"<td><code>{as_html(signature)}</code></td></tr>"
        for at, row in enumerate(board["rows"])
        for mode, signature in row["signatures"].items()
    ]
    return (
        f'<details class="signatures"><summary>Signatures of all numbers ({len(rows)})</summary>'
        "<p>What a number depends on; <code>hbt-bench show SIGNATURE</code> explains one and prints the command that "
        'makes it again.</p><table><caption>Signatures by model and mode</caption><thead><tr><th scope="col">model</th>'
        '<th scope="col">mode</th><th scope="col">signature</th></tr></thead><tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></details>"
    )


def _comparison(number: int, board: Mapping[str, Any]) -> str:
    found = board.get("comparison")
    if not found:
        return ""
    signed = []
    for at in found["places"]:
        row = board["rows"][at]
        links = ", ".join(f'<a href="#s-{number}-{at}-{mode}">{mode}</a>' for mode in row["signatures"])
        signed.append(f"<bdi>{as_html(row['label'])}</bdi>: {links}")
    lines = [*found["conclusions"], *found["notes"], *([found["left"]] if found["left"] else [])]
    items = "".join(f"<li>{as_html(line)}</li>" for line in lines)
    # the table comes from `Table.html`, which escapes
    return (
        '<details class="comparison" open><summary>Comparison with a baseline</summary>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Comparison, scrolls sideways">'
        f"{found['html']}</div><ul>{items}<li>Signatures: {'; '.join(signed)}</li></ul></details>"
    )
