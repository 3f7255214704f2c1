"""Check that the scripts of docs/scale.md and of the benchmarks run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("script", sorted((ROOT / "docs" / "slurm").glob("*.sbatch")), ids=lambda path: path.name)
def test_slurm_scripts_run_existing_commands(script):
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    text = script.read_text()
    command = text[text.rindex("-m hbt_bench") :].split()
    from hbt_bench.cli.run import command as run

    options = {option for parameter in run.params for option in parameter.opts}
    assert command[2] == "run"
    assert {word for word in command if word.startswith("--")} <= options


@pytest.mark.usefixtures("_benchmarks")
def test_exponent_of_a_power_law():
    from growth import exponent

    sizes = [10, 100, 1000, 10_000, 100_000]
    assert exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    flat_start = [100.0, 100.0, 1000.0, 10_000.0, 100_000.0]  # the first is more than three decades from the end
    assert exponent(sizes, flat_start) == pytest.approx(1)


@pytest.mark.usefixtures("_benchmarks")
def test_made_collections_are_parallel():
    from growth import collection_of

    collection = collection_of(60, 90, 3)
    assert [block.stop - block.start for block in collection.document_blocks.values()] == [30, 30, 30]
    languages = collection.document_languages[collection.qrels.documents].reshape(60, 3)
    assert (np.sort(languages, axis=1) == [0, 1, 2]).all()


@pytest.mark.usefixtures("_benchmarks")
def test_tools_agree_on_made_vectors(monkeypatch):
    """AP, nDCG and RR of hbt-bench and pytrec_eval are equal."""
    import tools
    from growth import Cosine, collection_of

    collection = collection_of(40, 90, 3)
    generator = np.random.default_rng(0)
    vectors = [generator.standard_normal((count, 8)).astype(np.float32) for count in (40, 90)]
    scorer = tools.DenseScorer(Cosine(), *vectors)
    monkeypatch.setattr(tools, "_BLOCK", 7)
    assert tools.ours(collection, scorer) == pytest.approx(tools.trec(collection, scorer), abs=1e-6)


@pytest.mark.usefixtures("_benchmarks")
def test_gpu_benchmark_runs_on_the_processor(capsys):
    import gpu

    figures = gpu.main(["--tiny"])
    assert figures["texts"] > 100
    assert 0 < figures["pass"] < figures["evaluation"]
    assert "share of our pass in the evaluation" in capsys.readouterr().out


@pytest.mark.usefixtures("_benchmarks")
def test_encoding_benchmark_runs_on_the_processor(tmp_path):
    import encoding

    folder = tmp_path / "lareqa" / "xquad-r"
    folder.mkdir(parents=True)
    sentences = [f"This is sentence {number} of a paragraph, and it ends here." for number in range(12)]
    starts = np.cumsum([0, *(len(sentence) + 1 for sentence in sentences)])
    breaks = [[int(start), int(start) + len(text)] for start, text in zip(starts, sentences, strict=False)]
    questions = [{"question": f"Which sentence has {number}?", "answers": []} for number in range(12)]
    paragraph = {"context": " ".join(sentences), "sentence_breaks": breaks, "qas": questions}
    (folder / "en.json").write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    given = ["--tiny", "--texts", "8", "--languages", "en", "--rounds", "1", "--only", "torch fp32, 512 tokens"]
    measured = encoding.main([*given, "--data-dir", str(tmp_path), "--output", str(tmp_path / "out")])
    assert measured["texts"] == 16
    assert list(measured["settings"]) == ["torch fp32, 32 texts", "torch fp32, 512 tokens"]
    row = measured["settings"]["torch fp32, 512 tokens"]
    assert row["cosine"] == pytest.approx(1, abs=1e-5)
    assert row["share of peak"] == pytest.approx(row["GFLOPS"] / measured["peak GFLOPS"]["fp32"])
    assert "| torch fp32, 512 tokens |" in (tmp_path / "out.md").read_text()
    assert {text for _, texts in encoding.sample(tmp_path, ["en"], 8) for text in texts} <= {
        *sentences,
        *(question["question"] for question in questions),
    }


@pytest.mark.usefixtures("_benchmarks")
def test_operations_of_a_known_model():
    """A layer of width 4 has 4 products of 4 x 4 and 2 of 4 x 16; attention has 2 of length x length."""
    import encoding

    config = SimpleNamespace(hidden_size=4, intermediate_size=16, num_hidden_layers=1)
    assert encoding.operations(config, [3]) == 2 * 3 * (4 * 16 + 2 * 64) + 2 * 2 * 3 * 3 * 4
    assert encoding.operations(config, [3, 5]) == encoding.operations(config, [3]) + encoding.operations(config, [5])
