"""Give damaged and hostile files to every reader. It must read the file or raise an error of this program.

``PYTHONPATH=. python benchmarks/fuzz_readers.py --count 2000`` changes valid files at random. With
``--only READER --atheris SECONDS``, libFuzzer changes them guided by coverage (``pip install atheris``).
"""

from __future__ import annotations

import argparse
import gc
import gzip
import io
import json
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import yaml

from hbt_bench.data.beir import BeirFiles, read_beir
from hbt_bench.data.lareqa import read_lareqa
from hbt_bench.data.records import read_rows
from hbt_bench.errors import HbtBenchError, OutputError
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.measures.registry import MEASURES
from hbt_bench.ranking.store import EmbeddingStore, _header
from hbt_bench.reports import card
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import Result
from hbt_bench.studies.study import Study
from hbt_bench.studies.study_result import StudyResult
from hbt_bench.tasks.folders import Folder
from hbt_bench.training.recipe import Recipe

_ROOT = Path(__file__).resolve().parents[1]
_RESULT = _ROOT / "tests/fixtures/format-2/hbt-bench__bm25/k0.9-b0.4/CldrFactsMultilingualRetrieval_de_en.json"
_OLD_RESULT = _ROOT / "tests/fixtures/format-1/hbt-bench__bm25/k0.9-b0.4/CldrFactsMonolingualRetrieval_de_en.json"
_RANKS = _RESULT.with_name("CldrFactsRetrieval_de_en.ranks.npz")
_VECTORS = np.arange(8, dtype="<f4").reshape(2, 4)
#: The packages whose coverage guides libFuzzer.
_COVERED = {"hbt_bench", "json", "yaml", "csv", "gzip"}
_LAREQA = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "Fish breathe water. Bees make honey.",
                    "sentence_breaks": [[0, 19], [20, 36]],
                    "qas": [{"id": "1", "question": "Who?", "answers": [{"answer_start": 20, "text": "Bees"}]}],
                }
            ]
        }
    ]
}
_LINES = b'{"_id": "d1", "title": "T", "text": "one"}\n{"_id": "d2", "text": "two"}\n'
_CARD = b"""---
license: mit
model-index:
- name: m
  results: []
---

# m

<!-- hbt-bench -->

<!-- /hbt-bench -->
"""
_FINDINGS = {
    "figures": [],
    "costs": [{"init": "i", "system": "s", "seconds": 1.0, "steps": 2, "pairs": 3, "models": 1}],
    "machine": "m",
    "versions": {},
}
#: Replacements for a value. They are JSON texts; some of them only Python's parser accepts.
_WILD = (
    "null", "true", "-1", "0", "9" * 400, "9" * 6000, "1e308", "1e999", "-1e999", "NaN", "0.5", '""', '"x"',
    '"\\ud800"', '"\\u001b[2J"', '"../../../etc/passwd"', "[]", "{}", "[[[]]]", '{"a": {"b": []}}', "[" * 5000,
    "[" * 200_000, '{"a":' * 5000, '"' + "y" * 5000 + '"', "[1, 2]", "[[0, 99]]",
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """A reader: the name that its file must have, valid files, and the function that reads a file."""

    file: str
    valid: tuple[bytes, ...]
    read: Callable[[Path], object]


def _read_result(path: Path) -> None:
    for measures in (None, MEASURES.in_summary()):
        result = Result.read(path, measures)
        result.as_json()
        assert isinstance(result.label + result.task, str)
        assert result.complete in (True, False)
        assert result.collection
        assert result.prompt_by_hand
        for measure in result.encoded_contributions:
            result.contributions(measure)
        if result.ranks is not None:
            assert result.ranks.parent == path.parent


def _read_ranks(path: Path) -> None:
    stored = StoredRanks.read(path)
    from hbt_bench.results.scores import Intervals

    for mode in ("mono", "multi"):
        Intervals.from_ranks(stored.judgements, stored.ranks, mode, ["de", "de-multi"])  # type: ignore[arg-type]


def _read_card(path: Path) -> None:
    checkpoint = Checkpoint(path.parent)
    (path.parent / "config.json").write_text("{}")
    find_results = card.find_results
    card.find_results = lambda *_: [Result.read(_RESULT)]  # type: ignore[assignment]
    try:
        card.write_card(checkpoint, path.parent)
    finally:
        card.find_results = find_results


def _read_config(path: Path) -> None:
    (path.parent / "modules.json").write_text("[]")
    checkpoint = Checkpoint.from_folder(path.parent)
    assert checkpoint.kind
    assert checkpoint.prompts is not None
    assert isinstance(checkpoint.recipe, dict)
    assert checkpoint.revision


def _read_plain_config(path: Path) -> None:
    assert Checkpoint.from_folder(path.parent).kind in ("transformers", "CrossEncoder")


def _read_qrels(path: Path) -> None:
    folder = path.parent
    (folder / "corpus.jsonl").write_bytes(_LINES)
    (folder / "queries.jsonl").write_bytes(_LINES)
    read_beir("b", [BeirFiles(folder / "corpus.jsonl", folder / "queries.jsonl", path, "en", "en")])


def _read_beir(path: Path) -> None:
    qrels = path.parent / "qrels.tsv"
    qrels.write_text("d1\t0\td2\t1\n")
    read_beir("b", [BeirFiles(path, path, qrels, "en", "en")])


def _read_specs(path: Path) -> None:
    name = re.search(rb"^name: ([\w-]{1,60})\s*$", path.read_bytes(), re.MULTILINE)
    folder = Folder.read(path.rename(path.with_stem(name[1].decode())) if name else path)
    assert len(folder.specs) + len(folder.problems) == 1
    for problem in folder.problems.values():
        raise problem


def _read_vectors(path: Path) -> None:
    store = EmbeddingStore(path.parent, "m")
    target = store._path(["a", "b"], "query", "en")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(path.read_bytes())
    vectors = store.get(["a", "b"], "query", "en")
    if vectors is None:
        raise OutputError("damaged vectors are encoded again")
    assert vectors.tobytes() == _VECTORS.tobytes()


def _all(pattern: str) -> tuple[bytes, ...]:
    contents = (path.read_bytes() for path in sorted(_ROOT.glob(pattern)))
    return tuple(content for content in contents if b"extends:" not in content)  # these need the file that they extend


READERS: Mapping[str, Reader] = {
    "LAReQA JSON": Reader("en.json", (json.dumps(_LAREQA).encode(),), lambda path: read_lareqa("x", {"en": path})),
    "JSON lines": Reader("d.jsonl", (_LINES,), lambda path: list(read_rows(path))),
    "JSON lines, gz": Reader("d.jsonl.gz", (gzip.compress(_LINES),), lambda path: list(read_rows(path))),
    "CSV": Reader("d.csv", (b'id,text\n1,"a, b"\n2,c\n',), lambda path: list(read_rows(path))),
    "TSV": Reader("d.tsv", (b"id\ttext\n1\ta\n",), lambda path: list(read_rows(path))),
    "BEIR documents": Reader("c.jsonl", (_LINES,), _read_beir),
    "BEIR judgements": Reader("t.tsv", (b"query-id\tcorpus-id\tscore\nd1\td2\t1\n", b"d1 0 d2 1\n"), _read_qrels),
    "task": Reader("xquad-r.yaml", _all("tasks/*.yaml"), _read_specs),
    "recipe": Reader("r.yaml", _all("recipes/*.yaml"), Recipe.read),
    "study": Reader("hybrid-vs-multitask.yaml", _all("studies/hybrid-vs-multitask.yaml"), Study.read),
    "result": Reader("CldrFacts.json", (_RESULT.read_bytes(), _OLD_RESULT.read_bytes()), _read_result),
    "ranks": Reader("r.ranks.npz", (_RANKS.read_bytes(),), _read_ranks),
    "model card": Reader("README.md", (_CARD, b"# m\n"), _read_card),
    "model configuration": Reader(
        "config_sentence_transformers.json",
        (json.dumps({"model_type": "SentenceTransformer", "prompts": {"query": "q: "}}).encode(),),
        _read_config,
    ),
    "findings": Reader(
        "comparison.json", (json.dumps(_FINDINGS).encode(),), lambda path: StudyResult.read(path.read_bytes())
    ),
    "transformers configuration": Reader("config.json", (b'{"architectures": ["BertModel"]}',), _read_plain_config),
    "stored vectors": Reader("v.safetensors", (_header(_VECTORS) + _VECTORS.tobytes(),), _read_vectors),
}


def mutated(chance: random.Random, name: str) -> bytes:
    """Return a valid file of a reader with random damage, or without damage."""
    reader = READERS[name]
    content = chance.choice(reader.valid)
    if name == "ranks" and chance.random() < 0.8:
        return _mutated_arrays(chance, content)
    packed = reader.file.endswith(".gz")
    if packed and chance.random() < 0.7:
        content = gzip.decompress(content)
    if chance.random() < 0.6:
        content = _mutated_values(chance, content, reader.file)
    for _ in range(chance.choice([0, 0, 1, 1, 3])):
        content = _mutated_bytes(chance, content)
    return gzip.compress(content, 1) if packed and chance.random() < 0.7 else content


def _mutated_bytes(chance: random.Random, content: bytes) -> bytes:
    start = chance.randrange(len(content) + 1)
    kind = chance.randrange(4)
    if kind == 0:
        return content[:start]
    if kind == 1:
        return content[:start] + bytes([chance.randrange(256)]) + content[start + 1 :]
    if kind == 2:
        end = min(len(content), start + chance.randrange(1, 40))
        return content[:start] + content[start:end] * chance.choice([0, 2, 3]) + content[end:]
    odd = [b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b'"', b"\\", b"&a ", b"!!python/object ", b"- - ", b"\xed\xa0\x80"]
    return content[:start] + chance.choice(odd) + content[start:]


def _mutated_values(chance: random.Random, content: bytes, file: str) -> bytes:
    """Replace, remove or add a random value in JSON or YAML."""
    mark = "@@here@@"
    front = re.match(rb"---\n(.*?\n)---\n", content, re.DOTALL) if file.endswith(".md") else None
    text = front[1] if front else content.split(b"\n")[0] if ".jsonl" in file else content
    loads: Callable[[bytes], Any] = yaml.safe_load if front or file.endswith(".yaml") else json.loads
    try:
        tree = loads(text)
    except (ValueError, yaml.YAMLError):
        return content
    positions: list[tuple[Any, Any]] = []
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict | list):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            positions += [(node, key) for key in keys]
            nodes += [node[key] for key in keys]
    wild = chance.choice(_WILD)
    if not positions:
        return wild.encode()
    parent, key = chance.choice(positions)
    if chance.random() < 0.2:
        del parent[key]
    else:
        parent[key] = mark
    if loads is json.loads:
        new = json.dumps(tree, ensure_ascii=False)
        new = new.replace('{"hbt_bench"', '{\n  "hbt_bench"').replace(
            ', "dataset_revision"', ',\n "dataset_revision"', 1
        )
        new = new[:-1] + "}\n" if new.endswith("}") and new.startswith("{\n") else new
    else:
        new = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1000)
    new = new.replace(f'"{mark}"', wild).replace(mark, wild)
    raw = new.encode("utf-8", "surrogatepass")
    return content.replace(text, raw, 1)


def _mutated_arrays(chance: random.Random, content: bytes) -> bytes:
    arrays = dict(np.load(io.BytesIO(content)))
    name = chance.choice(sorted(arrays))
    array = arrays[name]
    kind = chance.randrange(6)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = np.array([{"a": 1}], dtype=object)  # a pickle
    elif kind == 2:
        arrays[name] = array[: chance.randrange(len(array) + 1)] if array.ndim else np.array([array])
    elif kind == 3 and array.dtype.kind == "i" and array.size:
        arrays[name] = array.copy()
        values = [-1, 0, 1, 10**4, int(np.iinfo(array.dtype).max), int(np.iinfo(array.dtype).min)]
        arrays[name].flat[chance.randrange(array.size)] = min(chance.choice(values), np.iinfo(array.dtype).max)
    elif kind == 4:
        arrays[name] = array.astype(chance.choice(["f8", "U5", "c16", "i8"])) if array.dtype.kind == "i" else array
    else:
        arrays[name] = np.stack([array, array])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def check(name: str, content: bytes) -> bool:
    """Return whether the file is read, or False if it is refused; other exceptions are not caught."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, READERS[name].file)
        path.write_bytes(content)
        try:
            READERS[name].read(path)
        except HbtBenchError as error:
            message = str(error)
            assert message.strip(), "an error without a message"
            assert "\n" not in message, f"an error of several lines: {message!r}"
            return False
        return True


def _with_atheris(name: str, seconds: int) -> None:
    """Let libFuzzer change files guided by the coverage of the reader; a file that fails is kept in build/."""
    import atheris

    corpus = _ROOT / "build" / "atheris" / name.replace(" ", "-")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(READERS[name].valid):
        (corpus / f"valid-{number}").write_bytes(content)
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and (function.__module__ or "").split(".")[0] in _COVERED:
            atheris.instrument_func(function)
    options = [
        sys.argv[0],
        str(corpus),
        f"-max_total_time={seconds}",
        f"-artifact_prefix={corpus}-",
        "-max_len=65536",
        "-timeout=60",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
    ]
    atheris.Setup(options, lambda content: check(name, content) and None)
    atheris.Fuzz()


def main() -> int:
    """Run the cases and print the counts of files read, refused and failed; return 1 if a case failed."""
    import report

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="files of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=READERS)
    parser.add_argument("--atheris", type=int, metavar="SECONDS")
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    if options.atheris:
        _with_atheris(options.only or "LAReQA JSON", options.atheris)
        return 0
    rows, failures = [], []
    for name in [options.only] if options.only else READERS:
        seen: Counter[str] = Counter()
        slowest = 0.0
        for number in range(options.count):
            content = mutated(random.Random(f"{options.seed}/{name}/{number}"), name)
            started = time.process_time()
            try:
                seen["read" if check(name, content) else "refused"] += 1
            except Exception as error:  # any exception is a failure
                seen["failed"] += 1
                frame = traceback.extract_tb(error.__traceback__)[-1]
                failures.append(
                    f"{name} {number}: {type(error).__name__}: {str(error)[:150]} ({frame.name} {frame.lineno})"
                )
            slowest = max(slowest, time.process_time() - started)
        rows.append((name, options.count, seen["read"], seen["refused"], seen["failed"], f"{slowest:.2f}"))
    header = ("reader", "files", "read", "refused", "failed", "slowest, CPU s")
    data = {"readers": [dict(zip(header, row, strict=True)) for row in rows], "failures": failures}
    report.publish("Readers on damaged files", [report.table(header, rows)], data, report.environment(), options.output)
    print("\n".join(failures))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
