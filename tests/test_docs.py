"""Run every command and block of code in the documentation, on small stand-ins for data and models.

A block is skipped if the line before it is ``<!-- no-run: reason -->``; `EXCEPTIONS` counts the skipped blocks.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from hbt_bench.cli import quickstart
from hbt_bench.cli.main import run
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.studies import study
from hbt_bench.studies.study import Study
from hbt_bench.tasks import registry
from hbt_bench.tasks.task import TaskSpec
from hbt_bench.training.recipe import Recipe
from tests import standins

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "docs").is_dir():
    pytest.skip("the documentation is missing", allow_module_level=True)

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md"))
)
#: The number of skipped blocks by page; each has its reason in the page.
EXCEPTIONS = {
    "CONTRIBUTING.md": 1,
    "README.md": 1,
    "docs/how-to/endpoint.md": 2,
    "docs/how-to/evaluate.md": 1,
    "docs/how-to/install.md": 3,
    "docs/how-to/scale-out.md": 1,
    "docs/how-to/train.md": 1,
    "docs/scale.md": 1,
    "docs/tutorial.md": 2,
}
#: Options that are added to a command to make it fast.
SMALLER = {
    "train": ("--steps", "2", "--batch-size", "8", "--vocabulary", "400", "--init", "static:8"),
    "compare": ("--samples", "200", "--resamples", "100"),
}
#: The languages of the embedded collection that a command without languages gets: five of 20.
FEWER = "[de,el,en,sw,vi]"
#: The revision of the real all-MiniLM-L6-v2, which examples name.
EXAMPLE_REVISION = "9285d5c87e2fe26e"
_BLOCK = re.compile(r"(<!-- no-run: (.+?) -->\n+)?^```(\w+)(?: title=\"(.+?)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its file name if any, its text, and the reason if it is skipped."""

    language: str
    title: str | None
    text: str
    reason: str | None

    @property
    def commands(self) -> list[str]:
        """The command lines with continued lines joined; in a console block, the lines after the prompt."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: str) -> list[Block]:
    return [
        Block(language, title or None, text, reason or None)
        for _, reason, language, title, text in _BLOCK.findall((ROOT / page).read_text())
    ]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Return a folder with the files that the commands name, and results of the models that pages show."""
    folder = tmp_path_factory.mktemp("docs")
    standins.make(folder)
    tiny = {
        "inits": ["static:8"],
        "seeds": [0, 1],
        "recipe": {"steps": 2, "batch_size": 8, "languages": ["de", "en"], "vocabulary": 400, "guard": []},
        "tasks": {"out-of-domain": ["cldr-facts-multi[en>de,en]"]},
    }
    (folder / "studies").mkdir()
    for path in (ROOT / "studies").glob("*.yaml"):
        content = {
            "name": path.stem,
            "title": "tiny",
            "question": "Is it better?",
            "answer": {"claim": "hybrid is better", "strategy": "hybrid", "over": ["monolingual"]},
            "strategies": {name: {"strategy": name} for name in ("monolingual", "hybrid")},
            "scales": dict.fromkeys(study.SCALES, tiny),
        }
        (folder / "studies" / path.name).write_text(json.dumps(content))  # YAML without anchors
    with pytest.MonkeyPatch.context() as patch, opened(folder, patch) as shell:
        patch.setenv("HBT_BENCH_CACHE", str(folder / "cache"))
        for model in ("ckpt/", "bm25", "ckpt-a/", "ckpt-b/"):
            shell.run(f"hbt-bench run --model {model} --tasks xquad-r,mlqa-r")
    return folder


@pytest.fixture
def shell(template, tmp_path, monkeypatch):
    """Yield a shell in a new folder, so that no page depends on the output of another page."""
    with opened(shutil.copytree(template, tmp_path / "docs"), monkeypatch) as shell:
        yield shell


@contextlib.contextmanager
def opened(folder, monkeypatch):
    """Yield a shell in a folder, with the tasks and studies of that folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HBT_BENCH_DATA", str(folder / "data"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(registry, "_FOLDERS", (folder / "tasks",))
    monkeypatch.setattr(study, "_FOLDERS", (folder / "studies",))
    monkeypatch.setattr(quickstart, "_TASK", f"cldr-facts{FEWER}")
    monkeypatch.setitem(quickstart._RECIPE, "steps", 2)
    monkeypatch.setitem(quickstart._RECIPE, "vocabulary", 400)
    yield Shell(folder, monkeypatch)


class Shell:
    """Runs command lines of the documentation in a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch

    def run(self, line: str) -> None:
        text = line.replace(EXAMPLE_REVISION, Checkpoint.from_folder(self.folder / "ckpt").revision)
        text = text.replace("$HBT_BENCH_DATA", str(self.folder / "data")).replace("../data", "data")
        words = shlex.split(text, comments=True)
        programs = {
            "hbt-bench": self._hbt,
            "pip": self._pip,
            "make": self._make,
            "python": self._python,
            "export": self._export,
            "cd": lambda words, line: os.chdir(words[0]),
            ".": lambda words, line: None,  # activates an environment
            "printf": lambda words, line: subprocess.run(["bash", "-c", text], check=True),
        }
        assert words[0] in programs, f"no test for the command {line!r}"
        output = words[words.index(">") + 1] if ">" in words and words[0] != "printf" else None
        out = programs[words[0]](words[1 : words.index(">")] if output else words[1:], line)
        if output:
            Path(output).write_text(out)

    def _export(self, words: list[str], line: str) -> None:
        self.monkeypatch.setenv(*words[0].split("="))

    def _hbt(self, words: list[str], line: str) -> str:
        if words[:2] == ["tasks", "new"]:  # an earlier block may have made it
            Path(f"{words[2]}.yaml").unlink(missing_ok=True)
        if words[0] == "train" and "--output" in words:  # may hold a stand-in
            shutil.rmtree(words[words.index("--output") + 1], ignore_errors=True)
        words = [re.sub(r"^cldr-facts(-\w+)?(?=(:\d+)?$)", rf"\g<0>{FEWER}", word) for word in words]
        smaller = SMALLER.get(words[0], ()) if "--help" not in words else ()
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            code = run([*words, *smaller])
        assert code == 0, f"{line}\n{err.getvalue()}"
        assert out.getvalue(), line
        return out.getvalue()

    def _pip(self, words: list[str], line: str) -> str:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for extra in re.findall(r"(?:hbt-bench|\.)\[([\w,]+)\]", line):
            assert set(extra.split(",")) <= set(extras), line
        return ""

    def _make(self, words: list[str], line: str) -> str:
        for target in words:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        return ""

    def _python(self, words: list[str], line: str) -> str:
        assert words[0].startswith("examples/"), line
        assert (ROOT / words[0]).is_file(), line  # run by tests/test_examples.py
        return ""


def test_skipped_blocks_have_a_reason():
    reasons = {page: [block.reason for block in blocks(page) if block.reason] for page in PAGES}
    assert {page: len(texts) for page, texts in reasons.items() if texts} == EXCEPTIONS


def test_pages_are_found():
    assert {"README.md", "docs/tutorial.md", "docs/how-to/evaluate.md", "docs/tasks.md"} <= set(PAGES)
    assert sum(len(block.commands) for page in PAGES for block in blocks(page) if block.language == "bash") > 40


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_blocks_work(page, shell, monkeypatch):
    """Write files, run commands and Python, and validate YAML, in the order of the page."""
    checks = {
        "bash": lambda block: [shell.run(command) for command in block.commands],
        "console": lambda block: [shell.run(command) for command in block.commands],
        "python": lambda block: python(block.text, monkeypatch),
        "yaml": lambda block: valid(block.text),
        "json": lambda block: [json.loads(line) for line in block.text.splitlines()],
        "toml": lambda block: tomllib.loads(block.text),
    }
    for block in blocks(page):
        if block.title:
            Path(block.title).write_text(block.text)
        if not block.reason:
            checks[block.language](block)


def python(text: str, monkeypatch) -> None:
    """Run a block with a small model instead of a model from the hub."""
    import mteb
    from sentence_transformers import SentenceTransformer

    monkeypatch.setattr(mteb, "get_model", lambda name: SentenceTransformer("ckpt", device="cpu"))
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(text, "<documentation>", "exec"), {"__name__": "documentation"})


def valid(text: str) -> None:
    """Validate a task, a recipe, a study, or a part of these."""
    content = yaml.safe_load(text)
    if isinstance(content, list):
        Recipe.model_validate({"data": content})
    elif "source" in content:
        TaskSpec.model_validate(content)
    elif "scales" in content:
        content["scales"] = dict.fromkeys(
            content["scales"], content["scales"]["smoke"]
        )  # pages write `...` for the other scales
        Study.model_validate(content)
    else:
        Recipe.model_validate(content)


def test_site_builds_without_dead_links():
    pytest.importorskip("zensical", reason="pip install 'hbt-bench[docs]'")
    command = [sys.executable, "docs/build_site.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    site = ROOT / "build" / "site"
    cli = (site / "reference/cli.html").read_text()
    for command in ("run", "train", "compare", "bias", "leaderboard", "study"):
        assert f"hbt-bench {command}" in cli
    assert "--drop-overlap" in cli
    assert "Sentinel" not in cli
    recipe = json.loads((site / "schemas/recipe.json").read_text())
    assert set(recipe["properties"]) == set(Recipe.model_fields)
    schemas = (site / "reference/schemas.html").read_text()
    assert all(f"<code>{field}</code>" in schemas for field in Recipe.model_fields)
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|iframe)[^>]* src=\"(https?:[^\"]+)|<link[^>]* href=\"(https?:[^\"]+)", page.read_text()
        )
        assert not loaded, (page.name, loaded)  # pages load nothing from other sites


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes from the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", _without_blocks(page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def _without_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


LINKED = sorted({*PAGES, *(path.relative_to(ROOT).as_posix() for path in (ROOT / "results").rglob("*.md"))})


@pytest.mark.parametrize("name", LINKED)
def test_links_work_on_github(name):
    """Check links to files and headings, also in pages that are not part of the site, such as README.md."""
    page = ROOT / name
    dead = []
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", _without_blocks(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    assert not dead


def test_pages_with_links_are_found():
    assert {"README.md", "results/README.md", "results/studies/README.md", "docs/tutorial.md"} <= set(LINKED)
    assert "where-is-what" in _anchors(ROOT / "docs/architecture.md")


def test_python_reference_has_public_names():
    import hbt_bench

    text = (ROOT / "docs/reference/python.md").read_text()
    documented = set(re.findall(r"[.\s\[](\w+)(?=[\s,\]]|$)", text))
    assert {name for name in hbt_bench.__all__ if name != "__version__"} <= documented


def test_exit_codes_match_the_exceptions():
    from hbt_bench import errors

    text = (ROOT / "docs/reference/exit-codes.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)`", text, re.MULTILINE))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__base__ is errors.HbtBenchError]
    assert {kind.exit_code: kind.__name__ for kind in kinds} == {int(code): name for code, name in rows.items()}


def test_architecture_names_existing_code():
    text = (ROOT / "docs/architecture.md").read_text()
    table = text.partition("## Where is")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (where|what|why|when|which).*?\| (.*) \|$", table, re.MULTILINE)
    assert len(rows) >= 12
    for _, answer in rows:
        module = None
        for code in re.findall(r"`([\w./]+)`", answer):
            if "/" in code or code.endswith(".py"):
                path = ROOT / "hbt_bench" / code
                assert path.is_file(), code
                module = path.read_text()
            elif module is not None and code not in ("Train", "Evaluate"):
                for name in code.split("."):
                    assert re.search(rf"\b(def|class) {name}\b|^{name}\b", module, re.MULTILINE), (code, answer)
        assert module is not None, answer


def test_how_to_add_names_existing_files():
    text = (ROOT / "docs/architecture.md").read_text()
    table = text.partition("## How to add")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| a .*$", table, re.MULTILINE)
    assert len(rows) == 6
    for row in rows:
        for name in re.findall(r"`([\w.]+/[\w./]*)`", row):
            assert any((root / name).exists() for root in (ROOT, ROOT / "hbt_bench")), name
