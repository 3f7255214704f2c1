"""Check ``hbt-bench train`` and ``hbt-bench quickstart``."""

import json

import pytest
import yaml

from hbt_bench.cli.main import run
from hbt_bench.data import cldr
from hbt_bench.errors import UsageError
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import Training

SMALL = ["--init", "static:16", "--steps", "4", "--batch-size", "8", "--languages", "de,en,sw", "--guard", "cldr-facts"]


@pytest.fixture
def hbt(capsys, monkeypatch, tmp_path):
    """A function that runs a command in an empty folder, 80 columns wide; see `test_cli.hbt`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def hbt(*arguments):
        code = run([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return hbt


def test_every_recipe_field_is_a_flag(hbt):
    code, out, _ = hbt("train", "--help")
    assert code == 0
    for name in Recipe.model_fields:
        assert f"  --{name.replace('_', '-')} " in out or f"  --{name.replace('_', '-')}\n" in out, name


def test_show_recipe_prints_readable_recipe(hbt, tmp_path):
    code, out, err = hbt(
        "train", *SMALL, "--alpha", "0.3", "--language-weights", "en=2,de=1", "--symmetric", "--show-recipe"
    )
    assert (code, err) == (0, "")
    (tmp_path / "r.yaml").write_text(out)
    recipe = Recipe.read(tmp_path / "r.yaml")
    assert (recipe.alpha, recipe.language_weights, recipe.symmetric, recipe.steps) == (0.3, {"en": 2, "de": 1}, True, 4)
    assert hbt("train", "r.yaml", "--show-recipe")[1] == out


def test_preview_shows_batches_and_shares(hbt):
    code, out, _ = hbt("train", *SMALL, "--preview", "2", "--strategy", "monolingual")
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "batch 1: mono, cldr-facts" in out
    assert "batch 2: mono, cldr-facts" in out
    assert "batch 3" not in out
    assert "planned shares of 4 batches of 8, 32 rows" in out
    for code in ("de", "en", "sw"):
        assert f"queries in {code}" in out
    pairs = [line[2:7] for line in out.splitlines() if line.startswith("│ ")]
    assert len(pairs) == 16
    assert all(len(set(pairs[start : start + 8])) == 1 for start in (0, 8))


def test_train_then_run(hbt, tmp_path):
    code, out, err = hbt("train", *SMALL, "--output", "ckpt")
    assert (code, out) == (0, "ckpt\n")
    assert "hbt-bench run --model ckpt" in err
    code, out, err = hbt(
        "run", "--model", "ckpt", "--tasks", "cldr-facts-multi", "--languages", "de,en", "--format", "json"
    )
    assert code == 0, err
    assert "cldr-facts-multi" in out
    code, out, err = hbt("train", *SMALL, "--output", "ckpt")
    assert (code, err.splitlines()[0]) == (0, "hbt-bench: ckpt has this model already")


def test_norwegian_in_a_flag_is_a_language(hbt):
    code, out, _ = hbt("train", "--data", "{path: a, query: q, passage: p, languages: [en, no]}", "--show-recipe")
    assert (code, yaml.safe_load(out)["data"][0]["languages"]) == (0, ["en", "no"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--alpha", "1.5"], 2, "--alpha: must be less than or equal to 1"),
        (["--strategy", "hybird"], 2, "'hybird' is not one of"),
        (["--data", "{path: a.jsonl, query: q, passage: p, negativ: n}"], 2, "--data: unknown key 'negativ'"),
        (["--data", "{path: [}"], 2, "--data: '{path: [}' is not valid YAML"),
        (["--data", "{path: 2001-99-99}"], 2, "--data: the key 'query' is missing"),  # a date is a text, as in files
        (["--data", "{path: a, query: q, passage: p, where: {a: null}}"], 2, "--data: `where: {a: null}` has no value"),
        (["--data", "{path: " + "[" * 3000], 2, "is not valid YAML"),
        (["--batch-size", "5000"], 3, "fewer than a batch of 5000"),
        (["missing.yaml"], 2, "'missing.yaml' does not exist"),
        (["--languages", "xx"], 2, "--languages: unknown language code 'xx'"),
        (["--init", "./none"], 2, "there is no folder ./none"),
        (["--output", __file__], 5, "a file is where a folder should be"),
        (["--data-dir", "none"], 2, "'none' does not exist"),
        (["--language-weights", "en=2,de"], 2, "--language-weights: 'en=2,de' has a language without a weight"),
        (["--instruction", "[1, 2"], 2, "--instruction: '[1, 2' is not valid YAML"),
        (["--dev-measure", "loss", "--dev-share", "0.001"], 3, "too few items are held out for a development loss"),
    ],
)
def test_train_mistakes_are_one_line(hbt, arguments, code, message):
    actual, out, err = hbt("train", "--guard", "cldr-facts", *arguments)
    assert (actual, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_mistyped_key_has_line_number(hbt, tmp_path):
    (tmp_path / "r.yaml").write_text("init: static:16\nstrateggy: hybrid\n")
    code, _, err = hbt("train", "r.yaml")
    assert code == 3
    assert err == "hbt-bench: r.yaml:2:1: unknown key 'strateggy' in the file; did you mean 'strategy'?\n"


def test_advice_is_complete_command(hbt, tmp_path):
    """The command that `train` recommends has all required options of `run`."""
    code, out, err = hbt("train", *SMALL, "--output", "my model")
    assert (code, out) == (0, "my model\n")
    advice = err.splitlines()[-1]
    assert advice == "hbt-bench: evaluate it with `hbt-bench run --model 'my model' --tasks xquad-r`"


def test_quickstart(hbt, tmp_path, monkeypatch):
    """Run the whole quickstart with less training, and evaluate on 5 of its 20 languages."""
    from hbt_bench.cli import quickstart

    assert quickstart._TASK == "cldr-facts"
    monkeypatch.setattr(quickstart, "_TASK", "cldr-facts[de,el,en,sw,vi]")
    monkeypatch.setitem(quickstart._RECIPE, "steps", 20)
    code, out, err = hbt("quickstart")
    assert code == 0, err
    for strategy in quickstart.STRATEGIES:
        about = json.loads((tmp_path / "quickstart" / "models" / strategy / "hbt_bench_recipe.json").read_text())
        assert (about["strategy"], about["pairs_seen"]) == (strategy, 20 * 128)
        assert f"local/{strategy}" in out
        recipe = yaml.safe_load(yaml.safe_dump(about["recipe"]))
        assert recipe["init"] == "static:128"
    words = " ".join(out.split())
    named = "than hybrid on cldr-facts-multi[de,el,en,sw,vi] AP" in words
    assert named or "and hybrid do not differ significantly" in words
    assert "Greek (el) and Vietnamese (vi) are in no training text" in out
    assert "- el: monolingual 0." in out
    assert "- vi: monolingual 0." in out
    assert "centered 0." in out
    assert "-center-on-own" in "".join(out.split())
    assert all(len(line) <= 80 for line in out.splitlines() if not line.startswith("  hbt-bench "))
    ap = {name: float(words.split(f"{name}: AP ")[1].split()[0]) for words in [err] for name in quickstart.STRATEGIES}
    assert f"the three have {min(ap.values()):.2f} to {max(ap.values()):.2f}. If users" in words
    assert "hbt-bench run --model ckpt/ --tasks cldr-facts[de,el,en,sw,vi] --output quickstart/results" in words
    assert "W/T/L" not in out  # quickstart leaves the table of differences out
    code, out, err = hbt("quickstart", "--seed", "1")  # quickstart has no --overwrite
    assert (code, out) == (2, "")
    assert "quickstart/models/monolingual has a model of another --seed or version" in err.splitlines()[-1]


def test_first_process_prints_folder(hbt, tmp_path, monkeypatch):
    assert hbt("train", *SMALL, "--output", "ckpt")[0] == 0
    monkeypatch.setattr("hbt_bench.cli.train.is_first", lambda: False)
    code, out, err = hbt("train", *SMALL, "--output", "ckpt")
    assert (code, out) == (0, "")
    assert "evaluate it with" not in err


def test_batch_must_divide_among_processes(hbt, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UsageError, match=r"a batch of 8 cannot be .* 3 processes"):
        Training(Recipe.read(None, {"init": "static:16", "batch_size": "8", "steps": "4"}), tmp_path / "ckpt").run()


def test_preview_shows_hard_negatives_and_dropped_texts(hbt, tmp_path):
    rows = [{"q": f"question {n}", "p": f"answer {n}", "n": f"another {n}"} for n in range(12)]
    leaked = cldr.read("test", ["en"]).queries[0].text
    rows.append({"q": leaked, "p": "anything", "n": "else"})
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = "{path: d.jsonl, query: q, passage: p, negative: n, language: en}"
    options = ["--init", "static:16", "--steps", "2", "--batch-size", "4", "--strategy", "monolingual"]
    given = ["--guard", "cldr-facts", "--drop-overlap", "--data", source, "--data-dir", tmp_path]
    code, out, err = hbt("train", *options, *given, "--preview", "1")
    assert (code, err) == (0, ""), (out, err)
    assert "hard negative" in out
    assert out.count("another ") == 4
    assert "left out of d: 1 texts in en (same text, cldr-facts)" in out


def test_preview_shows_two_hard_negatives(hbt, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    lines = ["q,p,a,b", *(f"question {n},answer {n},first {n},second {n}" for n in range(12))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    source = "{path: t.csv, language: en, query: q, passage: p, negative: [a, b]}"
    options = ["--init", "static:16", "--steps", "2", "--batch-size", "4", "--strategy", "monolingual", "--guard", ""]
    code, out, _ = hbt("train", *options, "--data", source, "--data-dir", tmp_path, "--preview", "1")
    assert (code, out.count("first "), out.count("second ")) == (0, 4, 4)
    assert "hard negative 2 of 2" in out


def test_rows_without_ids_are_refused_in_cross_lingual_batches(hbt, tmp_path):
    for language in ("de", "en"):
        rows = [{"q": f"{language} question {n}", "p": f"{language} answer {n}"} for n in range(8)]
        (tmp_path / "faq" / language).mkdir(parents=True)
        (tmp_path / "faq" / language / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = "{kind: hub, dataset: faq, folders: {en: en, de: de}, query: q, passage: p%s}"
    options = ["--init", "static:16", "--steps", "2", "--batch-size", "4", "--guard", "", "--data-dir", tmp_path]

    def preview(strategy, keys=""):
        code, out, err = hbt("train", *options, "--data", source % keys, "--strategy", strategy, "--preview", "1")
        return code, f"{out}{err}"

    code, text = preview("cross-lingual")
    assert code == 3
    assert "no record has an id: set `id` to the field that translations share (the fields are q, p)" in text
    assert preview("cross-lingual", ", align: row")[0] == 0
    assert preview("monolingual")[0] == 0
    code, text = preview("hybrid")
    assert code == 0
    assert "faq has no pairs of two languages, so its batches have one: no record has an id" in text


def test_mappings_as_flags(hbt):
    flags = ["--lora", "{r: 8}", "--max-length", "{query: 32, passage: 256}"]
    shown = yaml.safe_load(hbt("train", *flags, "--show-recipe")[1])
    assert shown["lora"] == {"r": 8, "alpha": None, "dropout": 0.0, "targets": "all-linear"}
    assert (shown["max_length"], shown["freeze"]) == ({"query": 32, "passage": 256}, [])
    frozen = yaml.safe_load(hbt("train", "--freeze", "embeddings,layer.0", "--max-length", "64", "--show-recipe")[1])
    assert (frozen["freeze"], frozen["max_length"], frozen["lora"]) == (["embeddings", "layer.0"], 64, None)
    code, _, err = hbt("train", "--lora", "{r")
    assert (code, "--lora: '{r' is not valid YAML: write {r: 16}" in err) == (2, True)
