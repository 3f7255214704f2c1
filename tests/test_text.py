"""Check that foreign names stay text in every format: no markup, no marks, no control codes."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from hbt_bench.cli.main import run as command
from hbt_bench.reports.card import updated_card
from hbt_bench.reports.table import Table, render
from hbt_bench.results.store import Result, read_all
from hbt_bench.studies.report import Report, Section
from hbt_bench.text import as_code, as_csv, as_latex, as_markdown, as_prose, fenced
from hbt_bench.training.card import readme

RESULTS = Path(__file__).parent / "fixtures" / "format-2"
HIDDEN = "\x00\x07\x08\x1b\x7f\x85\x9b\u202e\u2066"
MARKUP = "<script>alert(1)</script> <!-- x --> [a](javascript:b) @octocat `c`"
EVIL = f"x<!-- /leaderboard --><!-- leaderboard --><!-- /hbt-bench -->\x1b[2J\x9b2J\u202e\n{MARKUP}"


def hidden(text):
    """Return the control codes except line ends, and the direction controls."""
    return re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


@pytest.fixture
def hostile(tmp_path):
    """Results with markup in the names of models and in signatures."""
    folder = tmp_path / "results"
    shutil.copytree(RESULTS, folder)
    for path in folder.rglob("*Retrieval*.json"):
        first, head, *rest = path.read_text().split("\n")
        head = head.replace('"model": "hbt-bench/bm25"', f'"model": {json.dumps(EVIL)}', 1)
        path.write_text("\n".join([first, head, *rest]))
    return folder


@pytest.mark.parametrize("show", [as_markdown, as_prose, as_code, as_latex, as_csv])
def test_hidden_characters_become_question_marks(show):
    assert show("a\x1b]0;t\x07\x7f\x9b\u202e\u2069b") == "a?]0;t?????b".replace("]", show("]"))


@pytest.mark.parametrize("style", ["md", "latex", "html", "csv"])
def test_tables_have_no_control_codes(style):
    table = Table([f"h{HIDDEN}"], [[f"a{HIDDEN}\nb{HIDDEN}"]], title=f"t{HIDDEN}")
    text = render([table], style, [f"n{HIDDEN}"])
    assert not hidden(text)
    assert text.count("?") >= 2 * (len(HIDDEN) - 1)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("run `pip install 'a[b]'` then <b> it", "run `pip install 'a[b]'` then &lt;b> it"),
        ("`a<!-- x -->`", "\\`a&lt;!-- x -->\\`"),
        ("one ` alone @me", "one \\` alone \\@<!-- -->me"),
        ("flores-ood-multi[12 languages], out", "flores-ood-multi[12 languages], out"),
        ("[a](b) [a][b] [a]: b [^1] [@me]", r"\[a\](b) \[a\][b] \[a\]: b \[^1\] \[\@<!-- -->me\]"),
    ],
)
def test_prose_keeps_code_and_remarks(text, written):
    assert as_prose(text) == written


def test_text_cannot_end_code_span():
    assert as_code("```\n<!-- /hbt-bench -->\r\n`") == "''' ‹!-- /hbt-bench --> '"


def test_hostile_name_keeps_leaderboard_block_intact(hostile, tmp_path, capsys):
    page = tmp_path / "R.md"
    page.write_text("before\n<!-- leaderboard -->\n<!-- /leaderboard -->\nafter\n")
    assert command(["leaderboard", str(hostile), "--update", str(page)]) == 0
    first = page.read_text()
    assert command(["leaderboard", str(hostile), "--update", str(page)]) == 0, capsys.readouterr().err
    assert page.read_text() == first
    assert r"| x&lt;!-- /leaderboard -->&lt;!-- leaderboard -->" in first
    assert not hidden(first)
    assert "&lt;script>" in first
    assert "\n\nafter\n" not in first
    assert first.endswith("<!-- /leaderboard -->\nafter\n")


@pytest.mark.parametrize("style", ["md", "latex", "html", "csv"])
def test_leaderboards_have_no_control_codes(hostile, style, capsys):
    assert command(["leaderboard", str(hostile), "--format", style]) == 0
    assert not hidden(capsys.readouterr().out)


def test_bias_markdown_escapes_names(hostile, tmp_path, capsys):
    path = next(hostile.rglob("*Multilingual*.json"))
    assert command(["bias", str(path), "--format", "md"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Language bias of x&lt;!-- /leaderboard -->")
    title = text.partition("\n\n")[0]
    assert (
        r"?[2J?2J? &lt;script>alert(1)&lt;/script> &lt;!-- x --> \[a\](javascript:b)".replace("[2J", r"\[2J") in title
    )
    assert r"\@<!-- -->octocat `c`" in title
    assert "cldr-facts-multi[" in title
    assert not hidden(text)


def test_study_report_escapes_names():
    named = Section("Heading", [f"Said with `code`. {MARKUP}"], [Table(("a", "b"), [["1", "2"]], MARKUP)])
    text = Report(f"T {EVIL}", EVIL, EVIL, [named]).markdown()
    assert not hidden(text)
    assert "Said with `code`. " in text
    rest = text.replace("\\@<!-- -->octocat", "")
    assert not re.findall(r"(?<!\\)<(?!!)|<!--|(?<!\\)@|(?<!\\)\[a", rest)
    assert text.startswith("# T x&lt;!-- /leaderboard -->")


def test_signature_cannot_end_block_of_card():
    results = [result for result in read_all(RESULTS) if isinstance(result, Result) and result.mode]
    ends = "```\n<script>\n<!-- /hbt-bench -->"
    evil = [
        dataclasses.replace(result, task=f"{result.task}{EVIL}", signature=result.signature + ends)
        for result in results
    ]
    text = updated_card("---\nlicense: mit\n---\n# A model\n", "ckpt", evil)
    readable = text.partition("\n---\n")[2]
    assert readable.count("<!-- hbt-bench -->") == readable.count("<!-- /hbt-bench -->") == 1
    assert readable.count("```") == 2
    assert "<script>" not in readable.replace(r"\<script>", "")
    assert not hidden(text)
    assert updated_card(text, "ckpt", evil) == text


def test_report_page_escapes_names(hostile, tmp_path):
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    path = tmp_path / "r.html"
    assert command(["report", str(hostile), "--output", str(path), "--title", f"a{HIDDEN[1:]}b"]) == 0
    text = path.read_text()
    assert "<title>a????????b</title>" in text
    ours = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)  # Vega's are not ours
    assert "/leaderboard --" in ours
    assert not hidden(ours)


@pytest.mark.parametrize(
    ("text", "fence"), [("a", "```"), ("a `b` c", "```"), ("```\n<script>", "````"), ("x\n``````", "```````")]
)
def test_fence_is_longer_than_fences_in_text(text, fence):
    assert fenced(text, "yaml") == f"{fence}yaml\n{text}\n{fence}"


def test_model_card_escapes_names():
    """A recipe of others names sources and prompts as it likes."""
    facts = {
        "name": EVIL, "init": EVIL, "languages": ["de"], "strategy": "hybrid", "alpha": 0.5, "steps": 1,
        "pairs_seen": 8, "seconds": 1.0, "recipe": {"query_prefix": f"a\n```\n{MARKUP}", "name": EVIL},
        "batches": {"mono": 1}, "queries": {"de": 1.0}, "data": {EVIL: "f" * 16}, "dropped": [], "guards": [EVIL],
        "dev": [], "versions": {"hbt-bench": "0.1.0"}, "base_model": "org/model",
    }  # fmt: skip
    card = readme('my "model"', facts)
    assert not hidden(card)
    assert 'model = SentenceTransformer("my \\"model\\"")\n' in card
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front)["language"] == ["de"]
    blocks = re.findall(r"^(````*)\w*\n.*?^\1$", text, re.MULTILINE | re.DOTALL)
    assert blocks == ["```", "````"]
    rest = re.sub(r"^(````*)\w*\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    rest = re.sub(r"(?<!\\)`[^`\n]*`", "", rest)  # code in a line
    for sign in ("<script>", "<!-- /leaderboard -->", "[a](javascript:b)", " @octocat"):
        assert re.search(rf"(?<!\\){re.escape(sign)}", rest.replace("@<!-- -->", "")) is None, rest


@pytest.mark.parametrize("show", [as_markdown, as_prose])
@pytest.mark.parametrize(
    "name", ["<!-- --> <img src=x onerror=alert(1)>", "<script>alert(1)</script>", "a <b onclick=x> c"]
)
def test_python_markdown_makes_no_tag_of_names(show, name):
    """Python-Markdown, which MkDocs uses, takes a backslash before `<` for text and what follows for a tag."""
    markdown = pytest.importorskip("markdown", reason="pip install 'hbt-bench[docs]'")
    made = markdown.markdown(f"| a | b |\n|---|---|\n| {show(name)} | 1 |\n\n{show(name)}", extensions=["tables"])
    assert not re.search(r"<(img|script|b)\b", made), made
    assert made.count("&lt;") >= 2
