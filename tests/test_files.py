"""Check atomic writes: the whole new file or the old file, no other files, and readable errors."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from hbt_bench import files
from hbt_bench.errors import OutputError

needs_permissions = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user; simulated in another test"
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(code: int) -> Callable[..., NoReturn]:
    """Return a stand-in for a system call that fails with `code`."""

    def fail(*args: object, **kwargs: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return fail


def test_text_is_utf8_in_new_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "result.json"
    files.write_text(path, "Größe\r\n東京\n")
    assert path.read_bytes() == "Größe\r\n東京\n".encode()
    assert names(path.parent) == ["result.json"]


def test_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b"old and longer")
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["result.json"]


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_file_mode_follows_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        files.write_bytes(tmp_path / "result.json", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "result.json").stat().st_mode) == 0o644


def test_target_is_old_until_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b"old")
    with files.replacing(path) as file:
        file.write(b"new")
        file.flush()
        (temporary,) = (name for name in names(tmp_path) if name != "result.json")
        assert temporary.startswith(".result.json.")
        assert temporary.endswith(".tmp")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failed_call_keeps_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, failing(errno.ENOSPC))
    with pytest.raises(OutputError) as caught:
        files.write_bytes(path, b"new")
    assert str(caught.value) == (
        f"cannot write {path}: no space left on the disk; free some space or choose another --output"
    )
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["result.json"]


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()])
def test_other_exceptions_pass_through_and_clean_up(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b"old")

    def write_half() -> None:
        with files.replacing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["result.json"]


def test_data_reach_disk_before_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        calls.append(("fsync", os.fstat(descriptor).st_size))  # the size shows that Python's buffer was flushed
        fsync(descriptor)

    def spy_replace(source: Path, target: Path) -> None:
        calls.append(("replace", source.stat().st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    files.write_bytes(tmp_path / "result.json", b"12345")
    assert calls == [("fsync", 5), ("replace", 5)]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space left on the disk; free some space or choose another --output"),
        (errno.EACCES, "permission denied; make the folder writable or choose another --output"),
        (errno.EPERM, "permission denied; make the folder writable or choose another --output"),
        (errno.EROFS, f"{os.strerror(errno.EROFS)}; choose another --output"),
        (errno.EDQUOT, f"{os.strerror(errno.EDQUOT)}; choose another --output"),
    ],
)
def test_message_names_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    monkeypatch.setattr(Path, "open", failing(code))
    with pytest.raises(OutputError) as caught:
        files.write_bytes(tmp_path / "result.json", b"new")
    assert str(caught.value) == f"cannot write {tmp_path / 'result.json'}: {words}"
    assert names(tmp_path) == []


@pytest.mark.parametrize("below", ["file/result.json", "file/folder/result.json"])
def test_file_instead_of_folder(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"here")
    with pytest.raises(OutputError) as caught:
        files.write_bytes(tmp_path / below, b"new")
    assert str(caught.value) == (
        f"cannot write {tmp_path / below}: a file is where a folder should be; move it away or choose another --output"
    )
    assert (tmp_path / "file").read_bytes() == b"here"


def test_folder_instead_of_file(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*result\.json: not a file; choose another --output$"):
        files.write_bytes(tmp_path / "result.json", b"new")
    assert names(tmp_path) == ["result.json"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a special file")
def test_device_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "null")
    with pytest.raises(OutputError, match=r"cannot write .*null: not a file; choose another --output$"):
        files.write_bytes(tmp_path / "null", b"new")
    assert (tmp_path / "null").is_fifo()
    assert names(tmp_path) == ["null"]


@pytest.mark.skipif(os.name != "posix", reason="symbolic links need no privilege on POSIX")
def test_symbolic_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "result.json").symlink_to(tmp_path / "elsewhere" / "real.json")
    files.write_bytes(tmp_path / "result.json", b"new")
    assert (tmp_path / "result.json").is_symlink()
    assert (tmp_path / "elsewhere" / "real.json").read_bytes() == b"new"


@needs_permissions
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OutputError, match="permission denied; make the folder writable or choose another"):
            files.write_bytes(tmp_path / "a", b"")
        with pytest.raises(OutputError, match="permission denied; make the folder writable or choose another"):
            files.check_writable(tmp_path)
    finally:
        tmp_path.chmod(0o755)


def test_readers_never_see_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    versions = [bytes([letter]) * 200_000 for letter in b"abcd"]
    files.write_bytes(path, versions[0])

    def write(version: bytes) -> None:
        for _ in range(20):
            files.write_bytes(path, version)

    with ThreadPoolExecutor(len(versions)) as pool:
        writers = [pool.submit(write, version) for version in versions]
        while not all(writer.done() for writer in writers):
            assert path.read_bytes() in versions
        for writer in writers:
            writer.result()  # raises what went wrong in the thread
    assert path.read_bytes() in versions
    assert names(tmp_path) == ["result.json"]


def test_killed_process_keeps_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b"old")
    script = (
        "import os, pathlib, sys; from hbt_bench.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as file: file.write(b'half'); file.flush(); os._exit(9)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", script, str(path)], env=environment, check=False).returncode == 9
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.glob("*.json")] == ["result.json"]
    assert len(names(tmp_path)) == 2


def test_check_writable_makes_empty_folder(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "new" / "results")
    assert names(tmp_path / "new" / "results") == []


def test_check_writable_refuses_file(tmp_path: Path) -> None:
    (tmp_path / "results").write_bytes(b"here")
    with pytest.raises(OutputError) as caught:
        files.check_writable(tmp_path / "results")
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'results'}: a file is where a folder should be; "
        "move it away or choose another --output"
    )


def test_check_writable_writes_test_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", failing(errno.EACCES))
    with pytest.raises(OutputError) as caught:
        files.check_writable(tmp_path)
    assert str(caught.value) == (
        f"cannot write {tmp_path}: permission denied; make the folder writable or choose another --output"
    )
