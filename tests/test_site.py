"""The static site: its pages, links and tables, opened from a folder."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from hbt_bench.actions import readable
from hbt_bench.cli.main import run as command
from hbt_bench.reports.page import ReportRequest
from hbt_bench.reports.site import Site, _page_names
from tests import browser
from tests.factories import FIXTURE, plant_fixture

LABELS = ("hbt-bench/bm25@k0.9-b0.4", "local/one@1", "local/two@2")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    root = tmp_path_factory.mktemp("site")
    shutil.copytree(FIXTURE, root / "results")
    plant_fixture(root / "results", "local/one", "1", 1)
    plant_fixture(root / "results", "local/two", "2", 3)
    assert command(["site", str(root / "results"), "--output", str(root / "public"), "--title", "Our models"]) == 0
    return root / "public"


def addresses(page):
    """Return the addresses of other files in a page."""
    return [text for text in re.findall(r'(?:href|src)="([^"]*)"', page.read_text()) if not text.startswith("#")]


def test_site_has_a_page_for_each_collection_and_model(site):
    files = sorted(path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file())
    models = [f"models/{label.replace('/', '_')}.html" for label in LABELS]
    collection = ["collections/cldr-facts_de_en.html", "csv/cldr-facts_de_en.csv"]
    assert files == ["assets/charts.js", "assets/report.js", *collection, "index.html", *models]
    for path in site.rglob("*.html"):
        text = path.read_text()
        assert "script-src 'self'; " in text
        assert "<title>" in text
        assert text.count("<script") == 3  # data, charts, report


def test_links_are_relative_and_lead_to_files(site):
    for path in site.rglob("*.html"):
        found = addresses(path)
        assert len(found) > 5
        for address in found:
            assert (path.parent / unquote(address)).resolve().is_file(), (path, address)
            assert not re.match(r"/|\w+:", address)


def test_csv_has_the_rows_of_the_leaderboard(site):
    (path,) = (site / "csv").iterdir()
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(f"{row['model']}@{row['revision']}" for row in rows if row["source"] == "measured") == sorted(LABELS)
    assert {row["collection"] for row in rows} == {"cldr-facts[de,en]"}
    assert all(0 < float(row["multi AP"]) < 1 for row in rows)


def test_model_page_has_this_model_only(site):
    text = (site / "models" / "local_one@1.html").read_text()
    assert text.count('class="measured"') == 1
    assert "Signatures of all numbers (3)" in text


def test_later_site_removes_old_pages(site, tmp_path):
    public = shutil.copytree(site, tmp_path / "public")
    (public / "models" / "local_one@1.html").rename(public / "models" / "old.html")
    (public / "models" / "notes.txt").write_text("mine")
    content = ReportRequest().content(readable(site.parent / "results"))
    Site(content, "Our models").write(public)
    names = sorted(path.name for path in (site / "models").iterdir())
    assert sorted(path.name for path in (public / "models").iterdir()) == [*names, "notes.txt"]


@pytest.mark.parametrize("name", ["index.html", "notes.txt"])
def test_folder_of_another_program_is_not_used(tmp_path, capsys, name):
    (tmp_path / name).write_text("<p>mine</p>")
    assert command(["site", str(tmp_path), "--output", str(tmp_path)]) == 5
    assert "is not a site of hbt-bench" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "<p>mine</p>"


def test_page_names_are_safe_and_unique():
    names = _page_names(["a[de,en]+typos", "a_de_en_typos", "A/B", "a/b", "../..", ""])
    assert names["a[de,en]+typos"] == "a_de_en_typos"
    assert len({name.casefold() for name in names.values()}) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9@=-][A-Za-z0-9.@=_-]*|_[0-9a-f]{8}", name) for name in names.values())


def test_pages_open_from_a_folder(site):
    """Permalinks, families and CSV work, and nothing is loaded but the files of the site."""
    browser.require()
    with browser.chromium() as driver:
        page = site / "collections" / "cldr-facts_de_en.html"
        browser.open_report(driver, page)
        run = driver.execute_script
        run(
            "const order = document.getElementById('order'); order.value = 'family';"
            "order.dispatchEvent(new Event('change'))"
        )
        heading = "return [...document.querySelectorAll('.heat thead tr')].map((row) => row.textContent)"
        assert run(heading) == ["Indo-European", "querydeen"]
        model = "const model = document.getElementById('model');"
        run(f"{model} model.value = model.options[1].value; model.dispatchEvent(new Event('change'))")
        chosen = run(f"{model} return model.selectedOptions[0].text")
        link = driver.current_url
        assert "order=family" in link
        driver.get("about:blank")
        driver.get(link)
        assert run(f"{model} return model.selectedOptions[0].text") == chosen
        assert run(heading) == ["Indo-European", "querydeen"]
        run(
            "window.saved = []; const address = URL.createObjectURL.bind(URL);"
            "URL.createObjectURL = (blob) => { saved.push(blob); return address(blob); };"
            "document.querySelector('.heat + button.csv').click()"
        )
        text = driver.execute_async_script("saved[0].text().then(arguments[0])")
        assert text.splitlines()[:3] == ['"","Indo-European",', '"query","de","en"', '"Indo-European",,']
        driver.get(f"{page.resolve().as_uri()}#s-0-0-multi")
        driver.refresh()
        assert driver.find_element("id", "s-0-0-multi").is_displayed()
        problems = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert problems == []
        assert {Path(unquote(url)).parent.name for url in browser.requests(driver) if "/public/" in url} == {
            "collections",
            "assets",
        }
