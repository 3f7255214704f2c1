"""The results page as a static site: leaderboards, pages for collections, questions and models, and tables as CSV.

All links are relative, and nothing is loaded from elsewhere, so the site opens from a folder or from any address, such
as GitHub Pages. The pages share their scripts.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hbt_bench.errors import OutputError
from hbt_bench.files import write_text
from hbt_bench.reports.page import results_page
from hbt_bench.reports.render import chart_library, html, inline_json, is_page, page_script

#: The scripts in ``assets/``, in the order in which they run.
_SCRIPTS = ("charts.js", "report.js")
_FOLDERS = ("collections", "models", "questions", "csv")
#: The beginning of a part of the questions, a script.
_PART = "hbtBenchPart("


@dataclass(frozen=True)
class Site:
    """A site that shows `content`, which comes from `ReportRequest.content`.

    For example, ``Site(request.content(results), "Multilingual retrieval").write(Path("public"))``.
    """

    content: Mapping[str, Any]
    title: str

    def write(self, folder: Path) -> list[Path]:
        """Write all files and return their paths. Pages of an earlier site that are not written again are removed.

        Raises `OutputError` if the folder has files of another program.
        """
        check_folder(folder)
        paths = {folder / name: text for name, text in self.files().items()}
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        for path in (path for name in _FOLDERS for path in (folder / name).glob("*")):
            if path not in paths and (path.suffix == ".csv" or _is_ours(path.read_bytes())):
                path.unlink()
        return list(paths)

    def files(self) -> dict[str, str]:
        """Return the content of each file by its path in the site."""
        boards = [board | {"rows": [dict(row) for row in board["rows"]]} for board in self.content["boards"]]
        counts = Counter(board["collection"] for board in boards)
        for board in boards:
            of_data = f", data {board['data']}" if counts[board["collection"]] > 1 else ""
            board["title"] = f"{board['collection']}{of_data}"
        collections = _page_names(board["title"] for board in boards)
        labels = dict.fromkeys(row["label"] for board in boards for row in board["rows"] if row["measured"])
        models = _page_names(labels)
        for board in boards:
            name = collections[board["title"]]
            board["href"] = f"collections/{name}.html"
            board["csv_href"] = f"csv/{name}.csv"
            board["questions_href"] = f"questions/{name}.html" if board["explorer"] else None
            for row in board["rows"]:
                row["href"] = f"models/{models[row['label']]}.html" if row["measured"] else None
        links = {
            "Collections": {board["title"]: board["href"] for board in boards},
            "Questions": {board["title"]: board["questions_href"] for board in boards if board["explorer"]},
            "Models": {label: f"models/{name}.html" for label, name in models.items()},
        }
        files = {"index.html": self._page([_overview(board) for board in boards], self.title, links, "")}
        for board in boards:
            files[board["href"]] = self._page([board], f"{board['title']}, {self.title}", links, "../")
            files[board["csv_href"]] = board["csv"]
            if board["explorer"]:
                files |= self._questions(board, links)
        for label, name in models.items():
            shown = [board_of_model for board in boards if (board_of_model := _of_model(board, label))]
            files[f"models/{name}.html"] = self._page(shown, f"{label}, {self.title}", links, "../")
        scripts = {"charts.js": chart_library()} | {name: page_script(name) for name in ("report.js", "questions.js")}
        return files | {f"assets/{name}": text for name, text in scripts.items()}

    def _questions(self, board: Mapping[str, Any], links: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Return the page of the questions of a collection, and the scripts with its ranks."""
        stem, explorer = board["questions_href"].removesuffix(".html"), board["explorer"]
        data = {"index": explorer["index"], "parts": stem.rpartition("/")[2], "names": self.content["names"]}
        page = html(
            "questions.html",
            title=f"Questions of {board['title']}, {self.title}",
            collection=board["title"],
            board_href=board["href"],
            nav={"up": "../", "groups": links},
            data=inline_json(data),
            assets=["../assets/questions.js"],
            scripts=[],
        )
        parts = enumerate(explorer["parts"])
        scripts = {f"{stem}-{number}.js": f'{_PART}{number},"{text}")\n' for number, text in parts}
        return {f"{stem}.html": page} | scripts

    def _page(self, boards: list[dict[str, Any]], title: str, links: Mapping[str, Mapping[str, str]], up: str) -> str:
        """Return a page; `up` leads from its folder to that of the site."""
        nav = {"up": up, "groups": links}
        assets = [f"{up}assets/{name}" for name in _SCRIPTS]
        return results_page({**self.content, "boards": boards}, title, assets, nav)


def check_folder(folder: Path) -> None:
    """Raise `OutputError` if a folder is neither new nor empty nor a site of this program."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is not a folder: choose another --output")
    index = folder / "index.html"
    if folder.is_dir() and any(folder.iterdir()) and not (index.is_file() and is_page(index.read_bytes())):
        raise OutputError(f"{folder} has files, but is not a site of hbt-bench: choose another --output")


def _is_ours(content: bytes) -> bool:
    return is_page(content) or content.startswith(_PART.encode())


def _overview(board: Mapping[str, Any]) -> dict[str, Any]:
    """Return a collection without the parts that have a page of their own."""
    rows = [row | {"details": None} for row in board["rows"]]
    return {**board, "rows": rows, "comparison": None}


def _of_model(board: Mapping[str, Any], label: str) -> dict[str, Any] | None:
    """Return a collection with the rows of a model, None if there are none."""
    chosen = [index for index, row in enumerate(board["rows"]) if row["label"] == label and row["measured"]]
    if not chosen:
        return None
    bold = [[chosen.index(row), column] for row, column in board["bold"] if row in chosen]
    rows = [board["rows"][index] for index in chosen]
    return {**board, "rows": rows, "bold": bold, "comparison": None, "sweep": []}


def _page_names(names: Iterable[str]) -> dict[str, str]:
    """Return a file name without an ending for each name, with letters that need no escape in an address.

    Equal file names, also on a file system that ignores case, get a hash.
    """
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        text = re.sub(r"[^A-Za-z0-9.@=-]+", "_", name).strip("._")[:100]
        if not text or text.casefold() in taken:
            text = f"{text}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        taken.add(text.casefold())
        result[name] = text
    return result
