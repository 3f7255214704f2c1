"""Data files: paths that leave their folder, and downloads from a server that fails in every way of real servers."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest

from hbt_bench.cli.main import run
from hbt_bench.data import data_files
from hbt_bench.data.data_files import DataFiles, Pin, RemoteFile, cache_dir, data_folder, fetch, locate, search_folders
from hbt_bench.errors import DataError, OutputError, UsageError
from hbt_bench.tasks.registry import TaskRegistry

BODY = random.Random(0).randbytes(300_000)
DAMAGED = BODY[:1000] + bytes([BODY[1000] ^ 1]) + BODY[1001:]
NAME = "lareqa/xquad-r/ar.json"
PRODUCTION = data_files._ALLOWED


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers the n-th request with `script[n]`, and correctly after the end of the script."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Callable[[Handler], None]] = []
        self.ranges: list[str | None] = []
        self.encodings: list[str | None] = []
        self.sent: list[int] = []
        self.done = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that hang up."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        turn = len(self.server.ranges)
        self.server.ranges.append(self.headers["Range"])
        self.server.encodings.append(self.headers["Accept-Encoding"])
        self.server.sent.append(0)
        (self.server.script[turn] if turn < len(self.server.script) else good)(self)

    def answer(self, status: int, body: bytes = b"", **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.server.sent[-1] += len(body)  # before the write, or the test may look too early
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


def good(handler: Handler, body: bytes = BODY) -> None:
    """Answer as a good server does, with ranges."""
    requested = handler.headers["Range"]
    if requested is None:
        return handler.answer(200, body, Content_Length=len(body))
    start = int(requested.removeprefix("bytes=").removesuffix("-"))
    if start >= len(body):
        return handler.answer(416)
    rest = body[start:]
    content_range = f"bytes {start}-{len(body) - 1}/{len(body)}"
    return handler.answer(206, rest, Content_Length=len(rest), Content_Range=content_range)


def serving(body: bytes) -> Callable[[Handler], None]:
    return lambda handler: good(handler, body)


def without_ranges(handler: Handler) -> None:
    handler.answer(200, BODY, Content_Length=len(BODY))


def status(code: int) -> Callable[[Handler], None]:
    return lambda handler: handler.answer(code)


def redirect(url: str) -> Callable[[Handler], None]:
    return lambda handler: handler.answer(302, Location=url)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.done.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a temporary cache, allow the local server, and wait only briefly."""
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HBT_BENCH_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(data_files, "_ALLOWED", (*PRODUCTION, "http://127.0.0.1:"))
    monkeypatch.setattr(data_files, "_BACKOFF", 0.0)
    monkeypatch.setattr(data_files, "_TIMEOUT", (5.0, 5.0))
    monkeypatch.setattr(data_files, "_verified", set())
    return tmp_path / "cache" / "data"


@pytest.fixture
def file(server: Server) -> RemoteFile:
    return RemoteFile(NAME, f"{server.address}/ar.json", digest(BODY), len(BODY))


def put(folder: Path, data: bytes, suffix: str = "") -> Path:
    path = folder / (NAME + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def visible(folder: Path) -> set[str]:
    """Return the names of all files below `folder`, without the hidden lock files."""
    return {str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file()}


def by_hand(file: RemoteFile, path: Path) -> str:
    return f"save {file.url} as {path} yourself, or set HBT_BENCH_DATA (--data-dir) to a folder with {NAME}"


def test_production_allows_https_only() -> None:
    script = (
        "import sys; import hbt_bench.data.data_files as d; print(d._ALLOWED, d._TIMEOUT, d._RETRIES); "
        "print(sorted({'requests', 'tqdm', 'filelock', 'platformdirs'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "('https://',) (10.0, 60.0) 3\n[]\n"  # and nothing slow is imported before it is needed


def test_good_download(file: RemoteFile, server: Server, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch(file, owner="demo") == cache / NAME
    assert (cache / NAME).read_bytes() == BODY
    assert visible(cache) == {NAME}
    assert server.ranges == [None]
    assert server.encodings == ["identity"]  # a range of compressed bytes would not continue the partial file
    assert capsys.readouterr().err == ""  # no bar where stderr is no terminal


def test_cache_hit_makes_no_request(file: RemoteFile, server: Server, cache: Path) -> None:
    put(cache, BODY)
    assert fetch(file, owner="demo") == cache / NAME
    assert locate(file, owner="demo") == cache / NAME
    assert server.ranges == []


def test_unchanged_file_is_hashed_once(file: RemoteFile, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(cache, BODY)
    hashed = []
    original = hashlib.file_digest

    def spy(stream: Any, name: str) -> Any:
        hashed.append(name)
        return original(stream, name)

    monkeypatch.setattr(hashlib, "file_digest", spy)
    for _ in range(3):
        locate(file, owner="demo")
    assert hashed == ["sha256"]
    other = RemoteFile(NAME, file.url, digest(DAMAGED), len(BODY))
    with pytest.raises(DataError, match="checksum mismatch"):  # another definition expects other content
        locate(other, owner="demo")
    path.write_bytes(DAMAGED)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match="checksum mismatch"):
        locate(file, owner="demo")


@pytest.mark.parametrize("declared", [True, False], ids=["with Content-Length", "without"])
def test_broken_transfer_is_resumed(file: RemoteFile, server: Server, cache: Path, declared: bool) -> None:
    headers = {"Content_Length": len(BODY)} if declared else {}
    server.script = [lambda handler: handler.answer(200, BODY[:150_000], **headers)]
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert visible(cache) == {NAME}
    first, second = server.ranges
    assert first is None
    assert second is not None
    start = int(second.removeprefix("bytes=").removesuffix("-"))
    assert 65_536 <= start <= 150_000
    assert server.sent[1] == len(BODY) - start


def test_partial_file_of_earlier_process_is_resumed(file: RemoteFile, server: Server, cache: Path) -> None:
    put(cache, BODY[:1000], ".part")
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert server.ranges == ["bytes=1000-"]
    assert server.sent == [len(BODY) - 1000]
    assert visible(cache) == {NAME}


def test_complete_partial_file_needs_no_request(file: RemoteFile, server: Server, cache: Path) -> None:
    put(cache, BODY, ".part")
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert server.ranges == []
    assert visible(cache) == {NAME}


@pytest.mark.parametrize("stale", [DAMAGED[:5000], DAMAGED], ids=["begun", "complete"])
def test_partial_file_of_other_version_starts_over(file: RemoteFile, server: Server, cache: Path, stale: bytes) -> None:
    put(cache, stale, ".part")
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert server.ranges[-1] is None
    assert server.sent[-1] == len(BODY)


@pytest.mark.parametrize(
    "refusal",
    [
        status(416),
        lambda handler: handler.answer(206, BODY, Content_Range=f"bytes 0-{len(BODY) - 1}/{len(BODY)}"),
        lambda handler: handler.answer(206, BODY[1000:]),
    ],
    ids=["416", "another range", "no Content-Range"],
)
def test_server_without_resume_starts_over(
    file: RemoteFile, server: Server, cache: Path, refusal: Callable[[Handler], None]
) -> None:
    put(cache, BODY[:1000], ".part")
    server.script = [refusal]
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", None]


def test_oversized_partial_file_starts_over(file: RemoteFile, server: Server, cache: Path) -> None:
    put(cache, BODY + b"more", ".part")
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert server.ranges == [f"bytes={len(BODY) + 4}-", None]


def test_server_ignoring_ranges_starts_over(file: RemoteFile, server: Server, cache: Path) -> None:
    put(cache, BODY[:1000], ".part")
    server.script = [without_ranges]
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert server.ranges == ["bytes=1000-"]
    assert visible(cache) == {NAME}


def test_short_content_length_is_resumed(file: RemoteFile, server: Server) -> None:
    server.script = [lambda handler: handler.answer(200, BODY, Content_Length=100_000)]
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-"]


def test_long_content_length_fails(file: RemoteFile, server: Server, cache: Path) -> None:
    server.script = [lambda handler: handler.answer(200, BODY[:200_000], Content_Length=len(BODY))] * 9
    with pytest.raises(DataError) as caught:
        fetch(file, owner="demo")
    assert str(caught.value) == (
        f"cannot download {file.url} for demo: the connection failed (ChunkedEncodingError); "
        + by_hand(file, cache / NAME)
    )
    assert len(server.ranges) == 4  # a first try and three retries
    assert visible(cache) == {NAME + ".part"}


def test_shorter_file_on_server_fails(file: RemoteFile, server: Server, cache: Path) -> None:
    server.script = [serving(BODY[:-1])] * 9
    with pytest.raises(DataError, match="demo: the server cannot resume a download; save"):
        fetch(file, owner="demo")
    assert server.ranges == [None, "bytes=299999-"] * 2
    assert not (cache / NAME).exists()


def test_wrong_bytes_are_refused(file: RemoteFile, server: Server, cache: Path) -> None:
    server.script = [serving(DAMAGED)] * 9
    with pytest.raises(DataError) as caught:
        fetch(file, owner="demo")
    assert str(caught.value) == (
        f"cannot download {file.url} for demo: checksum mismatch: the download has sha256 "
        f"{digest(DAMAGED)[:12]}…, expected {digest(BODY)[:12]}…; " + by_hand(file, cache / NAME)
    )
    assert server.ranges == [None]  # the same bytes would come again
    assert visible(cache) == set()


def endless(handler: Handler) -> None:
    handler.answer(200, BODY)
    for _ in range(64):
        handler.wfile.write(bytes(1 << 20))
        handler.server.sent[-1] += 1 << 20


@pytest.mark.parametrize("answer", [endless, serving(BODY + b"x")], ids=["endless", "announced"])
def test_too_many_bytes_are_refused(
    file: RemoteFile, server: Server, cache: Path, answer: Callable[[Handler], None]
) -> None:
    server.script = [answer] * 9
    with pytest.raises(DataError) as caught:
        fetch(file, owner="demo")
    assert str(caught.value) == (
        f"cannot download {file.url} for demo: the server sends more than the expected 300000 bytes; "
        + by_hand(file, cache / NAME)
    )
    assert len(server.ranges) == 1
    assert server.sent[0] < 32 << 20  # as much as fits into the buffers of two sockets
    assert visible(cache) == set()


def test_redirect_is_followed(file: RemoteFile, server: Server) -> None:
    server.script = [redirect(f"{server.address}/moved")]
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert server.ranges == [None, None]


@pytest.mark.parametrize("target", ["http://localhost:{port}/x", "ftp://127.0.0.1/x", "file:///etc/hostname"])
def test_redirect_to_other_scheme_is_refused(file: RemoteFile, server: Server, cache: Path, target: str) -> None:
    target = target.format(port=server.server_port)
    server.script = [redirect(target)]
    with pytest.raises(DataError, match="https addresses only") as caught:
        fetch(file, owner="demo")
    assert target in str(caught.value)
    assert len(server.ranges) == 1
    assert visible(cache) == set()


@pytest.mark.parametrize(
    "url", ["{server}/ar.json", "ftp://127.0.0.1/ar.json", "file:///etc/hostname", "/etc/hostname"]
)
def test_address_without_https_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(data_files, "_ALLOWED", PRODUCTION)
    refused = RemoteFile(NAME, url.format(server=server.address), digest(BODY), len(BODY))
    with pytest.raises(DataError, match="https addresses only"):
        fetch(refused, owner="demo")
    assert server.ranges == []


def test_missing_page_fails_at_once(file: RemoteFile, server: Server, cache: Path) -> None:
    server.script = [status(404)] * 9
    with pytest.raises(DataError) as caught:
        fetch(file, owner="demo")
    assert str(caught.value) == (
        f"cannot download {file.url} for demo: HTTP 404 Not Found; " + by_hand(file, cache / NAME)
    )
    assert len(server.ranges) == 1
    assert visible(cache) == set()


def test_overloaded_server_is_retried(file: RemoteFile, server: Server) -> None:
    server.script = [status(503), status(429)]
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert len(server.ranges) == 3


def hang(handler: Handler) -> None:
    handler.server.done.wait(5)


def stall(handler: Handler) -> None:
    handler.answer(200, BODY[:65_536], Content_Length=len(BODY))
    handler.wfile.flush()
    hang(handler)


def test_stalled_transfer_is_resumed(file: RemoteFile, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "_TIMEOUT", (5.0, 0.2))
    server.script = [stall]
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert server.ranges == [None, "bytes=65536-"]


def test_stalling_server_fails(file: RemoteFile, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "_TIMEOUT", (5.0, 0.1))
    server.script = [hang] * 9
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        fetch(file, owner="demo")
    assert str(caught.value) == (
        f"cannot download {file.url} for demo: the server does not answer; " + by_hand(file, cache / NAME)
    )
    assert time.monotonic() - started < 3
    assert len(server.ranges) == 4


def test_retries_wait_longer_each_time(file: RemoteFile, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(data_files, "_BACKOFF", 0.5)
    monkeypatch.setattr(time, "sleep", waits.append)
    server.script = [status(500)] * 9
    with pytest.raises(DataError, match="HTTP 500 Internal Server Error"):
        fetch(file, owner="demo")
    assert waits == [0.5, 1.0, 2.0]


def test_no_network_fails(cache: Path) -> None:
    file = RemoteFile(NAME, "http://127.0.0.1:1/ar.json", digest(BODY), len(BODY))
    with pytest.raises(DataError) as caught:
        fetch(file, owner="demo")
    assert str(caught.value) == (
        f"cannot download {file.url} for demo: the connection failed (ConnectionError); " + by_hand(file, cache / NAME)
    )


def test_locate_makes_no_request(file: RemoteFile, server: Server, cache: Path) -> None:
    with pytest.raises(DataError) as caught:
        locate(file, owner="demo")
    path = cache / NAME
    assert str(caught.value) == f"{path} is missing; run `hbt-bench data fetch demo`, or {by_hand(file, path)}"
    put(cache, BODY)
    assert locate(file, owner="demo") == path
    assert server.ranges == []


@pytest.mark.parametrize("source", ["argument", "environment"])
def test_data_folder_is_never_written(
    file: RemoteFile, server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    put(cache, BODY)  # a good copy in the cache must not stand in for the folder the user named
    folder = tmp_path / "mine"
    monkeypatch.setenv("HBT_BENCH_DATA", str(tmp_path / "other" if source == "argument" else folder))
    data_dir = folder if source == "argument" else None
    path = folder / NAME

    def refusal() -> str:
        with pytest.raises(DataError) as located:
            locate(file, data_dir, owner="demo")
        with pytest.raises(DataError) as fetched:
            fetch(file, owner="demo", data_dir=data_dir)
        assert str(located.value) == str(fetched.value)
        return str(located.value)

    assert refusal() == f"{path} is missing; {by_hand(file, path)}"
    assert not folder.exists()
    put(folder, DAMAGED)
    assert refusal() == (
        f"checksum mismatch: {path} has sha256 {digest(DAMAGED)[:12]}…, expected {digest(BODY)[:12]}…; "
        + by_hand(file, path)
    )
    assert path.read_bytes() == DAMAGED
    put(folder, BODY[:-7])
    assert refusal() == f"size mismatch: {path} has 299993 bytes, expected 300000; {by_hand(file, path)}"
    put(folder, BODY)
    assert locate(file, data_dir, owner="demo") == fetch(file, owner="demo", data_dir=data_dir) == path
    assert server.ranges == []


def test_damaged_file_in_cache_is_replaced(file: RemoteFile, server: Server, cache: Path) -> None:
    path = put(cache, DAMAGED)
    with pytest.raises(DataError) as caught:
        locate(file, owner="demo")
    assert str(caught.value) == (
        f"checksum mismatch: {path} has sha256 {digest(DAMAGED)[:12]}…, expected {digest(BODY)[:12]}…; "
        f"delete it and run `hbt-bench data fetch demo`, or {by_hand(file, path)}"
    )
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert server.ranges == [None]


def test_file_in_place_of_cache_is_refused(file: RemoteFile, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_bytes(b"a file where the folder should be")
    with pytest.raises(DataError, match=r"ar\.json is missing; run `hbt-bench data fetch demo`"):
        locate(file, owner="demo")
    with pytest.raises(OutputError, match="a file is where a folder should be; move it away or set HBT_BENCH_CACHE to"):
        fetch(file, owner="demo")


def test_folder_in_place_of_file_is_refused(cache: Path) -> None:
    (cache / NAME).mkdir(parents=True)
    file = RemoteFile(NAME, "https://127.0.0.1:1/ar.json", digest(BODY), (cache / NAME).stat().st_size)
    with pytest.raises(
        DataError, match=r"cannot read .*ar\.json: (Is a directory|Permission denied); delete it and run"
    ):
        locate(file, owner="demo")


def test_empty_file_is_downloaded(server: Server) -> None:
    server.script = [serving(b"")]
    file = RemoteFile(NAME, f"{server.address}/empty", digest(b""), 0)
    assert fetch(file, owner="demo").read_bytes() == b""


def test_two_downloads_at_once_share_file(file: RemoteFile, server: Server, cache: Path) -> None:
    def slow(handler: Handler) -> None:
        time.sleep(0.3)
        good(handler)

    server.script = [slow]
    together = threading.Barrier(2)

    def work(_: int) -> Path:
        together.wait()
        return fetch(file, owner="demo")

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, range(2))) == [cache / NAME] * 2
    assert (cache / NAME).read_bytes() == BODY
    assert visible(cache) == {NAME}
    assert server.ranges == [None]  # the second found the file of the first


def test_full_disk_is_output_error(file: RemoteFile, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError) as caught:
            fetch(file, owner="demo")
    assert str(caught.value) == (
        f"cannot write {cache / NAME}: no space left on the disk; "
        "free some space or set HBT_BENCH_CACHE to another folder"
    )
    assert not (cache / NAME).exists()
    assert fetch(file, owner="demo").read_bytes() == BODY


def test_failing_rename_keeps_download(
    file: RemoteFile, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(OutputError, match="permission denied; make the folder writable or set HBT_BENCH_CACHE to"):
            fetch(file, owner="demo")
    assert visible(cache) == {NAME + ".part"}
    assert fetch(file, owner="demo").read_bytes() == BODY
    assert server.ranges == [None]


def test_cache_folder_follows_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.setenv("HBT_BENCH_CACHE", "~/elsewhere")
    assert cache_dir() == Path.home() / "elsewhere"
    monkeypatch.setenv("HBT_BENCH_CACHE", "")
    assert "hbt-bench" in cache_dir().parts
    assert cache_dir().is_absolute()


@pytest.mark.parametrize("variable", ["HBT_BENCH_CACHE", "HBT_BENCH_DATA", "HBT_BENCH_TASKS"])
@pytest.mark.parametrize("arguments", [["tasks"], ["run", "--model", "bm25", "--tasks", "xquad-r"], ["doctor"]])
def test_home_of_unknown_user_is_refused(
    variable: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, "~nouser99/x")
    code = run(arguments)
    output = capsys.readouterr()
    expected = f"{variable} is ~nouser99/x, but there is no such user: write the path in full\n"
    if arguments == ["tasks"] and variable != "HBT_BENCH_TASKS":  # which needs neither
        assert code == 0
    elif arguments == ["doctor"]:  # which goes on
        assert code == 1
        assert {line.split()[0] for line in output.out.splitlines(keepends=True) if line.endswith(expected)} == {"✗"}
        assert "✗" in output.err
    else:
        assert code == 2
        assert output.err == f"hbt-bench: {expected}"


def test_empty_data_variable_is_unset(file: RemoteFile, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HBT_BENCH_DATA", "")
    assert fetch(file, owner="demo") == cache / NAME


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "C:/x", "a\\..\\b", "a\0b"]
)
def test_path_cannot_leave_folder(path: str) -> None:
    with pytest.raises(DataError, match="is not a path in a folder"):
        RemoteFile(path, "https://example.org/x", "0" * 64, 1)


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


def test_first_name_takes_precedence(tmp_path):
    for name in ("corpus.jsonl", "corpus.jsonl.gz"):
        (tmp_path / name).write_text("")
    files = DataFiles("t", tmp_path)
    assert files.first(("corpus.jsonl", "corpus.jsonl.gz")) == "corpus.jsonl"
    assert files.first(("other", "corpus.jsonl.gz")) == "corpus.jsonl.gz"
    assert files.first(("other",)) == "other"


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
        ("d.jsonl", "is a link to a missing file or back to itself"),
        ("gone.jsonl", "is a link to a missing file or back to itself"),
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
    with pytest.raises(DataError, match=r"el\.json is a link to a missing file or back to itself"):
        TaskRegistry().specs["xquad-r"].load(["el"], tmp_path)
