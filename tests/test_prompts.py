"""Prompts given by hand: what is typed, where results are stored, and names of files that do not depend on texts."""

import hashlib
import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hbt_bench.cli import options
from hbt_bench.cli.main import run
from hbt_bench.data.query_shift import Shift
from hbt_bench.files import file_name
from hbt_bench.identity.signature import Prompts, Signature
from hbt_bench.identity.task_name import MODES
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.reports.explain import explain
from hbt_bench.results.result import Result
from hbt_bench.results.store import model_folder
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.training.run import Training
from tests.factories import plain_bert, torch_random_model

INSTRUCTION = "Instruct: Find the place\nQuery: "


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return torch_random_model(tmp_path_factory.mktemp("model") / "m", seed=1)


@pytest.fixture
def evaluated(model, tmp_path, capsys):
    """A function that evaluates the model with prompts and returns the result and stderr."""

    def evaluated(*prompts):
        arguments = ["run", "--model", str(model), "--tasks", "cldr-facts-mono[de,en]", "--format", "json", *prompts]
        assert run([*arguments, "--output", str(tmp_path / "out")]) == 0
        out, err = capsys.readouterr()
        return Result.read(Path(json.loads(out)["results"][0]["path"])), err

    return evaluated


@pytest.mark.parametrize(
    ("text", "read", "told"),
    [
        (r"Instruct: find\nQuery: ", "Instruct: find\nQuery: ", True),
        (r"a\n\nb", "a\n\nb", True),
        (r"a\\nb", r"a\nb", False),
        ("a\n\\\\nb", "a\n\\nb", False),
        ("a\nb", "a\nb", False),
        (r"C:\temp\t", r"C:\temp\t", False),
        ("query: ", "query: ", False),
        ("", "", False),
        (None, None, False),
    ],
)
def test_typed_line_end(text, read, told, messages):
    assert options.typed("--query-prompt", text) == read
    expected = [r"--query-prompt: \n is read as a line end; to keep a backslash and an n, type \\n"] if told else []
    assert messages == expected


def test_typed_line_end_is_the_prompt_with_a_line_end(evaluated, tmp_path):
    typed, err = evaluated("--query-prompt", INSTRUCTION.replace("\n", r"\n"))
    assert err.count("is read as a line end") == 1
    real, err = evaluated("--query-prompt", INSTRUCTION)
    assert (err, real.path) == ("", typed.path)
    assert real.fields["prompt"] == Prompts(INSTRUCTION).label
    assert real.path.parent.name == f"prompts_{Prompts(INSTRUCTION).label}"
    assert real.prompts_by_hand == {"query_prompt": INSTRUCTION}
    long, _ = evaluated(
        "--query-prompt", "为这个句子生成表示以用于检索相关文章" * 50 + "：", "--document-prompt", " d\r\n "
    )
    assert long.prompts_by_hand["document_prompt"] == " d\r\n "
    for path in (tmp_path / "out").rglob("*"):
        assert path.name.isprintable()
        assert not path.name.endswith((" ", "."))
        assert len(path.name) <= 48


@pytest.mark.parametrize("prompt", [INSTRUCTION, r"a\nb", r"a\\nb", "it's"])
def test_explained_command_has_the_same_prompt(tmp_path, prompt):
    path = tmp_path / "local__m" / "1" / "experiments" / "p" / "T.json"
    result = replace(result_at(path), given_prompts={"query_prompt": prompt})
    command = shlex.split(explain(Signature.parse(result.signature), result).command)
    assert options.typed("--query-prompt", command[command.index("--query-prompt") + 1]) == prompt


def test_removed_prompts_are_prompts_by_hand(evaluated):
    result, _ = evaluated("--query-prompt", "")
    assert (result.path.parent.name, result.prompts_by_hand) == ("prompts_none", {"query_prompt": ""})


@pytest.mark.parametrize(
    ("prompts", "folder"),
    [
        (["--query-prompt", "query: "], "prompts_283306f9__query_prompt_query_ "),
        (["--query-prompt", "a\nb", "--document-prompt", ""], "document_prompt___prompts_391cd3ea__query_prompt_a\nb"),
    ],
)
def test_result_in_the_former_folder_is_found(evaluated, tmp_path, monkeypatch, prompts, folder):
    """Versions before 0.2 had the texts of the prompts in the name of the folder."""
    result, _ = evaluated(*prompts)
    former = result.path.parent.rename(result.path.parent.with_name(folder))
    monkeypatch.setattr(ModelRequest, "load", None)
    again, _ = evaluated(*prompts)
    assert again.path == former / result.path.name
    assert again.scores["AP"] == result.scores["AP"]


def result_at(path):
    signature = "task:t|text:sentence|data:d|model:m@1|prompt:0a1b2c3d|ties:docid-desc"
    return Result("t", "T", "local/m", "1", signature, None, path, 1)


def test_prompts_of_older_results_are_in_mteb_metadata(tmp_path):
    settings = {"query_prompt": "q: ", "prompts": "0a1b2c3d"}
    folder = tmp_path / "local__m" / "1" / "experiments" / "p"
    folder.mkdir(parents=True)
    (folder / "model_meta.json").write_text(json.dumps({"experiment_kwargs": settings}))
    result = result_at(folder / "T.json")
    assert (result.prompt_by_hand, result.prompts_by_hand) == ("0a1b2c3d", {"query_prompt": "q: "})


def test_output_folder_named_experiments_is_no_experiment(tmp_path):
    result = result_at(tmp_path / "experiments" / "out" / "local__m" / "1" / "T.json")
    assert (result.prompt_by_hand, result.prompts_by_hand) == ("none", {})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("local__xlm-r_base.v2", "local__xlm-r_base.v2"),
        ("größer-模型", "größer-模型"),
        ("a\nb\x7fc", "a_b_c"),
        ("a\u2028b", "a_b"),
        ("a/b\\c", "a_b_c"),
        ("ckpt.", "ckpt_"),
        ("ckpt ", "ckpt_"),
        ("a" * 200, "a" * 200),
        ("a" * 201, f"{'a' * 191}-a92efd82"),
        ("模" * 100, f"{'模' * 63}-9645d752"),
    ],
    ids=range(10),
)
def test_file_names(text, name):
    assert file_name(text) == name
    assert len(file_name(text).encode()) <= 200


@pytest.mark.parametrize(
    ("model", "revision", "folder"),
    [
        ("org/name v1", "0123", "org__name_v1/0123"),
        ("org/name", "refs/pr/1", "org__name/refs__pr__1"),
        ("local/ckpt.", "0123", "local__ckpt_/0123"),
    ],
)
def test_folder_of_a_model(tmp_path, model, revision, folder):
    assert model_folder(tmp_path, model, revision) == tmp_path / folder


def test_model_with_a_long_name_is_evaluated(model, tmp_path, capsys):
    folder = tmp_path / ("x" * 250)
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).symlink_to(path)
    arguments = ["run", "--model", str(folder), "--tasks", "cldr-facts-mono[de,en]", "--output", str(tmp_path / "out")]
    assert run(arguments) == 0
    [found] = (tmp_path / "out").iterdir()
    assert len(found.name) == 200


def test_files_of_a_task_have_short_names():
    """Many languages are counted, and a long name of another kind ends with a hash."""
    spec = TaskRegistry().specs["cldr-facts"]
    languages = spec.select(None)
    assert len(languages) > 8
    assert (
        spec.narrowed(languages[:-1])
        .mteb_task_name("multi")
        .startswith(f"CldrFactsMultilingualRetrieval_{len(languages) - 1}languages_")
    )
    shifts = [Shift.parse(f"typos@0.{number}:123456789") for number in range(1, 9)]
    narrowed = spec.narrowed(languages[:8]).shifted(shifts)
    names = {narrowed.mteb_task_name(mode) for mode in MODES} | {narrowed.ranks_name()}
    assert len(names) == 4
    assert all(len(name) <= 210 for name in names)
    assert spec.narrowed(["de", "en"]).mteb_task_name("mono") == "CldrFactsMonolingualRetrieval_de_en"


def test_prefix_of_a_recipe(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text("init: static:16\nquery_prefix: 'find\\nquery '\n")
    assert run(["train", "r.yaml", "--passage-prefix", r"find\npassage ", "--show-recipe"]) == 0
    out, err = capsys.readouterr()
    assert r"query_prefix: 'find\nquery '" in out
    assert yaml.safe_load(out)["passage_prefix"] == "find\npassage "
    assert r"r.yaml: \n in query_prefix is a backslash and an n; for a line end, use double quotes in YAML" in err
    assert r"--passage-prefix: \n is read as a line end" in err


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("seed 1", "seed 1"),
        ("runs/a", "runs/a"),
        ("a\nb.", "a_b_"),
        ("../a", "a"),
        ("/a//b", "a/b"),
        ("x" * 300, f"{'x' * 191}-{hashlib.sha256(b'x' * 300).hexdigest()[:8]}"),
    ],
    ids=range(6),
)
def test_name_of_a_recipe_is_the_default_folder(capsys, monkeypatch, name, folder):
    monkeypatch.setattr(Training, "run", lambda self: self.output)
    assert run(["train", "--init", "static:16", "--name", name]) == 0
    assert capsys.readouterr().out == f"{folder}\n"


def test_prompt_longer_than_the_text_that_a_model_reads(tmp_path, capsys):
    """Every query has the same vector, and the user learns the reason."""
    folder = plain_bert(tmp_path / "bert")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 8}))
    arguments = ["run", "--model", str(folder), "--tasks", "cldr-facts-mono[de,en]", "--output", str(tmp_path / "out")]
    assert run([*arguments, "--query-prompt", "ab" * 8]) == 0
    assert "the prompt of a query is longer than the text that the model reads" in capsys.readouterr().err
