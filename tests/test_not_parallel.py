"""A collection with answers that are not translations: its results have no rank distance."""

from __future__ import annotations

import json
import math

import pytest

from hbt_bench.cli.main import run
from hbt_bench.results.ranks_file import StoredRanks


@pytest.fixture
def folder(tmp_path):
    for code, words in (("en", "alpha beta gamma delta"), ("sw", "moja mbili tatu nne")):
        subfolder = tmp_path / "b" / code
        (subfolder / "qrels").mkdir(parents=True)
        names = words.split()
        (subfolder / "corpus.jsonl").write_text(
            "".join(
                json.dumps({"_id": str(n), "text": f"{name} {names[n - 1]}"}) + "\n" for n, name in enumerate(names)
            )
        )
        (subfolder / "queries.jsonl").write_text(
            "".join(json.dumps({"_id": str(n), "text": name}) + "\n" for n, name in enumerate(names))
        )
        lines = [f"{n}\t{n}\t2\n{n}\t{(n + 1) % 4}\t1\n" for n in range(4)]
        (subfolder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nmain_score: nDCG@10\n"
        "source: {kind: beir, path: 'b/{language}', languages: [en, sw], parallel: none}\n"
    )
    return tmp_path


def test_results_have_no_rank_distance(folder, capsys):
    pytest.importorskip("bm25s")
    command = ["run", "--model", "bm25", "--tasks", str(folder / "mine.yaml"), "--output", str(folder / "out")]
    assert run([*command, "--format", "json"]) == 0
    mono, multi = json.loads(capsys.readouterr().out)["results"]
    assert (mono["task"], multi["task"]) == ("mine-mono", "mine-multi")
    assert list(multi["subsets"]) == ["en-multi", "sw-multi"]
    for scores in (multi["scores"], *multi["subsets"].values()):
        assert not [key for key in scores if "rank_distance" in key or key.startswith("remove_")]
    # both documents tie, and the greater id is first: it has grade 1, except for the last question
    low = (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))
    assert mono["scores"]["nDCG@10"] == pytest.approx((3 * low + 1) / 4, abs=1e-6)
    (path,) = (folder / "out").rglob("*.ranks.npz")
    assert StoredRanks.read(path).judgements.parallel is False
    content = json.loads((path.parent / "MineMultilingualRetrieval.json").read_text())
    entry = content["scores"]["test"][0]
    assert entry["main_score"] == pytest.approx(entry["ndcg_at_10"])
    assert run(command) == 0
    assert "dist." not in capsys.readouterr().out
    assert run(["leaderboard", str(folder / "out")]) == 0
