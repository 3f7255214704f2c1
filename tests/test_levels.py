"""Levels of clusters: from judgements, rows and files; their choice; in results, comparisons and leaderboards."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.data.levels import nested_levels
from hbt_bench.errors import DataError, UsageError
from hbt_bench.results.hierarchy import Hierarchy
from hbt_bench.stats.clusters import Clusters, Level, bootstrap
from hbt_bench.stats.paired import Paired
from hbt_bench.tasks.task import TaskSpec

NAN = float("nan")


def levels(judged, count=5, **named):
    """Return the levels of questions 0, 1, ... as lists; `judged` and each level are pairs of a question and an id."""
    questions = {str(number): number for number in range(count)}
    pairs = np.array(judged).reshape(-1, 2)
    named = {name: [(str(question), key) for question, key in ids] for name, ids in named.items()}
    return {name: labels.tolist() for name, labels in nested_levels(questions, tuple(pairs.T), named).items()}


def test_questions_with_a_common_document_are_together():
    assert levels([(0, 7), (1, 8), (2, 7), (2, 9), (3, 9), (4, 1)]) == {"document": [0, 1, 0, 0, 2]}


def test_levels_are_nested():
    """Questions 1 and 2 share a document, so the articles of both are together."""
    articles = [(0, "a"), (1, "a"), (2, "b"), (3, "b"), (4, "c")]
    found = levels([(0, 0), (1, 1), (2, 1), (3, 3), (4, 4)], article=articles)
    assert found == {"document": [0, 1, 1, 2, 3], "article": [0, 0, 0, 0, 1]}


def test_level_without_new_pairs_is_left_out():
    pairs = [(number, number) for number in range(5)]
    assert levels(pairs) == {}
    assert levels(pairs, url=[(number, f"u{number}") for number in range(5)]) == {}
    assert levels(pairs, article=[(0, "x"), (4, "x")]) == {"article": [0, 1, 2, 3, 0]}  # the others have no article


def collection(**clusters):
    queries = [Query(f"{code}{row}", code, f"{code} {row}", f"q{row}") for code in ("de", "en") for row in range(4)]
    documents = [Document(f"{code}-d{row}", code, f"text {row}") for code in ("de", "en") for row in range(4)]
    relevant = {query.id: {f"{code}-d{query.id[2]}": 1 for code in ("de", "en")} for query in queries}
    return Collection.from_records("made", queries, documents, relevant, clusters=clusters)


def test_levels_survive_other_languages_and_queries():
    whole = collection(article=[("q0", "a"), ("q1", "b"), ("q2", "a"), ("q3", "b")])
    assert whole.levels["article"].tolist() == [0, 1, 0, 1]
    assert whole.restrict(["de"]).levels["article"].tolist() == [0, 1, 0, 1]
    assert whole.with_queries({"de0": "other"}).levels["article"].tolist() == [0, 1, 0, 1]


def test_fingerprint_does_not_depend_on_levels():
    assert collection(article=[("q0", "a"), ("q2", "a")]).fingerprint == collection().fingerprint


def spec(tmp_path, rows, columns):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"kind": columns.pop("kind"), "path": "rows.jsonl", "languages": ["de", "en"], "columns": columns}
    return TaskSpec.model_validate({"name": "made", "title": "Made", "source": source}, context=None)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("bitext", {"text": "texts.{language}"}),
        ("jsonl", {"query": "questions.{language}", "document": "texts.{language}"}),
    ],
)
def test_rows_name_the_clusters(tmp_path, kind, columns):
    rows = [
        {
            "id": str(row),
            "doc": None if row == 3 else row // 2,
            "texts": {code: f"{code} text {row}" for code in ("de", "en")},
            "questions": {code: f"{code} question {row}" for code in ("de", "en")},
        }
        for row in range(4)
    ]
    made = columns | {"kind": kind, "id": "id"}
    task = spec(tmp_path, rows, {**made, "clusters": {"article": "doc"}})
    assert task.load(data_dir=tmp_path).levels["article"].tolist() == [0, 0, 1, 2]  # row 3 has no article
    with pytest.raises(DataError, match="no row has the field 'dok' of the clusters 'article'"):
        spec(tmp_path, rows, {**made, "clusters": {"article": "dok"}}).load(data_dir=tmp_path)
    with pytest.raises(ValueError, match="'question' is a level that every collection has"):
        spec(tmp_path, rows, {**made, "clusters": {"question": "doc"}})
    plain, clustered = (spec(tmp_path, rows, {**made, **more}) for more in ({}, {"clusters": {"article": "doc"}}))
    assert plain.model_dump_json() == clustered.model_dump_json()  # the addresses of studies' jobs hash it


# The choice of the level


def pairs_of(questions):
    return np.arange(questions, dtype=np.int32) // 2


def test_coarsest_level_with_thirty_clusters():
    paragraphs, articles = pairs_of(120), pairs_of(120) // 2
    known = {"paragraph": paragraphs, "article": articles}
    chosen = Level.choose(known, 120)
    assert (chosen.name, chosen.number, chosen.effective) == ("article", 30, 30)
    assert Level.choose({"paragraph": paragraphs, "article": articles // 2}, 120).name == "paragraph"
    assert Level.choose({"paragraph": pairs_of(40)}, 40).name == "question"
    assert Level.choose({}, 3).number == 3  # no level has enough: the question
    assert Level.choose(known, 120, "question").labels.tolist() == list(range(120))
    with pytest.raises(UsageError, match="no clusters by 'artcle'; did you mean 'article'"):
        Level.choose(known, 120, "artcle")


def test_unequal_clusters_count_less():
    """100 questions share a document, and 100 have their own: 101 clusters, as good as 200² / (100² + 100) equal."""
    labels = np.r_[np.zeros(100, np.int32), np.arange(1, 101, dtype=np.int32)]
    assert Level("document", labels).effective == pytest.approx(40_000 / 10_100)
    assert Level.choose({"document": labels}, 200).name == "question"


def test_level_in_words_and_signature():
    level = Level("article", pairs_of(96))
    assert (str(level), str(Level.choose({}, 1190))) == ("48 clusters by article", "1,190 questions")
    assert level.signature(100, 7) == "level:article|clusters:48|resamples:100|seed:7"


def test_clusters_keep_the_average():
    values = np.array([[1.0, 0.5], [0.0, NAN], [0.5, NAN], [0.25, 1.0]])
    questions = Clusters.from_matrix(values)
    clusters = questions.at(Level("article", np.array([4, 4, 0, 0])))
    assert clusters.average == pytest.approx(questions.average)
    assert clusters.counts.tolist() == [[2, 1], [2, 1]]
    assert clusters.values.tolist() == [[0.375, 1.0], [0.5, 0.5]]
    assert clusters.contributions.tolist() == pytest.approx(
        [questions.contributions[2:].sum(), questions.contributions[:2].sum()]
    )


def test_interval_over_clusters_is_that_of_their_means():
    """Questions of a cluster that are equal give the interval of a question for each cluster."""
    means = np.random.default_rng(1).random((40, 3))
    few = Clusters.from_matrix(means)
    many = Clusters.from_matrix(np.repeat(means, 2, axis=0)).at(Level("article", pairs_of(80)))
    np.testing.assert_allclose(bootstrap([many]), bootstrap([few]), atol=1e-12)
    other = Clusters.from_matrix(means[::-1])
    twin = Clusters.from_matrix(np.repeat(means[::-1], 2, axis=0)).at(Level("article", pairs_of(80)))
    assert Paired(many, twin).p_value() == Paired(few, other).p_value()


def test_contributions_of_seeds_add_up_by_cluster():
    level = Level("article", np.array([0, 0, 1]))
    assert level.add_up(np.array([[1.0, 2.0, 4.0], [0.0, 1.0, 0.0]])).tolist() == [[3, 4], [1, 0]]
    assert level.add_up(np.array([1.0, 4.0]), np.array([0, 2])).tolist() == [1, 4]
    with pytest.raises(DataError, match="2 questions do not have the clusters of 3 questions"):
        level.add_up(np.array([1.0, 4.0]))


# In results


def test_hierarchy_survives_json():
    known = {"document": pairs_of(60), "article": pairs_of(60) // 3}
    hierarchy = Hierarchy(60, known, {"rank_distance": np.array([0, 5, 59], np.int32)})
    text = json.dumps(hierarchy.as_json())
    again = Hierarchy.from_json(json.loads(text))
    assert again.same_levels(hierarchy)
    assert again.asked["rank_distance"].tolist() == [0, 5, 59]
    assert len(text) < 400
    assert not again.same_levels(replace(hierarchy, levels={"article": known["article"]}))


@pytest.mark.parametrize(
    ("level", "labels"), [("short", pairs_of(58)), ("negative", pairs_of(60) - 1), ("not nested", np.arange(60) % 7)]
)
def test_damaged_clusters_are_refused(level, labels):
    content = Hierarchy(60, {"document": pairs_of(60), level: labels.astype(np.int32)}).as_json()
    with pytest.raises(ValueError, match="do not fit the questions"):
        Hierarchy.from_json(content)


def test_text_that_grows_without_bound_is_refused():
    content = Hierarchy(10, {"document": np.zeros(1_000_000, np.int32)}).as_json()
    with pytest.raises(ValueError, match="do not fit the questions"):
        Hierarchy.from_json(content)
