"""Scripts, regions and rare languages as languages of a task: from the task file to results, reports and training."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError
from hbt_bench.languages import LANGUAGES
from hbt_bench.mteb.tasks import get_tasks
from hbt_bench.ranking.subsets import Subset, judged_subsets, subsets
from hbt_bench.reports.leaderboard import Leaderboard
from hbt_bench.reports.leaderboard_rows import ResultFilter
from hbt_bench.reports.model_details import model_details
from hbt_bench.reports.page import ReportRequest
from hbt_bench.results.store import Result, read_all
from hbt_bench.tasks.registry import select_tasks
from tests.factories import TestEncoder, bias_of_orders, evaluate

#: Languages outside the table, two scripts of a language, and two regions.
CODES = ("bho", "en", "la", "nn", "pt-BR", "pt-PT", "sa", "sr", "sr-Latn", "yue", "zh", "zh-Hant")
TASK = """name: scripts
source:
  kind: jsonl
  path: scripts.jsonl
  languages: {zh: zho_Hans, zho_Hant: zho_Hant, en: eng_Latn}
  columns: {id: id, language: lang, query: q, document: a}
  parallel: true
"""
#: Question, language and role of each text, with its direction: question 0 or 1, Simplified script, Traditional script.
#: Simplified texts are near each other, and the Traditional answers are near the other question.
VECTORS = {
    **{f"q{n}en": np.eye(4)[n] for n in (0, 1)},
    **{f"a{n}en": np.eye(4)[n] for n in (0, 1)},
    **{f"q{n}zho_Hans": np.eye(4)[n] + 2 * np.eye(4)[2] for n in (0, 1)},
    **{f"a{n}zho_Hans": np.eye(4)[n] + 2 * np.eye(4)[2] for n in (0, 1)},
    **{f"q{n}zho_Hant": np.eye(4)[n] for n in (0, 1)},
    **{f"a{n}zho_Hant": np.eye(4)[1 - n] + 0.5 * np.eye(4)[3] for n in (0, 1)},
}


def planted(folder):
    """Save a model with the planted vectors; a text is a single token."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({text: n for n, text in enumerate(VECTORS)} | {"[UNK]": 12}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    weights = np.vstack([*VECTORS.values(), np.full(4, 0.1)]).astype(np.float32)
    module = StaticEmbedding(tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[module], device="cpu", similarity_fn_name="cosine").save(
        str(folder), create_model_card=False
    )
    return folder


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("task")
    rows = [
        {"id": n, "lang": label, "q": f"q{n}{label.removesuffix('g_Latn')}", "a": f"a{n}{label.removesuffix('g_Latn')}"}
        for n in (0, 1)
        for label in ("zho_Hans", "zho_Hant", "eng_Latn")
    ]
    (folder / "scripts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "scripts.yaml").write_text(TASK)
    return folder / "scripts.yaml"


@pytest.fixture(scope="module")
def output(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    evaluate(planted(folder / "model"), folder / "results", str(task), None)
    return folder / "results"


def results_by_mode(output):
    return {result.mode: result for result in read_all(output) if isinstance(result, Result)}


#: By hand: a Simplified query has the other Simplified answer second; ties at 0 go to the greater id, zh before zh-Hant
#: before en. So the answers have ranks 1, 3 and 5 in the pool, and the Traditional answer is second in its own pool.
MONO = {"en": 1.0, "zh": 1.0, "zh-Hant": 0.5}
CROSS = {"en-zh": 1.0, "en-zh-Hant": 0.5, "zh-en": 1.0, "zh-zh-Hant": 0.5, "zh-Hant-en": 1.0, "zh-Hant-zh": 1.0}
MULTI = dict.fromkeys(("en-multi", "zh-multi", "zh-Hant-multi"), (1 + 2 / 3 + 3 / 5) / 3)


def test_results_of_two_scripts_have_values_by_hand(output):
    results = results_by_mode(output)
    for mode, expected in (("mono", MONO), ("cross", CROSS), ("multi", MULTI)):
        values = {name: scores["AP"] for name, scores in results[mode].subsets.items()}
        assert values == {name: pytest.approx(value, abs=1e-6) for name, value in expected.items()}
    assert {name: scores["rank_distance"] for name, scores in results["multi"].subsets.items()} == dict.fromkeys(
        MULTI, 4
    )


def test_leaderboard_selects_the_subsets_of_a_script(output):
    board = Leaderboard.from_results(list(results_by_mode(output).values()))
    assert board.rows[0].values["cross", "AP"] == pytest.approx(5 / 6)
    assert board.rows[0].languages == {name: pytest.approx(MULTI["en-multi"], abs=1e-6) for name in MONO}
    few = ResultFilter(languages=("zho_Hant", "EN"))
    row = Leaderboard.from_results(list(results_by_mode(output).values()), result_filter=few).rows[0]
    assert (row.values["mono", "AP"], row.values["cross", "AP"]) == (0.75, 0.75)
    assert row.languages.keys() == {"en", "zh-Hant"}


def test_bias_has_a_row_and_a_column_per_script(output):
    details = model_details(results_by_mode(output), None)
    assert details["languages"] == ("en", "zh", "zh-Hant")
    assert details["ap"] == [[1, 1, 0.5], [1, 1, 0.5], [1, 1, 0.5]]
    # of en, zh and Traditional answers, by hand as above
    assert details["ranks"] == [[1, 3, 5], [3, 1, 5], [1, 3, 5]]


def test_report_names_the_scripts(output):
    content = ReportRequest().content(list(results_by_mode(output).values()))
    assert content["names"] == {"en": "English", "zh": "Chinese", "zh-Hant": "Chinese (Traditional)"}
    assert content["boards"][0]["languages"] == ["en", "zh", "zh-Hant"]


def test_mteb_evaluates_scripts_and_regions(task):
    import mteb

    def vector(text, role):
        return VECTORS[text].astype(np.float32)

    tasks = get_tasks(str(task))
    metadata = {task.metadata.name: task.metadata for task in tasks}
    assert metadata["ScriptsCrossLingualRetrieval"].eval_langs["zh-Hant-en"] == ["zho-Hant", "eng-Latn"]
    assert metadata["ScriptsMultilingualRetrieval"].eval_langs["zh-multi"] == ["zho-Hans", "eng-Latn", "zho-Hant"]
    by_task = {
        result.task_name: result for result in mteb.evaluate(TestEncoder(vector), tasks, cache=None).task_results
    }
    for words, expected in (("Monolingual", MONO), ("CrossLingual", CROSS), ("Multilingual", MULTI)):
        scores = by_task[f"Scripts{words}Retrieval"].scores["test"]
        values = {score["hf_subset"]: score["main_score"] for score in scores}
        assert values == {name: pytest.approx(value, abs=1e-6) for name, value in expected.items()}


@pytest.mark.parametrize("spelling", ["zh-Hant,en", "zho_Hant,EN", "en,zh_hant"])
def test_restricted_task_has_one_name_for_all_spellings(task, spelling):
    [selection] = select_tasks(f"{task}[{spelling}]")
    assert selection.spec.task_name("multi") == "scripts-multi[en,zh-Hant]"
    assert selection.spec.mteb_task_name("multi") == "ScriptsMultilingualRetrieval_en_zh-Hant"
    assert selection.spec.load().languages == ("en", "zh-Hant")
    mixed = select_tasks(f"{task}[zh-Hant>en,zh-Hans]")[0].spec
    assert mixed.task_name("cross") == "scripts-cross[zh-Hant>en,zh]"


def test_two_codes_of_one_language_are_refused(task):
    other = task.with_name("twice.yaml")
    other.write_text(TASK.replace("name: scripts", "name: twice").replace("{zh: zho_Hans", "{zh: a, zh-Hans: zho_Hans"))
    with pytest.raises(DataError, match="'zh' and 'zh-Hans' are the same language, zh: name it once"):
        select_tasks(str(other))


# All pairs of languages


def collection(codes):
    queries = [Query(f"q-{number}-{n}", code, f"q{n}", f"{n}") for number, code in enumerate(codes) for n in (0, 1)]
    documents = [Document(f"d-{number}-{n}", code, f"a{n}") for number, code in enumerate(codes) for n in (0, 1)]
    answers = {n: {f"d-{number}-{n}": 1 for number in range(len(codes))} for n in (0, 1)}
    return Collection.from_records(
        "demo", queries, documents, {query.id: answers[int(query.question)] for query in queries}
    )


def test_names_of_subsets_are_read_back():
    extra = ("ca-valencia", "es-419", "zh-TW", "uz-AF", "akj-Latn", "ar-Latn", *LANGUAGES)
    codes = [*CODES, *extra]
    for queries, documents in product([*CODES, *extra[:6]], codes):
        subset = Subset(queries, documents)
        assert Subset.parse(subset.name) == subset
    for code in codes:
        assert Subset.parse(f"{code}-multi") == Subset(code, None)
    names = {subset.name for mode in ("mono", "cross", "multi") for subset in subsets(CODES, mode)}
    assert len(names) == len(CODES) ** 2 + len(CODES)


@pytest.mark.parametrize("name", ["default", "eng_Latn-deu_Latn", "en-hard", "multi", "", "-", "en-", "de-en-fr"])
def test_names_of_other_tasks_are_no_subsets(name):
    assert Subset.parse(name) is None


def test_numbers_do_not_depend_on_codes():
    simple = ("ar", "de", "el", "en", "es", "fi", "hi", "ru", "sw", "th", "tr", "vi")
    generator = np.random.default_rng(3)
    names = [document.id for document in collection(CODES).documents]
    orders = [generator.permutation(names).tolist() for _ in range(2 * len(CODES))]
    ours, others = (bias_of_orders(collection(codes), orders) for codes in (CODES, simple))
    assert ours.judgements.languages == CODES
    np.testing.assert_array_equal(ours.mean_ranks(), others.mean_ranks())
    blocks = [judged.subset.name for judged in judged_subsets(collection(CODES), "cross")]
    assert (len(blocks), blocks[0], blocks[-1]) == (132, "bho-en", "zh-Hant-zh")
