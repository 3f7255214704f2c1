"""Lookup of data files: which folder takes precedence, and paths that leave their folder."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from hbt_bench.data.data_files import DataFiles, Pin, search_folders
from hbt_bench.data.download import data_folder
from hbt_bench.errors import DataError, UsageError
from hbt_bench.tasks.registry import TaskRegistry


def warnings(caplog):
    messages = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return messages


def test_data_folder_takes_precedence_and_warns(tmp_path, caplog):
    data, task = tmp_path / "data", tmp_path / "task"
    for folder in (data, task):
        folder.mkdir()
        (folder / "d.jsonl").write_text(folder.name)
    files = DataFiles("t", task, data)
    assert files.find("d.jsonl").read_text() == "data"
    (message,) = warnings(caplog)
    assert message.startswith(f"{data}/d.jsonl is read, and {task}/d.jsonl with the same name is ignored")
    (task / "d.jsonl").unlink()
    (task / "d.jsonl").hardlink_to(data / "d.jsonl")  # the same file twice hides nothing
    assert files.find("d.jsonl").read_text() == "data"
    assert warnings(caplog) == []


def test_second_form_of_file_is_ignored(tmp_path, caplog):
    for name in ("corpus.jsonl", "corpus.jsonl.gz"):
        (tmp_path / name).write_text("")
    files = DataFiles("t", tmp_path)
    assert files.first(("corpus.jsonl", "corpus.jsonl.gz")) == "corpus.jsonl"
    assert warnings(caplog) == [f"{tmp_path}/corpus.jsonl is read, and {tmp_path}/corpus.jsonl.gz is ignored"]
    assert files.first(("corpus.jsonl.gz", "other")) == "corpus.jsonl.gz"
    assert warnings(caplog) == []


def test_recipes_search_three_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HBT_BENCH_DATA", str(tmp_path))
    assert search_folders(None, Path("recipes")) == (tmp_path, Path("recipes"), Path())
    assert search_folders(tmp_path / "..", Path()) == (tmp_path / "..", Path())
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path / 'none'} does not exist")):
        search_folders(tmp_path / "none", None)


def test_home_is_expanded_for_tasks_and_recipes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HBT_BENCH_DATA", "~/data")
    (tmp_path / "data").mkdir()
    assert data_folder() == tmp_path / "data"
    assert DataFiles("t").roots == (tmp_path / "data",)
    assert search_folders(None, None) == (tmp_path / "data", Path())
    monkeypatch.setenv("HBT_BENCH_DATA", "~nouser99/data")
    with pytest.raises(UsageError, match="HBT_BENCH_DATA"):
        search_folders(None, None)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("d.jsonl", "is a link that leads back to itself"),
        ("gone.jsonl", "is a link to a missing file"),
        ("../secret", "leads out of FOLDER"),
    ],
)
def test_bad_links_are_refused(tmp_path, target, message):
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "d.jsonl").symlink_to(folder / target)
    with pytest.raises(DataError) as caught:
        DataFiles("t", folder).find("d.jsonl")
    assert str(caught.value).startswith(f"{folder}/d.jsonl {message.replace('FOLDER', str(folder))}")


def test_link_within_folder_is_followed(tmp_path):
    (tmp_path / "real.jsonl").write_text("text")
    (tmp_path / "d.jsonl").symlink_to("real.jsonl")
    digest = hashlib.sha256(b"text").hexdigest()
    assert DataFiles("t", tmp_path).find("d.jsonl", Pin(digest, 4)).read_text() == "text"


def test_lareqa_follows_no_link_out_of_folder(tmp_path, data_dir):
    """The bytes are the pinned bytes, and still a link out of the folder is not followed."""
    folder = tmp_path / "lareqa" / "xquad-r"
    folder.mkdir(parents=True)
    (folder / "de.json").symlink_to(data_dir / "lareqa" / "xquad-r" / "de.json")
    (folder / "el.json").symlink_to(folder / "el.json")
    with pytest.raises(DataError, match=re.escape(f"{folder}/de.json leads out of {tmp_path}")):
        TaskRegistry().specs["xquad-r"].load(["de"], tmp_path)
    with pytest.raises(DataError, match=r"el\.json is a link that leads back to itself"):
        TaskRegistry().specs["xquad-r"].load(["el"], tmp_path)
