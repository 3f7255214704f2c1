"""Shipped definitions: pins, golden counts, and stand-ins of their data."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import mteb
import pytest

from hbt_bench.checks.task_file import Validation
from hbt_bench.data.beir import read_qrels
from hbt_bench.mteb.evaluation import data_revision
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.tasks.registry import TaskRegistry, select_tasks
from hbt_bench.tasks.schema import FileSource
from hbt_bench.tasks.sources import BeirSource, MtebSource
from tests.factories import hub_data_set, retrieval_configs

FOLDER = Path(__file__).parents[1] / "tasks"
COMMIT = "[0-9a-f]{40}"
#: Definitions without counts. The files give the reason.
UNCOUNTED = {"mkqa", "mlqa-passages", "mmarco", "neuclir", "neuclir-2022", "neuclirbench", "tatoeba", "xpqa"} | {
    f"nano-multi-{name}" for name in ("dbpedia", "fiqa", "nq", "scidocs", "touche")
}
STATISTICS = Path(mteb.__file__).parent / "descriptive_stats"


def test_definitions_are_pinned():
    for name, spec in TaskRegistry().specs.items():
        source = spec.source
        if isinstance(source, MtebSource):
            assert source.revision == mteb.get_task(source.task).metadata.dataset["revision"], name
        elif isinstance(source, FileSource) and name not in ("ciral", "neuclirbench"):
            assert source.unpinned() == []
        elif hasattr(source, "revision"):
            assert re.fullmatch(COMMIT, source.revision)
    assert TaskRegistry().specs["ciral"].source.unpinned() == [
        f"ciral/{code}/{part}.jsonl" for code in ("ha", "so", "sw", "yo") for part in ("corpus", "queries")
    ]


def test_definitions_have_counts_or_a_reason():
    assert {name for name, spec in TaskRegistry().specs.items() if spec.expect is None} == UNCOUNTED
    for name in UNCOUNTED:
        assert "\n# No `expect`: " in (FOLDER / f"{name}.yaml").read_text(), name


@pytest.mark.parametrize(
    ("name", "file", "split"),
    [
        ("miracl", "MIRACLRetrieval", "dev"),
        ("miracl-hard", "MIRACLRetrievalHardNegatives", "dev"),
        ("mintaka", "MintakaRetrieval", "test"),
        ("xquad-passages", "XQuADRetrieval", "validation"),
        ("mldr", "MultiLongDocRetrieval", "test"),
        ("nano-multi-scifact", "MultilingualNanoSciFactRetrieval", "test"),
        ("webfaq", "WebFAQRetrieval", "test"),
    ],
)
def test_counts_equal_those_of_mteb(name, file, split):
    spec = TaskRegistry().specs[name]
    stats = json.loads((STATISTICS / "Retrieval" / f"{file}.json").read_text())[split]["hf_subset_descriptive_stats"]
    for code, label in (spec.source.codes or {}).items():
        queries, documents = spec.expect.queries[code], spec.expect.documents[code]
        assert stats[label]["num_samples"] == queries + documents
        assert stats[label].get("num_queries", queries) == queries
        assert stats[label]["queries_text_statistics"]["unique_texts"] <= queries


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("beir-fiqa", "FiQA2018"),
        ("beir-nfcorpus", "NFCorpus"),
        ("beir-scidocs", "SCIDOCS"),
        ("beir-scifact", "SciFact"),
    ],
)
def test_beir_counts_equal_those_of_mteb(name, file):
    stats = json.loads((STATISTICS / "Retrieval" / f"{file}.json").read_text())["test"]
    expect = TaskRegistry().specs[name].expect
    assert (expect.queries, expect.documents) == ({"en": stats["num_queries"]}, {"en": stats["num_documents"]})


@pytest.mark.parametrize(("name", "file", "split", "rows"), [("flores", "FloresBitextMining", "devtest", 1012),
                                                             ("ntrex", "NTREXBitextMining", "test", 1997)])  # fmt: skip
def test_sentence_counts_equal_those_of_mteb(name, file, split, rows):
    spec = TaskRegistry().specs[name]
    stats = json.loads((STATISTICS / "BitextMining" / f"{file}.json").read_text())[split]["hf_subset_descriptive_stats"]
    labels = {label.replace("-", "_"): code for code, label in spec.source.codes.items()}
    counts = {}
    for pair, pair_stats in stats.items():
        for label in pair.split("-"):
            if label in labels:
                counts[labels[label]] = pair_stats["num_samples"]
    assert counts == spec.expect.queries == spec.expect.documents == dict.fromkeys(spec.languages, rows)


def test_suites_list_tasks_of_mteb_with_commits():
    suites = TaskRegistry().suites
    names = {name for suite in ("beir", "nano-beir", "beir-pl", "beir-nl", "mtop") for name in suites[suite].tasks}
    assert len(names) == 15 + 13 + 13 + 15 + 2
    for name in names:
        task = mteb.get_task(name)
        parts = getattr(task.metadata, "tasks", None) or [task]  # CQADupstack consists of twelve
        for part in parts:
            assert re.fullmatch(COMMIT, part.metadata.dataset["revision"]), name
    assert [selection.stock for selection in select_tasks("suite:beir")] == [
        task.metadata.name for task in mteb.get_benchmark("BEIR").tasks
    ]


def test_aggregated_task_of_beir_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path / "cache"))
    task = mteb.get_task("CQADupstackRetrieval")
    parts = list(task.metadata.tasks)[:2]
    for number, part in enumerate(parts):
        layout = retrieval_configs(
            "x", "test", {"1": "red apple"}, {"a": "red apple pie", "b": "blue sky"}, [("1", "a", 1)]
        )
        plain = {config.removeprefix("x-").replace("qrels", "default"): rows for config, rows in layout.items()}
        folder = hub_data_set(tmp_path / f"data{number}", plain)
        part.metadata = part.metadata.model_copy(
            update={"dataset": {"path": str(folder), "revision": f"{number}" * 40}}
        )
    task.metadata = task.metadata.model_copy(update={"tasks": parts})
    task.taskname_to_task = {part.metadata.name: part for part in parts}
    monkeypatch.setattr(mteb, "get_task", lambda name: task)
    (result,) = Evaluation(ModelRequest("bm25"), select_tasks("CQADupstackRetrieval"), tmp_path / "results").run()
    assert result.task == "CQADupstackRetrieval"
    assert result.scores["main_score"] == 1
    json.loads(result.path.read_text(), parse_constant=pytest.fail)  # NaN is not JSON


def test_data_of_aggregated_task_depend_on_its_parts():
    task = mteb.get_task("CQADupstackRetrieval")
    before = data_revision(task)
    assert re.fullmatch("[0-9a-f]{16}", before)
    part = task.metadata.tasks[0]
    part.metadata = part.metadata.model_copy(update={"dataset": {**part.metadata.dataset, "revision": "f" * 40}})
    assert data_revision(task) != before
    assert data_revision(mteb.get_task("SciFact")) == mteb.get_task("SciFact").metadata.revision


def ciral(folder, code, questions, judged):
    folder = folder / "ciral" / code
    (folder / "qrels").mkdir(parents=True)
    documents = {key for _, key, _ in judged}
    lines = [json.dumps({"_id": key, "text": f"{code} {key}"}) for key in sorted(documents)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    lines = [json.dumps({"_id": key, "text": text}) for key, text in questions.items()]
    (folder / "queries.jsonl").write_text("\n".join(lines))
    (folder / "qrels" / "test-a.tsv").write_text("".join(f"{q}\tQ0\t{d}\t{grade}\t\t\n" for q, d, grade in judged))


def test_ciral_has_queries_for_each_language(tmp_path):
    """Topic 3 asks different questions in Hausa and Somali, as in CIRAL."""
    ciral(
        tmp_path, "ha", {"3": "Where?", "8": "When?"}, [("3", "VOA#1#0", 1), ("3", "VOA#1#1", 0), ("8", "VOA#1#1", 1)]
    )
    ciral(tmp_path, "so", {"3": "Who?"}, [("3", "BBC#1#0", 1)])
    spec = TaskRegistry().specs["ciral"]
    source = spec.source.model_copy(update={"pins": {}, "codes": {"ha": "ha", "so": "so"}})
    pool = spec.model_copy(update={"source": source, "expect": None}).load(data_dir=tmp_path)
    assert [(query.id, query.language, query.text) for query in pool.queries] == [
        ("en-q-ha/3", "en", "Where?"),
        ("en-q-ha/8", "en", "When?"),
        ("en-q-so/3", "en", "Who?"),
    ]
    assert [pool.relevant(row) for row in range(3)] == [{"ha-d-VOA#1#0": 1}, {"ha-d-VOA#1#1": 1}, {"so-d-BBC#1#0": 1}]
    assert spec.modes == ("cross", "multi")
    assert not pool.parallel


def test_ciral_counts_equal_those_of_its_judgements(data_dir):
    spec = TaskRegistry().specs["ciral"]
    counts = Counter()
    for code in ("ha", "so", "sw", "yo"):
        judged = read_qrels(data_dir / "seeds" / "topics" / "qrels" / f"ciral-v1.0-{code}-test-a.tsv")
        counts.update(sum(grade > 0 for grade in grades.values()) for grades in judged.values())
    assert dict(sorted(counts.items())) == spec.expect.relevant
    assert counts.total() == spec.expect.queries["en"] == 80 + 99 + 85 + 100


def test_ciral_pins_are_those_of_its_judgements(data_dir, tmp_path):
    source = TaskRegistry().specs["ciral"].source
    assert isinstance(source, BeirSource)
    for path, pin in source.pins.items():
        code = path.split("/")[1]
        file = tmp_path / path
        file.parent.mkdir(parents=True)
        file.write_bytes((data_dir / "seeds" / "topics" / "qrels" / f"ciral-v1.0-{code}-test-a.tsv").read_bytes())
        assert TaskRegistry().specs["ciral"].data_files(tmp_path).find(path, pin.pin) == file


def answer(*texts, kind="entity"):
    return [{"type": kind, "text": text, "aliases": []} for text in texts]


def test_mkqa_pools_the_answers_of_all_languages(tmp_path):
    rows = [
        {
            "example_id": 563260143484355911,
            "query": "who sings",
            "queries": {"en": "who sings", "de": "wer singt", "zh_cn": "谁唱", "zh_tw": "誰唱"},
            "answers": {
                "en": answer("Dave Edmunds"),
                "de": answer("Dave Edmunds"),
                "zh_cn": answer("戴维"),
                "zh_tw": [],
            },
        },
        {
            "example_id": -5,
            "queries": {"en": "why", "de": "warum", "zh_cn": "为什么"},
            "answers": {code: answer(None, kind="long_answer") for code in ("en", "de", "zh_cn")},
        },
        {
            "example_id": 9,
            "queries": {"en": "who wrote", "de": "wer schrieb", "zh_cn": "谁写"},
            "answers": {"en": answer("Dave Edmunds", "Ann"), "de": answer("Dave Edmunds"), "zh_cn": answer("安")},
        },
    ]
    import gzip

    (tmp_path / "dataset").mkdir()
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "dataset" / "mkqa.jsonl.gz").write_bytes(gzip.compress(content.encode()))
    spec = TaskRegistry().specs["mkqa"]
    codes = {code: spec.source.codes[code] for code in ("de", "en", "zh")}
    pool = spec.model_copy(
        update={"source": spec.source.model_copy(update={"pins": {}, "url": None, "codes": codes})}
    ).load(data_dir=tmp_path)
    texts = {document.id: document.text for document in pool.documents}
    assert sorted(texts.values()) == ["Ann", "Dave Edmunds", "Dave Edmunds", "安", "戴维"]
    answers = {query.text: sorted(texts[key] for key in pool.relevant(row)) for row, query in enumerate(pool.queries)}
    first, third = ["Dave Edmunds", "Dave Edmunds", "戴维"], ["Ann", "Dave Edmunds", "Dave Edmunds", "安"]
    assert answers == {"who sings": first, "wer singt": first, "谁唱": first, "who wrote": third, "wer schrieb": third,
                       "谁写": third}  # fmt: skip
    assert pool.parallel
    assert spec.modes == ("mono", "cross", "multi")


def test_missing_pins_and_counts_are_warnings(tmp_path):
    ciral(tmp_path, "ha", {"3": "Where?"}, [("3", "VOA#1#0", 1)])
    text = (FOLDER / "ciral.yaml").read_text().replace("[ha, so, sw, yo]", "{ha: ha}").replace("{language}", "ha")
    text = re.sub(r"(?ms)^  pins:.*?^metadata", "metadata", text)
    text = re.sub(r"(?ms)^expect:.*", "", text).replace("name: ciral", "name: mine").replace("CIRAL\n", "Mine\n", 2)
    (tmp_path / "mine.yaml").write_text(text)
    checks = {check.name: check for check in Validation(tmp_path / "mine.yaml").run()}
    assert (checks["hashes"].status, checks["counts"].status) == ("warning", "warning")
    (tmp_path / "mine.yaml").write_text(
        text.replace("  languages:", f"  pins: {{ciral/ha/corpus.jsonl: {{sha256: '{'0' * 64}'}}}}\n  languages:")
    )
    import hashlib

    digest = hashlib.sha256((tmp_path / "ciral" / "ha" / "corpus.jsonl").read_bytes()).hexdigest()
    path = tmp_path / "mine.yaml"
    path.write_text(path.read_text().replace("0" * 64, digest))
    hashes = {check.name: check for check in Validation(path).run()}["hashes"]
    assert hashes.status == "warning"
    assert hashes.message.startswith("2 files are not pinned, for example ciral/ha/queries.jsonl")
