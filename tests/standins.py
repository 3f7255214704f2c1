"""Small stand-ins for the data, models, files and tasks that the commands in the documentation use."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shutil
from pathlib import Path

import yaml

from tests.factories import torch_random_model

ROOT = Path(__file__).resolve().parent.parent
#: The model folders in the documentation.
MODELS = ("ckpt", "ckpt-a", "ckpt-b", "a", "b", "c", "other", "all-MiniLM-L6-v2", "intfloat/multilingual-e5-base")
#: The languages of the stand-ins for tasks/ood that documentation evaluates, and those that recipes train on, too.
_EVALUATED = ("am", "de", "en", "sw", "te", "yo", "zh")
_LANGUAGES = (*_EVALUATED, "ar", "es", "hi", "ru", "th", "tr")
#: The languages of the stand-ins for LAReQA.
_LAREQA = ("ar", "de", "en", "hi", "zh")
_WORDS = [
    "river",
    "stone",
    "cloud",
    "bridge",
    "winter",
    "market",
    "doctor",
    "music",
    "engine",
    "garden",
    "letter",
    "ocean",
    "temple",
    "planet",
    "silver",
]


def sentence(seed: str) -> str:
    """Return six words that depend on the seed alone; the last word is unique to it."""
    draw = random.Random(seed)
    return " ".join([*draw.choices(_WORDS, k=5), hashlib.sha256(seed.encode()).hexdigest()[:6]])


def make(folder: Path) -> None:
    """Fill a folder with data, models, input files, and shipped tasks that are pinned to these data."""
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copytree(ROOT / "tasks", folder / "tasks")
    _data(folder / "data", folder / "tasks")
    _pin(folder / "tasks", folder / "data")
    (folder / "recipe.yaml").write_text("data: [cldr-facts]\n")
    for name in MODELS:
        torch_random_model(folder / name, seed=len(name) + ord(name[-1]))
    rows = [
        {"id": str(row), "texts": {code: {"question": sentence(f"q{row}{code}"), "answer": sentence(f"a{row}{code}")}
                                   for code in ("de", "en")}}
        for row in range(6)
    ]  # fmt: skip
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [f"{row},{sentence(f'q{row}')},{sentence(f'a{row}')},en" for row in range(6)]
    (folder / "data.csv").write_text("\n".join(["id,title,body,locale", *lines]) + "\n")


def _gzip(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0))


def _data(data: Path, tasks: Path) -> None:
    for name in ("xquad-r", "mlqa-r"):
        for code in _LAREQA:
            path = data / "lareqa" / name / f"{code}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(_lareqa(name, code)))
    for path in (tasks / "ood").glob("*-ood.yaml"):
        content = yaml.safe_load(path.read_text())
        source = content["source"]
        source["languages"] = [code for code in source["languages"] if code in _LANGUAGES]
        _gzip(data / source["path"], [_record(row, source) for row in range(60)])
        # a thousand pairs of languages are slow
        source["languages"] = [code for code in source["languages"] if code in _EVALUATED]
        path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
    codes = ("de", "en", "es", "tr", "zh")
    for name in ("mlqa-test", "mkqa-mia", "exams", "xcopa", "paws-x"):
        rows = []
        for row in range(40):
            keys = ("question", "context", "answer", "text", "text2")
            texts = {code: {key: sentence(f"{name}{row}{code}{key}") for key in keys} for code in codes}
            rows.append({"id": f"{name}-{row}", "split": "dev", "is_paraphrase": True, "texts": texts})
        for row in rows:  # only PAWS-X has `text` and `text2`, and a file needs exactly one field for the document
            for text in row["texts"].values():
                for key in ("text", "text2") if name != "paws-x" else ("question", "context", "answer"):
                    del text[key]
                if name in ("exams", "xcopa", "mkqa-mia"):
                    del text["context"]
        _gzip(data / "train" / f"{name}.jsonl.gz", rows)
    scifact = data / "seeds" / "scifact-beir"
    _gzip(scifact / "corpus.jsonl.gz", [{"_id": f"d{n}", "title": "", "text": sentence(f"d{n}")} for n in range(8)])
    _gzip(scifact / "queries.jsonl.gz", [{"_id": f"q{n}", "text": sentence(f"d{n}")} for n in range(8)])
    (scifact / "qrels").mkdir()
    qrels = [f"q{n}\td{n}\t1" for n in range(8)]
    (scifact / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *qrels]) + "\n")


def _lareqa(name: str, code: str) -> dict:
    sentences = [f"{sentence(f'{name}{code}{number}')}." for number in range(4)]
    starts = [sum(len(text) + 1 for text in sentences[:number]) for number in range(4)]
    questions = [
        {"id": f"{name}-{number}", "question": f"{sentence(f'{code}{number}')}?", "answers": [
            {"text": sentences[number][:5], "answer_start": starts[number]}]}
        for number in range(4)
    ]  # fmt: skip
    breaks = [[start, start + len(text)] for start, text in zip(starts, sentences, strict=True)]
    paragraph = {"context": " ".join(sentences), "sentences": sentences, "sentence_breaks": breaks, "qas": questions}
    return {"data": [{"title": "t", "paragraphs": [paragraph]}]}


def _record(row: int, source: dict) -> dict:
    texts = {code: sentence(f"{source['path']}{row}{code}") for code in source["languages"]}
    questions = [{code: {"question": sentence(f"q{row}{code}")} for code in ("de", "en")}]
    return {"id": str(row), "doc": row // 3, "texts": texts, "questions": questions}


def _pin(tasks: Path, data: Path) -> None:
    """Replace hashes in the task files, remove counts, and replace suites that need the hub."""
    for path in tasks.rglob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        if path.parent.name == "suites":
            content["tasks"] = ["cldr-facts-multi[de,en]", "xquad-r-multi[de,en]"]
        for name, pin in (content.get("source", {}).get("pins") or {}).items():
            pin |= _hash(data / name) if (data / name).is_file() else {}
        if files := content.get("source", {}).get("files"):
            path_of = content["source"]["path"].format
            content["source"]["files"] = {code: files[code] | _hash(data / path_of(language=code)) for code in _LAREQA}
        if path.stem != "cldr-facts":
            content = {key: value for key, value in content.items() if key not in ("expect", "data")}
        path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def _hash(path: Path) -> dict:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
