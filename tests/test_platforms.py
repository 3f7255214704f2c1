"""Check what Windows and macOS do differently, with stand-ins for their refusals."""

from __future__ import annotations

import ast
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath, PureWindowsPath

import filelock
import numpy as np
import pytest

from hbt_bench import files
from hbt_bench.cli import terminal
from hbt_bench.errors import OutputError
from hbt_bench.identity import model_files
from hbt_bench.ranking.store import EmbeddingStore
from hbt_bench.training.run_folder import RunFolder

PACKAGE = Path(files.__file__).parent


@pytest.fixture
def windows(monkeypatch):
    """Refuse to remove the file of a lock that is held, as Windows does."""
    held = set()
    acquire, release, unlink = filelock.FileLock.acquire, filelock.FileLock.release, Path.unlink

    def hold(lock, *arguments, **options):
        proxy = acquire(lock, *arguments, **options)
        held.add(str(lock.lock_file))
        return proxy

    def let_go(lock, *arguments, **options):
        release(lock, *arguments, **options)
        held.discard(str(lock.lock_file))

    def refuse(path, missing_ok=False):
        if str(path) in held:
            raise PermissionError(13, "The process cannot access the file", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(files, "_WINDOWS", True)
    monkeypatch.setattr(files, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(filelock.FileLock, "acquire", hold)
    monkeypatch.setattr(filelock.FileLock, "release", let_go)
    monkeypatch.setattr(Path, "unlink", refuse)
    return held


def test_claim_of_vectors_works_where_open_files_stay(windows, tmp_path):
    store = EmbeddingStore(tmp_path, "local/a@1|none")
    key = (["Berlin"], "query", "de")
    with store.in_use(), store.claim(*key, wait=False) as mine:
        assert mine
        assert len(windows) == 2
        store.put(*key, np.array([[1.0, 2.0]], np.float32))
    assert windows == set()
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".lock"}
    assert [path.parent for path in tmp_path.rglob("*.lock")] == [tmp_path]  # the guard of the model's folder
    assert store.get(*key).tolist() == [[1.0, 2.0]]


def test_training_lock_works_where_open_files_stay(windows, tmp_path):
    with RunFolder(tmp_path).lock():
        assert len(windows) == 1
    assert list(tmp_path.iterdir()) == []


def test_file_in_use_is_replaced_when_its_reader_closes_it(windows, tmp_path, monkeypatch):
    replace, tries = Path.replace, []

    def refuse_twice(source, target):
        tries.append(source)
        if len(tries) < 3:
            raise PermissionError(13, "Access is denied")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", refuse_twice)
    path = tmp_path / "result.json"
    path.write_bytes(b"old")
    files.write_text(path, "new")
    assert (path.read_bytes(), len(tries)) == (b"new", 3)
    tries[:] = [None] * -9
    monkeypatch.setattr(files, "_PAUSES", ())
    with pytest.raises(OutputError, match=r"cannot write .*result\.json: permission denied"):
        files.write_text(path, "newer")
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("text", "posix", "nt"),
    [
        ("nomic-embed-text:latest", "nomic-embed-text:latest", "nomic-embed-text_latest"),
        ("flores[am>en]", "flores[am>en]", "flores[am_en]"),
        ("con", "con", "con_"),
        ("AUX.v1", "AUX.v1", "AUX_.v1"),
        ("com1", "com1", "com1_"),
        ("conan", "conan", "conan"),
        ("org__model", "org__model", "org__model"),
    ],
)
def test_name_of_file_is_possible(monkeypatch, text, posix, nt):
    assert files.file_name(text) == posix
    monkeypatch.setattr(files, "_WINDOWS", True)
    assert files.file_name(text) == nt
    assert not re.search(r'[<>:"|?*]', nt)


def test_order_of_model_files_is_that_of_linux(monkeypatch):
    names = ["config.json", "README.json", "1_Pooling/config.json", "Zeta/model.bin", "alpha/model.bin"]
    orders = []
    for kind in (PurePosixPath, PureWindowsPath):
        found = type("Model", (), {"files": {kind(name) for name in names}})
        monkeypatch.setattr(model_files, "_Model", lambda folder, found=found: found)
        orders.append([path.as_posix() for path in model_files.model_files(Path())])
    assert orders[0] == orders[1]
    assert orders[0] == [str(path) for path in sorted(map(PurePosixPath, names))]


@pytest.mark.parametrize("stated", [None, "cp1252"])
def test_pipe_is_utf8_on_windows(monkeypatch, stated):
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    if stated:
        monkeypatch.setenv("PYTHONIOENCODING", stated)
    monkeypatch.setattr(terminal, "_WINDOWS", True)
    raw = io.BytesIO()
    stream = terminal._usable(io.TextIOWrapper(raw, encoding="cp1252", newline="\n"))
    stream.write("AP ↑ 東京 Größe\n")
    stream.flush()
    assert raw.getvalue() == ("AP ? ?? Größe\n".encode("cp1252") if stated else "AP ↑ 東京 Größe\n".encode())


def test_text_files_are_opened_with_an_encoding():
    """The default encoding is that of the machine, cp1252 on Windows."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            stated = "encoding" in {keyword.arg for keyword in node.keywords} or "utf-8" in texts
            binary = any(isinstance(text, str) and "b" in text for text in texts)
            reads = name == "read_text" or (name == "open" and not binary and _is_of_a_file(node.func))
            assert stated or not reads, f"{path}:{node.lineno} {name} without an encoding"


def _is_of_a_file(function: ast.expr) -> bool:
    owner = ast.unparse(function).rpartition(".")[0]
    return owner == "" or "path" in owner.lower() or "file" in owner.lower()


#: Packages that only training and evaluation need, most of the installation's size and start-up time.
HEAVY = ("torch", "mteb", "transformers", "sentence_transformers", "sklearn", "accelerate", "tokenizers", "datasets")


def test_results_are_read_without_torch_and_mteb(tmp_path):
    pytest.importorskip("altair", reason="pip install 'hbt-bench[report]'")
    results = PACKAGE.parent / "results"
    [source] = results.glob("hbt-bench__bm25/*/CldrFactsMultilingualRetrieval.json")
    one = tmp_path / source.relative_to(results)
    one.parent.mkdir(parents=True)
    shutil.copyfile(source, one)
    commands = [
        ["tasks"],
        ["study", "list"],
        ["leaderboard", str(tmp_path)],
        ["show", str(one)],
        ["report", str(tmp_path), "--output", str(tmp_path / "report.html")],
    ]
    code = f"""
import sys
from hbt_bench.cli.main import run
for command in {commands!r}:
    assert run(command) == 0, command
    assert not set({HEAVY!r}) & set(sys.modules), command
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hbt-bench/bm25" in done.stdout
