"""Check ``hbt-bench doctor``: each check, in the situation that it is made for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from hbt_bench.checks import installation
from hbt_bench.checks.installation import check_all
from hbt_bench.cli.main import run
from hbt_bench.data.data_files import cache_dir
from hbt_bench.ranking import store as ranking_store
from hbt_bench.ranking.store import EmbeddingStore


def outcome(name, **options):
    [check] = [check for check in check_all(**options) if check.name == name]
    return check.status, check.message


def test_sound_installation_passes(capsys, monkeypatch):
    monkeypatch.setattr(installation, "_ROOM", 0)
    assert run(["doctor"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert {line[1] for line in lines} <= {"✓", "-"}
    assert len({line[4:26] for line in lines}) == len(lines)  # one line a check
    for name in ("python", "mteb", "sentence-transformers", "torch", "device", "cache", "xquad-r", "disk"):
        assert any(line[4:].startswith(f"{name} ") for line in lines), name


def test_harness_is_not_imported():
    script = (
        "import sys; from hbt_bench.cli.main import run; run(['doctor']); "
        "print(sorted({'mteb', 'sentence_transformers', 'transformers'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


#: Run the program without a module, as ``python -m`` or as the console script does.
WITHOUT = """
import importlib.metadata, runpy, sys
module, way, *arguments = sys.argv[1:]
sys.modules |= dict.fromkeys(("torch", "sklearn"))  # not needed here, and slow
if module == "metadata":
    def gone(name):
        if name == "hbt-bench":
            raise importlib.metadata.PackageNotFoundError(name)
        return of(name)
    of = importlib.metadata.Distribution.from_name
    importlib.metadata.Distribution.from_name = gone
else:
    sys.modules[module] = None
sys.argv = ["hbt-bench", *arguments]
if way == "module":
    runpy.run_module("hbt_bench", run_name="__main__", alter_sys=True)
else:
    from hbt_bench.__main__ import main
    main()
"""


def without(module, way, *arguments):
    """Return the exit code and the lines of stdout and stderr of the program without a module."""
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT, module, way, *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.mark.parametrize(
    ("module", "package", "failed"),
    [
        ("numpy", "numpy", ("numpy", "vectors")),
        ("packaging", "packaging", ("python", "packages")),
        ("pydantic", "pydantic", ("pydantic", "data")),
        ("yaml", "pyyaml", ("pyyaml", "data")),
        ("filelock", "filelock", ("filelock", "vectors")),
        ("babel", "babel", ("babel", "data")),
        ("platformdirs", "platformdirs", ("platformdirs",)),
        ("transformers", "transformers", ("transformers",)),
        ("metadata", "hbt-bench", ("python", "packages")),
    ],
)
def test_missing_package_fails_its_check(module, package, failed):
    """The package has metadata but no module, as after an interrupted uninstallation."""
    code, lines, err = without(module, "script", "doctor")
    assert code == 1
    assert err[-1].endswith(": fix the checks marked ✗ and run `hbt-bench doctor` again")
    marked = {line[4:].split()[0]: line for line in lines if line[1] == "✗"}
    for name in failed:
        assert f" {package} is missing or broken (" in marked[name]
        assert marked[name].endswith(f"): `pip install --force-reinstall {package}`")
    assert lines[-1][4:].startswith("network ")  # the other checks were made


@pytest.mark.parametrize("way", ["script", "module"])
@pytest.mark.parametrize("command", ["doctor", "--help", "tasks"])
def test_missing_click_is_one_sentence(way, command):
    cause = "ModuleNotFoundError: import of click halted; None in sys.modules"
    way_out = "install hbt-bench again with `pip install --force-reinstall hbt-bench`"
    assert without("click", way, command) == (1, [], [f"hbt-bench: click is missing or broken ({cause}): {way_out}"])


def test_command_names_its_missing_package():
    code, out, [err] = without("yaml", "script", "tasks")
    assert (code, out) == (1, [])
    assert err.startswith("hbt-bench: yaml is missing or broken (")
    assert err.endswith("): run `hbt-bench doctor` for the fix")


def test_package_that_cannot_be_imported(monkeypatch, tmp_path):
    """The package raises another error, on several lines."""
    (tmp_path / "filelock.py").write_text("raise AttributeError('\\n\\nhalf of it\\nis gone')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "filelock")
    assert outcome("filelock") == (
        "failed",
        "filelock is missing or broken (AttributeError: half of it): `pip install --force-reinstall filelock`",
    )


def test_permission_error_fails_the_check(monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", "/disk")

    monkeypatch.setattr(installation.shutil, "disk_usage", refused)
    cause = "PermissionError: [Errno 13] Permission denied: '/disk'"
    assert outcome("disk") == ("failed", f"{cause}: fix or delete this path")


def requirements(monkeypatch, *lines):
    monkeypatch.setattr(installation, "requires", lambda name: list(lines))


def test_old_package_fails(monkeypatch, capsys):
    requirements(monkeypatch, "numpy>=99")
    status, message = outcome("numpy")
    assert (status, message) == ("failed", f"{np.__version__}, supported is >=99: `pip install 'numpy>=99'`")
    assert run(["doctor"]) == 1
    assert capsys.readouterr().err == "hbt-bench: numpy: fix the checks marked ✗ and run `hbt-bench doctor` again\n"


def test_missing_required_and_optional_packages(monkeypatch):
    requirements(
        monkeypatch,
        "not-there>=1",
        'not-there-either>=1; extra == "bm25"',
        'nor-this; extra == "dev"',
        'nor-that; python_version < "3"',
    )
    checks = {check.name: (check.status, check.message) for check in check_all()}
    assert checks["not-there"] == ("failed", "not installed: `pip install 'not-there>=1'`")
    assert checks["not-there-either"] == ("skipped", "not installed: `pip install 'hbt-bench[bm25]'` if you need it")
    assert not {"nor-this", "nor-that"} & set(checks)


def test_unsupported_python_fails(monkeypatch):
    monkeypatch.setattr(installation.platform, "python_version", lambda: "3.9.1")
    assert outcome("python") == ("failed", "3.9.1, supported is >=3.11: create an environment with a supported Python")


def test_torch_that_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    status, message = outcome("device")
    assert status == "failed"
    assert message.startswith("torch cannot be loaded (ModuleNotFoundError: ")


def test_gpus_are_named(monkeypatch):
    import torch

    card = namedtuple("Card", "name total_memory")("H1", 8 << 30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    assert outcome("device") == ("passed", "H1 8 GiB, H1 8 GiB")


def test_cache_that_is_a_file(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path / "file"))
    status, message = outcome("cache")
    assert status == "failed"
    assert message.endswith("set HBT_BENCH_CACHE to another folder")


def test_leftovers_of_killed_runs_warn():
    cache_dir().mkdir(exist_ok=True)
    (cache_dir() / ".x.json.0011aabb.tmp").write_bytes(bytes(1000))
    status, message = outcome("cache")
    assert status == "warning"
    assert "1 files, 0.00 GB; 1 of killed runs: delete " in message


def test_damaged_vectors_warn():
    store = EmbeddingStore(cache_dir() / "embeddings", "m")
    store.put(["a"], "query", "en", np.ones((1, 4), np.float32))
    store.put(["b"], "query", "en", np.ones((1, 4), np.float32))
    assert outcome("vectors") == ("passed", "2 of 2 stored files hashed, all intact")
    path = store._path(["a"], "query", "en")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert outcome("vectors") == ("warning", f"1 of 2 files are damaged, for example {path}: delete them")


def test_broken_link_among_vectors_warns():
    EmbeddingStore(cache_dir() / "embeddings", "m").put(["a"], "query", "en", np.ones((1, 4), np.float32))
    folder = cache_dir() / "embeddings" / "x"
    folder.mkdir()
    (folder / "link.safetensors").symlink_to(folder / "nowhere")
    status, message = outcome("vectors")
    assert (status, message) == (
        "warning",
        f"1 of 2 files are damaged, for example {folder}/link.safetensors: delete them",
    )
    assert outcome("cache")[0] == "passed"


def test_vectors_deleted_meanwhile_are_skipped(monkeypatch):
    store = EmbeddingStore(cache_dir() / "embeddings", "m")
    for text in "ab":
        store.put([text], "query", "en", np.ones((1, 4), np.float32))
    gone, status = store._path(["a"], "query", "en"), Path.lstat

    def lstat(path):
        if path == gone:
            path.unlink(missing_ok=True)
        return status(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", lstat)
        assert outcome("vectors") == ("passed", "1 of 1 stored files hashed, all intact")
    is_whole = ranking_store.is_whole

    def removed(path):
        path.unlink()
        return is_whole(path)

    monkeypatch.setattr(ranking_store, "is_whole", removed)
    assert outcome("vectors") == ("passed", "1 of 1 stored files hashed, all intact")


def test_data_present_missing_or_damaged(data_dir, tmp_path):
    assert outcome("xquad-r", data_dir=data_dir) == ("passed", f"11 files in {data_dir}, SHA-256 as pinned")
    folder = tmp_path / "lareqa" / "xquad-r"
    folder.mkdir(parents=True)
    assert outcome("xquad-r", data_dir=tmp_path) == ("skipped", f"no data in {tmp_path}: download them")
    shutil.copy(data_dir / "lareqa/xquad-r/ar.json", folder)
    assert outcome("xquad-r", data_dir=tmp_path) == ("warning", f"1 of 11 files in {tmp_path}: download them")
    (folder / "ar.json").write_bytes(b"x" * (folder / "ar.json").stat().st_size)
    status, message = outcome("xquad-r", data_dir=tmp_path)
    assert status == "failed"
    assert message.startswith("checksum mismatch: ")
    assert message.endswith(": delete it and download them")


def test_missing_data_name_the_fetch_command():
    status, message = outcome("xquad-r")
    assert status == "skipped"
    assert message.endswith("data: `hbt-bench data fetch xquad-r`")


def test_data_folder_that_does_not_exist(monkeypatch, tmp_path):
    monkeypatch.setenv("HBT_BENCH_DATA", str(tmp_path / "no"))
    status, message = outcome("data")
    assert status == "failed"
    assert message == f"{tmp_path / 'no'} is not a folder: set --data-dir or HBT_BENCH_DATA to your data folder"


def test_full_disk_warns(monkeypatch):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda path: usage(10, 10, 5 * 10**8))
    status, message = outcome("disk")
    assert status == "warning"
    assert message.startswith("0.5 GB free for the cache, 0.5 GB free for this folder: free some space")


@pytest.mark.parametrize(
    ("value", "expected", "start"), [("1", "passed", "HF_HUB_OFFLINE is set"), ("", "skipped", "not tried")]
)
def test_network_is_not_tried(monkeypatch, value, expected, start):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    status, message = outcome("network")
    assert status == expected
    assert message.startswith(start)


def test_cache_folder_is_created(monkeypatch, tmp_path):
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path / "a" / "b"))
    assert installation._existing(tmp_path / "a" / "b") == tmp_path
    assert outcome("disk")[0] in ("passed", "warning")
    assert Path(tmp_path / "a").exists()  # the check of the cache made it


def test_apple_gpu_is_named(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert outcome("device") == ("passed", "Apple's GPU (mps)")
