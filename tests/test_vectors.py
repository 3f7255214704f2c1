"""Vectors that were computed elsewhere: the ranks of the model that made them, or an error that names the text."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import hbt_bench
from hbt_bench.cli.main import run as command
from hbt_bench.errors import ModelError, UsageError
from hbt_bench.mteb.vectors import VectorModel
from tests.factories import TestEncoder, hashed

TASK = "cldr-facts-multi"
LANGUAGES = ("de", "en")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The result of an encoder, and the texts with the vectors of the encoder as `hbt-bench texts` writes them."""
    output = tmp_path_factory.mktemp("vectors")
    encoder = TestEncoder(hashed(16), "tests/encoder")
    [result] = hbt_bench.evaluate(encoder, TASK, output / "results", languages=LANGUAGES)
    path = output / "texts.parquet"
    assert command(["texts", "--tasks", TASK, "--languages", "de,en", "--output", str(path)]) == 0
    texts = pd.read_parquet(path)
    texts["vector"] = [encoder.vector(text, "") for text in texts["text"]]
    return result, texts


def write(folder, texts, kind="npy", similarity="cosine"):
    folder.mkdir()
    (folder / "vectors.json").write_text(json.dumps({"similarity": similarity, "name": "me/vectors"}))
    for role, name in (("query", "queries"), ("document", "documents")):
        rows = texts[texts["role"] == role].iloc[::-1]  # ids give the order
        vectors = np.stack(list(rows["vector"]))
        if kind == "parquet":
            rows[["id", "vector"]].to_parquet(folder / f"{name}.parquet")
            continue
        (folder / f"{name}.txt").write_text("\n".join(rows["id"]) + "\n")
        if kind == "npy":
            np.save(folder / f"{name}.npy", vectors)
        else:
            from safetensors.numpy import save_file

            save_file({"vectors": vectors}, folder / f"{name}.safetensors")
    return folder


@pytest.mark.parametrize("kind", ["npy", "safetensors", "parquet"])
def test_vectors_have_the_ranks_of_their_model(made, tmp_path, kind):
    result, texts = made
    folder = write(tmp_path / "embeddings", texts, kind)
    [scored] = hbt_bench.evaluate(f"vectors:{folder}", TASK, tmp_path / "results", languages=LANGUAGES)
    assert np.array_equal(scored.stored_ranks().ranks.pool, result.stored_ranks().ranks.pool)
    assert scored.scores == pytest.approx(result.scores, abs=0, nan_ok=True)
    assert scored.model == "me/vectors"
    assert scored.revision.startswith("vectors-")
    assert scored.speed is None


def test_texts_are_those_of_the_collection(made):
    _, texts = made
    collection = hbt_bench.select_tasks(TASK)[0].spec.load(LANGUAGES)
    rows = [("query", *query[:3]) for query in collection.queries]
    rows += [("document", *document) for document in collection.documents]
    assert list(texts[["role", "id", "language", "text"]].itertuples(index=False, name=None)) == rows


def test_texts_in_other_formats(made, tmp_path, capsys):
    expected = made[1].drop(columns="vector")
    options = ["--tasks", TASK, "--languages", "de,en", "--output"]
    for name in ("texts.csv", "texts.jsonl"):
        assert command(["texts", *options, str(tmp_path / name)]) == 0
    csv = pd.read_csv(tmp_path / "texts.csv", dtype=str, keep_default_na=False)
    lines = pd.DataFrame([json.loads(line) for line in (tmp_path / "texts.jsonl").open()])
    assert csv.to_numpy().tolist() == lines.to_numpy().tolist() == expected.to_numpy().tolist()
    capsys.readouterr()
    assert command(["texts", *options, str(tmp_path / "texts.txt")]) == 2
    assert "texts.txt ends in neither .parquet, .jsonl nor .csv: name such a file" in capsys.readouterr().err
    assert command(["texts", "--tasks", "SciFact", "--output", str(tmp_path / "texts.csv")]) == 2
    assert "SciFact is MTEB's task: name tasks of hbt-bench" in capsys.readouterr().err


def test_command_line_names_the_vectors_and_refuses_settings_of_models(made, tmp_path, capsys):
    folder = write(tmp_path / "embeddings", made[1])
    options = [
        "run",
        "--model",
        f"vectors:{folder}",
        "--tasks",
        TASK,
        "--languages",
        "de,en",
        "--output",
        str(tmp_path),
    ]
    assert command([*options, "--query-prompt", "query: ", "--dtype", "fp16"]) == 2
    assert "--query-prompt and --dtype cannot change vectors" in capsys.readouterr().err
    assert command([*options, "--name", "me/other", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["model"] == "me/other"
    assert command(["run", "--model", f"vectors:{folder}", "--tasks", "SciFact", "--output", str(tmp_path)]) != 0


def spoiled(texts, change):
    texts = texts.copy()
    texts["vector"] = [vector.copy() for vector in texts["vector"]]
    return change(texts)


def with_nan(texts):
    texts["vector"].iloc[3][2] = np.nan
    return texts


def with_zero(texts):
    texts["vector"].iloc[3][:] = 0
    return texts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda texts: texts.iloc[2:], r"lacks the vectors of 2 of 364 queries, such as 'de-q-"),
        (lambda texts: pd.concat([texts, texts.iloc[:1]]), "has the id '.*' twice"),
        (with_nan, "1 vectors have NaN or infinity, such as that of 'de-q-"),
        (with_zero, "is 0, which has no cosine"),
        (
            lambda texts: texts.assign(
                vector=[v[:4] if r == "query" else v for v, r in zip(texts.vector, texts.role, strict=True)]
            ),
            "queries have 4 dimensions, and those of documents 16",
        ),
        (lambda texts: texts.assign(vector=[np.ones(4, np.float32)] * len(texts)), "the same vector as a query"),
    ],
)
def test_unusable_vectors_are_refused(made, tmp_path, change, message):
    folder = write(tmp_path / "embeddings", spoiled(made[1], change))
    collection = hbt_bench.select_tasks(TASK)[0].spec.load(LANGUAGES)
    with pytest.raises(ModelError, match=message):
        VectorModel.from_name(f"vectors:{folder}").scorers(collection)


def test_files_without_a_vector_for_each_id_are_refused(made, tmp_path):
    from safetensors.numpy import save_file

    collection = hbt_bench.select_tasks(TASK)[0].spec.load(LANGUAGES)
    folders = {kind: write(tmp_path / kind, made[1], kind) for kind in ("npy", "safetensors", "parquet")}

    def refused(kind, message):
        with pytest.raises(ModelError, match=message):
            VectorModel.from_name(f"vectors:{folders[kind]}").scorers(collection)

    np.save(folders["npy"] / "queries.npy", np.ones(3))
    refused("npy", r"queries.npy has an array of float64 and shape \(3,\) for 364 ids: write a row of numbers")
    two = {"a": np.ones((364, 2), np.float32), "b": np.ones((364, 2), np.float32)}
    save_file(two, folders["safetensors"] / "queries.safetensors")
    refused("safetensors", r"cannot read the vectors in .* \(it has 2 tensors, not one\)")
    path = folders["parquet"] / "queries.parquet"
    pd.DataFrame({"id": ["a", "b"], "embed": [[1.0], [2.0]]}).to_parquet(path)
    refused("parquet", r"it needs the columns id and vector, but has id, embed")
    pd.DataFrame({"id": ["a", "b"], "vector": [[1.0], [2.0, 3.0]]}).to_parquet(path)
    refused("parquet", r"its vectors have 1, 2 dimensions")


def test_incomplete_folders_are_refused(made, tmp_path):
    folder = write(tmp_path / "embeddings", made[1])
    name = f"vectors:{folder}"
    (folder / "vectors.json").write_text('{"similarity": "jaccard"}')
    with pytest.raises(UsageError, match="the similarity 'jaccard' is none of cosine, dot"):
        VectorModel.from_name(name)
    (folder / "vectors.json").write_text('{"similarity": "dot", "nmae": "me/x"}')
    with pytest.raises(UsageError, match="has the unknown key 'nmae'; did you mean 'name'"):
        VectorModel.from_name(name)
    (folder / "vectors.json").write_text('{"similarity": "dot", "name": 7}')
    with pytest.raises(UsageError, match="the name 7 is not a text such as 'me/model'"):
        VectorModel.from_name(name)
    (folder / "vectors.json").write_text("{}")
    with pytest.raises(UsageError, match="does not state the similarity"):
        VectorModel.from_name(name)
    (folder / "vectors.json").unlink()
    with pytest.raises(UsageError, match=r"there is no .*vectors.json"):
        VectorModel.from_name(name)
    (folder / "vectors.json").write_text('{"similarity": "dot"}')
    assert VectorModel.from_name(name).name == "local/embeddings"
    (folder / "queries.txt").unlink()
    with pytest.raises(UsageError, match=r"there is no .*queries.txt with the ids of queries.npy"):
        _ = VectorModel.from_name(name).mteb_model_meta
    (folder / "queries.npy").unlink()
    with pytest.raises(UsageError, match="has no file queries"):
        VectorModel.from_name(name)
