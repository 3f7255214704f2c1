"""Faults during a run: two runs at once, damaged vectors, a jumping clock, a full or read-only disk."""

from __future__ import annotations

import errno
import itertools
import os
import time
from pathlib import Path

import pytest
import yaml

from hbt_bench.cli.main import run as command
from hbt_bench.data.data_files import cache_dir
from hbt_bench.ranking.store import EmbeddingStore
from tests.factories import SMALL, evaluate, result_content, torch_random_model, train, weights_hash
from tests.forked import run_script

MODES = ("Monolingual", "CrossLingual", "Multilingual")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return torch_random_model(tmp_path_factory.mktemp("models") / "m", seed=1)


@pytest.fixture(scope="module")
def undisturbed(model, tmp_path_factory):
    """The results of an undisturbed run, by path below its output."""
    output = tmp_path_factory.mktemp("undisturbed")
    return {result.path.relative_to(output): result_content(result.path) for result in evaluate(model, output)}


def written(output):
    contents = {path.relative_to(output): result_content(path) for path in output.rglob("Cldr*.json")}
    assert not list(output.rglob(".*.tmp"))
    return contents


AT_ONCE = """
import os, sys
import torch
from hbt_bench.cli.main import run
import hbt_bench.results.evaluate, hbt_bench.mteb.models, sentence_transformers
from hbt_bench.ranking.store import EmbeddingStore

put = EmbeddingStore.put

def noted(self, texts, role, language, vectors):
    put(self, texts, role, language, vectors)
    with open(os.environ["ENCODED"], "a") as notes:
        notes.write(f"{role} {language} {len(texts)}\\n")

EmbeddingStore.put = noted
torch.set_num_threads(1)  # threads do not survive a fork
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        os._exit(run(sys.argv[1:]))
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_two_runs_share_output_and_cache(model, tmp_path, undisturbed):
    arguments = ["run", "--model", str(model), "--tasks", "cldr-facts", "--languages", "de,en,sw"]
    arguments += ["--keep-embeddings", "--output", tmp_path / "out"]
    variables = {"HBT_BENCH_CACHE": str(tmp_path / "cache"), "ENCODED": str(tmp_path / "encoded")}
    done = run_script(AT_ONCE, arguments, tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert written(tmp_path / "out") == undisturbed
    assert not list((tmp_path / "cache").rglob(".*.tmp"))
    encoded = (tmp_path / "encoded").read_text().splitlines()  # by both together, nothing twice
    assert sorted(encoded) == [f"{role} {code} 182" for role in ("document", "query") for code in ("de", "en", "sw")]


TRAIN_AT_ONCE = """
import os, signal, sys, time
import torch
from pathlib import Path
from hbt_bench.cli.main import run
import hbt_bench.training.trainer, hbt_bench.training.losses, hbt_bench.training.run, sentence_transformers
from hbt_bench.training import models, run_folder

torch.set_num_threads(1)  # threads do not survive a fork
folder, end = Path(sys.argv[1]), sys.argv[2]
load, mark = models.load, run_folder.mark

def until(there):
    deadline = time.monotonic() + 60
    while not there() and time.monotonic() < deadline:
        time.sleep(0.01)

def waiting(*arguments):
    until(lambda: "waiting" in (folder / "second.err").read_text())
    return load(*arguments)

def dying(checkpoint, identity):
    mark(checkpoint, identity)
    if checkpoint.name == "checkpoint-8":
        os.kill(os.getpid(), signal.SIGKILL)

def start(name):
    os.dup2(os.open(folder / f"{name}.err", os.O_WRONLY | os.O_CREAT), 2)
    os._exit(run(["train", str(folder / "recipe.yaml"), "--output", str(folder / "m")]))

(folder / "second.err").touch()
first = os.fork()
if first == 0:
    models.load = waiting
    run_folder.mark = dying if end == "killed" else mark
    start("first")
until((folder / "m" / ".training.lock").exists)
second = os.fork()
if second == 0:
    start("second")
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in (first, second)))
"""


@pytest.mark.parametrize("end", ["well", "killed"])
def test_two_trainings_into_one_folder(tmp_path, end):
    """The second waits for the first. Then it uses the finished model, or the checkpoint of a killed run."""
    changes = {"init": "static:32", "learning_rate": 1e-2}
    recipe = {**SMALL, "languages": list(SMALL["languages"]), "guard": [], **changes}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    done = run_script(TRAIN_AT_ONCE, [tmp_path, end], tmp_path)
    first, second = ((tmp_path / f"{name}.err").read_text() for name in ("first", "second"))
    assert done.stdout.splitlines()[-1] == ("-9 0" if end == "killed" else "0 0"), done.stderr + first + second
    folder = tmp_path / "m"
    assert f"hbt-bench: another run trains into {folder}: waiting for its end\n" in second
    assert ("continuing from checkpoint-8" if end == "killed" else f"{folder} has this model already") in second
    alone = train(tmp_path / "alone", **changes)
    assert weights_hash(folder) == weights_hash(alone)
    assert {path.name for path in folder.iterdir()} == {path.name for path in alone.iterdir()}


@pytest.mark.parametrize("damage", ["bit", "cut"])
def test_damaged_vectors_are_encoded_again(model, tmp_path, undisturbed, damage):
    evaluate(model, tmp_path / "first", keep_embeddings=True)
    stored = list((cache_dir() / "embeddings").rglob("*.safetensors"))
    assert stored
    for path in stored:
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 4
        path.write_bytes(body if damage == "bit" else body[:-7])
    evaluate(model, tmp_path / "second")
    assert written(tmp_path / "second") == undisturbed


def test_jumping_clock(model, tmp_path, undisturbed, monkeypatch):
    now = time.time
    jumps = itertools.cycle([0, 86_400, -86_400 * 400, 3_600, -7])
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))
    evaluate(model, tmp_path)
    assert written(tmp_path) == undisturbed
    os.utime(next(tmp_path.rglob("Cldr*.json")), (1, 1))  # an impossible date
    monkeypatch.setattr(EmbeddingStore, "put", lambda *arguments: pytest.fail("a text was encoded again"))
    evaluate(model, tmp_path)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "no space left on the disk"), (errno.EROFS, "Read-only file system"), (errno.EDQUOT, "quota")],
)
def test_unwritable_disk(tmp_path, monkeypatch, capsys, number, words):
    arguments = ["run", "--model", "bm25", "--tasks", "cldr-facts-mono", "--languages", "de,en"]
    plain = Path.open

    def refusing(self, mode="r", *rest, **options):
        if tmp_path in self.parents and ("w" in mode or "x" in mode):
            raise OSError(number, os.strerror(number))
        return plain(self, mode, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refusing)
        assert command([*arguments, "--output", str(tmp_path)]) == 5
    error = capsys.readouterr().err
    assert error.startswith("hbt-bench: cannot write ")
    assert words.lower() in error.lower()
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))
    assert command([*arguments, "--output", str(tmp_path)]) == 0
