"""Test studies: their files, the plan of jobs, the answer, the report, and a kill in between."""

import html
import json
import random
import re
from copy import copy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import ttest_1samp

from hbt_bench.cli.main import run
from hbt_bench.data.query_shift import Shift
from hbt_bench.errors import DataError, OutputError, UsageError
from hbt_bench.identity.checkpoint import RECIPE_FILE
from hbt_bench.measures.registry import MEASURES
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import Result
from hbt_bench.results.store import read_all
from hbt_bench.stats.power import planned, seeds_needed, smallest_difference
from hbt_bench.stats.seeds import SquaredErrors
from hbt_bench.studies import planning, report
from hbt_bench.studies.estimates import evaluation_seconds, training_seconds
from hbt_bench.studies.jobs import Evaluate, StudyPaths, Train
from hbt_bench.studies.keys import GROUPS, SCALES, Answer
from hbt_bench.studies.planning import earlier_estimates, first_level
from hbt_bench.studies.score_table import ScoreTable, _average, _by_language, _rescaled
from hbt_bench.studies.sentences import answer, significant_differences
from hbt_bench.studies.study import Study, find_study, study_names
from hbt_bench.studies.study_plan import StudyPlan, models_named, run_jobs
from hbt_bench.studies.study_result import Cost, Estimate, StudyResult, compare, contrasts, corrected, run_study
from hbt_bench.studies.values import ModelScore, ScoreKey, TaskValues, question_values
from hbt_bench.training import card
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import Training
from tests.factories import torch_random_model

NAMES = (
    "batches-vs-finetuning",
    "captions-domain-shift",
    "hybrid-vs-multitask",
    "instruction-tuning",
    "ood-low-resource",
)


def tiny(**changes):
    """Return the content of a small study, equal at all scales."""
    scale = {
        "inits": ["static:16"],
        "seeds": [0, 1],
        "recipe": {"steps": 4, "batch_size": 8, "languages": ["de", "en", "sw"], "vocabulary": 500, "guard": []},
        "tasks": {
            "in-domain": ["cldr-facts[de,en>de,el,en]"],
            "out-of-domain": ["cldr-facts-multi[el>de,el,en]"],
            "shifted": ["cldr-facts-multi[de,en>de,el,en]+typos"],
        },
    }
    return {
        "name": "tiny",
        "title": "A tiny study",
        "question": "Is hybrid better?",
        "answer": {"claim": "hybrid is better", "strategy": "hybrid", "over": ["monolingual"]},
        "strategies": {
            "monolingual": {"strategy": "monolingual"},
            "cross-lingual": {"strategy": "cross-lingual"},
            "hybrid": {"strategy": "hybrid"},
        },
        "sweep": {"zero": "cross-lingual", "one": "monolingual", "alphas": [0.5]},
        "scales": dict.fromkeys(SCALES, scale),
        **changes,
    }


def plan(folder, content=None, **paths):
    """Write the file of a study and return its plan."""
    path = folder / "tiny.yaml"
    # the detour through JSON copies the scales, which YAML would write as aliases, an error in studies
    path.write_text(yaml.dump(json.loads(json.dumps(content or tiny())), sort_keys=False))
    return StudyPlan(Study.read(path).at("smoke"), StudyPaths(folder / "out", **paths))


# Files


def test_five_studies_ship():
    assert study_names() == NAMES


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_study_is_valid_with_equal_budgets(name, scale):
    design = find_study(name).at(scale)
    trained = [system for system in design.systems if system.trained]
    recipes = [design.recipe(system, seed) for system in trained for seed in design.study.seeds]
    assert len({recipe.digest for recipe in recipes}) == len(recipes)
    assert len({recipe.steps * recipe.batch_size for recipe in recipes}) == 1
    assert len(design.study.seeds) >= (2 if scale == "smoke" else 3)
    assert design.study.question.endswith("?")
    if scale == "paper":
        assert {system.init for system in design.systems} == {
            "FacebookAI/xlm-roberta-base",
            "sentence-transformers/LaBSE",
        }
        stated = {
            (recipe.learning_rate, recipe.weight_decay, recipe.batch_size, recipe.query_prefix) for recipe in recipes
        }
        assert stated == {(3e-5, 0.01, 100, "Query: ")}  # of arXiv 2408.10536


def hub_sources(name):
    """Return the hub data sets that a study trains on at the scale paper."""
    design = find_study(name).at("paper")
    recipes = [design.recipe(system, 0) for system in design.systems]
    stages = [recipe.instruction.data for recipe in recipes if recipe.instruction]
    return {source.label: source for data in (*[recipe.data for recipe in recipes], *stages) for source in data}


@pytest.mark.parametrize("name", NAMES)
def test_hub_data_are_pinned(name):
    sources = hub_sources(name)
    assert {source.kind for source in sources.values()} == {"hub"}
    assert all(re.fullmatch("[0-9a-f]{40}", source.revision) for source in sources.values())


def test_hub_data_agree_with_mteb():
    """Commits, splits and languages equal those in MTEB's metadata, for the data sets that MTEB has."""
    import mteb

    captions = mteb.get_task("XM3600T2IRetrieval").metadata
    xm3600 = hub_sources("captions-domain-shift")["xm3600"]
    assert {"path": xm3600.dataset, "revision": xm3600.revision} == captions.dataset
    assert set(xm3600.splits.values()) == set(captions.eval_langs)
    opus = mteb.get_task("OpusSlovakEnglishBitextMining").metadata.dataset
    bitext = [source for source in hub_sources("hybrid-vs-multitask").values() if source.dataset == opus["path"]]
    assert len(bitext) == 6
    assert {source.revision for source in bitext} == {opus["revision"]}
    designs = [find_study(name).at("paper") for name in NAMES]
    specs = [selection.spec for design in designs for group in GROUPS for _, selection in design.selections(group)]
    pooled = {spec.source.task: spec.source for spec in specs if spec and spec.source.kind == "mteb"}
    assert {"MIRACLRetrievalHardNegatives", "BelebeleRetrieval", "SciFact"} <= set(pooled)
    for task, source in pooled.items():
        metadata = mteb.get_task(task).metadata
        assert source.revision in (None, metadata.dataset["revision"])
        assert source.split in (None, *metadata.eval_splits)


def test_multi_task_gives_each_task_a_third():
    design = find_study("hybrid-vs-multitask").at("paper")
    recipe = design.recipe(next(system for system in design.systems if system.strategy == "multi-task"), 0)
    assert recipe.source_weights == "uniform"
    weights = {source.label: source.weight or 1 for source in recipe.data}
    assert (
        weights["mmarco"]
        == weights["xnli"]
        == sum(weight for label, weight in weights.items() if label.startswith("opus"))
    )


def test_systems_of_the_studies():
    def strategies(name):
        return {system.strategy for system in find_study(name).at("paper").systems}

    assert strategies("ood-low-resource") == {
        "monolingual",
        "cross-lingual",
        "hybrid",
        "hybrid, alpha 0.25",
        "hybrid, alpha 0.75",
    }
    assert strategies("captions-domain-shift") == {"hybrid", "language-agnostic", "language-specific"}
    selections = find_study("batches-vs-finetuning").at("paper").selections("out-of-domain")
    assert [selection.stock for _, selection in selections][:2] == [
        "MTOPDomainClassification",
        "MTOPIntentClassification",
    ]
    when = {
        system.strategy: recipe.instruction.when if recipe.instruction else recipe.data[0].kind
        for design in [find_study("instruction-tuning").at("small")]
        for system in design.systems
        if system.trained
        for recipe in [design.recipe(system, 0)]
    }
    assert when == {
        "hybrid": "file",
        "instruction only": "file",
        "hybrid then instruction": "after",
        "instruction then hybrid": "before",
        "mixed": "mixed",
    }


def test_curve_adds_hybrids_for_missing_alphas(tmp_path):
    sweep = {"zero": "cross-lingual", "one": "monolingual", "alphas": [0.3, 0.5]}
    systems = plan(tmp_path, tiny(sweep=sweep)).design.systems
    assert [(system.strategy, system.alpha) for system in systems] == [
        ("monolingual", 1.0),
        ("cross-lingual", 0.0),
        ("hybrid", 0.5),
        ("hybrid, alpha 0.3", 0.3),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sweep:", "sweeep:", "unknown key 'sweeep' in the file; did you mean 'sweep'?"),
        ("strategy: monolingual", "strategy: monolinguall", "at the scale smoke: strategy: must be 'monolingual'"),
        ("  - monolingual", "  - monolinguall", "no strategy 'monolinguall'; did you mean 'monolingual' or"),
        ("steps: 4", "stepps: 4", "at the scale smoke: unknown key 'stepps'; did you mean 'steps'?"),
        ("static:16", "static:x", "at the scale smoke: init: 'static:x' is not an init"),
        ("cldr-facts[de,en>de,el,en]", "cldr-fact[de,en>de,el,en]", "unknown task 'cldr-fact"),
        ("+typos", "+tpos", "unknown query shift 'tpos'; did you mean 'typos'?"),
        (
            "cldr-facts-multi[de,en>de,el,en]+typos",
            "cldr-facts-multi[de,en]+typos",
            "which is not among the other tasks",
        ),
        ("name: tiny", "name: other", ":1:1: the name is 'other': it must be 'tiny', like the file's"),
    ],
)
def test_mistakes_have_line_and_column(tmp_path, old, new, message):
    text = yaml.dump(json.loads(json.dumps(tiny())), sort_keys=False)
    assert old in text
    path = tmp_path / "tiny.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError) as error:
        Study.read(path)
    assert message in str(error.value)
    line = int(re.search(r"tiny\.yaml:(\d+):\d+: ", str(error.value))[1])
    assert new.split(":")[0].strip(" -") in path.read_text().splitlines()[line - 1]


@pytest.mark.parametrize(
    ("name", "comparisons"), [("instruction-tuning", 1), ("batches-vs-finetuning", 3), ("captions-domain-shift", 4)]
)
def test_a_plan_has_the_level_of_the_first_step_of_holms_correction(name, comparisons):
    # two baselines times two tasks in captions-domain-shift
    assert first_level(find_study(name).at("smoke")) == 0.05 / comparisons


def test_each_number_of_a_plan_is_that_of_the_task_that_needs_the_most(monkeypatch):
    """With the four planned seeds, the seeds of a task limit; with more, the questions of another task do."""
    design = find_study("instruction-tuning").at("small")
    by_seed = SquaredErrors(3e-5, 4, 1e-6, 100, 0.0)
    by_question = SquaredErrors(1e-7, 4, 2.5e-5, 100, 0.0)
    answer = design.study.answer
    names = {"group": answer.tasks, "measure": "AP", "system": answer.strategy, "baseline": answer.over[0]}
    estimates = [
        Estimate("answer", task=task, value=0.0, low=0.0, high=0.0, spread=0.0, errors=errors, **names)
        for task, errors in (("a", by_seed), ("b", by_question))
    ]
    monkeypatch.setattr(planning, "earlier_estimates", lambda design, path: estimates)
    [row] = planning.plan_table([design], 0.01).rows
    level = first_level(design)
    assert row[2:6] == [
        "97%/3%/?",
        f"{smallest_difference(by_seed, level):.4f} (4)",
        f"{smallest_difference(planned(by_question, 10), level):.4f}",
        f"{smallest_difference(planned(by_question, 1_000), level):.4f}",
    ]
    assert row[6] == "over 1,000"  # because of the second task; the first needs few seeds
    assert seeds_needed(by_seed, 0.01, level) is not None


def changed(**changes):
    """Return the content of a study with changes at all scales."""
    scale = tiny()["scales"]["smoke"]
    return tiny(scales=dict.fromkeys(SCALES, scale | changes))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            changed(tasks={"in-domain": ["cldr-facts[de,en]"], "out-of-domain": ["cldr-facts", "cldr-facts-multi"]}),
            "'cldr-facts-multi' and 'cldr-facts' both select cldr-facts-multi: name it once",
        ),
        (changed(seeds=[0, 0, 1]), "the seed 0 is named twice"),
        (tiny(seeds=[0, -1]), "seeds"),
        (changed(recipe={"seed": 7}), "seed: the study gives it in `seeds`: remove it here"),
        (changed(strategies={"hybrid": {"init": "static:8"}}), "init: the study gives it in `inits`: remove it here"),
        (
            changed(inits=["LaBSE"], strategies={"u": {"strategy": "none", "corect": "center"}}),
            "corect: an untouched init has no such key; did you mean 'correct'",
        ),
        (
            changed(inits=["LaBSE"], strategies={"u": {"strategy": "none", "max_length": 8}}),
            "max_length: an untouched init has no such key: remove it",
        ),
        (
            changed(strategies={"hybrid": {"correct_on": "cldr-facts:20"}}),
            "correct_on: there is no correction: name it in `correct`",
        ),
        (tiny(answer={**tiny()["answer"], "over": ["hybrid"]}), "'hybrid' cannot be compared with itself"),
        (
            tiny(
                answer={**tiny()["answer"], "over": ["untouched"]},
                strategies=tiny()["strategies"] | {"untouched": {"strategy": "none"}},
            ),
            "'untouched' has no model, because random weights cannot stay untouched",
        ),
        (changed(strategies={"hybrid": {"each": ["de", "deu"]}}), "each: 'de' is named twice"),
        (changed(strategies={"hybrid": {"each": "de"}}), "each: write a list: [de]"),
        (changed(strategies={"hybrid": {"each": ["de", "zz"]}}), "each: unknown language"),
        (changed(strategies={"hybrid": {"each": ["de"]}}), "each: every task of the answer also has queries in other"),
        (
            tiny(sweep={"zero": "hybrid", "one": "monolingual", "alphas": [0.3]}),
            "the alpha of 'hybrid' is not 0: name another strategy",
        ),
    ],
)
def test_keys_without_a_meaning_are_refused(tmp_path, content, message):
    with pytest.raises(DataError) as error:
        plan(tmp_path, content)
    assert message in str(error.value)


def test_codes_of_models_of_single_languages_have_any_spelling(tmp_path):
    content = changed(strategies={"hybrid": {"each": ["eng", "DE", "el"]}})
    [system] = [system for system in plan(tmp_path, content).design.systems if system.strategy == "hybrid"]
    assert system.each == ("en", "de", "el")


def test_curve_has_the_alpha_of_the_recipe(tmp_path):
    content = changed()
    content["scales"]["smoke"]["recipe"]["alpha"] = 0.25
    sweep = {"zero": "cross-lingual", "one": "monolingual", "alphas": [0.25, 0.5]}
    systems = plan(tmp_path, content | {"sweep": sweep}).design.systems
    assert [(system.strategy, system.alpha) for system in systems][2:] == [("hybrid", 0.25), ("hybrid, alpha 0.5", 0.5)]


@pytest.mark.parametrize(
    ("minus", "message"),
    [("hybrit", "no strategy 'hybrit'; did you mean 'hybrid'"), ("hybrid", "'hybrid' is on both sides")],
)
def test_mistakes_in_contrasts(tmp_path, minus, message):
    with pytest.raises(DataError, match=message):
        plan(tmp_path, tiny(contrasts=[{"of": ["hybrid"], "minus": [minus]}]))


def test_one_seed_is_too_few(tmp_path):
    content = tiny()
    content["scales"] = dict.fromkeys(SCALES, content["scales"]["smoke"] | {"seeds": [3]})
    with pytest.raises(DataError, match=r"tiny\.yaml:\d+:\d+: at the scale smoke: .* needs at least two seeds"):
        plan(tmp_path, content)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tasks", None, "there are no tasks: give in-domain or out-of-domain tasks"),
        ("inits", None, "there is no init: give"),
        ("tasks", {"out-of-domain": ["cldr-facts-multi[el>de,el,en]"]}, "there are no in-domain tasks"),
        ("tasks", {"in-domain": ["cldr-facts"], "shifted": ["SciFact"]}, "'SciFact' has no query shift: write +typos"),
    ],
)
def test_scale_needs_tasks_and_inits(tmp_path, key, value, message):
    scale = {**tiny()["scales"]["smoke"], key: value}
    if value is None:
        del scale[key]
    content = tiny(answer={**tiny()["answer"], "tasks": "in-domain"}, scales=dict.fromkeys(SCALES, scale))
    with pytest.raises(DataError, match=re.escape(message)):
        plan(tmp_path, content)


def test_hybrid_strategy_is_on_the_curve_by_alpha(tmp_path):
    strategies = tiny()["strategies"] | {
        "rare": {"strategy": "hybrid", "alpha": 0.2},
        "other": {"strategy": "hybrid", "alpha": 0.7},
    }
    sweep = {"zero": "cross-lingual", "one": "monolingual", "alphas": [0.2, 0.5]}
    systems = plan(tmp_path, tiny(strategies=strategies, sweep=sweep)).design.systems
    assert {system.strategy: system.alpha for system in systems} == {
        "monolingual": 1.0, "cross-lingual": 0.0, "hybrid": 0.5, "rare": 0.2, "other": None,
    }  # fmt: skip


# StudyPlan


def addresses(study_plan):
    return {f"{type(job).__name__} {job.label}": job.address for job in study_plan.jobs}


def test_changed_strategy_repeats_its_own_jobs_only(tmp_path):
    before = addresses(plan(tmp_path))
    content = tiny()
    content["strategies"]["cross-lingual"]["pairs"] = "one"
    after = addresses(plan(tmp_path, content))
    assert before.keys() == after.keys()
    changed = {label for label in before if before[label] != after[label]}
    assert changed == {label for label in before if "cross-lingual" in label}
    assert len(changed) == 2 * (1 + 3)  # seeds x (training and three tasks)


def test_studies_share_models():
    plans = [StudyPlan(find_study(name).at("small"), StudyPaths(Path("out"))) for name in NAMES]
    models = [{job.address for job in study_plan.trainings} for study_plan in plans]
    finetuning, low = models[0], models[4]
    assert len(finetuning & low) == 3 * 4 + 1  # monolingual, cross-lingual and hybrid, four seeds; the untouched init


def test_changed_data_change_the_address(tmp_path):
    content = tiny()
    source = {"path": "a.jsonl", "query": "q", "passage": "p"}
    scale = content["scales"]["smoke"]
    content["scales"] = dict.fromkeys(SCALES, scale | {"recipe": scale["recipe"] | {"data": [source]}})
    model_addresses = []
    for text in ("one", "two", "one"):
        (tmp_path / "a.jsonl").write_text(text)
        model_addresses.append(plan(tmp_path, content, folders=(tmp_path,)).trainings[0].address)
    assert model_addresses[0] == model_addresses[2] != model_addresses[1]


def test_estimates_list_the_jobs_left(tmp_path):
    estimates = plan(tmp_path).estimates()
    assert [type(job) for job, _ in estimates] == [Train, Evaluate, Evaluate, Evaluate] * 6
    assert all(seconds > 0 for _, seconds in estimates)


def test_estimate_counts_texts():
    """SciFact has 300 queries and 5,183 documents, by MTEB's statistics; 5 seconds of 5,483 texts, and 10 to start."""
    plan = StudyPlan(find_study("captions-domain-shift").at("paper"), StudyPaths(Path("out")))
    [scifact] = {job.estimated_seconds for job in plan.evaluations if job.name == "beir-scifact"}
    assert scifact == pytest.approx(10 + 5483 / 5000)
    assert all(seconds is not None for _, seconds in plan.estimates())


def test_estimates_by_hand():
    """A layer of width 32 has 12 x 32² weights, 2 operations each, over 60 tokens of two texts; 2e10 a second."""
    forward = 2 * 2 * 12 * 32**2 * 60 / 2e10
    recipe = Recipe(init="tiny:1x32", steps=10, batch_size=8)
    assert training_seconds(recipe) == pytest.approx(1 + 80 * 3 * forward)
    assert evaluation_seconds("tiny:1x32", 1000) == pytest.approx(0.3 + 1000 * forward)
    assert evaluation_seconds("tiny:1x32", None) is None


def untouched(folder):
    """Return a study of a model of random vectors: trained, untouched, and untouched with corrected vectors."""
    content = tiny(
        strategies={
            "monolingual": {"strategy": "monolingual"},
            "untouched": {"strategy": "none"},
            "center": {"strategy": "none", "correct": "center"},
        },
        answer={**tiny()["answer"], "strategy": "monolingual", "over": ["untouched"], "tasks": "in-domain"},
        sweep=None,
    )
    scale = tiny()["scales"]["smoke"] | {"inits": [str(torch_random_model(folder, 0))]}
    scale["recipe"] = {key: value for key, value in scale["recipe"].items() if key != "vocabulary"}
    scale["tasks"] = {"in-domain": ["cldr-facts-multi[de,en]"], "out-of-domain": ["SciFact"]}
    return {**content, "scales": dict.fromkeys(SCALES, scale)}


def test_compact_study_keeps_only_the_values(tmp_path, monkeypatch):
    """Each model is deleted when its evaluations are there; an untouched init is only evaluated, and stays."""
    content = untouched(tmp_path / "init")
    content["scales"]["smoke"]["tasks"]["out-of-domain"] = []
    study_plan = plan(tmp_path, content)
    assert [job.label for job in study_plan.trainings] == [
        *("monolingual, init, seed 0", "monolingual, init, seed 1", "untouched, init", "center, init")
    ]
    run_jobs([study_plan], compact=True)
    assert list((tmp_path / "out" / "models").iterdir()) == []
    assert (tmp_path / "init" / "model.safetensors").is_file()
    [trained, _, plain, centered] = study_plan.evaluations
    assert plain.values.facts.keys() == {"model", "task", "evaluation_seconds"}
    assert trained.values.facts["steps"] == 4
    key = ScoreKey("mean", "AP")
    request = ModelRequest(str(tmp_path / "init"), correction=centered.train.model.correction)
    [expected] = Evaluation(request, [centered.selection], tmp_path / "results").run()
    assert centered.values.scores[key].value == pytest.approx(expected.scores["AP"], abs=1e-6)
    assert centered.values.scores[key].value != plain.values.scores[key].value
    assert {seconds for _, seconds in study_plan.estimates()} == {0.0}  # nothing is left, although no model is there
    result = StudyResult.read(compare(study_plan).read_text())
    assert [(cost.system, cost.steps, cost.models) for cost in result.costs] == [
        *(("monolingual", 4, 2), ("untouched", 0, 1), ("center", 0, 1))
    ]


def test_starts_of_addresses_select_models(tmp_path):
    """The start that the dry run prints is enough, of a training or an evaluation; a wrong one is an error."""
    content = untouched(tmp_path / "init")
    content["scales"]["smoke"]["tasks"]["out-of-domain"] = []
    study_plan = plan(tmp_path, content)
    first, second, plain, centered = study_plan.evaluations
    assert plain.train.address == centered.train.address
    run_jobs([study_plan], [first.train.address[:8], plain.address[:8]])
    assert [job.done for job in study_plan.evaluations] == [True, False, True, True]
    run_jobs([study_plan], [first.address])  # which is done
    assert models_named([study_plan], [second.address[:8]]) == {second.train.address}
    assert models_named([study_plan], []) == {job.train.address for job in study_plan.evaluations}
    for wrong, problem in (("0" * 8, "no addresses that begin with '00000000'"), ("", "jobs of 3 models")):
        with pytest.raises(UsageError, match=problem):
            run_jobs([study_plan], [second.address, wrong])
    assert not second.done


def test_corrected_system_has_no_tasks_of_mteb(tmp_path):
    jobs = plan(tmp_path, untouched(tmp_path / "init")).evaluations
    tasks = {"cldr-facts-multi[de,en]", "SciFact"}
    asked = {
        strategy: {job.name for job in jobs if job.train.system.strategy == strategy}
        for strategy in ("untouched", "center")
    }
    assert asked == {"untouched": tasks, "center": tasks - {"SciFact"}}


def test_results_of_older_versions_have_no_variances(tmp_path):
    """Their intervals stay as they are, and cannot be the base of a plan."""
    old = replace(figure("mono", 0.02, 0.01), errors=None)
    [kept] = corrected([old])
    assert (kept.p, kept.low, kept.high) == (0.01, old.low, old.high)
    (tmp_path / "old.json").write_text(StudyResult((old,), (), "here", {}).as_json())
    with pytest.raises(DataError, match=r"old.json has no variances: it was written by an older version"):
        earlier_estimates(plan(tmp_path).design, tmp_path / "old.json")


def test_budgets_that_differ_are_stated():
    costs = tuple(Cost(name, steps, 8 * steps, 1.0, 2, "static:16", within=0.5) for name, steps in (("a", 4), ("b", 6)))
    [sentence] = report._cost(StudyResult((), costs, "here", {})).paragraphs
    assert sentence == "The budgets differ (32 and 48 pairs seen), so differences may come from that."


def test_damaged_facts_of_a_training_are_an_error(tmp_path):
    job = plan(tmp_path).trainings[0]
    job.folder.mkdir(parents=True)
    (job.folder / RECIPE_FILE).write_text("{")
    with pytest.raises(OutputError, match=r"cannot read .*json: delete it and run the study again"):
        _ = job.facts


# Answer


def figure(baseline, value, p):
    names = {"kind": "answer", "group": "out-of-domain", "task": "x", "measure": "AP", "system": "hybrid"}
    bounds = {"low": value - 0.01, "high": value + 0.01, "spread": 0.0}
    return Estimate(value=value, baseline=baseline, p_raw=p, p=p, **bounds, **names)


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        (
            [figure("mono", 0.02, 0.01), figure("cross", 0.03, 1e-5)],
            "Yes: in this run hybrid wins. By AP, hybrid is better than mono on x (+0.0200, 95 % "
            "from +0.0100 to +0.0300, p = 0.0100) and cross on x (+0.0300, 95 % from +0.0200 to +0.0400, p < 0.0001).",
        ),
        (
            [figure("mono", -0.02, 0.01), figure("cross", 0.005, 0.4)],
            "No: this run does not show that hybrid wins. By AP, hybrid is worse than mono on x "
            "(-0.0200, 95 % from -0.0300 to -0.0100, corrected p = 0.0100); does not differ with certainty from "
            "cross on x (+0.0050, 95 % from -0.0050 to +0.0150, corrected p = 0.4000).",
        ),
        (
            [figure("mono", 0.005, 0.05)],
            "Undecided: no difference is significant, so this run does not show whether hybrid wins. By AP, "
            "hybrid does not differ with certainty from mono on x (+0.0050, 95 % from -0.0050 to "
            "+0.0150, corrected p = 0.0500).",
        ),
    ],
)
def test_answer_sentence(figures, sentence):
    assert answer(Answer(claim="hybrid wins", strategy="hybrid", over=("mono",)), figures) == sentence


def test_answer_in_part():
    sentence = answer(
        Answer(claim="hybrid wins", strategy="hybrid", over=("mono",)),
        [figure("mono", 0.02, 0.01), figure("cross", -0.02, 0.02)],
    )
    assert sentence.startswith("Only in part: in this run it is not shown against all that hybrid wins.")
    assert "hybrid is better than mono on x (+0.0200" in sentence
    assert "is worse than cross on x (-0.0200" in sentence


def test_yes_needs_no_correction():
    """A yes claims all comparisons (intersection-union test): 0.04 and 0.04 are enough, although Holm doubles them."""
    figures = [replace(figure(name, 0.02, 0.04), p=0.08) for name in ("mono", "cross")]
    assert answer(Answer(claim="hybrid wins", strategy="hybrid", over=("mono",)), figures).startswith("Yes: ")
    figures[1] = replace(figures[1], p_raw=0.06, p=0.08)
    assert answer(Answer(claim="hybrid wins", strategy="hybrid", over=("mono",)), figures).startswith("Undecided: ")


def test_undecided_is_split_by_the_margin():
    question = Answer(claim="hybrid wins", strategy="hybrid", over=("mono",), margin=0.01)
    same, unclear = replace(figure("mono", 0.001, 0.6), p_same=0.01), replace(figure("cross", 0.005, 0.4), p_same=0.3)
    sentence = answer(question, [same, unclear])
    assert sentence.startswith("Undecided: ")
    assert "is the same within 0.01 as mono on x (+0.0010" in sentence
    assert "does not differ with certainty from cross" in sentence
    assert answer(question, [same]).startswith("No: all differences are below 0.01, the margin set beforehand.")


def test_significant_differences_are_listed():
    names = {"kind": "score", "group": "in-domain", "low": 0.0, "high": 0.0, "spread": 0.0, "system": "hybrid"}
    distance = {"task": "x-multi", "measure": "rank_distance", "baseline": "mono"}
    figures = [
        Estimate(value=0.1, p=0.01, p_raw=0.01, task="x-mono[de,en]", measure="AP", baseline="mono", **names),
        Estimate(value=0.1, p=0.05, p_raw=0.01, task="x-cross", measure="AP", baseline="mono", **names),
        Estimate(value=-9.0, p=0.01, p_raw=0.01, **distance, **names),  # less distance is better
        Estimate(value=-0.1, p=0.01, p_raw=0.01, task="x-multi", measure="AP", baseline="cross", **names),
    ]
    assert significant_differences(figures) == (
        "Of 4 single differences 3 hold after the correction over all: hybrid is better than mono in AP on "
        "x-mono[2 languages]; hybrid is better than mono in rank distance on x-multi; hybrid is worse than cross in AP "
        "on x-multi."
    )
    assert significant_differences(figures[1:2]) == "Of 1 single differences 0 hold after the correction over all."


# A whole study


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def counted(monkeypatch):
    """Count the jobs that ran to their end, and kill the process in those whose number is in `kill`."""
    done, kill, started = [], set(), [0]
    names = {
        Training: lambda training: training.output.name,
        Evaluation: lambda evaluation: (evaluation.model.name[-16:], evaluation.selections[0].spec.name),
    }
    for kind, name in names.items():
        plain = kind.run

        def running(self, plain=plain, name=name):
            started[0] += 1
            if started[0] in kill:
                raise KilledError
            output = plain(self)
            done.append(name(self))
            return output

        monkeypatch.setattr(kind, "run", running)
    plain_facts = card.training_facts
    # times differ between runs, and the test compares the reports of two runs
    monkeypatch.setattr(card, "training_facts", lambda *values: plain_facts(*values) | {"seconds": 1.0})
    return done, kill, started


def written(study_plan):
    folder = report.folder(study_plan)
    return [path.read_bytes() for path in (*report.Report.from_plan(study_plan).write(folder), folder / "alpha.svg")]


def test_killed_study_resumes_to_the_same_report(tmp_path, counted, capsys):
    done, kill, started = counted
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    undisturbed = plan(tmp_path / "a")
    run_study(undisturbed)
    pages = written(undisturbed)
    assert len(done) == len(set(done)) == 24
    check_report(undisturbed, pages[0].decode(), pages[1].decode())

    done.clear()
    killed = plan(tmp_path / "b")
    moments = sorted(random.Random(0).sample(range(1, 25), 4))
    for kills, moment in enumerate(moments):
        # the job that was killed starts once more
        kill |= {24 + moment + kills}
        with pytest.raises(KilledError):
            run_study(killed)
    run_study(killed)
    assert len(done) == len(set(done)) == 24
    assert started[0] == 24 + 24 + 4
    assert written(killed) == pages

    done.clear()
    run_study(undisturbed)
    assert done == []
    check_figures(undisturbed)
    check_contrasts(undisturbed)
    check_commands(undisturbed, capsys)


def check_report(study_plan, text, page):
    lines = text.splitlines()
    assert lines[0] == "# A tiny study (smoke)"
    result = StudyResult.read(study_plan.comparison.read_text())
    [difference] = result.select(kind="answer")
    assert difference.baseline == "monolingual"
    verdict = "Undecided" if difference.p >= 0.05 else "Yes" if difference.value > 0 else "No"
    assert lines[4].startswith(f"**Answer.** {verdict}: ")
    interval = f"95 % from {difference.low:+.4f} to {difference.high:+.4f}"
    assert f"monolingual on cldr-facts[1>3 languages] ({difference.value:+.4f}, {interval}" in lines[4]
    assert "All trained models have the same budget: 4 steps, 32 pairs seen." in lines
    assert "Made by `hbt-bench study run tiny --scale smoke`" in text
    for heading in ("Trade-off over alpha", "Scores on shifted queries", "By language", "Drops", "Cost of training"):
        assert f"## {heading}" in lines
        assert f"<h2>{heading}</h2>" in page
    # the tables of both formats have the same numbers
    rows = [line for line in lines if line.startswith("| hybrid |")]
    cells = [re.sub(r"\\(.)", r"\1", cell.strip()) for line in rows for cell in line.split("|")[2:-1]]
    plain = re.sub(r"<[^>]*>", "", page)
    assert len(cells) > 20
    assert [cell for cell in cells if html.escape(cell) not in plain] == []


def check_contrasts(study_plan):
    """Check that any strategies can be compared, and that the contrast of the answer is the answer."""
    result, table = StudyResult.read(study_plan.comparison.read_text()), ScoreTable(study_plan)
    chosen = study_plan.design.contrast(["cross-lingual", "hybrid"], ["monolingual"])
    figures = list(contrasts(table, chosen, 0.5))
    score = next(figure for figure in figures if figure.task and figure.measure == "AP")
    names = {"kind": "score", "group": score.group, "task": score.task, "measure": "AP", "language": "", "baseline": ""}
    values = {figure.system: figure.value for figure in result.select(**names)}
    expected = (values["cross-lingual"] + values["hybrid"]) / 2 - values["monolingual"]
    assert score.value == pytest.approx(expected)
    assert score.p_same is not None
    assert {figure.p_same for figure in figures if figure.measure == "rank_distance"} == {None}
    [known] = result.select(kind="answer")
    pair = contrasts(table, study_plan.design.contrast(["hybrid"], ["monolingual"]))
    [again] = [figure for figure in pair if (figure.group, figure.measure) == (known.group, "AP")]
    assert (again.value, again.p_raw, again.errors) == (known.value, known.p_raw, known.errors)


def check_commands(study_plan, capsys):
    """Check that a contrast is tested, and that the result plans the next study."""
    output = study_plan.paths.output
    file = str(output.parent / "tiny.yaml")
    sides = ["--of", "cross-lingual", "--minus", "monolingual", "--margin", "0.5"]
    capsys.readouterr()
    assert run(["study", "contrast", file, *sides, "--output", str(output)]) == 0
    out = capsys.readouterr().out
    assert "cross-lingual minus monolingual" in out
    assert "same" in out
    both = ["--of", "hybrid", "--minus", "cross-lingual", "--minus", "monolingual"]
    counts = []
    for each in ([], ["--each"]):
        assert run(["study", "contrast", file, *both, *each, "--output", str(output)]) == 0
        out = capsys.readouterr().out
        counts.append(len(re.findall(r"\[[+-]", out)))  # intervals
    assert counts[1] == 2 * counts[0] > 0
    assert "hybrid minus each of cross-lingual and monolingual" in " ".join(out.split())
    assert run(["study", "plan", file, "--from", str(study_plan.comparison), "--questions", "1000000"]) == 0
    assert "(2)" in capsys.readouterr().out


def check_figures(study_plan):
    """Check that the estimates are the means of the results over seeds, also by question."""
    study = StudyResult.read(study_plan.comparison.read_text())
    every = [
        result for result in read_all(study_plan.paths.output / "results") if result.training["strategy"] == "hybrid"
    ]
    task = "cldr-facts-{}[de,en>de,el,en]"
    results = [
        {
            result.mode: result
            for result in every
            if result.training["seed"] == seed and result.task == task.format(result.mode)
        }
        for seed in (0, 1)
    ]
    assert len(results) == 2
    for mode in ("mono", "cross", "multi"):
        [estimate] = study.select(
            kind="score", system="hybrid", task=results[0][mode].task, measure="AP", baseline="", language=""
        )
        scores = [seed[mode].scores["AP"] for seed in results]
        assert estimate.value == pytest.approx(np.mean(scores), abs=1e-5)
        assert estimate.spread == pytest.approx(np.std(scores, ddof=1), abs=1e-5)
    stored = results[0]["multi"].computed_intervals()
    assert stored.means["AP"][0] < results[0]["multi"].scores["AP"] < stored.means["AP"][1]
    ranks = StoredRanks.read(results[0]["multi"].ranks)
    values = question_values(ranks.judgements, ranks.ranks, ["mono", "cross", "multi"], MEASURES["AP"])
    mean = np.mean([results[0][mode].scores["AP"] for mode in ("mono", "cross", "multi")])
    assert np.nanmean(values) == pytest.approx(mean, abs=1e-5)
    german = question_values(ranks.judgements, ranks.ranks, ["multi"], MEASURES["AP"], "de")
    assert np.nanmean(german) == pytest.approx(results[0]["multi"].subsets["de-multi"]["AP"], abs=1e-5)
    # a drop is the unshifted score minus the shifted score
    drops = study.select(kind="drop", group="shifted", system="hybrid", baseline="")
    names = {"kind": "score", "system": "hybrid", "measure": "AP", "baseline": "", "language": ""}
    shifted = study.select(group="shifted", **names)
    unshifted = study.select(group="in-domain", task=results[0]["multi"].task, **names)
    assert drops[0].value == pytest.approx(unshifted[0].value - shifted[0].value)
    compared = [estimate for estimate in study.figures if estimate.baseline and estimate.kind != "answer"]
    assert all(estimate.p >= estimate.p_raw for estimate in compared)
    # Holm's first step: the smallest p times the number of tests
    smallest = min(compared, key=lambda estimate: estimate.p_raw)
    assert smallest.p == pytest.approx(min(1.0, smallest.p_raw * len(compared)))


MTOP = ("MTOPDomainClassification", "MTOPIntentClassification")
#: Words of each label; an utterance has three words of its label and two of any label.
WORDS = {"alarm": "wake clock ring", "music": "song play band", "weather": "rain sun cold"}


@pytest.fixture
def mtop(tmp_path, monkeypatch):
    """Replace the hub by folders like its MTOP data sets, with a configuration per language and three splits."""
    from mteb.abstasks import AbsTaskClassification, abstask

    languages, rng, every = ("de", "en", "es", "fr", "hi", "th"), random.Random(0), " ".join(WORDS.values()).split()
    for task in MTOP:
        folder, configs = tmp_path / "hub" / "mteb" / task, []
        for code in languages:
            (folder / code).mkdir(parents=True)
            files = [{"split": split, "path": f"{code}/{split}.jsonl"} for split in ("train", "validation", "test")]
            configs.append({"config_name": code, "data_files": files})
            for file in files:
                rows = [
                    {"text": " ".join(rng.choices(WORDS[label].split(), k=3) + rng.choices(every, k=2)), "label": label}
                    for _ in range(9)
                    for label in WORDS
                ]
                (folder / file["path"]).write_text("\n".join(map(json.dumps, rows)))
        (folder / "README.md").write_text("---\n" + json.dumps({"configs": configs}) + "\n---\n")
    # the default of ten classifiers for each of 48 scores takes too long
    monkeypatch.setattr(AbsTaskClassification, "n_experiments", 1)
    plain = cache(abstask.load_dataset)

    def local(path, name=None, revision=None, **options):
        assert len(revision) == 40
        return copy(plain(str(tmp_path / "hub" / path), name, cache_dir=str(tmp_path / "cache"), **options))

    monkeypatch.setattr(abstask, "load_dataset", local)


def test_study_with_tasks_of_mteb(tmp_path, mtop):
    """MTOP has accuracies and no ranks: the test is over seeds only, and the report does not call them AP."""
    content = tiny(strategies={name: {"strategy": name} for name in ("monolingual", "hybrid")})
    del content["sweep"]
    scale = content["scales"]["smoke"] | {"tasks": {"in-domain": ["cldr-facts-multi[de,en]"], "out-of-domain": MTOP}}
    scale["recipe"] = scale["recipe"] | {"learning_rate": 0.5}  # else four steps change no prediction
    content["scales"] = dict.fromkeys(SCALES, scale)
    study_plan = plan(tmp_path, content)
    result = StudyResult.read(run_study(study_plan).read_text())
    key = ScoreKey("mean", "main_score")
    accuracy = {
        (job.train.system.strategy, job.train.recipe.seed, job.name): job.values.scores[key].value
        for job in study_plan.evaluations
        if job.name in MTOP
    }
    assert len(accuracy) == 2 * 2 * 2
    assert all(0.5 < value <= 1 for value in accuracy.values())  # chance is a third
    for task in MTOP:
        [score] = result.select(kind="score", system="hybrid", task=task, baseline="")
        assert score.measure == "main_score"
        assert score.value == pytest.approx(np.mean([accuracy["hybrid", seed, task] for seed in (0, 1)]))
    answers = result.select(kind="answer")
    assert [difference.task for difference in answers] == [*MTOP]  # not their mean
    for difference in answers:
        by_seed = [
            accuracy["hybrid", seed, difference.task] - accuracy["monolingual", seed, difference.task]
            for seed in (0, 1)
        ]
        assert difference.measure == "main_score"
        assert difference.value == pytest.approx(np.mean(by_seed))
        assert difference.p_raw == pytest.approx(ttest_1samp(by_seed, 0).pvalue)
    assert not result.select(kind="drop")  # an accuracy cannot be subtracted from an AP
    text = report.Report.from_plan(study_plan).markdown()
    assert "By main score, hybrid" in text
    assert "**main score ↑**" in text


# Command line


@pytest.fixture
def hbt(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def hbt(*arguments):
        code = run(["study", *arguments])
        return (code, *capsys.readouterr())

    return hbt


def test_list_and_show(hbt):
    code, out, _ = hbt("list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line.split()[:1] and line.split()[0] in NAMES] == [*NAMES]
    code, out, _ = hbt("show", "instruction-tuning", "--scale", "small")
    assert code == 0
    assert "seeds/dolly-15k.jsonl.gz" in out
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Return an output folder for all five studies, so that they share models, as in `make studies-smoke`.

    All models get the same typing errors, so they are made once.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shift, "apply", cache(Shift.apply))
        yield tmp_path_factory.mktemp("smoke")


@pytest.mark.parametrize("name", NAMES)
def test_smoke_scale(hbt, shared, name):
    """A study runs to its end: its models beat chance, and the answer in its report has its own numbers."""
    code, out, _ = hbt("run", name, "--output", str(shared))
    assert code == 0
    design = find_study(name).at("smoke")
    question, sentence, *paths = out.splitlines()
    assert question == design.study.question
    assert re.match(r"(Yes|No|Only in part|Undecided): ", sentence)
    assert [Path(path).name for path in paths] == ["report.md", "report.html"]
    text = Path(paths[0]).read_text()
    assert f"**Answer.** {sentence}" in text
    assert "All trained models have the same budget: 40 steps, 2,560 pairs seen." in text
    result = StudyResult.read(StudyPlan(design, StudyPaths(shared)).comparison.read_text())
    answers = result.select(kind="answer")
    assert list(dict.fromkeys(difference.baseline for difference in answers)) == [*design.study.answer.over]
    for difference in answers:
        assert difference.baseline in sentence
        assert f"{difference.value:+.4f}, 95 %" in sentence
    systems = {system.strategy for system in design.systems}
    assert "untouched" not in systems  # random weights have no untouched model
    for group in GROUPS:
        for score in result.select(kind="score", group=group, measure="AP", language="", baseline=""):
            assert 0 <= score.low <= score.value <= score.high <= 1
            compared = {other.system for other in result.select(kind="score", task=score.task, baseline="")}
            # a model of each language answers only queries in these languages
            assert compared == systems or ("[vi>" in score.task and compared == systems - {"language-specific"})
    # with 64 facts or more in four languages, a random model has an AP below 0.05
    in_domain = {"group": "in-domain", "system": "hybrid", "measure": "AP", "baseline": "", "language": ""}
    [mono] = [score for score in result.select(kind="score", **in_domain) if score.task.startswith("cldr-facts-mono")]
    assert mono.value > 0.3
    assert 0 < result.chance[mono.task] < 0.05
    assert re.search(rf"random ranking \|.* {result.chance[mono.task]:.4f} \|", text)
    assert len({round(score.value, 6) for score in result.select(task=mono.task, kind="score", baseline="")}) > 1
    _, out, _ = hbt("run", name, "--output", str(shared), "--dry-run")
    assert "about 0 minutes of one core are left" in out


def test_plan_from_published_results(hbt):
    code, out, err = hbt("plan", "ood-low-resource", "--scale", "small", "--difference", "0.02")
    assert code == 0
    assert "0.0081 (4)" in out
    assert "the variances are those of the published results" in err
    code, out, _ = hbt("plan", "ood-low-resource", "--scale", "small", "--questions", "9")
    assert (code, "0.0217 (4)" in out) == (0, True)


@pytest.mark.parametrize("name", NAMES)
def test_scale_paper_is_planned_offline(hbt, tmp_path, monkeypatch, name):
    def offline(*address):
        pytest.fail(f"asked for {address}")

    monkeypatch.setattr("socket.getaddrinfo", offline)
    code, out, _ = hbt("show", name, "--scale", "paper")
    assert code == 0
    assert "sentence-transformers/LaBSE" in out
    code, out, _ = hbt("run", name, "--scale", "paper", "--dry-run")
    assert code == 0
    assert re.search(r"\d+ jobs; about [\d,]+ minutes of one A100 are left", out)
    assert list(tmp_path.iterdir()) == []


def test_dry_run_writes_nothing(hbt, tmp_path):
    code, out, _ = hbt("run", "batches-vs-finetuning", "--dry-run")
    assert code == 0
    assert "33 jobs; about" in out  # 4 strategies x 2 seeds x (training and 3 tasks), and the comparison
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "ood-low-resorce"], 2, "unknown study 'ood-low-resorce'; did you mean 'ood-low-resource'?"),
        (["report", "ood-low-resource"], 3, "run `hbt-bench study run ood-low-resource"),
        (["run", "ood-low-resource", "--scale", "small"], 2, "there is no folder e5-small-4bit with the init"),
        (["show", "none.yaml"], 3, "cannot read none.yaml"),
        (["run", "ood-low-resource", "--scale", "large"], 2, "'large' is not one of"),
        (["contrast", "ood-low-resource", "--of", "hybrit", "--minus", "mixed"], 2, "did you mean 'hybrid'?"),
        (["contrast", "ood-low-resource", "--of", "hybrid", "--minus", "hybrid"], 2, "'hybrid' is on both sides"),
        (["run", "ood-low-resource", "--dry-run", "--only", "zzzz"], 2, "no addresses that begin with 'zzzz'"),
        (["plan", "ood-low-resource", "--difference", "nan"], 2, "nan is not a finite number"),
        (["run", "ood-low-resource", "--dry-run", "--init", ""], 2, "--init is empty"),
        (["plan", "ood-low-resource", "--from", "other.json"], 3, "other.json is no result of a study"),
    ],
)
def test_mistakes_are_one_sentence(hbt, arguments, code, message):
    Path("other.json").write_text('{"environment": {}}')
    actual, out, err = hbt(*arguments)
    assert (actual, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def test_result_reads_back():
    estimate = figure("mono", 0.1 + 0.2, 1 / 3)
    result = StudyResult((estimate, replace(estimate, language="de")), (), "here", {})
    assert StudyResult.read(result.as_json()) == result


def test_score_that_differs_from_ranks_is_an_error():
    """The result was edited, or the ranks belong to another result."""
    [path] = (Path(__file__).parent / "fixtures" / "format-2").rglob("*Multilingual*.json")
    result = Result.read(path)
    stored = StoredRanks.read(result.ranks)
    value = float(np.nanmean(question_values(stored.judgements, stored.ranks, ["multi"], MEASURES["AP"])))
    result.check_score("AP", value, error=DataError)
    with pytest.raises(DataError, match=r"has AP 0\.68\d*, but .* gives 0\.68\d*"):
        result.check_score("AP", value + 2e-4, error=DataError)


# Systems without training, and with a model for each language


def scored(values, language=""):
    """Return the score of a model on three clusters of ten questions."""
    return ModelScore(float(np.mean(values)), np.array(values, float), np.full(3, 10.0), ("x", b"asked"))


def test_language_specific_system_asks_the_model_of_each_language():
    def model(de, en):
        by_language = {("mono", "AP", "de"): scored(de), ("mono", "AP", "en"): scored(en)}
        scores = {ScoreKey(*key): score for key, score in by_language.items()} | {
            ScoreKey("mono", "AP"): scored([0, 0, 0])
        }
        return TaskValues({"mono": "x-mono", "mean": "x-mono"}, "x", "3 clusters", scores)

    merged = _by_language([model([0.1, 0.2, 0.3], [0, 0, 0]), model([0, 0, 0], [0.5, 0.6, 0.7])], ("de", "en"))
    assert merged.scores[ScoreKey("mono", "AP")].by_cluster == pytest.approx([0.3, 0.4, 0.5])
    assert merged.scores[ScoreKey("mean", "AP")].value == pytest.approx(0.4)
    assert _by_language([model([0, 0, 0], [0, 0, 0])], ("de",)) is None  # nobody answers English queries


def test_untouched_values_are_repeated_for_each_seed():
    """The difference to an untouched system has the seeds of the trained side, and its questions are paired."""
    trained = [scored([0.5, 0.6, 0.9]), scored([0.7, 0.8, 0.9])]
    difference = _average(trained) - _average([scored([0.1, 0.2, 0.6])] * 2)
    assert difference.seeds == pytest.approx([0.3667, 0.5], abs=1e-4)
    between = _average([scored([0.5, 0.6, 0.9])] * 2) - _average([scored([0.1, 0.1, 0.2])] * 2)
    assert (between.squared_errors.by_seed, between.squared_errors.rest) == pytest.approx((0, 0))
    assert between.squared_errors.by_question == pytest.approx(np.var([0.4, 0.5, 0.7], ddof=1) / 3)


def test_ap_above_chance():
    score = _rescaled(scored([0.2, 0.6, 1.0]), 0.2)
    assert score.by_cluster == pytest.approx([0, 0.5, 1])


def test_values_read_back(tmp_path):
    values = TaskValues(
        {"mono": "x-mono"}, "x", "3 clusters", {ScoreKey("mono", "AP"): scored([0.25, 0.5, 1])}, {"mono": 0.1}
    )
    values.write(tmp_path / "values.npz")
    again = TaskValues.read(tmp_path / "values.npz")
    assert again.scores[ScoreKey("mono", "AP")].by_cluster.tolist() == [0.25, 0.5, 1]
    assert again.scores[ScoreKey("mono", "AP")].asked == ("x", b"asked")
    assert (again.tasks, again.chance) == (values.tasks, values.chance)


def test_untouched_init_is_left_out_for_random_weights(tmp_path):
    strategies = tiny()["strategies"] | {"untouched": {"strategy": "none"}}
    assert "untouched" not in plan(tmp_path, tiny(strategies=strategies)).design.strategies
    designs = [find_study(name).at("small") for name in NAMES]
    assert all({"untouched", "untouched + center"} <= set(design.strategies) for design in designs)


def test_study_needs_all_scales(tmp_path):
    content = tiny()
    del content["scales"]["paper"]
    with pytest.raises(DataError, match="the scale 'paper' is missing in scales"):
        plan(tmp_path, content)


def test_comparable_pools_have_the_same_size(tmp_path):
    content = tiny()
    content["comparable"] = [["cldr-facts[de,en>de,el,en]", "cldr-facts-multi[el>de,el,en]"]]
    assert plan(tmp_path, content).design.study.comparable
    content["comparable"] = [["cldr-facts", "cldr-facts-multi[el>de,el,en]"]]
    with pytest.raises(DataError, match="'cldr-facts' is not among the in-domain tasks: add it"):
        plan(tmp_path, content)
    for task, message in (
        ("SciFact", "'SciFact' has no languages to compare: name a task of hbt-bench"),
        ("xquad-r[de,en]", r"the pools of xquad-r\[de,en\] and .* differ in size"),
    ):
        tasks = {**tiny()["scales"]["smoke"]["tasks"], "in-domain": [task], "shifted": []}
        scales = dict.fromkeys(SCALES, tiny()["scales"]["smoke"] | {"tasks": tasks})
        with pytest.raises(DataError, match=message):
            plan(tmp_path, tiny(comparable=[[task, tasks["out-of-domain"][0]]], scales=scales))
    with pytest.raises(DataError, match="a drop needs comparable tasks: give `comparable`"):
        plan(tmp_path, tiny(answer={**tiny()["answer"], "drop": True}))


def test_values_are_by_the_coarsest_clusters_of_the_data():
    """Files of ranks have no levels; the result has them."""
    folder = Path(__file__).parents[1] / "results" / "local__e5-small-4bit" / "71d6d7d260ca5fd8"
    values = TaskValues.from_results([Result.read(folder / "XQuADRMultilingualRetrieval.json")], "xquad-r", {})
    assert values.clusters == "48 clusters by article"
    score = values.scores[ScoreKey("multi", "AP")]
    assert score.sizes.sum() == 1190
    assert len(score.by_cluster) == 48
    assert float(score.by_cluster @ score.sizes / 1190) == pytest.approx(score.value)
