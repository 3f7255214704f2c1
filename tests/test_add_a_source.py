"""A new kind of source needs one entry in `SOURCES`: task files can name it, and their errors and modes follow."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field

from hbt_bench.cli.main import run
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError
from hbt_bench.tasks.folders import Folder
from hbt_bench.tasks.schema import Codes, Source
from hbt_bench.tasks.sources import SOURCES

TASK = "name: numbers\nsource:\n  kind: numbers\n  numbers: 3\n  languages: [de, en]\n"


class NumberSource(Source):
    """Numbers as questions, each answered by the same number in all languages."""

    kind: Literal["numbers"]
    numbers: int
    codes: Codes = Field(alias="languages")

    @property
    def languages(self):
        return tuple(sorted(self.codes))

    def read(self, name, languages, data_files):
        texts = [(code, number) for code in languages for number in range(self.numbers)]
        return Collection.from_records(
            name,
            [Query(f"{code}-q-{number}", code, f"{number}?", f"{number}") for code, number in texts],
            [Document(f"{code}-d-{number}", code, f"{number}.") for code, number in texts],
            {f"{code}-q-{number}": {f"{other}-d-{number}": 1 for other in languages} for code, number in texts},
        )


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "numbers.yaml"
    path.write_text(TASK)
    return path


@pytest.fixture
def numbers(monkeypatch):
    monkeypatch.setattr("hbt_bench.tasks.sources.SOURCES", [*SOURCES, NumberSource])


@pytest.mark.usefixtures("numbers")
def test_one_entry_adds_a_kind(path):
    spec = Folder.read(path).specs["numbers"]
    assert isinstance(spec.source, NumberSource)
    assert spec.modes == ("mono", "cross", "multi")
    collection = spec.load()
    assert [query.text for query in collection.queries] == ["0?", "1?", "2?"] * 2
    assert collection.relevant(0) == {"de-d-0": 1, "en-d-0": 1}


@pytest.mark.usefixtures("numbers")
def test_new_kind_runs(path, tmp_path, capsys):
    assert run(["run", "--model", "bm25", "--tasks", str(path), "--output", str(tmp_path / "out")]) == 0
    assert "numbers-multi" in capsys.readouterr().out


@pytest.mark.usefixtures("numbers")
def test_mistake_in_new_kind_has_a_position(path):
    path.write_text(TASK.replace("numbers: 3", "numbers: three"))
    [problem] = Folder.read(path).problems.values()
    assert ":4:3: source.numbers: must be a valid integer" in str(problem)


def test_unknown_kind_lists_all_kinds(path):
    [problem] = Folder.read(path).problems.values()
    assert isinstance(problem, DataError)
    assert "unknown kind 'numbers'" in str(problem)
    assert "lareqa, cldr, jsonl, csv, bitext, beir, hub, retrieval, mteb" in str(problem)
