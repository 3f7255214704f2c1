"""Build the site of the documentation: gather the pages in build/docs, then run Zensical.

    python docs/build_site.py            writes build/site; a dead link or another warning is an error

Zensical reads a single folder, but some pages are outside docs/ (CHANGELOG.md, results/). So the pages and all files
that they link to are copied: docs/training.md becomes training.md, and results/README.md keeps its path. Links are
rewritten.
The tables of YAML keys and the JSON Schemas come from the pydantic models that read those files.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "docs"  # docs_dir in zensical.toml
SITE = ROOT / "build" / "site"  # site_dir in zensical.toml
#: Pages of the navigation that lie outside docs/.
OUTSIDE = (
    "results/README.md",
    "results/training/README.md",
    "results/studies/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
)
#: The models behind the YAML files that users write; docs/reference/schemas.md has the tables.
SCHEMAS = {
    "task": "hbt_bench.tasks.task:TaskSpec",
    "recipe": "hbt_bench.training.recipe:Recipe",
    "study": "hbt_bench.studies.study:Study",
}
_LINK = re.compile(r"(?<!\\)\]\((?!https?:|mailto:|#)([^)\s]+?)(#[^)\s]*)?\)")
_SCHEMA = re.compile(r"^<!-- schema: ([\w.]+:\w+) -->$", re.MULTILINE)
_COMMANDS = re.compile(r"<p>(hbt-bench [^<]+)</p>")


def main() -> int:
    """Gather the pages, build the site and return Zensical's exit code."""
    argparse.ArgumentParser(description="Build the site of the documentation in build/site.").parse_args()
    gather()
    built = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=ROOT, check=False)
    if built.returncode == 0:
        polish(SITE / "reference" / "cli.html")
    return built.returncode


def gather() -> None:
    """Copy the pages and all files that they link to into build/docs."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for name in _linked_files():
        target = PAGES / name.removeprefix("docs/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".md"):
            target.write_text(_page(name), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / name, target)
    for name, model in SCHEMAS.items():
        schema = PAGES / "schemas" / f"{name}.json"
        schema.parent.mkdir(exist_ok=True)
        schema.write_text(json.dumps(_load(model).model_json_schema(), indent=2, ensure_ascii=False), encoding="utf-8")


def polish(page: Path) -> None:
    """Show the examples in the help of commands as code, and hide click's mark of an option without a default."""
    html = page.read_text(encoding="utf-8").replace("<code>Sentinel.UNSET</code>", "")
    page.write_text(_COMMANDS.sub(r"<pre><code>\1</code></pre>", html), encoding="utf-8")


def _linked_files() -> Iterator[str]:
    """Yield the path of each page below the repository, and of each file that a page links to."""
    waiting = [*OUTSIDE, *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        yield name
        if name.endswith(".md"):
            text = _without_code((ROOT / name).read_text(encoding="utf-8"))
            linked = {_repository_path(name, target) for target, _ in _LINK.findall(text)} - seen
            linked = {path for path in linked if (ROOT / path).is_file()}
            seen |= linked
            waiting += sorted(linked)


def _page(name: str) -> str:
    """Return the text of a page with links for the site and with tables of schemas."""
    folder = PurePosixPath(name.removeprefix("docs/")).parent

    def moved(match: re.Match[str]) -> str:
        linked = _repository_path(name, match[1])
        if not (ROOT / linked).is_file():
            return match[0]  # Zensical reports a dead link
        return f"]({os.path.relpath(linked.removeprefix('docs/'), folder)}{match[2] or ''})"

    text = _LINK.sub(moved, (ROOT / name).read_text(encoding="utf-8"))
    return _SCHEMA.sub(lambda match: schema_tables(match[1]), text)


def schema_tables(model: str) -> str:
    """Return a Markdown table of the keys of a model, and a table for each nested model.

    `model` is ``module:Class``, for example ``hbt_bench.training.recipe:Recipe``.
    """
    schema = _load(model).model_json_schema()
    tables = [_table(schema)]
    for title, definition in sorted(schema.get("$defs", {}).items()):
        tables.append(f"**{title}**{{ #{title.lower()} }}\n\n{_table(definition)}")
    return "\n\n".join(tables)


def _table(schema: dict[str, Any]) -> str:
    text = str(schema.get("description", "")).split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    required = set(schema.get("required", ()))
    rows = [("key", "value", "default", "meaning"), ("---", "---", "---", "---")]
    for key, field in schema.get("properties", {}).items():
        value = field.get("default")
        plain = value is not None and not isinstance(value, dict) and value != []
        default = "required" if key in required else f"`{json.dumps(value)}`" if plain else ""
        rows.append((f"`{key}`", _kind(field), default, str(field.get("description", ""))))
    width = 4 if any(row[3] for row in rows[2:]) else 3
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row[:width]) + " |" for row in rows]
    return f"{text}\n\n" + "\n".join(lines)


def _kind(field: dict[str, Any]) -> str:
    """Describe the values of a key in a few words, for example ``list of string``."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    for key in ("anyOf", "oneOf"):
        if key in field:
            kinds = [_kind(option) for option in field[key] if option.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    kind = field.get("type", "any")
    if kind == "array":
        item = field.get("items") or {}
        return f"list of {_kind(item)}" if item else "list"
    if kind == "object":
        value = field.get("additionalProperties")
        return f"mapping to {_kind(value)}" if isinstance(value, dict) and value else "mapping"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = " ".join(f"{sign} {field[key]:g}" for key, sign in bounds.items() if key in field)
    return f"{kind} {limits}".strip()


def _load(model: str) -> type[BaseModel]:
    module, _, name = model.partition(":")
    loaded: type[BaseModel] = getattr(import_module(module), name)
    return loaded


def _repository_path(page: str, target: str) -> str:
    return os.path.normpath(PurePosixPath(page).parent / target)


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    sys.exit(main())
