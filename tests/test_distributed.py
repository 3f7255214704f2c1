"""Check runs of several processes: equal numbers, a single writer, a clear message if a process dies, and resuming."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from hbt_bench import distributed
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.ranking import products
from hbt_bench.ranking.products import Products
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.tasks.registry import select_tasks
from tests.factories import LANGUAGES, result_content, torch_random_model
from tests.forked import run_script, run_together

#: The command line with small tiles, so that both processes have several; process 1 may die at its second chunk.
WORKER = """
import os, signal, sys
from hbt_bench.cli.main import run
from hbt_bench.ranking import products
from hbt_bench.ranking.store import EmbeddingStore

products._HOST_TILE, products._HOST_CHUNK = (64, 128), 256
put, puts = EmbeddingStore.put, []

def dying(self, *chunk):
    put(self, *chunk)
    puts.append(chunk)
    if len(puts) == 2 and os.environ["RANK"] == "1" and os.environ.get("DIE"):
        os.kill(os.getpid(), signal.SIGKILL)

EmbeddingStore.put = dying
sys.exit(run(sys.argv[1:]))
"""


def arguments(folder):
    command = ["run", "--model", folder / "ckpt", "--tasks", "cldr-facts", "--languages", ",".join(LANGUAGES)]
    return [*command, "--output", folder / "two", "--format", "json"]


#: torchrun without its command line: the same agent starts the processes and sets their variables.
LAUNCHER = f"""
import sys
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

def worker():
    try:
        exec(compile({WORKER!r}, "worker", "exec"), {{}})
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"exit code {{end.code}}") from end

config = LaunchConfig(1, 1, 2, rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="fork", max_restarts=0)
elastic_launch(config, worker)()
"""


def test_two_processes_equal_one_and_survive_a_kill(tmp_path, monkeypatch):
    model = torch_random_model(tmp_path / "ckpt", seed=1)
    monkeypatch.setattr(products, "_HOST_TILE", (64, 128))
    selections = select_tasks("cldr-facts")
    expected = Evaluation(ModelRequest(str(model)), selections, tmp_path / "one", LANGUAGES).run()

    first, second = run_together(WORKER, arguments(tmp_path), tmp_path, DIE="1")
    assert first.returncode > 0
    assert second.returncode == -signal.SIGKILL
    messages = [line for line in first.stderr.splitlines() if line.startswith("hbt-bench:")]
    assert len(messages) == 1
    assert "another process of this run ended" in messages[0]
    assert "Error: " not in first.stderr + second.stderr  # no traceback
    assert not list((tmp_path / "two").rglob("*Retrieval*"))
    stored = list(Path(os.environ["HBT_BENCH_CACHE"]).rglob("*.safetensors"))
    assert len(stored) >= 2

    done = run_script(LAUNCHER, arguments(tmp_path), tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(json.loads(done.stdout)["results"]) == 3  # one process printed them, and nothing else
    for result in expected:
        assert result_content(tmp_path / "two" / result.path.relative_to(tmp_path / "one")) == result_content(
            result.path
        )
    ranks = [next((tmp_path / name).rglob("*.ranks.npz")).read_bytes() for name in ("one", "two")]
    assert ranks[0] == ranks[1]
    assert not list(Path(os.environ["HBT_BENCH_CACHE"]).rglob("*.safetensors"))  # the last process removed them


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 7, 20])
def test_chunks_of_processes_cover_all_columns_once(parts):
    class Shaped:
        shape = (13_014, 4)

    blocks = Products(Shaped(), Shaped(), None, np.matmul, products.torch.device("cpu"))
    chunks = [chunk for part in range(parts) for chunk in blocks.chunks(part, parts)]
    assert [chunk.start for chunk in chunks] == [0, *(chunk.stop for chunk in chunks[:-1])]
    assert chunks[-1].stop == 13_014
    assert all(chunk.start % blocks.tile[1] == 0 for chunk in chunks)
    assert len(chunks) == min(parts, 7)  # what fits is one chunk, and a process may have none
    assert all(chunk.start < chunk.stop for chunk in chunks)


def test_chunks_fit_memory_and_have_similar_sizes():
    class Shaped:
        shape = (200_000, 4)

    blocks = Products(Shaped(), Shaped(), None, np.matmul, products.torch.device("cpu"))
    assert blocks.tile == (128, 2048)  # 98 tiles side by side, of which 16 are taken at once at most: 7 chunks of 14
    assert [chunk.stop - chunk.start for chunk in blocks.chunks()] == [14 * 2048] * 6 + [200_000 - 84 * 2048]
    assert [chunk.stop - chunk.start for chunk in blocks.chunks(1, 3)] == [11 * 2048] * 3  # 33 of the 98


def test_single_process_needs_no_group():
    with distributed.joined() as alone:
        assert (alone.rank, alone.count, alone.gather("x"), alone.share("x")) == (0, 1, ["x"], "x")
    assert distributed.is_first()
    assert distributed.local_device() is None


def test_group_exchanges_values():
    """The group has a single process, so that mutation tests reach its code."""
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        group = distributed._Group(0, 1)
        counts = np.array([3, 1 << 40])
        total = group.sum(counts)
        assert (total.dtype, total.tolist()) == (np.int64, [3, 1 << 40])
        assert not np.shares_memory(total, counts)
        assert group.gather({"a": 1}) == [{"a": 1}]
        assert group.share("x") == group.share("x", 0) == "x"
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ("started", "rank", "gpus", "device"),
    [
        ("1", "0", 2, None),
        ("2", "0", 2, "cuda:0"),
        ("2", "1", 2, "cuda:1"),
        ("4", "3", 2, "cuda:1"),
        ("2", "1", 0, None),
    ],
)
def test_each_process_has_a_gpu(monkeypatch, started, rank, gpus, device):
    monkeypatch.setenv("WORLD_SIZE", started)
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr(products.torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(products.torch.cuda, "device_count", lambda: gpus)
    assert distributed.local_device() == device
    monkeypatch.delenv("LOCAL_RANK")
    assert distributed.local_device() == (device and "cuda:0")


@pytest.mark.parametrize(
    ("size", "rank", "first"), [("2", "0", True), ("2", "1", False), ("1", "1", True), (None, "1", True)]
)
def test_rank_counts_with_several_processes(monkeypatch, size, rank, first):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size:
        monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.setenv("RANK", rank)
    assert distributed.is_first() == first


@pytest.mark.parametrize(("rank", "shown"), [("0", True), ("1", False)])
def test_first_process_shows_messages(monkeypatch, capsys, tmp_path, rank, shown):
    from hbt_bench.cli.main import run

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("HBT_BENCH_TASKS", str(tmp_path))
    run(["run", "--model", "bm25", "--tasks", "no-such-task"])
    err = capsys.readouterr().err
    assert (f"HBT_BENCH_TASKS names {tmp_path}" in err) == shown
    assert "unknown task 'no-such-task'" in err


def test_empty_world_size_is_one(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "")
    monkeypatch.setenv("RANK", "")
    assert distributed.world_size() == 1
    with distributed.joined() as processes:
        assert (processes.rank, processes.count) == (0, 1)


def test_missing_rank_is_wrong_usage(monkeypatch, capsys, tmp_path):
    from hbt_bench.cli.main import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    assert run(["run", "--model", "bm25", "--tasks", "cldr-facts"]) == 2
    err = capsys.readouterr().err
    assert "RANK expected, but not set: start with torchrun or accelerate, or unset WORLD_SIZE" in err
    assert len(err.splitlines()) == 1


def test_lost_process_is_process_error():
    from hbt_bench.errors import ProcessError

    with pytest.raises(ProcessError, match="run the same command again to continue"), distributed._lost():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer")


def test_other_commands_refuse_several_processes(monkeypatch, capsys):
    from hbt_bench.cli.main import run

    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(["leaderboard", "results"]) == 2
    assert "leaderboard does not support multiple processes" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["abc", "-1", "2.0", "9" * 5000, "²"])
@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK"])
def test_launcher_variable_must_be_number(monkeypatch, capsys, tmp_path, name, value):
    from hbt_bench.cli.main import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(name, value)
    assert run(["run", "--model", "bm25", "--tasks", "cldr-facts"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert name in line
    assert value[:40] in line
