"""The audit of a collection: repeated texts, candidates for judgement, and the AP that they allow."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbt_bench.checks.audit import Audit, Count, known_answers, lareqa_answers, read_answers
from hbt_bench.checks.unjudged import Unjudged
from hbt_bench.cli.main import run
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.errors import DataError, UsageError
from hbt_bench.measures.tied import best_average_precision, expected_average_precision
from hbt_bench.ranking import near_duplicates
from hbt_bench.ranking.near_duplicates import NearDuplicates
from hbt_bench.ranking.tokens import words
from hbt_bench.ranking.word_table import WordTable
from hbt_bench.tasks.registry import TaskRegistry
from tests.factories import parallel_collection, write_beir


@pytest.fixture
def hbt(capsys):
    """A function that runs ``hbt-bench tasks audit`` and returns exit code, stdout and stderr."""

    def hbt(*arguments):
        code = run(["tasks", "audit", *map(str, arguments)])
        return (code, *capsys.readouterr())

    return hbt


# Words


def test_words_are_clusters_in_scripts_without_spaces():
    assert words("In 東京都, 2008年!") == ["in", "東", "京", "都", "2008", "年"]
    assert words("ที่ดี") == ["ที่", "ดี"]
    assert words("…") == []


def test_phrase_is_found_within_a_text_only():
    table = WordTable.from_texts(["One, two.", "Two one", "two  ONE two", "…"])
    assert table.find(table.phrase("one two")) == [0, 2]  # not across the end of the first text
    assert table.find(table.phrase("two")) == [0, 1, 2]
    assert table.find(table.phrase("…")) == [3]
    assert table.phrase("one three") is None
    assert table.document_counts(slice(1, 3)).tolist() == [2, 2, 0]
    assert table.words_of(2) == ["two", "one", "two"]


# Near-duplicates


def jaccard(first, second):
    """Return the similarity of the pairs of words of two texts, each pair as often as it occurs."""
    one, other = (Counter(itertools.pairwise(["^", *words(text), "$"])) for text in (first, second))
    return Fraction((one & other).total(), (one | other).total())


def test_similarity_of_one_other_word():
    texts = ["a b c d e f", "A, b c d e f!", "a b c d e g", "z"]
    found = NearDuplicates.from_words(WordTable.from_texts(texts), 0.5)
    assert found.group.tolist() == [0, 0, 1, 2]  # case and punctuation do not count
    assert found.pairs.tolist() == [[0, 1]]
    assert found.similarity.tolist() == [5 / 9]  # 5 of 7 pairs are common: 5 / (7 + 7 - 5)
    assert found.has_double().tolist() == [True, True, True, False]
    assert found.near == {0: [(1, 5 / 9)], 1: [(0, 5 / 9)]}
    assert found.members == [[0, 1], [2], [3]]


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=7).map(" ".join), min_size=1, max_size=12),
    st.sampled_from([0.5, 0.6, 0.7, 0.75, 0.8, 1.0]),
)
def test_all_similar_pairs_are_found(texts, threshold):
    found = NearDuplicates.from_words(WordTable.from_texts(texts), threshold)
    plain = list(dict.fromkeys(" ".join(words(text)) for text in texts))
    expected = {
        (first, second): jaccard(plain[first], plain[second])
        for first, second in itertools.combinations(range(len(plain)), 2)
        if jaccard(plain[first], plain[second]) >= Fraction(str(threshold))
    }
    assert {tuple(pair): value for pair, value in zip(found.pairs.tolist(), found.similarity, strict=True)} == {
        pair: pytest.approx(float(value)) for pair, value in expected.items()
    }
    assert found.group.tolist() == [plain.index(" ".join(words(text))) for text in texts]


def test_steps_do_not_change_the_pairs(monkeypatch):
    generator = np.random.default_rng(7)
    texts = [" ".join(generator.choice(list("abcd"), generator.integers(1, 9))) for _ in range(80)]
    table = WordTable.from_texts(texts)
    whole = NearDuplicates.from_words(table, 0.6)
    monkeypatch.setattr(near_duplicates, "_STEP", 40)
    steps = NearDuplicates.from_words(table, 0.6)
    assert len(whole.pairs) > 10
    assert steps.pairs.tolist() == whole.pairs.tolist()
    assert steps.similarity.tolist() == whole.similarity.tolist()


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 2)
    table = WordTable.from_texts(["a b c d e f", "a b c d e g", "a b c d e h"])
    with pytest.raises(UsageError, match=r"more than 2 pairs of texts reach the similarity 0\.5"):
        NearDuplicates.from_words(table, 0.5)


# The AP of ties


def enumerated(groups, relevant):
    """Return the mean AP over all orders within each group."""
    documents = [[1] * hits + [0] * (size - hits) for hits, size in groups]
    values = []
    for parts in itertools.product(*(itertools.permutations(part) for part in documents)):
        ranking = list(itertools.chain(*parts))
        hits = list(itertools.accumulate(ranking))
        precisions = [Fraction(hits[rank], rank + 1) for rank in range(len(ranking)) if ranking[rank]]
        values.append(sum(precisions, Fraction(0)) / relevant)
    return sum(values) / len(values)


@pytest.mark.parametrize(
    ("groups", "relevant", "expected"),
    [
        ([(1, 1)], 1, 1),
        ([(1, 2)], 1, Fraction(3, 4)),  # ranks 1 and 2: (1 + 1/2) / 2
        ([(1, 3)], 1, Fraction(11, 18)),  # (1 + 1/2 + 1/3) / 3
        ([(2, 3)], 2, Fraction(29, 36)),  # the other document first, second or last: (7/12 + 5/6 + 1) / 3
        ([(1, 1), (1, 2)], 2, Fraction(11, 12)),  # 1 and the mean of 2/2 and 2/3
        ([(0, 1), (1, 1)], 1, Fraction(1, 2)),
        ([(1, 1)], 2, Fraction(1, 2)),  # the other relevant document is never found
    ],
)
def test_expected_ap_by_hand(groups, relevant, expected):
    assert enumerated(groups, relevant) == expected
    assert expected_average_precision(groups, relevant) == pytest.approx(float(expected), abs=1e-15)


tie = st.tuples(st.integers(0, 4), st.integers(1, 4)).filter(lambda group: group[0] <= group[1])


@settings(max_examples=40)
@given(st.lists(tie, min_size=1, max_size=3).filter(lambda groups: any(hits for hits, _ in groups)))
def test_expected_ap_is_the_mean_over_all_orders(groups):
    relevant = sum(hits for hits, _ in groups)
    assert expected_average_precision(groups, relevant) == pytest.approx(float(enumerated(groups, relevant)), abs=1e-12)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=5))
def test_best_order_has_the_greatest_shares_first(counts):
    groups = tuple((hits, hits + others) for hits, others in counts)
    relevant = sum(hits for hits, _ in groups)
    best = max(expected_average_precision(order, relevant) for order in itertools.permutations(groups))
    assert best_average_precision(groups, relevant) == pytest.approx(best, abs=1e-12)


# Candidates


#: Both versions of the question have a relevant document in each language.
BOTH = {"en-q-1": ["de-1", "en-1"], "de-q-1": ["de-1", "en-1"]}


def audited(documents, relevant, answers=None, queries=None, **options):
    """Audit a collection of texts by id; an id starts with the language."""
    queries = queries or {"en-q-1": "Who built the tower?", "de-q-1": "Wer baute den Turm?"}
    collection = Collection.from_records(
        "small",
        [Query(key, key[:2], text, key.partition("-q-")[2]) for key, text in queries.items()],
        [Document(key, key[:2], text) for key, text in documents.items()],
        {query: dict.fromkeys(keys, 1) for query, keys in relevant.items()},
        **options,
    )
    return Audit(collection, answers)


def test_lookalikes_of_relevant_documents():
    documents = {
        "de-1": "Eiffel baute ihn.",
        "en-1": "A man called Eiffel built it for the fair.",
        "en-2": "a man, called EIFFEL, built it for the fair",
        "en-3": "A man called Eiffel built it for a fair.",
        "en-4": "Nobody knows.",
    }
    audit = audited(documents, BOTH)
    similarity = jaccard(documents["en-1"], documents["en-3"])  # 8 of 10 pairs are common
    assert similarity == Fraction(8, 12)
    assert audit.unjudged == [Unjudged("en-q-1", "en-2", "same text", {"like": "en-1"})]
    near = Audit(audit.collection, threshold=0.6)
    evidence = {"like": "en-1", "similarity": 0.6667, "here": ["a"], "there": ["the"]}
    assert near.unjudged == [*audit.unjudged, Unjudged("en-q-1", "en-3", "near-duplicate", evidence)]
    assert near.counts["near-duplicate"] == Count(1, 1)
    assert "answer" not in near.counts


def test_missing_translation_and_version():
    documents = {"de-d-7": "Eiffel baute ihn.", "en-d-7": "Eiffel built it.", "sw-d-7": "Eiffel aliujenga."}
    relevant = {"en-q-1": ["en-d-7", "de-d-7"], "de-q-1": ["de-d-7"]}
    assert audited(documents, relevant).unjudged == [
        Unjudged("de-q-1", "en-d-7", "other version", {"query": "en-q-1"}),
        Unjudged("de-q-1", "sw-d-7", "translation", {"like": "de-d-7"}),
    ]
    kinds = [candidate.kind for candidate in audited(documents, relevant, parallel=False).unjudged]
    assert kinds == ["other version"]  # equal ids are not translations


def test_documents_of_an_equal_query():
    queries = {"en-q-1": "Who won?", "de-q-1": "Wer gewann?", "en-q-2": "who won"}
    documents = {"en-1": "Ann did.", "en-2": "Bob has it."}
    audit = audited(documents, {"en-q-1": ["en-1"], "de-q-1": ["en-1"], "en-q-2": ["en-2"]}, queries=queries)
    assert audit.unjudged == [
        Unjudged("en-q-1", "en-2", "same query", {"query": "en-q-2"}),
        Unjudged("en-q-2", "en-1", "same query", {"query": "en-q-1"}),
    ]


def test_answers_in_the_language_of_the_query():
    documents = {
        "de-1": "Den Turm baute Eiffel.",
        "de-2": "Eiffel.",
        "en-1": "It was Gustave Eiffel.",
        "en-2": "The tower that Gustave Eiffel built stands.",
        "en-3": "Gustave and Eiffel met.",
        "en-4": "Gustave Eiffel lived here.",
    }
    answers = {"en-q-1": ("Gustave Eiffel",), "de-q-1": ("eiffel", "Turm")}
    audit = audited(documents, BOTH, answers)
    found = {(item.query, item.document): item for item in audit.unjudged}
    assert found.keys() == {("en-q-1", "en-2"), ("en-q-1", "en-4"), ("de-q-1", "de-2")}
    # "built", "the" and "tower" are in 1 of 4 English documents, "who" in none
    rare, unknown = np.log(5 / 1.5), np.log(5 / 0.5)
    share = round(3 * rare / (3 * rare + unknown), 4)
    evidence = {"answer": "Gustave Eiffel", "question_share": share, "judged_share": 0.0}
    assert found["en-q-1", "en-2"] == Unjudged("en-q-1", "en-2", "answer", evidence)
    assert [item.document for item in audit.unjudged if item.is_strong] == ["en-2"]
    assert (audit.counts["answer"], audit.strong_answers) == (Count(3, 1), Count(1, 1))


def test_own_documents_are_no_candidates():
    documents = {"en-1": "Same words.", "en-2": "same words", "en-3": "Other"}
    queries = {"en-q-1": "Same words?"}
    own = {"own_documents": {"en-q-1": ["en-1"]}}
    audit = audited(documents, {"en-q-1": ["en-2", "en-3"]}, {"en-q-1": ("words",)}, queries, **own)
    assert audit.unjudged == []
    assert audit.bounds("mono")["same"].AP == 1
    never_found = audited(documents, {"en-q-1": ["en-1", "en-3"]}, None, queries, **own)
    assert never_found.bounds("mono")["same"].AP == 0.5  # en-3 is first, and en-1 cannot be found


def test_counts_of_repeated_texts():
    documents = {"de-1": "Ann", "en-1": "ann", "en-2": "a b c d e f g h", "en-3": "a b c d e f g x", "en-4": "ANN"}
    audit = audited(documents, {"en-q-1": ["en-2"], "de-q-1": ["en-2"]})
    counts = {
        code: (found.texts, found.same, found.near) for code, found in audit.lookalikes.document_doubles().items()
    }
    assert counts == {"de": (1, 0, 0), "en": (4, 2, 0), None: (5, 3, 0)}
    counts = Audit(audit.collection, threshold=0.6).lookalikes.document_doubles()
    assert (counts["en"].near, counts[None].near) == (2, 2)
    assert audit.lookalikes.query_doubles()[None].same == 0


# The ceiling


def test_no_lookalikes_leave_an_ap_of_one():
    audit = Audit(parallel_collection(4, extra=3))
    for mode in ("mono", "cross", "multi"):
        assert {bound.AP for bound in audit.bounds(mode).values()} == {1.0}


def test_ceiling_of_each_mode_by_hand():
    documents = {
        "de-1": "Eiffel baute ihn.",
        "en-1": "A man called Eiffel built it for the fair.",
        "en-2": "a man, called EIFFEL, built it for the fair",
        "en-3": "A man called Eiffel built it for a fair.",
        "en-4": "Eiffel built the tower.",
    }
    relevant = BOTH
    audit = Audit(audited(documents, relevant).collection, {"en-q-1": ("Eiffel built",)}, threshold=0.6)
    assert [item.document for item in audit.unjudged if item.is_strong] == ["en-2", "en-3", "en-4"]
    two, three, four = 3 / 4, 11 / 18, (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4  # a relevant document among so many
    mono, cross = audit.bounds("mono"), audit.bounds("cross")
    # the German document has no lookalike; en-1 is tied with one, two or three others
    assert [bound.AP for bound in mono.values()] == pytest.approx([(1 + two) / 2, (1 + three) / 2, (1 + four) / 2])
    assert [bound.AP for bound in cross.values()] == pytest.approx([bound.AP for bound in mono.values()])
    assert mono["same"].subsets == {"en": 0.75}
    assert cross["same"].subsets == {"de-en": 0.75}
    # the German document is first, then en-1 has a rank from 2
    multi = audit.bounds("multi")
    second = [1 / 2 + np.mean([2 / rank for rank in range(2, 2 + size)]) / 2 for size in (2, 3, 4)]
    assert [bound.AP for bound in multi.values()] == pytest.approx(second)
    assert (mono["same"].lowered, cross["same"].lowered, multi["same"].lowered) == (1, 1, 2)


def test_lookalikes_that_are_judged_do_not_lower_the_ceiling():
    documents = {"en-1": "The same.", "en-2": "the same", "en-3": "the same!", "en-4": "other"}
    queries = {"en-q-1": "Which?"}
    all_judged = audited(documents, {"en-q-1": ["en-1", "en-2", "en-3"]}, None, queries)
    assert all_judged.bounds("mono")["same"].AP == 1
    two_judged = audited(documents, {"en-q-1": ["en-1", "en-2"]}, None, queries)
    assert pytest.approx(29 / 36) == two_judged.bounds("mono")["same"].AP  # two of three, as above


def test_ceiling_is_reached_by_a_system_that_reads_words():
    """Rank by a score of the words alone, break ties in all orders, and compare the mean AP with the bound."""
    documents = {"en-1": "one", "en-2": "One!", "en-3": "two", "en-4": "three", "en-5": "four"}
    relevant = ["en-1", "en-3"]
    audit = audited(documents, {"en-q-1": relevant}, None, {"en-q-1": "Which?"})
    scores = {"two": 3, "one": 2}
    values = []
    for order in itertools.permutations(documents):
        ranking = sorted(order, key=lambda key: -scores.get(" ".join(words(documents[key])), 0))
        ranks = sorted(ranking.index(key) + 1 for key in relevant)
        values.append(np.mean([(hit + 1) / rank for hit, rank in enumerate(ranks)]))
    assert pytest.approx(np.mean(values)) == audit.bounds("mono")["same"].AP


# Answers


def test_answers_of_lareqa(tmp_path):
    question = {
        "id": "7",
        "question": "Who?",
        "answers": [{"text": "Ann", "answer_start": 0}, {"text": "Ann", "answer_start": 9}],
    }
    content = {"data": [{"paragraphs": [{"context": "Ann did. Ann", "sentence_breaks": [[0, 8]], "qas": [question]}]}]}
    path = tmp_path / "en.json"
    path.write_text(json.dumps(content))
    assert lareqa_answers({"en": path}) == {"en-7": ("Ann",)}
    path.write_text("[]")
    with pytest.raises(DataError, match=r"en\.json is not a LAReQA file"):
        lareqa_answers({"en": path})


def test_answers_of_a_shipped_task(data_dir):
    [selection] = TaskRegistry().select("xquad-r")
    answers = known_answers(selection.spec, ["en"], data_dir)
    assert (len(answers), answers["en-56beb4343aeaaa14008c925b"]) == (1190, ("308",))
    [cldr] = TaskRegistry().select("cldr-facts")
    assert known_answers(cldr.spec, ["en"], data_dir) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":2: not JSON"),
        ('{"query": "q1"}', ":2: a line needs a query id and a list of texts"),
        ('{"query": "q1", "answers": "two"}', ":2: a line needs a query id and a list of texts"),
        ('["q1", ["two"]]', ":2: a line must be an object in braces, not a list"),
        ('{"query": "q9", "answers": []}', ":2: the collection has no query 'q9'"),
    ],
)
def test_malformed_answers(tmp_path, line, message):
    path = tmp_path / "answers.jsonl"
    path.write_text(f'{{"query": "q1", "answers": ["one", "1", "one"]}}\n{line}\n')
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        read_answers(path, {"q1"})
    path.write_text('{"query": "q1", "answers": ["one", "1", "one"]}\n\n{"query": "q1", "answers": ["I"]}\n')
    assert read_answers(path, {"q1"}) == {"q1": ("one", "1", "I")}


# The command


@pytest.fixture
def task(tmp_path):
    """Return a task file in the layout of BEIR: the second document has the words of the first, which is relevant."""
    corpus = {"1": "The tower is high.", "2": "the tower is high", "3": "Gustave Eiffel built the tower.", "4": "Rain"}
    write_beir(tmp_path / "data", {"q": "Who built the tower?"}, corpus, {"q": {"1": 1}})
    path = tmp_path / "towers.yaml"
    path.write_text("name: towers\nsource: {kind: beir, path: data, split: test, languages: [en]}\n")
    return path


def test_command_prints_tables_of_80_columns(hbt, task, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = hbt(task)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    lines = [line.split() for line in out.splitlines()]
    assert ["en", "4", "2", "0", "1", "0", "0"] in lines
    assert ["same", "words", "as", "a", "relevant", "document", "1", "1"] in lines
    assert ["mono", "0.75000", "1", "0.75000", "1", "0.75000", "1"] in lines
    assert "has the words of the answer" not in out
    assert "the data have no answers" in err


def test_command_writes_candidates(hbt, task, tmp_path):
    answers, output = tmp_path / "answers.jsonl", tmp_path / "out" / "candidates.jsonl"
    answers.write_text('{"query": "en-q-q", "answers": ["Gustave Eiffel"]}\n')
    code, out, err = hbt(task, "--answers", answers, "--output", output, "--format", "json")
    assert code == 0
    assert "wrote 2 candidates" in err
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(row["query"], row["document"], row["kind"]) for row in rows] == [
        ("en-q-q", "en-d-2", "same text"),
        ("en-q-q", "en-d-3", "answer"),
    ]
    assert rows[0]["evidence"] == {"like": "en-d-1"}
    assert (rows[1]["query_text"], rows[1]["document_text"]) == (
        "Who built the tower?",
        "Gustave Eiffel built the tower.",
    )
    [values] = json.loads(out)
    assert values["unjudged"]["answer"] == values["unjudged"]["strong answer"] == {"documents": 1, "questions": 1}
    assert values["best_AP"]["mono"]["same"] == {"AP": 0.75, "lowered": 1, "subsets": {"en": 0.75}}
    assert values["best_AP"]["mono"]["all"]["AP"] == pytest.approx(11 / 18)
    assert values["doubles"][-1]["documents"] == {"texts": 4, "same": 2, "near": 0}
    first = output.read_bytes()
    hbt(task, "--answers", answers, "--output", output)
    assert output.read_bytes() == first


def test_command_audits_several_collections(hbt, task):
    code, out, _ = hbt(f"{task},cldr-facts-cross[de,en]", "--format", "md")
    assert code == 0
    assert "| cross | 1.00000 | 0 |" in out
    assert "| mono | 0.75000 | 1 |" in out
    assert "cldr-facts[de,en]: texts that other texts repeat" in out


def test_command_restricts_languages(hbt):
    code, out, _ = hbt("cldr-facts", "--languages", "de,en", "--format", "json")
    assert code == 0
    [values] = json.loads(out)
    assert values["collection"] == "cldr-facts[de,en]"
    assert [row["language"] for row in values["doubles"]] == ["de", "en", "all"]


def test_mode_without_relevant_documents_has_no_row(hbt):
    code, out, _ = hbt("cldr-facts[de>en]", "--format", "md")
    assert code == 0
    assert "| mono |" not in out
    assert "| cross | 1.00000 | 0 |" in out


def test_help_has_the_default_threshold(hbt):
    _, out, _ = hbt("--help")
    assert f"[default: {near_duplicates.THRESHOLD}]" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["xquad"], 2, "unknown task 'xquad'"),
        (["SciFact"], 2, "SciFact of MTEB cannot be audited"),
        (["cldr-facts", "--threshold", "0.4"], 2, "0.4 is not in the range"),
        (["cldr-facts,xquad-r", "--output", "x.jsonl"], 2, "are for a single collection, but the tasks name 2"),
        (["cldr-facts", "--languages", "xx"], 2, "xx"),
        (["cldr-facts[de,en]", "--answers", "missing.jsonl"], 3, "cannot read missing.jsonl"),
        (["cldr-facts[de,en]", "--output", "file/x.jsonl"], 5, "cannot write"),
    ],
)
def test_command_fails(hbt, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    actual, out, err = hbt(*arguments)
    assert (actual, out) == (code, "")
    assert message in err
