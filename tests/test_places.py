"""Where files are looked for: which goes first, and what does not stay in its folder."""

from __future__ import annotations

import hashlib

import pytest

from hbt_bench.data.data_files import DataFiles, Pin
from hbt_bench.errors import DataError
from hbt_bench.tasks.registry import definitions


def test_a_file_in_the_data_folder_hides_the_one_beside_the_task_and_says_so(tmp_path, capsys):
    data, beside = tmp_path / "data", tmp_path / "task"
    for folder in (data, beside):
        folder.mkdir()
        (folder / "d.jsonl").write_text(folder.name)
    places = DataFiles("t", beside, data)
    assert places.find("d.jsonl").read_text() == "data"
    assert capsys.readouterr().err == (
        f"hbt-bench: {data}/d.jsonl is read; {beside}/d.jsonl, which has the same name, is not: the data folder goes "
        "first\n"
    )
    (beside / "d.jsonl").unlink()
    (beside / "d.jsonl").hardlink_to(data / "d.jsonl")  # the same file twice hides nothing
    assert places.find("d.jsonl").read_text() == "data"
    assert capsys.readouterr().err == ""


def test_one_of_two_forms_of_a_file_is_told(tmp_path, capsys):
    for name in ("corpus.jsonl", "corpus.jsonl.gz"):
        (tmp_path / name).write_text("")
    places = DataFiles("t", tmp_path)
    assert places.first(("corpus.jsonl", "corpus.jsonl.gz")) == "corpus.jsonl"
    assert capsys.readouterr().err == (
        f"hbt-bench: {tmp_path}/corpus.jsonl is read; {tmp_path}/corpus.jsonl.gz, which is there too, is not\n"
    )
    assert places.first(("corpus.jsonl.gz", "other")) == "corpus.jsonl.gz"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("d.jsonl", "is a link that leads back to itself: replace it by the file"),
        ("gone.jsonl", "is a link to a file that is not there"),
        ("../secret", "leads out of FOLDER: a task reads files of its own folder only"),
    ],
)
def test_links(tmp_path, target, message):
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "d.jsonl").symlink_to(folder / target)
    with pytest.raises(DataError) as caught:
        DataFiles("t", folder).find("d.jsonl")
    assert str(caught.value) == f"{folder}/d.jsonl {message.replace('FOLDER', str(folder))}"


def test_a_link_inside_the_folder_is_followed(tmp_path):
    (tmp_path / "real.jsonl").write_text("text")
    (tmp_path / "d.jsonl").symlink_to("real.jsonl")
    digest = hashlib.sha256(b"text").hexdigest()
    assert DataFiles("t", tmp_path).find("d.jsonl", Pin(digest, 4)).read_text() == "text"


def test_lareqa_reads_no_file_outside_of_its_folder(tmp_path, data_dir):
    """The bytes are the pinned ones, and still a link out of the folder is not followed."""
    inside = tmp_path / "lareqa" / "xquad-r"
    inside.mkdir(parents=True)
    (inside / "de.json").symlink_to(data_dir / "lareqa" / "xquad-r" / "de.json")
    (inside / "el.json").symlink_to(inside / "el.json")
    with pytest.raises(DataError) as caught:
        definitions()["xquad-r"].load(["de"], tmp_path)
    assert str(caught.value) == (f"{inside}/de.json leads out of {tmp_path}: a task reads files of its own folder only")
    with pytest.raises(DataError, match=r"el\.json is a link that leads back to itself"):
        definitions()["xquad-r"].load(["el"], tmp_path)
