"""A model behind an embeddings server: the same ranks, nothing is paid twice, and a bad answer is one sentence."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import Counter
from concurrent.futures import wait
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import hbt_bench
from hbt_bench.cli.main import run
from hbt_bench.data.data_files import cache_dir
from hbt_bench.errors import ModelError, UsageError
from hbt_bench.identity.signature import Signature
from hbt_bench.identity.variant import Variant
from hbt_bench.mteb import embeddings_client
from hbt_bench.mteb.embeddings_client import EmbeddingsClient, authorization, embeddings_url
from hbt_bench.mteb.endpoint import _PROBE, Endpoint
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.mteb.probe import sample_words
from hbt_bench.reports.explain import explain
from hbt_bench.results.store import StoredRanks
from tests.factories import TestEncoder, hashed
from tests.layouts import small_task

VECTOR = hashed(8)
KEY = "sk-secret-4711"
#: Texts that every run sends: one for the dimension, and words that show whether vectors depend on the call.
EXTRA = {_PROBE, *sample_words("en")}


class Server(ThreadingHTTPServer):
    """An embeddings server. `answer` may change the answer to a request: status, headers and content."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answer = lambda number, body, entries: None
        self.bodies, self.headers, self.paths = [], [], []
        self.lock = threading.Lock()
        self.released = threading.Event()

    @property
    def texts(self):
        """The number of times that each text of the task was sent."""
        return Counter(text for body in self.bodies for text in body["input"] if text not in EXTRA)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.headers.append(dict(self.headers))
            self.server.paths.append(self.path)
            number = len(self.server.bodies)
        entries = [
            {"object": "embedding", "index": index, "embedding": VECTOR(text, "").tolist()}
            for index, text in enumerate(body["input"])
        ]
        status, headers, content = self.server.answer(number, body, entries) or (200, {}, listed(entries))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def listed(entries):
    return json.dumps({"object": "list", "data": entries, "model": "m"}).encode()


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def quick(monkeypatch):
    """Make the pauses between repetitions short."""
    monkeypatch.setattr(embeddings_client, "_PAUSES", (0.01, 0.01, 0.01))


@pytest.fixture
def evaluated(server, tmp_path):
    """Return a function that evaluates the server's model on the small task."""
    task = str(small_task(tmp_path))

    def evaluated(output="results", endpoint=None, batch_size=4, overwrite=False, **options):
        request = ModelRequest(server.url, endpoint=endpoint or Endpoint("tiny"), **options)
        return hbt_bench.evaluate(request, task, tmp_path / output, batch_size=batch_size, overwrite=overwrite)

    return evaluated


def stored_ranks(result):
    return StoredRanks.read(result.ranks).ranks.pool


# Same ranks as the model itself


def test_same_ranks_and_scores_as_the_model_itself(server, evaluated, tmp_path):
    by_object = hbt_bench.evaluate(
        TestEncoder(VECTOR, name="me/tiny", revision="1"), str(tmp_path / "small.yaml"), tmp_path / "object"
    )
    served = evaluated()
    assert [result.task for result in served] == ["small-mono", "small-cross", "small-multi"]
    for one, other in zip(served, by_object, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=0, nan_ok=True)
        assert one.intervals == other.intervals
    assert np.array_equal(stored_ranks(served[2]), stored_ranks(by_object[2]))
    assert set(server.texts.values()) == {1}
    assert len(server.texts) == 48  # twelve queries and twelve documents in two languages
    assert max(len(body["input"]) for body in server.bodies) == 4
    assert {body["model"] for body in server.bodies} == {"tiny"}
    assert set(server.paths) == {"/v1/embeddings"}


def test_order_and_base64_do_not_matter(server, evaluated):
    plain = evaluated("plain")

    def shuffled(number, body, entries):
        for entry in entries:
            entry["embedding"] = base64.b64encode(np.array(entry["embedding"], "<f4").tobytes()).decode()
        return 200, {}, listed(entries[::-1])

    server.answer = shuffled
    other = evaluated("shuffled", overwrite=True)
    assert np.array_equal(stored_ranks(plain[2]), stored_ranks(other[2]))


def test_prompts_and_fields_of_a_role_are_sent(server, evaluated):
    endpoint = Endpoint("tiny", query_fields={"input_type": "query"}, document_fields={"input_type": "passage"})
    result = evaluated(endpoint=endpoint, query_prompt="ask: ", document_prompt="read: ")[0]
    roles = {(body["input_type"], body["input"][0].split(" ")[0]) for body in server.bodies[1:]}
    assert {pair for pair in roles if pair[1] in ("ask:", "read:")} == {("query", "ask:"), ("passage", "read:")}
    assert re.fullmatch(r"[0-9a-f]{8}-endpoint8-fields[0-9a-f]{8}", result.revision)
    assert result.prompts_by_hand == {"query_prompt": "ask: ", "document_prompt": "read: "}
    plain = evaluated("plain")[0]
    assert plain.revision != result.revision
    assert plain.fields["prompt"] == "model"


def test_identity_is_name_server_and_dimension(server, evaluated):
    first, named, stated = evaluated("a")[0], evaluated("b", given_name="me/exp3")[0], evaluated("c", revision="v2")[0]
    assert first.model == "endpoint/tiny"
    assert first.revision.endswith("-endpoint8")
    assert named.model == "me/exp3"
    assert named.revision == first.revision
    assert stated.revision == "v2-endpoint8"
    other = evaluated("d", Endpoint("org/tiny", similarity="dot"), truncate_dim=4)[0]
    assert (other.model, other.revision) == ("org/tiny", f"{first.revision}-dot-dim4")
    assert json.loads(first.path.read_bytes())["hbt_bench"]["device"] == f"{server.url}/v1/embeddings"
    text = explain(Signature.parse(other.signature)).command
    assert "--model http://HOST:PORT --served-name org/tiny --similarity dot --truncate-dim 4" in text


# Nothing is paid twice


def test_interrupted_run_continues_without_paying_twice(server, tmp_path, capsys, monkeypatch):
    arguments = ["run", "--model", server.url, "--served-name", "tiny", "--tasks", str(small_task(tmp_path))]
    arguments += ["--output", str(tmp_path / "results"), "--batch-size", "4", "--concurrency", "2"]

    clients, send, interrupted = [], EmbeddingsClient.vectors, threading.Event()

    def vectors(client, *values, **options):
        clients.append(client)
        return send(client, *values, **options)

    def wait_or_interrupt(futures, return_when):
        """Wait as the run does, and raise what a signal would raise there: signals to a test run may get lost."""
        while wait(futures, timeout=0.01, return_when=return_when).not_done:
            if interrupted.is_set():
                raise KeyboardInterrupt

    monkeypatch.setattr(EmbeddingsClient, "vectors", vectors)
    monkeypatch.setattr("hbt_bench.mteb.endpoint.wait", wait_or_interrupt)

    def interrupt(number, body, entries):
        """Interrupt while requests are under way, and answer these when the run has noticed it."""
        if number >= 9:
            interrupted.set()
            assert clients[-1].stopped.wait(30)

    server.answer = interrupt
    assert run(arguments) == 130
    paid = server.texts
    assert 8 <= len(server.bodies) <= 10  # two requests at the same time
    assert 0 < len(paid) < 48
    server.answer = lambda number, body, entries: None
    interrupted.clear()
    assert run(arguments) == 0
    assert len(server.texts) == 48
    assert set(server.texts.values()) == {1}  # no text was sent in both runs
    requests = len(server.bodies)
    assert run(arguments) == 0  # all results are there
    assert len(server.bodies) == requests  # without a request
    capsys.readouterr()


def test_failed_run_continues_without_paying_twice(server, evaluated, quick):
    server.answer = lambda number, body, entries: (500, {}, b'{"error": "out of memory"}') if number > 8 else None
    with pytest.raises(ModelError, match=r"answers HTTP 500 \(out of memory\), 4 times in a row. Run again"):
        evaluated()
    answered = Counter(text for body in server.bodies[:8] for text in body["input"] if text not in EXTRA)
    assert answered
    server.answer = lambda number, body, entries: None
    before = len(server.bodies)
    evaluated(batch_size=4)
    again = Counter(text for body in server.bodies[before:] for text in body["input"] if text not in EXTRA)
    assert not again & answered
    assert len(again + answered) == 48


def test_other_model_behind_the_url_is_refused(server, evaluated, monkeypatch, quick):
    server.answer = lambda number, body, entries: (500, {}, b"") if number > 8 else None
    with pytest.raises(ModelError, match="HTTP 500"):
        evaluated()
    other = hashed(8)
    monkeypatch.setitem(globals(), "VECTOR", lambda text, role: other(text + "!", role))
    server.answer = lambda number, body, entries: None
    with pytest.raises(ModelError, match="gives other vectors than in the interrupted run"):
        evaluated()
    assert evaluated(overwrite=True)[0].scores["AP"] > 0


# The key


def test_key_is_sent_and_nowhere_else(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HBT_BENCH_API_KEY", KEY)
    arguments = ["run", "--model", server.url, "--served-name", "tiny", "--tasks", str(small_task(tmp_path))]
    output = ["--output", str(tmp_path / "results")]
    assert run([*arguments, *output]) == 0
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    server.answer = lambda number, body, entries: (400, {}, json.dumps({"error": {"message": f"bad {KEY}!"}}).encode())
    assert run([*arguments, *output, "--overwrite"]) == 4
    captured = capsys.readouterr()
    assert "answers HTTP 400 (bad ***!)" in captured.err
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    files += [path.read_bytes() for path in cache_dir().rglob("*") if path.is_file()]
    assert len(files) > 4
    assert not any(KEY.encode() in content for content in [*files, captured.out.encode(), captured.err.encode()])
    request = ModelRequest(server.url, endpoint=Endpoint("tiny"))
    assert KEY not in repr(request)


@pytest.mark.parametrize(
    ("key", "value"), [("", ""), (" abc\n", "Bearer abc"), ("Basic dTpw", "Basic dTpw"), ("a\nb", None), ("ключ", None)]
)
def test_header_of_the_key(key, value, monkeypatch):
    monkeypatch.setenv("HBT_BENCH_API_KEY", key)
    if value is None:
        with pytest.raises(UsageError, match="HBT_BENCH_API_KEY is not a key") as raised:
            authorization()
        assert key not in str(raised.value)
    else:
        assert authorization() == value


# Wrong requests


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1/embeddings"),
        ("HTTP://LocalHost:8000/", "http://localhost:8000/v1/embeddings"),
        ("https://example.org/v1", "https://example.org/v1/embeddings"),
        ("https://example.org/v1/embeddings/", "https://example.org/v1/embeddings"),
        ("http://[::1]:8000/api/v3", "http://[::1]:8000/api/v3/embeddings"),
        ("http://user:secret@host", None),
        ("http://host?api-key=secret", None),
        ("http://host#secret", None),
        ("http://", None),
        ("http://host:99999", None),
        ("http://host:port", None),
        ("http://secret host", None),
        ("http://[host", None),
    ],
)
def test_url_of_requests(text, url):
    if url:
        assert embeddings_url(text) == url
        return
    with pytest.raises(UsageError, match="the URL of the server") as raised:
        embeddings_url(text)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["http://localhost:1"], "--served-name"),
        (["http://localhost:1", "--served-name", " "], "--served-name"),
        (["ckpt/", "--served-name", "x"], "ckpt/ is not a URL"),
        (["http://localhost:1", "--served-name", "x", "--device", "cuda"], "--device is for models that run here"),
        (["http://localhost:1", "--served-name", "x", "--dtype", "bf16"], "--dtype is for models that run here"),
        (["http://localhost:1", "--served-name", "x", "--max-seq-length", "9"], "--max-seq-length is for models that"),
        (["http://localhost:1", "--served-name", "x", "--query-fields", "{"], "--query-fields is not a JSON object"),
        (["http://localhost:1", "--served-name", "x", "--query-fields", '{"input": []}'], "which hbt-bench sets"),
        (["http://localhost:1", "--query-fields", '{"a": 1}'], "add --served-name"),
        (["http://u:secret@localhost:1", "--served-name", "x"], "leave them out"),
        (["bm25", "--name", "me/bm25"], "--name is for folders and servers"),
    ],
)
def test_wrong_requests_are_refused_before_a_request(arguments, fragment, tmp_path, capsys):
    command = ["run", "--model", *arguments, "--tasks", str(small_task(tmp_path)), "--output", str(tmp_path / "out")]
    assert run(command) == 2
    message = capsys.readouterr().err
    assert fragment in message
    assert message.count("\n") == 1
    assert "secret" not in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"similarity": "euclidean"}, "similarity is 'euclidean', but must be one of 'cosine', 'dot'"),
        ({"concurrency": 0}, "concurrency is 0, but must be a whole number from 1"),
        ({"timeout": -1}, "timeout is -1, but must be a number above 0"),
    ],
)
def test_settings_that_no_server_has_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Endpoint("m", **settings)


# Wrong answers


def changed(**fields):
    """Return an answer whose first entry has other fields."""

    def answer(number, body, entries):
        entries[0] |= fields
        return 200, {}, listed(entries)

    return answer


WRONG = {
    "401": (lambda *a: (401, {}, b'{"error": "sk-..4711x is wrong"}'), "refuses the key (HTTP 401). Set HBT_BENCH_API"),
    "404": (lambda *a: (404, {}, b'{"detail": "no model x"}'), "answers HTTP 404 (no model x). Check the URL and"),
    "413": (lambda *a: (413, {}, b"<html>too large</html>"), "answers HTTP 413. Try a smaller --batch-size."),
    "redirect": (lambda *a: (307, {"Location": "https://x.org"}, b""), "answers with a redirect (HTTP 307)"),
    "page": (lambda *a: (200, {}, b"<html>hello</html>"), "no list of embeddings, but '<html>hello</html>'"),
    "empty": (lambda *a: (200, {}, b""), "no list of embeddings, but ''"),
    "other json": (lambda *a: (200, {}, b'[[1.0, 2.0]]'), "no list of embeddings"),
    "nested": (lambda *a: (200, {}, b"[" * 100_000), "no list of embeddings"),
    "too few": (lambda number, body, entries: (200, {}, listed(entries[:-1])), "returned 1 vectors for 2 texts"),
    "same index": (changed(index=1), "not numbered from 0 to 1"),
    "text as index": (changed(index="0"), "not numbered from 0 to 1"),
    "sizes": (changed(embedding=[1.0]), "vectors of different sizes (1, 8)"),
    "empty vector": (changed(embedding=[]), "vectors of different sizes (0, 8)"),
    "NaN": (changed(embedding=[float("nan")] * 8), "returned NaN or infinity"),
    "too large": (changed(embedding=[1e300] * 8), "returned NaN or infinity"),
    "null": (changed(embedding=None), "no list of embeddings"),
    "null inside": (changed(embedding=[None] * 8), "returned NaN or infinity"),
    "words": (changed(embedding=["a"] * 8), "no list of embeddings"),
    "nested vector": (changed(embedding=[[1.0] * 8]), "no list of embeddings"),
    "base64": (changed(embedding="not base64!"), "no list of embeddings"),
    "bytes": (changed(embedding="AAAA"), "no list of embeddings"),
    "Retry-After": (lambda *a: (429, {"Retry-After": "7200"}, b""), "asks for a pause of 7,200 s"),
    "date": (lambda *a: (503, {"Retry-After": "Fri, 31 Dec 2999 23:59:59 GMT"}, b""), "asks for a pause of"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answer_is_one_sentence(name, server, quick):
    server.answer, fragment = WRONG[name]
    client = EmbeddingsClient(embeddings_url(server.url))
    with pytest.raises(ModelError) as raised:
        client.vectors({"model": "tiny"}, ["first", "second"])
    message = str(raised.value)
    assert message.startswith(f"{server.url}/v1/embeddings ")
    assert fragment in message
    assert "\n" not in message
    assert "4711x" not in message  # a port may have the digits
    assert len(server.bodies) == 1  # none of these is asked again


def test_other_dimension_later_is_refused(server, evaluated):
    server.answer = lambda number, body, entries: None if number < 6 else (200, {}, listed(longer(entries)))
    with pytest.raises(ModelError, match="returned vectors of 9 dimensions, but of 8 before"):
        evaluated()


def longer(entries):
    return [{**entry, "embedding": [*entry["embedding"], 1.0]} for entry in entries]


def test_busy_server_is_asked_again(server, quick):
    answers = {1: (429, {"Retry-After": "0.01"}, b""), 2: (503, {}, b""), 3: (500, {"Retry-After": "soon"}, b"")}
    server.answer = lambda number, body, entries: answers.get(number)
    vectors = EmbeddingsClient(embeddings_url(server.url)).vectors({"model": "tiny"}, ["first"])
    assert np.array_equal(vectors, [VECTOR("first", "")])
    assert len(server.bodies) == 4


def test_pauses_grow_and_follow_the_server(server, monkeypatch):
    waited = []
    client = EmbeddingsClient(embeddings_url(server.url))
    monkeypatch.setattr(client.stopped, "wait", waited.append)
    server.answer = lambda number, body, entries: (429, {"Retry-After": "20"} if number == 1 else {}, b"slow down")
    with pytest.raises(ModelError, match=r"answers HTTP 429 \(slow down\), 7 times in a row"):
        client.vectors({"model": "tiny"}, ["first"])
    assert waited[0] == 20
    assert all(full / 2 <= pause <= full for pause, full in zip(waited[1:], (2, 4, 8, 16, 32), strict=True))


def test_stalled_server_is_one_sentence(server, tmp_path, capsys):
    server.answer = lambda *rest: server.released.wait(5) and None
    command = ["run", "--model", server.url, "--served-name", "tiny", "--timeout", "0.1"]
    assert run([*command, "--tasks", str(small_task(tmp_path)), "--output", str(tmp_path / "out")]) == 4
    message = capsys.readouterr().err.splitlines()[-1]
    assert message == (
        f"hbt-bench: {server.url}/v1/embeddings did not answer within 0.1 s. Check that the server runs, and run again "
        "to continue."
    )


def test_slow_drip_ends_at_the_deadline(server, quick):
    original = Handler.end_headers

    def drip(handler):
        original(handler)
        for _ in range(15):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            if server.released.wait(0.02):
                break

    Handler.end_headers = drip
    server.answer = lambda number, body, entries: (200, {"Content-Length": "100000"}, b"")
    try:
        with pytest.raises(ModelError, match=r"did not answer within 0\.2 s"):
            EmbeddingsClient(embeddings_url(server.url), timeout=0.2).vectors({}, ["first"], patient=False)
    finally:
        Handler.end_headers = original


def test_refused_connection_is_one_sentence(tmp_path, capsys):
    command = ["run", "--model", "http://127.0.0.1:1", "--served-name", "tiny", "--tasks", str(small_task(tmp_path))]
    assert run([*command, "--output", str(tmp_path / "out")]) == 4
    assert "http://127.0.0.1:1/v1/embeddings cannot be reached: Connection refused." in capsys.readouterr().err


def test_first_error_ends_the_run_at_once(server, evaluated):
    server.answer = lambda number, body, entries: (400, {}, b"no") if number > 8 else None
    with pytest.raises(ModelError, match=r"answers HTTP 400 \(no\)"):
        evaluated(endpoint=Endpoint("tiny", concurrency=1))
    assert len(server.bodies) == 9


def test_unpaired_surrogate_is_refused():
    with pytest.raises(ModelError, match="unpaired surrogate"):
        EmbeddingsClient("http://127.0.0.1:1/v1/embeddings").vectors({}, ["a\ud800"])


# Fewer dimensions and numbers


def test_dimensions_and_precision(server):
    texts = ["first", "second", "third"]
    expected = np.stack([VECTOR(text, "") for text in texts])
    for options, change in (
        ({"truncate_dim": 3}, lambda rows: rows[:, :3]),
        ({"precision": "binary"}, lambda rows: np.where(rows > 0, 1, -1)),
        ({"precision": "int8", "truncate_dim": 3}, lambda rows: int8(rows[:, :3])),
    ):
        model = ModelRequest(server.url, endpoint=Endpoint("tiny"), **options).load()
        vectors = model.encode([{"text": texts[:2]}, {"text": texts[2:]}])
        assert np.asarray(vectors) == pytest.approx(change(expected), rel=1e-6)
        assert model.mteb_model_meta.revision.endswith(Variant(**options).suffix)
    with pytest.raises(UsageError, match="--truncate-dim 9 is more than the 8 dimensions of endpoint/tiny"):
        ModelRequest(server.url, endpoint=Endpoint("tiny"), truncate_dim=9).load()


def int8(rows):
    step = np.abs(rows).max(axis=1, keepdims=True) / 127
    return np.round(rows / step) * step
