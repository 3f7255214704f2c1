"""``hbt-bench doctor``: every check, in the state that it is there for."""

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
from hbt_bench.data.download import cache_dir
from hbt_bench.ranking import store as ranking_store
from hbt_bench.ranking.store import EmbeddingStore


def found(name, **options):
    [check] = [check for check in check_all(**options) if check.name == name]
    return check.status, check.message


def test_this_installation_is_sound(capsys, monkeypatch):
    monkeypatch.setattr(installation, "_ROOM", 0)
    assert run(["doctor"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert {line[1] for line in lines} <= {"✓", "-"}
    assert len({line[4:26] for line in lines}) == len(lines)  # one line a check
    for name in ("python", "mteb", "sentence-transformers", "torch", "device", "cache", "xquad-r", "disk"):
        assert any(line[4:].startswith(f"{name} ") for line in lines), name


def test_no_model_is_loaded_and_no_harness_imported():
    script = (
        "import sys; from hbt_bench.cli.main import run; run(['doctor']); "
        "print(sorted({'mteb', 'sentence_transformers', 'transformers'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


#: Runs the program with a module away, as ``python -m`` or as the console script does.
WITHOUT = """
import importlib.metadata, runpy, sys
module, way, *arguments = sys.argv[1:]
sys.modules |= dict.fromkeys(("torch", "sklearn"))  # away too, as they are slow
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
    """Exit code, lines of stdout and stderr of the program without a module."""
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT, module, way, *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.mark.parametrize(
    ("module", "package", "failed"),
    [
        ("numpy", "numpy", ("numpy", "vectors", "data")),
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
def test_a_missing_package_is_told_in_the_list(module, package, failed):
    """The metadata of the package are there, as after an uninstallation that was interrupted."""
    code, lines, err = without(module, "script", "doctor")
    assert code == 1
    assert err[-1].endswith(": fix the checks marked ✗ and run `hbt-bench doctor` again")
    marked = {line[4:].split()[0]: line for line in lines if line[1] == "✗"}
    for name in failed:
        assert f" {package} is missing or broken (" in marked[name]
        assert marked[name].endswith(f"): `pip install --force-reinstall {package}`")
    assert lines[-1][4:].startswith("network ")  # the rest was looked at all the same


@pytest.mark.parametrize("way", ["script", "module"])
@pytest.mark.parametrize("command", ["doctor", "--help", "tasks"])
def test_nothing_works_without_click_which_is_told(way, command):
    cause = "ModuleNotFoundError: import of click halted; None in sys.modules"
    way_out = "install hbt-bench again with `pip install --force-reinstall hbt-bench`"
    assert without("click", way, command) == (1, [], [f"hbt-bench: click is missing or broken ({cause}): {way_out}"])


@pytest.mark.parametrize(
    ("module", "package", "command"), [("yaml", "yaml", "tasks"), ("metadata", "hbt-bench", "--version")]
)
def test_a_command_without_its_package_names_it(module, package, command):
    code, out, [err] = without(module, "script", command)
    assert (code, out) == (1, [])
    assert err.startswith(f"hbt-bench: {package} is missing or broken (")
    assert err.endswith("): run `hbt-bench doctor` for the fix")


def test_a_package_that_cannot_be_loaded(monkeypatch, tmp_path):
    """Also one that raises something else, and on several lines."""
    (tmp_path / "filelock.py").write_text("raise AttributeError('\\n\\nhalf of it\\nis gone')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "filelock")
    assert found("filelock") == (
        "failed",
        "filelock is missing or broken (AttributeError: half of it): `pip install --force-reinstall filelock`",
    )


def test_a_check_that_the_system_refuses(monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", "/disk")

    monkeypatch.setattr(installation.shutil, "disk_usage", refused)
    cause = "PermissionError: [Errno 13] Permission denied: '/disk'"
    assert found("disk") == ("failed", f"{cause}: mend or delete what it names")


def requirements(monkeypatch, *lines):
    monkeypatch.setattr(installation, "requires", lambda name: list(lines))


def test_a_package_that_is_too_old_fails(monkeypatch, capsys):
    requirements(monkeypatch, "numpy>=99")
    status, message = found("numpy")
    assert (status, message) == ("failed", f"{np.__version__}, supported is >=99: `pip install 'numpy>=99'`")
    assert run(["doctor"]) == 1
    assert capsys.readouterr().err == "hbt-bench: numpy: fix the checks marked ✗ and run `hbt-bench doctor` again\n"


def test_packages_that_are_missing(monkeypatch):
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


def test_another_python(monkeypatch):
    monkeypatch.setattr(installation.platform, "python_version", lambda: "3.9.1")
    assert found("python") == ("failed", "3.9.1, supported is >=3.11: make an environment of such a Python")


def test_a_torch_that_does_not_load(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    status, message = found("device")
    assert status == "failed"
    assert message.startswith("torch cannot be loaded (ModuleNotFoundError: ")


def test_graphics_cards_are_named(monkeypatch):
    import torch

    card = namedtuple("Card", "name total_memory")("H1", 8 << 30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    assert found("device") == ("passed", "H1 8 GiB, H1 8 GiB")


def test_a_cache_that_is_a_file(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path / "file"))
    status, message = found("cache")
    assert status == "failed"
    assert message.endswith("set HBT_BENCH_CACHE to another folder")


def test_what_killed_runs_left():
    cache_dir().mkdir(exist_ok=True)
    (cache_dir() / ".x.json.0011aabb.tmp").write_bytes(bytes(1000))
    status, message = found("cache")
    assert status == "warning"
    assert "1 files, 0.00 GB; 1 are left over from killed runs: delete " in message


def test_damaged_vectors():
    store = EmbeddingStore(cache_dir() / "embeddings", "m")
    store.put(["a"], "query", "en", np.ones((1, 4), np.float32))
    store.put(["b"], "query", "en", np.ones((1, 4), np.float32))
    assert found("vectors") == ("passed", "2 of 2 stored files looked at, all whole")
    path = store._path(["a"], "query", "en")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert found("vectors") == ("warning", f"1 of 2 files are damaged, as {path}: delete them")


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_what_is_no_file_among_the_vectors():
    """Who opens a pipe waits for ever."""
    EmbeddingStore(cache_dir() / "embeddings", "m").put(["a"], "query", "en", np.ones((1, 4), np.float32))
    folder = cache_dir() / "embeddings" / "x"
    folder.mkdir()
    (folder / "link.safetensors").symlink_to(folder / "nowhere")
    status, message = found("vectors")
    assert (status, message) == ("warning", f"1 of 2 files are damaged, as {folder / 'link.safetensors'}: delete them")
    os.mkfifo(folder / "pipe.safetensors")
    os.utime(folder / "pipe.safetensors", (0, 0))
    status, message = found("vectors")
    assert (status, message) == ("warning", f"2 of 3 files are damaged, as {folder / 'link.safetensors'}: delete them")
    assert found("cache")[0] == "passed"


def test_vectors_that_another_run_removes_meanwhile(monkeypatch):
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
        assert found("vectors") == ("passed", "1 of 1 stored files looked at, all whole")
    is_whole = ranking_store.is_whole

    def removed(path):
        path.unlink()
        return is_whole(path)

    monkeypatch.setattr(ranking_store, "is_whole", removed)
    assert found("vectors") == ("passed", "1 of 1 stored files looked at, all whole")


def test_data_that_are_there_missing_or_damaged(data_dir, tmp_path):
    assert found("xquad-r", data_dir=data_dir) == ("passed", f"11 files in {data_dir}, SHA-256 as pinned")
    folder = tmp_path / "lareqa" / "xquad-r"
    folder.mkdir(parents=True)
    assert found("xquad-r", data_dir=tmp_path) == ("skipped", f"no data in {tmp_path}: fetch them by hand")
    shutil.copy(data_dir / "lareqa/xquad-r/ar.json", folder)
    assert found("xquad-r", data_dir=tmp_path) == ("warning", f"1 of 11 files in {tmp_path}: fetch them by hand")
    (folder / "ar.json").write_bytes(b"x" * (folder / "ar.json").stat().st_size)
    status, message = found("xquad-r", data_dir=tmp_path)
    assert status == "failed"
    assert message.startswith("checksum mismatch: ")
    assert message.endswith(": delete it and fetch them by hand")


def test_data_in_the_cache_are_fetched_by_a_command():
    status, message = found("xquad-r")
    assert status == "skipped"
    assert message.endswith("data: `hbt-bench data fetch xquad-r`")


def test_a_data_folder_that_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("HBT_BENCH_DATA", str(tmp_path / "no"))
    status, message = found("data")
    assert status == "failed"
    assert message == f"{tmp_path / 'no'} is not a folder: set HBT_BENCH_DATA (--data-dir) to the folder of the data"


def test_a_full_disk_is_told(monkeypatch):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda path: usage(10, 10, 5 * 10**8))
    status, message = found("disk")
    assert status == "warning"
    assert message.startswith("0.5 GB free for the cache, 0.5 GB free for this folder: free some space")


@pytest.mark.parametrize(("value", "start"), [("1", "HF_HUB_OFFLINE is set"), ("", "not tried")])
def test_the_network_is_not_used(monkeypatch, value, start):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    status, message = found("network")
    assert status == "passed"
    assert message.startswith(start)


def test_a_cache_folder_that_is_not_there_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path / "a" / "b"))
    assert installation._existing(tmp_path / "a" / "b") == tmp_path
    assert found("disk")[0] in ("passed", "warning")
    assert Path(tmp_path / "a").exists()  # the check of the cache made it


def test_apples_gpu_is_named(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert found("device") == ("passed", "Apple's GPU (mps)")
