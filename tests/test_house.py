"""The distribution, citation file, workflows, release notes and constraints are complete and consistent."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests import smoke

ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "CITATION.cff").is_file():
    pytest.skip("the repository is missing", allow_module_level=True)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Return a folder with the sdist and the wheel that is built from it."""
    pytest.importorskip("build", reason="pip install build hatchling")
    pytest.importorskip("hatchling", reason="pip install build hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_wheel_has_types_definitions_and_templates(dist):
    (wheel,) = dist.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (ROOT / "tasks").rglob("*.yaml"):
        assert f"hbt_bench/definitions/{name.relative_to(ROOT / 'tasks').as_posix()}" in names
    for name in (ROOT / "studies").glob("*.yaml"):
        assert f"hbt_bench/studies/definitions/{name.name}" in names
    assert {
        "hbt_bench/py.typed",
        "hbt_bench/reports/templates/report.html",
        "hbt_bench/data/cldr_templates.yaml",
    } <= names
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/", "results/")) for name in names)


def test_sdist_has_tests_docs_and_licence(dist):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "CITATION.cff", "CHANGELOG.md", "tests/test_house.py", "docs/tutorial.md", "Makefile"} <= names


def test_wheel_works_outside_the_repository(dist):
    (wheel,) = dist.glob("*.whl")
    smoke.smoke(wheel, smoke.QUICK)


def test_citation_file_is_valid_and_current():
    cffconvert = pytest.importorskip("cffconvert", reason="pip install cffconvert")
    text = (ROOT / "CITATION.cff").read_text()
    citation = cffconvert.Citation(text)
    citation.validate()
    with pytest.raises(Exception, match="license"):
        cffconvert.Citation(text.replace("license: Apache-2.0", "license: Apache2")).validate()
    assert yaml.safe_load(text)["version"] == PROJECT["version"]
    papers = " ".join(reference["url"] for reference in yaml.safe_load(text)["references"])
    assert "2408.10536" in papers
    assert "2004.05484" in papers


def test_workflows_run_ci_and_make_targets():
    steps = []
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}, path.name
        for job in workflow["jobs"].values():
            steps += [step["run"] for step in job["steps"] if "run" in step]
    assert "bash .ci/run" in steps
    makefile = (ROOT / "Makefile").read_text()
    targets = [word for step in steps if step.startswith("make ") for word in step.split()[1:]]
    assert {"docs", "package"} <= set(targets)
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_issue_templates_are_forms():
    paths = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert [path.stem for path in paths] == ["bug", "config", "number", "task"]
    for path in paths:
        form = yaml.safe_load(path.read_text())
        if path.stem != "config":
            assert {"name", "description", "body"} <= set(form)
            assert all(field["type"] in ("markdown", "textarea", "input", "checkboxes") for field in form["body"])


def test_release_notes_have_this_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(PROJECT['version'])}\b", text, re.MULTILINE)


def test_all_dependencies_are_pinned():
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    extras = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *extras["bm25"], *extras["dev"], *extras["docs"]]
    names = {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower() for requirement in needed}
    assert names <= pinned, names - pinned
