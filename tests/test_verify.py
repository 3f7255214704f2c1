"""`hbt-bench verify` accepts what `run` writes and refuses every way to tamper with it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import zipfile

import numpy as np
import pytest

from hbt_bench.checks.impossible_ranks import contradictions
from hbt_bench.checks.repeat import repeated
from hbt_bench.checks.result_identity import task_problems
from hbt_bench.checks.submission import Verifier
from hbt_bench.cli.main import run as command
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError
from hbt_bench.measures.bias import Bias
from hbt_bench.measures.scores import bias_scores, subset_scores
from hbt_bench.ranking.bm25 import Parameters
from hbt_bench.ranking.ranks import Ranks, rank
from hbt_bench.ranking.subsets import judged_subsets
from hbt_bench.results.hierarchy import Hierarchy
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.schema import MAX_BYTES, seal, summary_values
from hbt_bench.results.scores import Intervals, Scores
from hbt_bench.results.store import INTERVALS, Result, assembled, model_folder, write
from hbt_bench.tasks.registry import TaskRegistry
from tests.factories import LANGUAGES, Matrix, random_collection, random_scores

TASK = """
name: mini
source:
  kind: jsonl
  path: mini.jsonl
  languages: [de, en, sw]
  columns: {{id: id, query: question, document: answer, language: lang}}
  parallel: true
expect: {{queries: {{de: 40, en: 40, sw: 40}}, documents: {{de: 40, en: 40, sw: 40}}}}
data: "{data}"
"""
MODES = ("mono", "cross", "multi")
#: The rest of MTEB's JSON of a task.
MTEB = {"mteb_version": "2.26.24", "evaluation_time": 0.1, "kg_co2_emissions": None, "date": 1.0}


def scores_of(collection, ranks, mode):
    """Return the entries of MTEB's JSON that follow from ranks, rounded as MTEB does."""
    bias = bias_scores(Bias(collection, ranks)) if mode == "multi" else {}
    entries = []
    for judged in judged_subsets(collection, mode):
        scores = {key: round(value, 6) for key, value in subset_scores(collection, ranks, judged, bias).items()}
        facts = {"queries": len(judged.rows), "main_score": scores["AP"], "hf_subset": judged.subset.name}
        entries.append(scores | facts | {"languages": []})
    return entries


def small_task(root, questions):
    """Write a task with its data into a folder `tasks` and return its definition and its collection."""
    tasks = root / "tasks"
    tasks.mkdir()
    rows = [
        {"id": f"q{n}", "lang": code, "question": f"question {n} {code}", "answer": f"answer {n} {code}"}
        for code in LANGUAGES
        for n in range(questions)
    ]
    (tasks / "mini.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tasks / "mini.yaml").write_text(TASK.partition("expect:")[0].format())
    spec = TaskRegistry([tasks]).specs["mini"]
    return spec, spec.load()


def submit(output, spec, collection, name, ranks, revision="1a2b"):
    """Write the results of a model, as `run` does."""
    folder = model_folder(output, name, revision)
    StoredRanks(collection.fingerprint, collection, ranks).write(folder / spec.ranks_name())
    for mode in spec.modes:
        signature = str(spec.signature(mode, collection, f"{name}@{revision}", "none"))
        entries = scores_of(collection, ranks, mode)
        mteb_name = spec.mteb_task_name(mode)
        identity = {"signature": signature, "subsets": len(entries)}
        content = {"dataset_revision": collection.fingerprint, "task_name": mteb_name, **MTEB}
        content["mteb_version"] = re.search(r"mteb:(.*)", signature)[1]
        content["scores"] = {"test": [entry | identity for entry in entries]}
        about = {"task": spec.task_name(mode), "model": name, "revision": revision, **identity, "stock": False}
        about |= {"ranks": spec.ranks_name(), "parameters": None, "clean": None}
        meta = {"name": name, "revision": revision, "n_parameters": None, "max_tokens": float("inf")}
        write(folder / f"{mteb_name}.json", content, about, meta, Intervals.from_ranks(collection, ranks, mode))
    return folder


def invented(collection, seed):
    """Return the ranks of random scores, in which answers are better than other documents."""
    number = len(collection.queries)
    questions = np.arange(number) % (number // 3)
    scores = np.random.default_rng(seed).standard_normal((number, number)).astype(np.float32)
    scores += 2 * np.equal.outer(questions, questions)
    return rank(collection, Matrix(scores), confidences=False)[0]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with a task, its data and the results of two models."""
    root = tmp_path_factory.mktemp("submission")
    spec, collection = small_task(root, 40)
    (root / "tasks/mini.yaml").write_text(TASK.format(data=collection.fingerprint))
    for seed, name in enumerate(("me/one", "me/two")):
        submit(root / "results", spec, collection, name, invented(collection, seed))
    return root


@pytest.fixture
def copy(good, tmp_path):
    """A copy of the good submission, and its first model's folder."""
    shutil.copytree(good, tmp_path / "copy")
    return tmp_path / "copy"


def verify(root, *options, data=True):
    if not data:
        (root / "tasks" / "mini.jsonl").unlink()
    return command(["verify", str(root / "results"), "--task-dir", str(root / "tasks"), *options])


def path_of(root, mode="Multilingual", model="me__one"):
    return root / "results" / model / "1a2b" / f"Mini{mode}Retrieval.json"


def edit(path, change, *, follow=False):
    """Change the JSON of a result and seal it again; `follow` renews the values in the summary, too."""
    content = json.loads(path.read_text())
    change(content)
    rest = {key: value for key, value in content.items() if key not in ("hbt_bench", "hbt_bench_intervals")}
    line = {key: value for key, value in content["hbt_bench"].items() if key != "check"}
    if follow:
        entries = {entry["hf_subset"]: entry for entry in content["scores"]["test"]}
        names = ("AP", "R@1", "R@10", "rank_distance", "same_language_excess@10")
        kept = {name: {key: entry[key] for key in names if key in entry} for name, entry in entries.items()}
        line["values"] = summary_values(Scores.from_subsets(kept))
    intervals = content.get("hbt_bench_intervals", {})
    line = seal(line, {**rest, "hbt_bench_intervals": intervals})
    body = json.dumps(rest, indent=2, ensure_ascii=False)[1:-2]
    path.write_text(assembled(line, f"{body},\n  ", intervals))
    assert INTERVALS in path.read_text()


def entry(content, index=0):
    return content["scores"]["test"][index]


def edit_ranks(root, change, model="me__one"):
    path = root / "results" / model / "1a2b" / "MiniRetrieval.ranks.npz"
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez_compressed(path, **arrays)


# Ways to tamper; each gets the root of a good submission


def score_changed(root):
    path = path_of(root)
    path.write_text(re.sub(r'("nDCG@10": 0\.\d{3})\d', r"\g<1>9", path.read_text(), count=1))


def score_changed_everywhere(root):
    def change(content):
        for measures in content["scores"]["test"]:
            measures["R@10"] = measures["recall_at_10"] = 0.999999
        content["hbt_bench"]["intervals"]["R@10"] = [0.9, 1.0]
        del content["hbt_bench_intervals"]["R@10"]

    edit(path_of(root), change, follow=True)


def rank_improved(root):
    def change(arrays):
        pair = int(np.argmax(arrays["pool"]))
        arrays["pool"][pair], arrays["block"][pair] = 1, 1

    edit_ranks(root, change)


def ranks_improved_and_rescored(root):
    """Improve ranks below the stored best documents, and compute all scores from them again."""
    registry = TaskRegistry([root / "tasks"])
    spec = registry.specs["mini"]
    path = root / "results" / "me__one" / "1a2b" / "MiniRetrieval.ranks.npz"
    ranks, collection = StoredRanks.read(path).ranks, spec.load()
    pool = ranks.pool.copy()
    rows = collection.qrels.queries
    for row in range(120):
        low = np.flatnonzero((rows == row) & (pool > 25))
        taken = set(pool[rows == row].tolist()) - set(pool[low].tolist())
        free = [number for number in range(21, 121) if number not in taken]
        pool[low] = free[: len(low)]
    submit(root / "results", spec, collection, "me/one", Ranks(pool, ranks.block, ranks.top))


def two_documents_at_a_rank(root):
    def change(arrays):
        first = arrays["offsets"][5]
        arrays["pool"][first] = arrays["pool"][first + 1]

    edit_ranks(root, change)


def rank_beyond_the_pool(root):
    edit_ranks(root, lambda arrays: arrays["pool"].__setitem__(0, 121))


def ranks_of_another_model(root):
    shutil.copy(
        root / "results/me__two/1a2b/MiniRetrieval.ranks.npz", root / "results/me__one/1a2b/MiniRetrieval.ranks.npz"
    )


def another_model_renamed(root):
    shutil.rmtree(root / "results/me__one/1a2b")
    shutil.copytree(root / "results/me__two/1a2b", root / "results/me__one/1a2b")
    folder = root / "results/me__one/1a2b"
    (folder / "model_meta.json").write_text((folder / "model_meta.json").read_text().replace("me/two", "me/one"))
    for path in folder.glob("Mini*.json"):
        edit(path, lambda content: content.update(json.loads(json.dumps(content).replace("me/two", "me/one"))))


def queries_dropped(root):
    def change(arrays):
        first = arrays["offsets"][1]
        for name in ("pool", "block", "documents", "grades"):
            arrays[name] = arrays[name][first:]
        arrays["offsets"] = arrays["offsets"][1:] - first
        for name in ("top", "query_languages", "questions"):
            arrays[name] = arrays[name][1:]
        del arrays["ids"]

    edit_ranks(root, change)


def language_dropped(root):
    def change(content):
        content["scores"]["test"] = content["scores"]["test"][:2]
        content["hbt_bench"] |= {"subsets": 2, "intervals": {}, "shares": {}}
        content["hbt_bench_intervals"] = {}
        for measures in content["scores"]["test"]:
            measures["subsets"] = 2

    edit(path_of(root, "Monolingual"), change, follow=True)


def replace_everywhere(old, new):
    def tamper(root):
        edit(
            path_of(root),
            lambda content: content.update(json.loads(re.sub(old, new, json.dumps(content)))),
        )

    return tamper


def change_summary(**values):
    return lambda root: edit(path_of(root), lambda content: content["hbt_bench"].update(values))


def change_entry(**values):
    return lambda root: edit(path_of(root), lambda content: entry(content).update(values))


def versions_edited(root):
    edit(path_of(root), lambda content: content.update(mteb_version="2.0.0"))


def tasks_swapped(root):
    mono, cross = path_of(root, "Monolingual"), path_of(root, "CrossLingual")
    texts = mono.read_text(), cross.read_text()
    cross.write_text(texts[0])
    mono.write_text(texts[1])


def not_a_number(root):
    edit(path_of(root), lambda content: entry(content).update({"MRC@20": float("nan")}))


def key_missing(root):
    def change(content):
        for measures in content["scores"]["test"]:
            del measures["RR"]
        del content["hbt_bench"]["intervals"]["RR"], content["hbt_bench_intervals"]["RR"]

    edit(path_of(root), change)


def ranks_cut(root):
    path = root / "results/me__one/1a2b/MiniRetrieval.ranks.npz"
    path.write_bytes(path.read_bytes()[:-200])


def name_of_another_model(root):
    edit(path_of(root), lambda content: content["hbt_bench"].update(model="openai/best"))


def folder_renamed(root):
    (root / "results/me__one").rename(root / "results/openai__best")


def meta_of_another_model(root):
    path = root / "results/me__one/1a2b/model_meta.json"
    path.write_text(path.read_text().replace("me/one", "openai/best"))


def duplicated(root):
    shutil.copytree(root / "results/me__one", root / "results/copy/me__one")


def other_data(root):
    replace_everywhere(r"[0-9a-f]{16}", "0123456789abcdef")(root)
    edit_ranks(root, lambda arrays: arrays.update(data=np.array("0123456789abcdef")))


def digits_cut(root):
    def change(content):
        for measures in content["scores"]["test"]:
            for key, value in measures.items():
                measures[key] = round(value, 4) if isinstance(value, float) else value
        del content["hbt_bench_intervals"], content["hbt_bench"]["shares"]
        content["hbt_bench"]["intervals"] = {}

    edit(path_of(root), change, follow=True)


def linked(root):
    path = root / "results/me__one/1a2b/MiniRetrieval.ranks.npz"
    shutil.move(path, root / "outside.npz")
    path.symlink_to(root / "outside.npz")


def zip_bomb(root):
    path = root / "results/me__one/1a2b/MiniRetrieval.ranks.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("pool.npy", b"\0" * (65 << 20))


def unknown_array(root):
    edit_ranks(root, lambda arrays: arrays.update(payload=np.zeros(3)))


def repeated_key(root):
    path = path_of(root)
    path.write_text(path.read_text().replace('"AP": 0', '"AP": 0.1,\n "AP": 0', 1))


def path_in_name(root):
    edit(path_of(root), lambda content: content["hbt_bench"].update(ranks="../../me__two/1a2b/MiniRetrieval.ranks.npz"))


def interval_narrowed(root):
    def change(content):
        low, high = content["hbt_bench"]["intervals"]["AP"]
        middle = (low + high) / 2
        content["hbt_bench"]["intervals"]["AP"] = [round((low + middle) / 2, 6), round((high + middle) / 2, 6)]

    edit(path_of(root), change)


def stray_file(root):
    (root / "results/me__one/1a2b/run.sh").write_text("echo")


def text_of_file(old, new):
    """Replace a text of a result without a new checksum."""
    return lambda root: path_of(root).write_text(path_of(root).read_text().replace(old, new, 1))


def change_meta(old, new):
    def tamper(root):
        path = root / "results/me__one/1a2b/model_meta.json"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return tamper


def meta_removed(root):
    (root / "results/me__one/1a2b/model_meta.json").unlink()


def split_renamed(root):
    edit(path_of(root), lambda content: content["scores"].update(train=content["scores"].pop("test")))


def change_content(**values):
    return lambda root: edit(path_of(root), lambda content: content.update(values))


def change_clusters(questions, shares=True, **levels):
    """Replace the clusters of a result; without `shares`, the contributions are removed."""

    def change(content):
        content["hbt_bench"]["hierarchy"] = Hierarchy(questions, levels).as_json()
        if not shares:
            content["hbt_bench"]["shares"] = {}

    return lambda root: edit(path_of(root), change)


def contributions_reversed(root):
    def change(content):
        numbers = np.frombuffer(base64.b64decode(content["hbt_bench"]["shares"]["AP"]), "<f4")
        content["hbt_bench"]["shares"]["AP"] = base64.b64encode(numbers[::-1].tobytes()).decode()

    edit(path_of(root), change)


def interval_of_a_subset_widened(root):
    def change(content):
        bounds = content["hbt_bench_intervals"]["AP"]["de-multi"]
        bounds[0] = round(bounds[0] - 0.01, 6)

    edit(path_of(root), change)


def subset_renamed(root):
    edit(path_of(root), lambda content: entry(content).update(hf_subset="fr-multi"), follow=True)


def ranks_renamed(root):
    shutil.copy(root / "results/me__one/1a2b/MiniRetrieval.ranks.npz", root / "results/me__one/1a2b/Other.ranks.npz")
    change_summary(ranks="Other.ranks.npz")(root)


def checksum_removed(root):
    text, count = re.subn(r', "check": \["\w+", "\w+"\]', "", path_of(root).read_text())
    assert count == 1
    path_of(root).write_text(text)


def metadata_too_large(root):
    os.truncate(root / "results/me__one/1a2b/model_meta.json", MAX_BYTES + 1)


def answer_among_the_best(root):
    """Write a relevant document with a rank below 20 into the 20 best documents of its query."""

    def change(arrays):
        pair = int(np.flatnonzero(arrays["pool"] > 20)[0])
        row = int(np.searchsorted(arrays["offsets"], pair, "right")) - 1
        taken = arrays["pool"][arrays["offsets"][row] : arrays["offsets"][row + 1]]
        free = next(place for place in range(20) if place + 1 not in taken)
        arrays["top"][row, free] = arrays["documents"][pair]

    edit_ranks(root, change)


def ids_swapped(root):
    def change(arrays):
        queries, documents = json.loads(arrays["ids"].tobytes())
        text = json.dumps([[queries[1], queries[0], *queries[2:]], documents], ensure_ascii=False)
        arrays["ids"] = np.frombuffer(text.encode(), np.uint8)

    edit_ranks(root, change)


#: What is tampered with, how, and a part of the message.
TAMPERED = {
    "a score": (score_changed, "its checksum is wrong"),
    "a score, in all summaries and with new checksums": (score_changed_everywhere, "but the ranks give"),
    "a rank": (rank_improved, "contradict the rest"),
    "ranks, with all scores computed again": (
        ranks_improved_and_rescored,
        "is impossible with the rank in the language",
    ),
    "two documents at a rank": (two_documents_at_a_rank, "its ranks contradict the rest"),
    "a rank beyond the pool": (rank_beyond_the_pool, "its ranks contradict the rest"),
    "the ranks of another model": (ranks_of_another_model, "but the ranks give"),
    "another model under a new name": (another_model_renamed, "its ranks are equal to those of me/"),
    "queries that are left out": (queries_dropped, "other numbers of queries"),
    "a language that is left out": (language_dropped, "the ranks have the subsets"),
    "the data hash": (replace_everywhere(r"[0-9a-f]{16}", "0123456789abcdef"), "the task is defined for data"),
    "a field of the signature": (replace_everywhere(r"text:\w+", "text:sentence"), "are of the kind"),
    "the prompt in the signature": (change_summary(prompts={"query": "q: ", "document": ""}), "has the prompt none"),
    "the version of hbt-bench": (replace_everywhere(r"hbt:[\d.]+", "hbt:99.0"), "newer than this version"),
    "the version of mteb": (versions_edited, "but the signature is of mteb"),
    "the depth of a run": (replace_everywhere(r"\|hbt:", "|depth:10|hbt:"), "the ranks are not cut"),
    "the scores of another mode": (tasks_swapped, "the file has the scores of"),
    "NaN": (not_a_number, "MRC@20 of de-multi is nan"),
    "a negative score": (change_entry(RR=-0.2), "RR cannot be -0.2"),
    "a key that is too many": (change_entry(bonus=1.0), "unknown keys: bonus"),
    "a key in the summary": (change_summary(verified=True), "unknown keys: 'verified'"),
    "a measure that is left out": (key_missing, "lacks RR"),
    "the end of the ranks": (ranks_cut, "cannot read the ranks"),
    "the name of another model": (name_of_another_model, "belongs in the folder openai__best/1a2b"),
    "the folder of another model": (folder_renamed, "belongs in the folder me__one/1a2b"),
    "another model's metadata": (meta_of_another_model, "model_meta.json is of openai/best"),
    "a result that is there twice": (duplicated, "it is the same result as"),
    "a result on other data": (other_data, "the task is defined for data"),
    "the number of queries": (change_entry(queries=41), "has 41 queries, but the ranks have 40"),
    "fewer digits": (digits_cut, "but the ranks give"),
    "a value of a random ranking": (change_summary(chance={"AP": 0.5}), "the AP of a random ranking is 0.5"),
    "an interval": (interval_narrowed, "the interval of AP is"),
    "a link to a file elsewhere": (linked, "it is a link"),
    "ranks that grow a hundredfold": (zip_bomb, "it would grow to 65 MiB"),
    "an array that is too many": (unknown_array, "unknown arrays: payload"),
    "a key that is there twice": (repeated_key, "is there twice"),
    "a path in the place of a name": (path_in_name, "is not the name of a file in the same folder"),
    "a file that no result names": (stray_file, "no result names it"),
    "the split": (split_renamed, "there is a split 'train'"),
    "the revision of the data": (change_content(dataset_revision="f" * 16), "dataset_revision is ffff"),
    "a field that signatures lack": (replace_everywhere(r"\|hbt:", "|mood:good|hbt:"), "unknown fields: mood"),
    "a version that is none": (replace_everywhere(r"hbt:[\d.]+", "hbt:latest"), "no version of hbt"),
    "a subset's signature": (change_entry(signature="task:other"), "has another signature"),
    "a subset's count of subsets": (change_entry(subsets=7), "is of a task with 7 subsets"),
    "the metadata of the model": (meta_removed, "model_meta.json is missing"),
    "damaged metadata": (change_meta('"name"', '"title"'), "model_meta.json is damaged"),
    "the number of parameters": (change_meta('"n_parameters": null', '"n_parameters": 7'), "has 7 parameters"),
    "an infinite score": (text_of_file('"RR": ', '"RR": Infinity, "old": '), "its checksum is wrong"),
    "a file without end": (text_of_file("{", "[" * 200_000 + "{"), "recursion limit exceeded"),
    "metadata of 128 MiB": (metadata_too_large, "it has more than 128 MiB"),
    "a main score without bounds": (change_entry(main_score=float("inf")), "Infinity is not a score"),
    "another main score": (change_entry(main_score=0.5), "main_score of de-multi is 0.5, but the ranks give"),
    "a score as text": (change_entry(map_at_10="0.5"), "map_at_10 of de-multi is 0.5, but the ranks give"),
    "an area as text": (change_entry(nauc_ndcg_at_10_max="high"), "nauc_ndcg_at_10_max of de-multi cannot be high"),
    "a single area": (change_entry(nauc_ndcg_at_10_max=0.5), "de-multi lacks nauc_map_at_1"),
    "the name of a subset": (subset_renamed, "mini-multi has no subset fr-multi"),
    "the number of subsets": (change_summary(subsets=4), "there are 3 of 4 subsets"),
    "a query shift that is none": (change_summary(clean="f" * 16), "but has no query shift"),
    "the name of the ranks": (ranks_renamed, "are in MiniRetrieval.ranks.npz, not in Other.ranks.npz"),
    "the checksum": (checksum_removed, "the summary lacks check"),
    "the signature of the intervals": (change_summary(interval_signature="level:year"), "intervals are of level:year"),
    "an interval of a subset": (interval_of_a_subset_widened, "the intervals of AP by subset are not those"),
    "the order of contributions": (contributions_reversed, "the contributions to AP are not those of the ranks"),
    "the number of questions": (change_clusters(39), "are of other questions than the clusters"),
    "the number of questions without contributions": (
        change_clusters(39, shares=False),
        "the clusters are of other questions than the ranks",
    ),
    "a relevant document among the best": (answer_among_the_best, "among the best documents of a query, but has a"),
}
#: The same for contradictions that only the data show.
AGAINST_DATA = {
    "a language that is left out": (language_dropped, "the data have 3 subsets, but the result 2 of 2"),
    "a query shift that is none": (change_summary(clean="f" * 16), "but their data are None"),
    "clusters": (change_clusters(40, article=np.arange(40) // 2), "the clusters of its questions are not those"),
    "translations": (
        lambda root: edit_ranks(root, lambda arrays: arrays.update(parallel=np.array(False))),
        "its languages are not those of the data",
    ),
    "ids": (ids_swapped, "its ids are not those of the data"),
}


@pytest.mark.parametrize("data", [True, False], ids=["data here", "data not here"])
def test_own_results_are_accepted(copy, capsys, data):
    assert verify(copy, "--strict", data=data) == 0
    out = capsys.readouterr().out
    known = "6 compared, 0 by their pinned hash" if data else "0 compared, 6 by their pinned hash"
    assert out == f"6 results: 6 follow from their ranks, 0 do not or have none. Data: {known}, 0 unknown.\n"


def test_areas_have_no_range(copy):
    """If all queries have a precision of 1/20, its mean has a rounding error, and nAUC is a quotient of these."""

    def change(content):
        for measures in content["scores"]["test"]:
            keys = [key for key in measures if "_at_" in key]
            measures.update({f"nauc_{key}_{kind}": 2.0 for key in keys for kind in ("max", "std", "diff1")})

    edit(path_of(copy), change)
    assert verify(copy, "--strict", data=False) == 0


@pytest.mark.parametrize("what", TAMPERED)
def test_tampering_is_refused_without_the_data(copy, capsys, what):
    tamper, fragment = TAMPERED[what]
    tamper(copy)
    if "another model" not in what:  # the results of a single model take half the time
        shutil.rmtree(copy / "results/me__two")
    assert verify(copy, data=False) == 5
    out, err = capsys.readouterr()
    assert fragment in out
    assert "these results are refused" in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("what", AGAINST_DATA)
def test_data_show_what_is_tampered_with(copy, capsys, what):
    tamper, fragment = AGAINST_DATA[what]
    tamper(copy)
    shutil.rmtree(copy / "results/me__two")
    assert verify(copy) == 5
    assert fragment in capsys.readouterr().out


@pytest.mark.parametrize(
    "what", ["another model under a new name", "a result on other data", "queries that are left out"]
)
def test_tampering_is_refused_with_the_data(copy, capsys, what):
    TAMPERED[what][0](copy)
    assert verify(copy) == 5
    assert "these results are refused" in capsys.readouterr().err


def test_missing_ranks_are_refused_if_strict(copy, capsys):
    (copy / "results/me__one/1a2b/MiniRetrieval.ranks.npz").unlink()
    assert verify(copy) == 0
    assert "not verified: 3 x there are no ranks" in capsys.readouterr().out
    assert verify(copy, "--strict", "--json") == 5
    values = json.loads(capsys.readouterr().out)
    assert values["refused"]
    assert [each["verified"] for each in values["results"]] == [False] * 3 + [True] * 3
    assert {each["problem"] for each in values["findings"]} == {"there are no ranks"}
    assert all(each["path"].endswith(".json") and ".ranks.npz" in each["advice"] for each in values["findings"])


def test_single_result_is_verified(copy, capsys):
    command(["verify", "--strict", "--task-dir", str(copy / "tasks"), "--", str(path_of(copy))])
    assert capsys.readouterr().out.startswith("1 results: 1 follow from their ranks")


def test_tasks_choose_collections_and_modes(copy, capsys):
    shutil.rmtree(copy / "results/me__two")
    for names, count in (("mini", 3), ("mini-multi", 1), ("mini-multi,mini-mono", 2)):
        assert verify(copy, "--tasks", names) == 0
        assert capsys.readouterr().out.startswith(f"{count} results: {count} follow from their ranks")
    assert verify(copy, "--tasks", "mini,typo") == 2
    known = "mini, mini-cross, mini-mono, mini-multi"
    assert f"there are no results of typo. The results are of {known}" in capsys.readouterr().err
    path_of(copy).write_text("{")  # it may be the result of typo
    assert verify(copy, "--tasks", "mini,typo") == 5


def test_results_of_a_collection_have_the_same_data(copy, capsys):
    """Without the data and without a pinned hash, the results of a collection are compared with each other."""
    other_data(copy)
    task = copy / "tasks/mini.yaml"
    task.write_text(task.read_text().partition("data:")[0])
    assert verify(copy, data=False) == 5
    out = capsys.readouterr().out
    assert "its data differ from those of 5 results of the collection" in out
    assert "not verified: 6 x its data are not here, and have no pinned hash" in out


def test_invented_ranking_needs_a_repetition(copy, capsys):
    """Ranks of an invented ranking, with the scores that follow from them, fit each other."""
    spec = TaskRegistry([copy / "tasks"]).specs["mini"]
    collection = spec.load()
    submit(copy / "results", spec, collection, "hbt-bench/bm25", invented(collection, 7), str(Parameters()))
    assert verify(copy, "--strict") == 0
    assert verify(copy, "--repeat", "bm25") == 5
    out = capsys.readouterr().out
    assert out.count("from an evaluation here. Evaluate hbt-bench/bm25@") == 3
    assert verify(copy, "--repeat", "bm25", "--tasks", "other") == 2


def test_repetition_names_an_unknown_revision(copy, capsys):
    assert verify(copy, "--repeat", "bm25") == 2
    assert "no result is of bm25 in revision" in capsys.readouterr().err
    assert verify(copy, "--repeat", "me/one") == 2
    assert "--repeat needs a folder with a model or bm25, not 'me/one'" in capsys.readouterr().err


def test_repetition_compares_data_prompts_and_ranks(tmp_path, messages):
    spec, _ = small_task(tmp_path, 2)
    registry, results = TaskRegistry([tmp_path / "tasks"]), tmp_path / "results"
    options = ["--tasks", "mini-mono", "--task-dir", str(tmp_path / "tasks"), "--output", str(results)]
    assert command(["run", "--model", "bm25", *options]) == 0
    [path] = results.rglob("Mini*.json")

    def again():
        verification = repeated(Verifier(registry).check([results]), "bm25", registry)
        return [finding.problem for finding in verification.findings if not finding.open]

    same = "AP differs by 0.000000, and by 0.000000 in a subset, from an evaluation here"
    assert again() == []
    assert f"{path.name}: {same}; 0 of 18 ranks differ" in messages
    (path.parent / spec.ranks_name()).unlink()
    assert again() == []
    assert f"{path.name}: {same}; there are no ranks to compare" in messages
    edit(path, lambda content: content.update(json.loads(json.dumps(content).replace("prompt:none", "prompt:abc"))))
    assert "it has other prompts than the model here" in again()
    (tmp_path / "tasks/mini.jsonl").write_text((tmp_path / "tasks/mini.jsonl").read_text().replace("answer 1", "no"))
    assert any(problem.startswith("its data are not those here, ") for problem in again())


def test_data_of_another_hash_are_refused(copy):
    task = copy / "tasks/mini.yaml"
    task.write_text(task.read_text().replace('data: "', 'data: "0')[:-3] + '"\n')
    with pytest.raises(DataError, match="its definition expects 0"):
        TaskRegistry([copy / "tasks"]).specs["mini"].load()


def test_folder_without_results_is_an_error(tmp_path, capsys):
    assert command(["verify", str(tmp_path)]) == 5
    assert "there are no results in" in capsys.readouterr().err
    assert command(["verify", str(tmp_path / "none")]) == 5
    assert f"there is no folder {tmp_path / 'none'}: name a folder with results" in capsys.readouterr().err


def test_result_of_an_older_version_is_accepted(copy, capsys):
    """It has no clusters, no signature in its subsets, and lacks a measure; the other results have all of these."""

    def change(content):
        for key in ("hierarchy", "interval_signature"):
            del content["hbt_bench"][key]
        for measures in content["scores"]["test"]:
            del measures["signature"], measures["Complete@20"]

    edit(path_of(copy), change)
    assert verify(copy, data=False) == 0
    out = capsys.readouterr().out
    assert "not verified: 1 x it lacks Complete@20, which this version computes" in out
    assert "6 results: 6 follow from their ranks" in out


def test_result_of_plain_mteb_cannot_be_verified(copy, capsys):
    """MTEB writes the scores of our tasks without the summary, ranks and intervals."""
    content = json.loads(path_of(copy).read_text())
    del content["hbt_bench"], content["hbt_bench_intervals"]
    path_of(copy).write_text(json.dumps(content))
    assert verify(copy) == 0
    out = capsys.readouterr().out
    assert "not verified: 1 x plain mteb.evaluate wrote it, without ranks" in out
    assert "6 results: 5 follow from their ranks, 1 do not or have none" in out
    assert verify(copy, "--strict") == 5


def test_few_equal_ranks_are_not_a_copy(tmp_path, capsys):
    """Two models may have the same ranks by chance if there are 18 of them."""
    spec, collection = small_task(tmp_path, 2)
    for name in ("me/one", "me/two"):
        submit(tmp_path / "results", spec, collection, name, invented(collection, 0))
    assert verify(tmp_path, "--strict") == 0


def test_order_in_a_language_is_that_in_the_pool():
    generator = np.random.default_rng(0)
    collection = random_collection(generator)
    ranks = rank(collection, Matrix(random_scores(generator, collection, None)), confidences=False)[0]
    assert list(contradictions(StoredRanks("", collection, ranks), own_blocks=False)) == []
    rows, languages = collection.qrels.queries, collection.document_languages[collection.qrels.documents]
    first, second = next(
        (one, other)
        for one in range(len(rows))
        for other in range(one + 1, len(rows))
        if (rows[one], languages[one]) == (rows[other], languages[other])
    )
    block = ranks.block.copy()
    block[[first, second]] = block[[second, first]]
    swapped = StoredRanks("", collection, Ranks(ranks.pool, block, ranks.top))
    problem = "two documents of a language have another order in the pool than in their language"
    assert problem in list(contradictions(swapped, own_blocks=False))
    assert list(contradictions(swapped, own_blocks=True)) == []  # BM25 scores each language by itself


def test_own_text_among_the_best_documents():
    """The query is a document, too, which is not a candidate for it."""
    queries = [Query("q", "en", "alpha beta", "q")]
    documents = [Document(f"d{number}", "en", text) for number, text in enumerate(("alpha beta", "alpha", "gamma"))]
    collection = Collection.from_records("own", queries, documents, {"q": {"d1": 1}}, own_documents={"q": ["d0"]})
    ranks = rank(collection, Matrix(np.array([[3, 2, 1]], np.float32)), confidences=False)[0]
    assert (ranks.pool.tolist(), ranks.top[0, 0]) == ([1], 1)
    found = [
        list(contradictions(StoredRanks("", collection, Ranks(ranks.pool, ranks.block, top)), False, collection))
        for top in (ranks.top, np.array([[1, 0]], np.int32))
    ]
    assert found == [[], ["a query has its own text among its best documents"]]


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda spec: spec.model_copy(update={"mteb_name": "Other"}), "has the MTEB name Other"),
        (lambda spec: spec.narrowed(["de", "en"]), "there is no task mini-multi of mini"),
        (lambda spec: TaskRegistry().specs["xquad-r"], "there is no task mini-multi of xquad-r"),
        (lambda spec: spec.model_copy(update={"data": "f" * 16}), "is defined for data ffffffffffffffff"),
    ],
)
def test_definition_decides_names_and_data(copy, change, fragment):
    spec = TaskRegistry([copy / "tasks"]).specs["mini"]
    result = Result.read(path_of(copy))
    assert list(task_problems(result, spec)) == []
    assert any(fragment in problem for problem in task_problems(result, change(spec)))


def test_json_of_another_program_is_refused_in_a_folder_of_results(copy, capsys):
    (copy / "results/me__one/1a2b/other.json").write_text('{"accuracy": 1}')
    (copy / "results/notes.json").write_text('{"accuracy": 1}')
    assert verify(copy) == 5
    out = capsys.readouterr().out
    assert "other.json: it is not a result" in out
    assert "notes.json" not in out


def test_unknown_task_is_refused_if_strict(copy, capsys):
    path = copy / "tasks" / "mini.yaml"
    path.write_text(path.read_text().replace("name: mini", "name: other"))
    assert verify(copy) == 0
    assert "the task mini-multi is unknown" in capsys.readouterr().out
    assert verify(copy, "--strict") == 5
