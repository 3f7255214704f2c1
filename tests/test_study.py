"""Studies: their files, the plan of jobs and what it redoes, the answer, the report, and a kill in between."""

import html
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import ttest_1samp

from hbt_bench.cli.main import run
from hbt_bench.errors import DataError
from hbt_bench.measures.ranking import Ranking
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import Result
from hbt_bench.studies import report, score_table
from hbt_bench.studies.answer import answer, holding
from hbt_bench.studies.design import GROUPS, Answer
from hbt_bench.studies.jobs import Evaluate, StudyPaths, StudyPlan, Train
from hbt_bench.studies.score_table import by_question
from hbt_bench.studies.study import SCALES, Study, find, names
from hbt_bench.studies.study_result import Estimate, StudyResult
from hbt_bench.training import card
from hbt_bench.training.run import Training

NAMES = (
    "batches-vs-finetuning",
    "captions-domain-shift",
    "hybrid-vs-multitask",
    "instruction-tuning",
    "ood-low-resource",
)


def tiny(**changes):
    """The content of a small study, the same at all scales."""
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


def plan(folder, content=None, **place):
    """The plan of a study, its file written first."""
    path = folder / "tiny.yaml"
    # aliases are not allowed in a study, and YAML would write equal scales as such
    path.write_text(yaml.dump(json.loads(json.dumps(content or tiny())), sort_keys=False))
    return StudyPlan(Study.read(path).at("smoke"), StudyPaths(folder / "out", **place))


# Files


def test_the_five_studies():
    assert names() == NAMES


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_a_study_is_valid_at_every_scale_and_spends_the_same_on_all(name, scale):
    design = find(name).at(scale)
    recipes = [design.recipe(system, seed) for system in design.systems for seed in design.seeds]
    assert len({recipe.digest for recipe in recipes}) == len(recipes)
    assert len({recipe.steps * recipe.batch_size for recipe in recipes}) == 1
    assert len(design.seeds) == (2 if scale == "smoke" else 3)
    assert design.study.question.endswith("?")
    if scale == "paper":
        assert {system.init for system in design.systems} == {
            "FacebookAI/xlm-roberta-base",
            "sentence-transformers/LaBSE",
        }
        stated = {(one.learning_rate, one.weight_decay, one.batch_size, one.query_prefix) for one in recipes}
        assert stated == {(3e-5, 0.01, 100, "Query: ")}  # as arXiv 2408.10536 has them


def hub_sources(name):
    """The hub's data sets that a study trains on at the scale paper."""
    design = find(name).at("paper")
    recipes = [design.recipe(system, 0) for system in design.systems]
    stages = [recipe.instruction.data for recipe in recipes if recipe.instruction]
    return {one.label: one for data in (*[recipe.data for recipe in recipes], *stages) for one in data}


@pytest.mark.parametrize("name", NAMES)
def test_the_data_of_the_scale_paper_are_pinned(name):
    sources = hub_sources(name)
    assert {one.kind for one in sources.values()} == {"hub"}
    assert all(re.fullmatch("[0-9a-f]{40}", one.revision) for one in sources.values())


def test_the_data_of_the_scale_paper_are_those_that_mteb_knows():
    """Commits, splits and languages against MTEB's own metadata, for the sets that it has."""
    import mteb

    captions = mteb.get_task("XM3600T2IRetrieval").metadata
    xm3600 = hub_sources("captions-domain-shift")["xm3600"]
    assert {"path": xm3600.dataset, "revision": xm3600.revision} == captions.dataset
    assert set(xm3600.splits.values()) == set(captions.eval_langs)
    opus = mteb.get_task("OpusSlovakEnglishBitextMining").metadata.dataset
    bitext = [one for one in hub_sources("hybrid-vs-multitask").values() if one.dataset == opus["path"]]
    assert len(bitext) == 6
    assert {one.revision for one in bitext} == {opus["revision"]}
    chosen = [one for name in NAMES for group in GROUPS for _, one in find(name).at("paper").selections(group)]
    pooled = {one.spec.source.task: one.spec.source for one in chosen if one.spec and one.spec.source.kind == "mteb"}
    assert {"MIRACLRetrievalHardNegatives", "BelebeleRetrieval", "SciFact"} <= set(pooled)
    for task, source in pooled.items():
        known = mteb.get_task(task).metadata
        assert source.revision in (None, known.dataset["revision"])
        assert source.split in (None, *known.eval_splits)


def test_multi_task_learning_gives_each_task_a_third():
    design = find("hybrid-vs-multitask").at("paper")
    recipe = design.recipe(next(one for one in design.systems if one.strategy == "multi-task"), 0)
    assert recipe.source_weights == "uniform"
    weights = {one.label: one.weight or 1 for one in recipe.data}
    assert weights["mmarco"] == weights["xnli"] == sum(w for label, w in weights.items() if label.startswith("opus"))


def test_what_studies_compare():
    def strategies(name):
        return {system.strategy for system in find(name).at("paper").systems}

    assert strategies("ood-low-resource") == {
        "monolingual",
        "cross-lingual",
        "hybrid",
        "hybrid, alpha 0.25",
        "hybrid, alpha 0.75",
    }
    assert strategies("captions-domain-shift") == {"hybrid", "language-agnostic", "language-specific"}
    stock = [one.stock for _, one in find("batches-vs-finetuning").at("paper").selections("out-of-domain")]
    assert stock[:2] == ["MTOPDomainClassification", "MTOPIntentClassification"]
    when = {
        system.strategy: recipe.instruction.when if recipe.instruction else recipe.data[0].kind
        for design in [find("instruction-tuning").at("small")]
        for system in design.systems
        for recipe in [design.recipe(system, 0)]
    }
    assert when == {
        "hybrid": "file",
        "instruction only": "file",
        "hybrid then instruction": "after",
        "instruction then hybrid": "before",
        "mixed": "mixed",
    }


def test_points_of_the_curve(tmp_path):
    sweep = {"zero": "cross-lingual", "one": "monolingual", "alphas": [0.3, 0.5]}
    systems = plan(tmp_path, tiny(sweep=sweep)).design.systems
    assert [(one.strategy, one.alpha) for one in systems] == [
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
        ("static:16", "static:x", "at the scale smoke: init: 'static:x' is no init"),
        ("cldr-facts[de,en>de,el,en]", "cldr-fact[de,en>de,el,en]", "unknown task 'cldr-fact"),
        ("+typos", "+tpos", "unknown query shift 'tpos'; did you mean 'typos'?"),
        ("cldr-facts-multi[de,en>de,el,en]+typos", "cldr-facts-multi[de,en]+typos", "is among no other tasks: add it"),
        ("name: tiny", "name: other", ":1:1: the name is 'other': it must be 'tiny', like the file's"),
    ],
)
def test_mistakes_have_their_place(tmp_path, old, new, message):
    text = yaml.dump(json.loads(json.dumps(tiny())), sort_keys=False)
    assert old in text
    path = tmp_path / "tiny.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError) as error:
        Study.read(path)
    assert message in str(error.value)
    line = int(re.search(r"tiny\.yaml:(\d+):\d+: ", str(error.value))[1])
    assert new.split(":")[0].strip(" -") in path.read_text().splitlines()[line - 1]


def test_one_seed_is_too_few(tmp_path):
    content = tiny()
    content["scales"] = dict.fromkeys(SCALES, content["scales"]["smoke"] | {"seeds": [3]})
    with pytest.raises(DataError, match="a test over seeds needs two of them at least"):
        plan(tmp_path, content)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tasks", None, "there are no tasks: give in-domain or out-of-domain ones"),
        ("inits", None, "there is no init: give one as in static:64 or a hub name"),
        ("tasks", {"out-of-domain": ["cldr-facts-multi[el>de,el,en]"]}, "there are no in-domain tasks"),
        ("tasks", {"in-domain": ["cldr-facts"], "shifted": ["SciFact"]}, "'SciFact' has no query shift: write +typos"),
    ],
)
def test_what_a_scale_must_have(tmp_path, key, value, message):
    scale = {**tiny()["scales"]["smoke"], key: value}
    if value is None:
        del scale[key]
    content = tiny(answer={**tiny()["answer"], "tasks": "in-domain"}, scales=dict.fromkeys(SCALES, scale))
    with pytest.raises(DataError, match=re.escape(message)):
        plan(tmp_path, content)


def test_a_hybrid_among_the_strategies_is_a_point_of_the_curve_by_its_alpha(tmp_path):
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


def addresses(one):
    return {f"{type(job).__name__} {job.label}": job.address for job in one.jobs}


def test_a_changed_strategy_redoes_its_own_jobs_only(tmp_path):
    before = addresses(plan(tmp_path))
    content = tiny()
    content["strategies"]["cross-lingual"]["pairs"] = "one"
    after = addresses(plan(tmp_path, content))
    assert before.keys() == after.keys()
    changed = {label for label in before if before[label] != after[label]}
    assert changed == {label for label in before if "cross-lingual" in label}
    assert len(changed) == 2 * (1 + 3)  # seeds x (training and three tasks)


def test_studies_share_models():
    plans = [StudyPlan(find(name).at("small"), StudyPaths(Path("out"))) for name in NAMES]
    models = [{job.address for job in one.trainings} for one in plans]
    finetuning, low = models[0], models[4]
    assert len(finetuning & low) == 3 * 3  # monolingual, cross-lingual and hybrid, three seeds


def test_changed_data_is_another_model(tmp_path):
    content = tiny()
    source = {"path": "a.jsonl", "query": "q", "passage": "p"}
    scale = content["scales"]["smoke"]
    content["scales"] = dict.fromkeys(SCALES, scale | {"recipe": scale["recipe"] | {"data": [source]}})
    found = []
    for text in ("one", "two", "one"):
        (tmp_path / "a.jsonl").write_text(text)
        found.append(plan(tmp_path, content, folders=(tmp_path,)).trainings[0].address)
    assert found[0] == found[2] != found[1]


def test_the_dry_run_says_what_is_left(tmp_path):
    estimates = plan(tmp_path).estimates()
    assert [type(job) for job, _ in estimates] == [Train, Evaluate, Evaluate, Evaluate] * 6
    assert all(seconds > 0 for _, seconds in estimates)


@pytest.mark.parametrize(
    ("name", "minutes"),
    [("hybrid-vs-multitask", 8.9), ("ood-low-resource", 15.6), ("captions-domain-shift", 12.2)],
)
def test_estimates_are_near_what_was_measured(tmp_path, name, minutes):
    """Processor minutes of one core, of the runs that are published."""
    plan = StudyPlan(find(name).at("small"), StudyPaths(tmp_path))
    assert 0.5 < sum(seconds for _, seconds in plan.estimates()) / 60 / minutes < 2


# Answer


def figure(baseline, value, p):
    names = {"kind": "answer", "group": "out-of-domain", "task": "", "measure": "AP", "system": "hybrid"}
    bounds = {"low": value - 0.01, "high": value + 0.01, "spread": 0.0}
    return Estimate(value=value, baseline=baseline, p_raw=p, p=p, **bounds, **names)


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        (
            [figure("mono", 0.02, 0.01), figure("cross", 0.03, 1e-5)],
            "Yes: in this run hybrid wins. By mean AP out of the domain, hybrid is better than mono (+0.0200, 95 % "
            "from +0.0100 to +0.0300, corrected p = 0.0100) and cross (+0.0300, 95 % from +0.0200 to +0.0400, "
            "corrected p < 0.0001).",
        ),
        (
            [figure("mono", -0.02, 0.01), figure("cross", 0.005, 0.4)],
            "No: this run does not show that hybrid wins. By mean AP out of the domain, hybrid is worse than mono "
            "(-0.0200, 95 % from -0.0300 to -0.0100, corrected p = 0.0100) and does not differ with certainty from "
            "cross (+0.0050, 95 % from -0.0050 to +0.0150, corrected p = 0.4000).",
        ),
        (
            [figure("mono", 0.005, 0.05)],
            "Undecided: no difference is shown, so this run says neither that hybrid wins nor the opposite. By mean AP "
            "out of the domain, hybrid does not differ with certainty from mono (+0.0050, 95 % from -0.0050 to "
            "+0.0150, corrected p = 0.0500).",
        ),
    ],
)
def test_the_sentence(figures, sentence):
    assert answer(Answer(claim="hybrid wins", strategy="hybrid", over=("mono",)), figures) == sentence


def test_the_sentence_in_part():
    found = answer(
        Answer(claim="hybrid wins", strategy="hybrid", over=("mono",)),
        [figure("mono", 0.02, 0.01), figure("cross", -0.02, 0.02)],
    )
    assert found.startswith("Only in part: in this run it is not shown against all that hybrid wins.")
    assert "hybrid is better than mono (+0.0200" in found
    assert "and is worse than cross (-0.0200" in found


def test_the_single_differences_that_hold():
    names = {"kind": "score", "group": "in-domain", "low": 0.0, "high": 0.0, "spread": 0.0, "system": "hybrid"}
    distance = {"task": "x-multi", "measure": "rank_distance", "baseline": "mono"}
    figures = [
        Estimate(value=0.1, p=0.01, p_raw=0.01, task="x-mono[de,en]", measure="AP", baseline="mono", **names),
        Estimate(value=0.1, p=0.05, p_raw=0.01, task="x-cross", measure="AP", baseline="mono", **names),
        Estimate(value=-9.0, p=0.01, p_raw=0.01, **distance, **names),  # less distance is better
        Estimate(value=-0.1, p=0.01, p_raw=0.01, task="x-multi", measure="AP", baseline="cross", **names),
    ]
    assert holding(figures) == (
        "Of 4 single differences 3 hold after the correction over all: hybrid is better than mono in AP on "
        "x-mono[2 languages]; hybrid is better than mono in rank distance on x-multi; hybrid is worse than cross in AP "
        "on x-multi."
    )
    assert holding(figures[1:2]) == "Of 1 single differences 0 hold after the correction over all."


# A whole study


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def counted(monkeypatch):
    """Count the jobs that ran to their end, and kill the process in those whose number is in `kill`."""
    done, kill, started = [], set(), [0]
    names = {
        Training: lambda one: one.output.name,
        Evaluation: lambda one: (one.model.name[-16:], one.selections[0].spec.name),
    }
    for kind, name in names.items():
        plain = kind.run

        def running(self, plain=plain, name=name):
            started[0] += 1
            if started[0] in kill:
                raise KilledError
            found = plain(self)
            done.append(name(self))
            return found

        monkeypatch.setattr(kind, "run", running)
    plain_about = card.about
    # what the clock says is no part of the comparison
    monkeypatch.setattr(card, "about", lambda *values: plain_about(*values) | {"seconds": 1.0})
    return done, kill, started


def written(one):
    folder = report.folder(one)
    return [path.read_bytes() for path in (*report.Report.of(one).write(folder), folder / "alpha.svg")]


def test_a_study_from_end_to_end_and_killed_in_between(tmp_path, counted):
    done, kill, started = counted
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = plan(tmp_path / "a")
    whole.run()
    pages = written(whole)
    assert len(done) == len(set(done)) == 24
    check_report(whole, pages[0].decode(), pages[1].decode())

    done.clear()
    torn = plan(tmp_path / "b")
    moments = sorted(random.Random(0).sample(range(1, 25), 4))
    for kills, moment in enumerate(moments):
        # the job that was killed starts once more
        kill |= {24 + moment + kills}
        with pytest.raises(KilledError):
            torn.run()
    torn.run()
    assert len(done) == len(set(done)) == 24
    assert started[0] == 24 + 24 + 4
    assert written(torn) == pages

    done.clear()
    whole.run()
    assert done == []
    check_figures(whole)


def check_report(one, text, page):
    lines = text.splitlines()
    assert lines[0] == "# A tiny study (smoke)"
    findings = StudyResult.read(one.comparison.read_text())
    [found] = findings.select(kind="answer")
    assert found.baseline == "monolingual"
    verdict = "Undecided" if found.p >= 0.05 else "Yes" if found.value > 0 else "No"
    assert lines[4].startswith(f"**Answer.** {verdict}: ")
    assert f"monolingual ({found.value:+.4f}, 95 % from {found.low:+.4f} to {found.high:+.4f}" in lines[4]
    assert "All models have the same budget: 4 steps, 32 pairs seen." in lines
    assert "Made by `hbt-bench study run tiny --scale smoke`" in text
    for heading in ("Trade-off over alpha", "Scores on shifted queries", "By language", "Drops", "Cost of training"):
        assert f"## {heading}" in lines
        assert f"<h2>{heading}</h2>" in page
    # both have the same numbers in their tables
    rows = [line for line in lines if line.startswith("| hybrid |")]
    cells = [re.sub(r"\\(.)", r"\1", cell.strip()) for line in rows for cell in line.split("|")[2:-1]]
    plain = re.sub(r"<[^>]*>", "", page)
    assert len(cells) > 20
    assert [cell for cell in cells if html.escape(cell) not in plain] == []


def check_figures(one):
    """The figures are those of the results: means over seeds, and by question the same."""
    findings = StudyResult.read(one.comparison.read_text())
    jobs = [job for job in one.evaluations if job.train.system.strategy == "hybrid" and job.group == "in-domain"]
    results = [{result.place[1]: result for result in job.results} for job in jobs]
    assert len(results) == 2
    for mode in ("mono", "cross", "multi"):
        [found] = findings.select(
            kind="score", system="hybrid", task=results[0][mode].task, measure="AP", baseline="", language=""
        )
        scores = [each[mode].scores["AP"] for each in results]
        assert found.value == pytest.approx(np.mean(scores), abs=1e-5)
        assert found.spread == pytest.approx(np.std(scores, ddof=1), abs=1e-5)
    stored = results[0]["multi"].computed_intervals()
    assert stored.means["AP"][0] < results[0]["multi"].scores["AP"] < stored.means["AP"][1]
    ranks = StoredRanks.read(results[0]["multi"].ranks)
    parts = by_question(ranks.judgements, ranks.ranks, ["mono", "cross", "multi"], Ranking.average_precision)
    mean = np.mean([results[0][mode].scores["AP"] for mode in ("mono", "cross", "multi")])
    assert np.nanmean(parts) == pytest.approx(mean, abs=1e-5)
    german = by_question(ranks.judgements, ranks.ranks, ["multi"], Ranking.average_precision, "de")
    assert np.nanmean(german) == pytest.approx(results[0]["multi"].subsets["de-multi"]["AP"], abs=1e-5)
    # what a shift costs is the clean score minus the shifted one
    drops = findings.select(kind="drop", group="shifted", system="hybrid", baseline="")
    names = {"kind": "score", "system": "hybrid", "measure": "AP", "baseline": "", "language": ""}
    shifted = findings.select(group="shifted", **names)
    clean = findings.select(group="in-domain", task=results[0]["multi"].task, **names)
    assert drops[0].value == pytest.approx(clean[0].value - shifted[0].value)
    compared = [one for one in findings.figures if one.baseline and one.kind != "answer"]
    assert all(one.p >= one.p_raw for one in compared)
    # Holm's first step: the smallest p of all times their number
    smallest = min(compared, key=lambda one: one.p_raw)
    assert smallest.p == pytest.approx(min(1.0, smallest.p_raw * len(compared)))


MTOP = ("MTOPDomainClassification", "MTOPIntentClassification")
#: Words of each label; an utterance has three of its own label and two of any.
WORDS = {"alarm": "wake clock ring", "music": "song play band", "weather": "rain sun cold"}


@pytest.fixture
def mtop(tmp_path, monkeypatch):
    """Folders in the form that the hub has MTOP in, in place of the hub: languages are configurations, three splits."""
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
    # ten classifiers for each of 48 scores take long
    monkeypatch.setattr(AbsTaskClassification, "n_experiments", 2)
    plain = abstask.load_dataset

    def local(path, name=None, revision=None, **options):
        assert len(revision) == 40
        return plain(str(tmp_path / "hub" / path), name, cache_dir=str(tmp_path / "cache"), **options)

    monkeypatch.setattr(abstask, "load_dataset", local)


def test_tasks_of_mteb_as_in_the_study_of_finetuning(tmp_path, mtop):
    """MTOP has accuracies and no ranks: seeds alone are tested, and nothing calls them AP."""
    content = tiny(strategies={name: {"strategy": name} for name in ("monolingual", "hybrid")})
    del content["sweep"]
    scale = content["scales"]["smoke"] | {"tasks": {"in-domain": ["cldr-facts-multi[de,en]"], "out-of-domain": MTOP}}
    scale["recipe"] = scale["recipe"] | {"learning_rate": 0.5}  # else four steps change no prediction
    content["scales"] = dict.fromkeys(SCALES, scale)
    one = plan(tmp_path, content)
    one.run()
    findings = StudyResult.read(one.comparison.read_text())
    accuracy = {
        (job.train.system.strategy, job.train.recipe.seed, job.name): job.results[0].scores["accuracy"]
        for job in one.evaluations
        if job.name in MTOP
    }
    assert len(accuracy) == 2 * 2 * 2
    assert all(0.5 < value <= 1 for value in accuracy.values())  # of three labels; words tell them apart
    for task in MTOP:
        [found] = findings.select(kind="score", system="hybrid", task=task, baseline="")
        assert found.measure == "main_score"
        assert found.value == pytest.approx(np.mean([accuracy["hybrid", seed, task] for seed in (0, 1)]))
    [found] = findings.select(kind="answer")
    by_seed = [
        np.mean([accuracy["hybrid", seed, task] - accuracy["monolingual", seed, task] for task in MTOP])
        for seed in (0, 1)
    ]
    assert found.measure == "main_score"
    assert found.value == pytest.approx(np.mean(by_seed))
    assert found.p_raw == pytest.approx(ttest_1samp(by_seed, 0).pvalue)
    assert not findings.select(kind="drop")  # an accuracy is no AP, so there is no drop from one to the other
    text = report.Report.of(one).markdown()
    assert "By mean main score out of the domain, hybrid" in text
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
    """One output folder for all five, as `make studies-smoke` has it, so that they share models."""
    return tmp_path_factory.mktemp("smoke")


@pytest.mark.parametrize("name", NAMES)
def test_smoke(hbt, shared, name):
    """Each of the five, whole: what it trains beats chance, and its report answers the question by its own figures."""
    code, out, _ = hbt("run", name, "--output", str(shared))
    assert code == 0
    design = find(name).at("smoke")
    question, sentence, *paths = out.splitlines()
    assert question == design.study.question
    assert re.match(r"(Yes|No|Only in part|Undecided): ", sentence)
    assert [Path(path).name for path in paths] == ["report.md", "report.html"]
    text = Path(paths[0]).read_text()
    assert f"**Answer.** {sentence}" in text
    assert "All models have the same budget: 40 steps, 2,560 pairs seen." in text
    findings = StudyResult.read(StudyPlan(design, StudyPaths(shared)).comparison.read_text())
    answers = findings.select(kind="answer")
    assert [one.baseline for one in answers] == [*design.answer.over]
    assert all(one.baseline in sentence and f"{one.value:+.4f}, 95 %" in sentence for one in answers)
    systems = {system.strategy for system in design.systems}
    for group in GROUPS:
        for one in findings.select(kind="score", group=group, measure="AP", language="", baseline=""):
            assert 0 <= one.low <= one.value <= one.high <= 1
            systems_there = {other.system for other in findings.select(kind="score", task=one.task, baseline="")}
            assert systems_there == systems
    # 64 facts or more in four languages: chance is an AP below 0.05
    [mono] = findings.select(
        kind="score", group="in-domain", system="hybrid", measure="AP", baseline="",
        task="cldr-facts-mono[de,en,ru,sw>de,en,ru,sw,vi]",
    )  # fmt: skip
    assert mono.value > 0.3
    assert len({round(one.value, 6) for one in findings.select(task=mono.task, kind="score", baseline="")}) > 1
    _, out, _ = hbt("run", name, "--output", str(shared), "--dry-run")
    assert "about 0 minutes of one core are left" in out


@pytest.mark.parametrize("name", NAMES)
def test_the_scale_paper_is_planned_without_the_hub(hbt, tmp_path, monkeypatch, name):
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


def test_a_dry_run_does_nothing(hbt, tmp_path):
    code, out, _ = hbt("run", "batches-vs-finetuning", "--dry-run")
    assert code == 0
    assert "33 jobs; about" in out  # 4 strategies x 2 seeds x (training and 3 tasks), and the comparison
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "ood-low-resorce"], 2, "unknown study 'ood-low-resorce'; did you mean 'ood-low-resource'?"),
        (["report", "ood-low-resource"], 3, "has not run to its end: run `hbt-bench study run ood-low-resource"),
        (["show", "none.yaml"], 3, "cannot read none.yaml"),
        (["run", "ood-low-resource", "--scale", "large"], 2, "'large' is not one of"),
    ],
)
def test_mistakes_are_one_sentence(hbt, arguments, code, message):
    found, out, err = hbt(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def test_figures_read_back(tmp_path):
    found = figure("mono", 0.1 + 0.2, 1 / 3)
    findings = StudyResult((found, replace(found, language="de")), (), "here", {})
    assert StudyResult.read(findings.as_json()) == findings


def test_a_score_that_is_not_that_of_its_ranks_is_an_error():
    """Of a result that was changed, or put beside the ranks of another."""
    [path] = (Path(__file__).parent / "fixtures" / "format-2").rglob("*Multilingual*.json")
    result = Result.read(path)
    stored = StoredRanks.read(result.ranks)
    value = float(np.nanmean(by_question(stored.judgements, stored.ranks, ["multi"], Ranking.average_precision)))
    score_table._check(result, "AP", value)
    with pytest.raises(DataError, match=r"says AP 0\.68\d* where its ranks give 0\.68\d*: delete both and run again"):
        score_table._check(result, "AP", value + 2e-4)
