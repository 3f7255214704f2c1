"""Corrections of vectors: the formulas by hand, what they are fitted on, and how a corrected model is identified."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import hbt_bench
from hbt_bench.cli.main import run
from hbt_bench.data.collection import Collection, Document, Query
from hbt_bench.distributed import ALONE
from hbt_bench.errors import DataError, ModelError, UsageError
from hbt_bench.identity.correction_name import CorrectionName
from hbt_bench.identity.signature import Signature
from hbt_bench.identity.variant import Variant
from hbt_bench.mteb.corrected_model import CorrectedModel, Correction
from hbt_bench.mteb.given import requested
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.mteb.saved_correction import check_target
from hbt_bench.ranking import encode
from hbt_bench.ranking.correction import AffineMap, Sample, fit
from hbt_bench.ranking.dense import DenseScorer
from hbt_bench.reports.explain import explain
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.tasks.registry import Selection, TaskRegistry
from tests.factories import LANGUAGES, TestEncoder, Threads, hashed, parallel_collection
from tests.layouts import pooled

#: Three vectors in two languages.
DE, EN = np.array([[0, 1], [0, 3]], np.float32), np.array([[4, 0]], np.float32)


def sample(queries, documents=None, numbers=None):
    """Return a sample of arrays by language; by default, queries and documents are the same."""
    documents = queries if documents is None else documents
    translations = {language: (np.arange(len(rows), dtype=np.int32), rows) for language, rows in queries.items()}
    vectors = {"query": queries, "document": documents}
    return Sample(
        {role: {code: [rows] for code, rows in texts.items()} for role, texts in vectors.items()}, lambda: translations
    )


def fitted(name, *arguments):
    return fit(CorrectionName.parse(name), sample(*arguments))


def normal(count, dimensions=6, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "de", "en"),
    [
        ("center", [[0, -1], [0, 1]], [[0, 0]]),
        # the mean of all three vectors is (4/3, 4/3)
        ("center:shared", [[-4 / 3, -1 / 3], [-4 / 3, 5 / 3]], [[8 / 3, -4 / 3]]),
        # all vectors of de are on the second axis, and those of en on the first
        ("lir:1", [[0, 0], [0, 0]], [[0, 0]]),
        # the means differ in the direction (-2, 1): (0, 1) less 1/5 of it, (0, 3) less 3/5, (4, 0) plus 8/5
        ("subspace:1", [[2 / 5, 4 / 5], [6 / 5, 12 / 5]], [[4 / 5, 8 / 5]]),
        # documents of de lose half of the offset (0, 2) - (4, 0)
        ("shift:0.5", [[2, 0], [2, 2]], [[4, 0]]),
    ],
)
def test_formulas_by_hand(name, de, en):
    correction = fitted(name, {"de": DE, "en": EN})
    assert correction(DE, "document", "de") == pytest.approx(np.array(de), abs=1e-6)
    assert correction(EN, "document", "en") == pytest.approx(np.array(en), abs=1e-6)


def test_all_but_the_top_by_hand():
    # the mean is (0, 1) and the first component is the first axis
    rows = np.array([[-3, 0], [3, 0], [0, 3]], np.float32)
    correction = fitted("all-but-the-top", {"de": rows[:1], "en": rows[1:]})
    assert correction(rows, "query", "de") == pytest.approx(np.array([[0, -1], [0, -1], [0, 2]]), abs=1e-6)


def test_roles_have_means_of_their_own():
    correction = fitted("center:role", {"de": DE}, {"de": DE + 10})
    assert np.array_equal(correction(DE, "query", "de"), DE - [0, 2])
    assert np.array_equal(correction(DE, "document", "de"), DE - [10, 12])
    together = fitted("center", {"de": DE}, {"de": DE + 10})
    assert np.array_equal(together(DE, "query", "de"), DE - [5, 7])


def test_shift_leaves_queries():
    correction = fitted("shift:1", {"de": DE, "en": EN})
    assert np.array_equal(correction(DE, "query", "de"), DE)
    assert np.array_equal(correction(DE, "document", "sw"), DE)


def test_rotation_brings_translations_together():
    rows, angle = normal(40), np.linalg.qr(normal(6, seed=1))[0].astype(np.float32)
    turned = rows @ angle + 3
    correction = fitted("procrustes", {"de": turned, "en": rows})
    assert correction(turned, "query", "de") == pytest.approx(correction(rows, "document", "en"), abs=2e-4)
    matrix = correction.maps["query"]["de"].matrix
    assert matrix @ matrix.T == pytest.approx(np.eye(6), abs=1e-5)


def test_few_sentences_do_not_turn_the_other_directions():
    rows = np.zeros((2, 6), np.float32)
    rows[:, 0] = [1, -1]
    correction = fitted("procrustes", {"de": rows, "en": np.roll(rows, 1, axis=1)})
    other = np.eye(6, dtype=np.float32)[3:]
    assert correction(other, "query", "de") == pytest.approx(other, abs=1e-5)


def test_whitening_is_that_of_scikit_learn():
    from sklearn.covariance import ledoit_wolf

    rows = normal(9) * np.array([5, 3, 1, 1, 0.5, 0.1], np.float32)
    correction = fitted("whiten", {"de": rows}, {"de": rows[:0]})
    covariance, shrinkage = ledoit_wolf(rows)
    assert 0.05 < shrinkage < 0.95
    matrix = correction.maps["query"]["de"].matrix.astype(np.float64)
    assert matrix @ covariance @ matrix.T == pytest.approx(np.eye(6), abs=1e-4)
    half = fitted("whiten:0.5", {"de": rows}, {"de": rows[:0]}).maps["query"]["de"].matrix.astype(np.float64)
    assert half @ half == pytest.approx(matrix, rel=1e-3, abs=1e-5)


def test_products_do_not_depend_on_the_order_of_additions():
    """Processors add products in different orders. Single precision shows this, rounded double precision does not."""
    rows, matrix = normal(200, 384), normal(384, 384, 1)
    product = AffineMap(np.zeros(384, np.float32), matrix)(rows)
    backwards = rows[:, ::-1].astype(np.float64) @ matrix[::-1].astype(np.float64)
    assert np.array_equal(product, backwards.astype(np.float32))
    assert not np.array_equal(rows @ matrix, rows[:, ::-1] @ matrix[::-1])


@pytest.mark.parametrize("name", ["center", "center:role", "center:shared", "subspace:1", "procrustes"])
def test_second_correction_changes_nothing(name):
    texts = {"de": normal(30) + 1, "en": normal(30, seed=1) - 2}
    first = fitted(name, texts)
    once = {code: first(rows, "query", code) for code, rows in texts.items()}
    again = fitted(name, once)
    assert again(once["de"], "query", "de") == pytest.approx(once["de"], abs=1e-4)


def test_few_texts_and_sentences_are_logged_once(caplog):
    fitted("procrustes", {"de": normal(3), "en": normal(30)})
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "procrustes is fitted on few texts of de (6)",
    ]
    fitted("procrustes", {"de": normal(59, 30), "en": normal(59, 30)})
    assert caplog.messages[-1].startswith("procrustes is fitted on 59 sentences for 30 dimensions")
    assert caplog.messages[-1].endswith("take at least 60")
    caplog.clear()
    fitted("procrustes", {"de": normal(60, 30), "en": normal(60, 30)})
    assert not caplog.messages


def test_unseen_language_gets_the_correction_of_all_texts():
    correction = fitted("center", {"de": DE, "en": EN})
    assert correction(EN, "query", "sw") == pytest.approx(EN - np.float32(4 / 3), abs=1e-6)
    assert correction.languages == {"de", "en"}


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("centre", "unknown correction 'centre'.*center"),
        ("cosine", "there are center, whiten"),
        ("subspace", "subspace needs a number of directions"),
        ("shift", "write it as in shift:0.6"),
        ("shift:1.5", "above 1"),
        ("subspace:0", "not a whole number from 1"),
        ("subspace:1.5", "not a whole number from 1"),
        ("center:2", "has a number, but center has none"),
        ("center:roles", "'roles' is not a variant of center, which has center:role and center:shared"),
        ("shift:0.5:role", "which has no variants"),
    ],
)
def test_name_that_cannot_be(name, fragment):
    with pytest.raises(UsageError, match=fragment):
        CorrectionName.parse(name)


@pytest.mark.parametrize("name", ["center", "center:role", "whiten:0.5:shared", "lir:2", "subspace:4:role", "lir"])
def test_name_is_written_as_it_is_read(name):
    assert str(CorrectionName.parse(name)) == name


@pytest.mark.parametrize(
    ("name", "texts", "fragment"),
    [
        ("subspace:2", {"de": DE, "en": EN}, "at most 1"),
        ("lir:2", {"de": DE, "en": EN}, "lir:2 removes too many directions"),
        ("procrustes", {"de": DE}, "needs parallel sentences"),
        ("shift:1", {"de": DE}, "'en', but there is no such text"),
        ("whiten", {"de": EN}, "needs different texts"),
    ],
)
def test_fit_that_cannot_be(name, texts, fragment):
    with pytest.raises(UsageError, match=fragment):
        fitted(name, texts)


def test_other_dimensions_are_refused():
    with pytest.raises(ModelError, match="fitted on vectors of 2 dimensions, and the texts have vectors of 6"):
        fitted("center", {"de": DE})(normal(3), "query", "de")


@pytest.mark.parametrize(
    ("mark", "options"),
    [
        ("center-on-own", "--correct center --correct-on own"),
        ("subspace_4_role-on-ntrex-ood_400_1a2b3c4d", "--correct subspace:4:role --correct-on ntrex-ood:400"),
        ("all-but-the-top-on-my_file_1a2b3c4d", "--correct all-but-the-top --correct-on my_file"),
        ("shift_0.6-on-cldr-facts[de,en]_1a2b3c4d", "--correct shift:0.6 --correct-on cldr-facts[de,en]"),
    ],
)
def test_revision_names_the_correction(mark, options):
    revision, variant = Variant.split(f"1e76180541b3e331-bf16-{mark}")
    assert (revision, variant.dtype, variant.correction) == ("1e76180541b3e331", "bf16", mark)
    assert variant.options == ["--dtype", "bf16", *options.split()]
    assert variant.suffix == f"-bf16-{mark}"


def evaluate(model, output, tasks, languages=LANGUAGES, **options):
    return hbt_bench.evaluate(model, tasks, output, languages=languages, **options)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HBT_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def encoder():
    return TestEncoder(hashed())


def test_corrections_share_the_vectors(encoder, tmp_path):
    [plain] = evaluate(encoder, tmp_path, "cldr-facts-multi", keep_embeddings=True)
    count = encoder.encoded.total()
    for name in ("center", "procrustes"):
        [result] = evaluate(hbt_bench.corrected(encoder, name), tmp_path, "cldr-facts-multi", keep_embeddings=True)
        assert result.revision == f"1-{name}-on-own"
        assert f"@{result.revision}|" in result.signature
        assert result.scores["AP"] != plain.scores["AP"]
    assert encoder.encoded.total() == count
    held_out = hbt_bench.corrected(encoder, "center", on="cldr-facts[de,en]:20")
    with pytest.raises(UsageError, match="cldr-facts is evaluated"):
        evaluate(held_out, tmp_path, "cldr-facts")


@pytest.mark.parametrize(("in_memory", "name"), [(0, "whiten"), (1 << 30, "center:role")])
def test_processes_and_large_collections_have_the_same_vectors(in_memory, name, monkeypatch):
    collection = parallel_collection(30)
    correction = Correction.parse(name)

    def rows(processes, **options):
        scorer = DenseScorer.from_collection(collection, Words(), processes=processes, correct=correction.fit)
        return scorer.queries[:], scorer.documents[:]

    expected = rows(ALONE)
    monkeypatch.setattr(encode, "_IN_MEMORY", in_memory)
    for vectors in Threads(2).run(rows):
        assert all(map(np.array_equal, vectors, expected))


class Words:
    """An encoder that makes a vector of each text's hash."""

    def encode(self, texts, role, language):
        return np.stack([hashed()(text, role) for text in texts])

    def similarity(self, queries, documents):
        return queries @ documents.T


def test_equal_texts_of_a_language_keep_equal_vectors():
    texts = ["a", "b", "a", "c", "b"]
    queries = [Query(f"q{number}", "de", text, str(number)) for number, text in enumerate(texts)]
    documents = [Document(f"d{number}", "de", text) for number, text in enumerate(texts)]
    collection = Collection.from_records("t", queries, documents, {q.id: {"d0": 1} for q in queries})
    scorer = DenseScorer.from_collection(collection, Words(), correct=Correction.parse("whiten").fit)
    assert np.array_equal(scorer.documents[0], scorer.documents[2])
    assert np.array_equal(scorer.documents[1], scorer.documents[4])


def write_texts(folder, rows):
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_fit_on_a_file(encoder, tmp_path, caplog):
    rows = [
        {"id": number, "language": code, "text": f"{code} {number}"} for number in range(4) for code in ("de", "en")
    ]
    path = write_texts(tmp_path, rows)
    model = hbt_bench.corrected(encoder, "center", on=f"{path}:3")
    [result] = evaluate(model, tmp_path, "cldr-facts-mono")
    assert result.revision.startswith("1-center-on-texts_3_")
    assert caplog.text.count("texts has no sw: these languages get") == 1
    fitted_maps = model.correction.texts.collection
    assert [query.text for query in fitted_maps.queries] == [f"{code} {n}" for code in ("de", "en") for n in range(3)]
    assert len(fitted_maps.qrels.documents) == 0
    assert "not held out" not in caplog.text
    assert "fewer than" not in caplog.text
    other = Correction.parse("center", str(write_texts(tmp_path, [*rows[:-1], {**rows[-1], "text": "other"}])))
    assert other.mark != Correction.parse("center", f"{path}:3").mark


def test_languages_with_fewer_texts_than_asked_are_logged(tmp_path, caplog):
    rows = [{"language": code, "text": f"{code} {number}"} for code in ("de", "en", "en") for number in range(3)]
    _ = Correction.parse("center", f"{write_texts(tmp_path, rows)}:4").mark
    assert [record.message for record in caplog.records] == [
        "texts has fewer than 4 texts of de: all of these are used"
    ]


def test_fit_on_a_parquet_file(tmp_path):
    """The file has the same texts as lines of JSON; a cell without a text or with an unknown language is an error."""
    table = pd.DataFrame({"id": [1, 1, 2], "language": ["de", "en", "de"], "text": ["eins", "one", "zwei"]})
    table.to_parquet(tmp_path / "texts.parquet")
    lines = Correction.parse("center", str(write_texts(tmp_path, table.to_dict("records"))))
    collection = Correction.parse("center", str(tmp_path / "texts.parquet")).texts.collection
    assert collection.queries == lines.texts.collection.queries
    assert [(query.language, query.text) for query in collection.queries] == [
        *(("de", "eins"), ("de", "zwei"), ("en", "one"))
    ]
    for column, value, message in (
        ("text", " ", r"texts.parquet:2 needs a text in each of the fields text and language"),
        ("language", None, r"texts.parquet:2 needs a text in each of the fields text and language"),
        ("language", "klingon?", r"texts.parquet: 'klingon\?' in the field language is not a language"),
    ):
        table.assign(**{column: [table[column][0], value, table[column][2]]}).to_parquet(tmp_path / "texts.parquet")
        with pytest.raises(DataError, match=message):
            _ = Correction.parse("center", str(tmp_path / "texts.parquet")).texts.collection
    (tmp_path / "texts.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"texts.parquet is not a readable parquet file"):
        _ = Correction.parse("center", str(tmp_path / "texts.parquet")).texts.collection


def test_evaluated_texts_in_a_file_are_logged(encoder, tmp_path, caplog):
    collection = TaskRegistry().select("cldr-facts-mono")[0].spec.narrowed(LANGUAGES).load(None, None)
    evaluated = [row for row in collection.queries if row.language == "de"][:5]
    rows = [{"language": row.language, "text": row.text} for row in evaluated]
    path = write_texts(tmp_path, [*rows, {"language": "en", "text": "other"}])
    evaluate(hbt_bench.corrected(encoder, "center", on=str(path)), tmp_path, "cldr-facts-mono")
    assert caplog.text.count("5 of 1,092 texts are also in texts, which the correction is fitted on") == 1


def test_number_in_the_name_of_a_file_is_no_count(tmp_path):
    path = tmp_path / "held_2024.csv"
    path.write_text("language,text\nde,eins\nen,one\n")
    mark = Correction.parse("center", str(path)).mark
    assert mark.startswith("center-on-held-2024_")
    assert Variant.split(f"1-{mark}")[1].options == ["--correct", "center", "--correct-on", "held-2024"]


@pytest.mark.parametrize(
    ("on", "fragment"),
    [
        ("own:5", "leave the number out"),
        ("missing.jsonl", "there is no file missing.jsonl"),
    ],
)
def test_texts_that_cannot_be(on, fragment):
    with pytest.raises(UsageError, match=fragment):
        Correction.parse("center", on)


def test_models_without_vectors_are_refused_before_loading():
    with pytest.raises(UsageError, match="does not give one vector per text"):
        ModelRequest("bm25", correction=Correction.parse("center"))
    with pytest.raises(UsageError, match="Leave out --precision"):
        ModelRequest("org/model", precision="int8", correction=Correction.parse("center"))
    with pytest.raises(UsageError, match="does not give one vector per text"):
        hbt_bench.corrected("bm25", "center")


def test_own_tasks_of_mteb_are_refused(encoder, tmp_path):
    request = requested(hbt_bench.corrected(encoder, "center"))
    with pytest.raises(UsageError, match="MTEB's own tasks lack"):
        Evaluation(request, [Selection(None, stock="SciFact")], tmp_path).run()


def test_plain_mteb_evaluates_a_corrected_model(encoder, tmp_path):
    import mteb

    tasks = hbt_bench.get_tasks("cldr-facts-multi", languages=["de", "en"])
    model = hbt_bench.corrected(encoder, "center")
    assert isinstance(model, CorrectedModel)
    results = mteb.evaluate(model, tasks, cache=None, co2_tracker=False, show_progress_bar=False)
    expected = evaluate(model, tmp_path, "cldr-facts-multi", languages=["de", "en"])
    ap = [entry["AP"] for entry in results.task_results[0].scores["test"]]
    assert np.mean(ap) == pytest.approx(expected[0].scores["AP"], abs=1e-6)


def texts_to_fit_on(folder):
    rows = [{"id": n, "language": code, "text": f"{code} {n} {n * n}"} for n in range(25) for code in ("de", "en")]
    return write_texts(folder, rows)


@pytest.mark.parametrize("name", ["center", "center:role", "whiten:0.5", "procrustes", "shift:0.5", "subspace:1"])
def test_saved_fit_gives_the_same_bytes(name, encoder, tmp_path):
    on = str(texts_to_fit_on(tmp_path))
    model = hbt_bench.corrected(encoder, name, on=on)
    model.save(tmp_path / "fit.npz")
    hbt_bench.corrected(encoder, name, on=on).save(tmp_path / "again.npz")
    assert (tmp_path / "fit.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    saved = hbt_bench.corrected(encoder, str(tmp_path / "fit.npz"))
    assert saved.correction.mark == model.correction.mark
    vectors = normal(7, 8)
    for role in ("query", "document"):
        for language in ("de", "en", "sw"):
            expected = model._held_out(vectors, role, language)
            assert np.array_equal(saved.correction.texts.fitted(vectors, role, language), expected)


def test_saved_fit_is_a_system_like_its_fit(encoder, tmp_path, caplog):
    on = str(texts_to_fit_on(tmp_path))
    model = hbt_bench.corrected(encoder, "center", on=on)
    [expected] = evaluate(model, tmp_path / "fit", "cldr-facts-multi")
    model.save(tmp_path / "fit.npz")
    [result] = evaluate(hbt_bench.corrected(encoder, str(tmp_path / "fit.npz")), tmp_path, "cldr-facts-multi")
    assert result.signature == expected.signature
    assert result.scores == pytest.approx(expected.scores, rel=0, abs=0, nan_ok=True)
    assert "texts has no sw: these languages get" in caplog.text
    turned = TestEncoder(lambda text, role: hashed()(text, role)[::-1])
    for other, message in (
        (turned, r"fitted on vectors of tests/encoder \(1\), and those of this model differ \(cosine -?0\.\d\d"),
        (TestEncoder(hashed(16)), r"of tests/encoder \(1\) with 8 dimensions, and those of this model have 16: use"),
    ):
        with pytest.raises(ModelError, match=message):
            evaluate(hbt_bench.corrected(other, str(tmp_path / "fit.npz")), tmp_path, "cldr-facts-mono")


def test_language_blind_correction_is_saved_as_a_folder(tmp_path):
    from sentence_transformers import SentenceTransformer

    pooled(tmp_path / "ckpt")
    on = str(texts_to_fit_on(tmp_path))
    model = hbt_bench.corrected(str(tmp_path / "ckpt"), "all-but-the-top:2", on=on)
    model.save(tmp_path / "corrected")
    texts = ["de 3 9", "one", "zwei drei"]
    plain = SentenceTransformer(str(tmp_path / "ckpt"), device="cpu").encode(texts)
    saved = SentenceTransformer(str(tmp_path / "corrected"), device="cpu").encode(texts)
    assert saved == pytest.approx(model._held_out(plain, "document", "sw"), abs=1e-6)
    with pytest.raises(UsageError, match="is not an empty folder"):
        model.save(tmp_path / "corrected")


def test_saving_that_cannot_be(encoder, tmp_path):
    on = str(texts_to_fit_on(tmp_path))
    with pytest.raises(UsageError, match="fitted anew for each collection"):
        hbt_bench.corrected(encoder, "center").save(tmp_path / "fit.npz")
    for name in ("center", "subspace:1:role"):
        with pytest.raises(UsageError, match="does not know the language of a text"):
            hbt_bench.corrected(encoder, name, on=on).save(tmp_path / "folder")
    with pytest.raises(UsageError, match="only a model of sentence-transformers"):
        hbt_bench.corrected(encoder, "center:shared", on=on).save(tmp_path / "folder")
    hbt_bench.corrected(encoder, "center", on=on).save(tmp_path / "fit.npz")
    with pytest.raises(UsageError, match="has been fitted: leave --correct-on out"):
        Correction.parse(str(tmp_path / "fit.npz"), on)
    (tmp_path / "bad.npz").write_bytes((tmp_path / "fit.npz").read_bytes()[:300])
    with pytest.raises(DataError, match="is not a saved correction"):
        Correction.parse(str(tmp_path / "bad.npz"))
    with pytest.raises(UsageError, match="there is no file"):
        Correction.parse("missing.npz")


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--model", "bm25", "--correct", "center"], "bm25 does not give one vector per text"),
        (["--model", "bm25", "--correct-on", "cldr-facts"], "add --correct, as in --correct center"),
        (["--model", "org/model", "--correct", "mean"], "unknown correction 'mean'"),
        (["--model", "org/model", "--correct", "center", "--correct-on", "no-task"], "no-task"),
        (
            ["--model", "org/model", "--correct", "center", "--correct-on", "SciFact"],
            "--correct-on SciFact is not a task with the languages of its texts",
        ),
    ],
)
def test_command_line_refuses(options, fragment, tmp_path, capsys):
    assert run(["run", *options, "--tasks", "cldr-facts", "--output", str(tmp_path)]) == 2
    assert fragment in capsys.readouterr().err


def test_file_of_another_program_is_not_replaced(tmp_path):
    path = tmp_path / "fit.npz"
    path.write_bytes(b"foreign")
    with pytest.raises(UsageError, match=r"fit\.npz exists and is not a saved correction: choose another"):
        check_target(CorrectionName.parse("center"), object(), path)


def test_command_line_corrects_a_folder(tmp_path, capsys):
    pooled(tmp_path / "ckpt")
    command = [
        "run",
        "--model",
        str(tmp_path / "ckpt"),
        "--tasks",
        "cldr-facts-multi[de,en]",
        "--output",
        str(tmp_path),
    ]
    assert run([*command, "--output", str(tmp_path), "--correct", "center:role", "--format", "json"]) == 0
    [result] = json.loads(capsys.readouterr().out)["results"]
    assert result["revision"].endswith("-center_role-on-own")
    shown = explain(Signature.parse(result["signature"]))
    assert "--correct center:role --correct-on own" in shown.command
    on = ["--correct", "center", "--correct-on", str(texts_to_fit_on(tmp_path))]
    assert run([*command, *on]) == 0
    assert run([*command, *on, "--save-correction", str(tmp_path / "fit.npz")]) == 0  # although the results exist
    assert run([*command, "--correct", str(tmp_path / "fit.npz"), "--save-correction", "fit.npz"]) == 2
    assert "is a saved correction: leave --save-correction out" in capsys.readouterr().err
