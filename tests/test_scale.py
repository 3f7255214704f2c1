"""Check that the scripts of docs/scale.md and of the benchmarks run."""

from __future__ import annotations

import subprocess
from pathlib import Path

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
