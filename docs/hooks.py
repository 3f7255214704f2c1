"""Hooks of mkdocs: the files that pages link to outside docs/, and the schemas of YAML files from the models.

The site is the repository with docs/ as its root: docs/training.md is training.md, results/README.md stays where it is.
"""

from __future__ import annotations

import json
import os
import re
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
#: Pages of the navigation that lie outside docs/.
ROOTS = (
    "results/README.md",
    "results/training/README.md",
    "results/studies/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
)
#: The models behind the YAML files that people write; `docs/reference/schemas.md` has the tables.
SCHEMAS = {
    "task": "hbt_bench.tasks.task:TaskSpec",
    "recipe": "hbt_bench.training.recipe:Recipe",
    "study": "hbt_bench.studies.study:Study",
}
_LINK = re.compile(r"(?<!\\)\]\((?!https?:|mailto:|#)([^)\s]+?)(#[^)\s]*)?\)")
_SCHEMA = re.compile(r"^<!-- schema: ([\w.]+:\w+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the pages link to outside docs/, and what that links to, and the JSON Schemas."""
    from mkdocs.structure.files import File

    waiting = [*ROOTS, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        path = ROOT / name
        if not name.startswith("docs/"):
            files.append(File.generated(config, name, abs_src_path=str(path)))
        if path.suffix != ".md":
            continue
        for target, _ in _LINK.findall(_without_code(path.read_text(encoding="utf-8"))):
            linked = _repository_path(name, target)
            if linked not in seen and not linked.startswith("docs/") and (ROOT / linked).is_file():
                seen.add(linked)
                waiting.append(linked)
    for name, model in SCHEMAS.items():
        content = json.dumps(_load(model).model_json_schema(), indent=2, ensure_ascii=False)
        files.append(File.generated(config, f"schemas/{name}.json", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at where their files are on the site, and fill in the tables of schemas."""
    uri = page.file.src_uri
    name = uri if (ROOT / uri).is_file() and not (ROOT / "docs" / uri).is_file() else f"docs/{uri}"

    def moved(match: re.Match[str]) -> str:
        linked = _repository_path(name, match[1])
        if not (ROOT / linked).is_file():
            return match[0]  # a dead link, of which mkdocs tells, or a file of the site's own
        target = linked.removeprefix("docs/")
        relative = os.path.relpath(target, PurePosixPath(uri).parent.as_posix())
        return f"]({relative}{match[2] or ''})"

    return _SCHEMA.sub(lambda match: schema_tables(match[1]), _LINK.sub(moved, markdown))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leave out what click says for an option without a default; a paragraph of command lines is an example."""
    html = html.replace("<code>Sentinel.UNSET</code>", "")
    return re.sub(r"<p>(hbt-bench [^<]+)</p>", r"<pre><code>\1</code></pre>", html)


def schema_tables(model: str) -> str:
    """The keys of a model and of all that it is made of, a Markdown table each; `model` is ``module:Class``."""
    schema = _load(model).model_json_schema()
    tables = [_table(schema)]
    for title, part in sorted(schema.get("$defs", {}).items()):
        tables.append(f"**{title}**{{ #{title.lower()} }}\n\n{_table(part)}")
    return "\n\n".join(tables)


def _table(schema: dict[str, Any]) -> str:
    text = str(schema.get("description", "")).split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    required = set(schema.get("required", ()))
    rows = [("key", "value", "default", "what for"), ("---", "---", "---", "---")]
    for key, part in schema.get("properties", {}).items():
        value = part.get("default")
        plain = value is not None and not isinstance(value, dict) and value != []
        default = "needed" if key in required else f"`{json.dumps(value)}`" if plain else ""
        rows.append((f"`{key}`", _kind(part), default, str(part.get("description", ""))))
    width = 4 if any(row[3] for row in rows[2:]) else 3
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row[:width]) + " |" for row in rows]
    return f"{text}\n\n" + "\n".join(lines)


def _kind(part: dict[str, Any]) -> str:
    """What a value looks like, in a few words."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    for key in ("anyOf", "oneOf"):
        if key in part:
            kinds = [_kind(one) for one in part[key] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    kind = part.get("type", "any")
    if kind == "array":
        item = part.get("items") or {}
        return f"list of {_kind(item)}" if item else "list"
    if kind == "object":
        value = part.get("additionalProperties")
        return f"mapping to {_kind(value)}" if isinstance(value, dict) and value else "mapping"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = " ".join(f"{sign} {part[key]:g}" for key, sign in bounds.items() if key in part)
    return f"{kind} {limits}".strip()


def _load(model: str) -> type[BaseModel]:
    module, _, name = model.partition(":")
    loaded: type[BaseModel] = getattr(import_module(module), name)
    return loaded


def _repository_path(page: str, target: str) -> str:
    return os.path.normpath(PurePosixPath(page).parent / target)


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
