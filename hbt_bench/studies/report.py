"""The report of a study, as Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hbt_bench.errors import DataError
from hbt_bench.files import file_name, write_text
from hbt_bench.measures.chance import RANDOM_RANKING
from hbt_bench.measures.registry import MEASURES
from hbt_bench.reports.columns import charted_scores
from hbt_bench.reports.render import can_draw, html, svg
from hbt_bench.reports.table import Table, number
from hbt_bench.studies import curve
from hbt_bench.studies.jobs import short_name
from hbt_bench.studies.keys import GROUPS
from hbt_bench.studies.sentences import answer, probability, significant_differences
from hbt_bench.studies.study_plan import StudyPlan
from hbt_bench.studies.study_result import Estimate, StudyResult
from hbt_bench.studies.values import MAIN_SCORE, STUDIED
from hbt_bench.text import as_prose

_METHOD = (
    "Every model answers every question, so seeds and questions are crossed. Values are averaged over both. The "
    "variance of an average has parts for the seeds, for the questions and for the rest, and intervals and tests use "
    "all three, so a significant difference holds for other seeds and other questions. Models with the same seed are "
    "paired, and so are the versions of a question. ± is the standard deviation over seeds. The p-values of the answer "
    "are corrected among themselves (Holm), those of the contrasts, and all others. A yes claims all comparisons of "
    "the answer at once, so it needs no correction."
)
#: Score columns that fit a page without scrolling.
_MAX_COLUMNS = 4


@dataclass(frozen=True)
class Picture:
    """A chart as SVG, with the name of its file and a text for readers who cannot see it."""

    name: str
    svg: str
    text: str


@dataclass(frozen=True)
class Section:
    """A heading, followed by paragraphs, tables and pictures."""

    heading: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Report:
    """The report of a study, in reading order. For example, `Report.from_plan(plan).markdown()`."""

    title: str
    question: str
    answer: str
    sections: Sequence[Section]

    @classmethod
    def from_plan(cls, plan: StudyPlan) -> Report:
        """Return the report of a finished study; raises `DataError` if the study is not finished."""
        check_finished(plan)
        return cls.from_result(plan, StudyResult.read(plan.comparison.read_text("utf-8")), plan.address)

    @classmethod
    def from_result(cls, plan: StudyPlan, result: StudyResult, address: str) -> Report:
        """Return the report of a result of the study with the address of its comparison."""
        study, scale = plan.design.study, plan.design.scale
        answers = result.select(kind="answer")
        differences = [figure for figure in result.select(kind="score") if figure.baseline]
        sections = [
            Section("The answer", [study.limits] if study.limits else (), [differences_table(answers, "Comparisons")]),
            *_curve(plan, result),
            *_scores(result),
            Section("By language", ["AP in the pool of all languages, by query language."], _languages(result)),
            Section("Drops", ["A drop is the AP that a model loses; a robust model has small drops."], _drops(result)),
            Section(
                "Differences", [significant_differences(differences)], [differences_table(differences, "All pairs")]
            ),
            Section("Contrasts", (), _contrasts(result)),
            _cost(result),
            _method(plan, result, address),
        ]
        title = f"{study.title} ({scale})"
        filled = [section for section in sections if section.tables or section.paragraphs or section.pictures]
        return cls(title, study.question, answer(study.answer, answers), filled)

    def markdown(self) -> str:
        """Return the report for GitHub; pictures are links to files in the same folder."""
        lines = [
            f"# {as_prose(self.title)}",
            f"**Question.** {as_prose(self.question)}",
            f"**Answer.** {as_prose(self.answer)}",
        ]
        for section in self.sections:
            lines += [f"## {section.heading}", *map(as_prose, section.paragraphs)]
            for table in section.tables:
                lines += [*([f"**{as_prose(table.title)}**"] if table.title else []), table.markdown()]
            lines += [f"![{picture.text}]({picture.name})" for picture in section.pictures]
        return "\n\n".join(lines) + "\n"

    def html(self) -> str:
        """Return the report as a page that contains its pictures and loads nothing."""
        return html("study.html", title=self.title, question=self.question, answer=self.answer, sections=self.sections)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write Markdown, HTML and pictures; return the paths of Markdown and HTML."""
        for section in self.sections:
            for picture in section.pictures:
                write_text(folder / picture.name, picture.svg)
        write_text(folder / "report.md", self.markdown())
        write_text(folder / "report.html", self.html())
        return folder / "report.md", folder / "report.html"


def check_finished(plan: StudyPlan) -> None:
    """Raise `DataError` if the study is not finished."""
    if not plan.comparison.is_file():
        again = f"{command(plan)} --output {plan.paths.output}"
        raise DataError(f"the study {plan.design.study.name} is not finished: run `{again}`")


def folder(plan: StudyPlan) -> Path:
    """Return the folder of a report."""
    return plan.paths.output / file_name(f"{plan.design.study.name}-{plan.design.scale}")


def command(plan: StudyPlan) -> str:
    """Return the command that makes a report. For example, ``hbt-bench study run ood-low-resource --scale small``."""
    return f"hbt-bench study run {plan.design.study.name} --scale {plan.design.scale}"


def _cell(figure: Estimate) -> str:
    measure = figure.measure
    low, high = number(figure.low, measure), number(figure.high, measure)
    return f"{number(figure.value, measure)} ± {number(figure.spread, measure)}\n[{low}, {high}]"


def _signed(value: float, measure: str) -> str:
    return f"{value:+z.{MEASURES.describe(measure).decimals}f}"


def _scores(result: StudyResult) -> Iterator[Section]:
    """Yield a section per group of tasks with a table per measure."""
    for group in GROUPS:
        tables = []
        for measure in (STUDIED[0], MAIN_SCORE, *STUDIED[1:]):
            scores = result.select(kind="score", group=group, measure=measure, language="", baseline="")
            if scores:
                title = f"{measure.replace('_', ' ')} {MEASURES.describe(measure).arrow}"
                tables.append(_grid(scores, title, result.chance if measure == "AP" else {}))
        yield Section(f"Scores {GROUPS[group]}", (), tables)


def _grid(figures: Sequence[Estimate], title: str, chance: Mapping[str, float] | None = None) -> Table:
    """Return a table of systems by tasks, transposed if that is narrower, with a random ranking's score by task."""
    systems = list(dict.fromkeys(figure.system for figure in figures))
    tasks = list(dict.fromkeys(figure.task for figure in figures))
    cells = {(figure.system, figure.task): _cell(figure) for figure in figures}
    if random := {task: value for task, value in (chance or {}).items() if task in tasks}:
        systems.append(RANDOM_RANKING)
        cells |= {(RANDOM_RANKING, task): number(value, figures[0].measure) for task, value in random.items()}
    if len(tasks) > max(len(systems), _MAX_COLUMNS):
        rows = [[short_name(task), *(cells.get((system, task), "-") for system in systems)] for task in tasks]
        return Table(("task", *systems), rows, title)
    rows = [[system, *(cells.get((system, task), "-") for task in tasks)] for system in systems]
    return Table(("strategy", *map(short_name, tasks)), rows, title)


def _languages(result: StudyResult) -> list[Table]:
    """Return a table per task of languages by strategies, with the worst language of each strategy in bold."""
    scores = [figure for figure in result.select(kind="score", baseline="") if figure.language]
    tables = []
    for group, task in dict.fromkeys((figure.group, figure.task) for figure in scores if figure.group != "shifted"):
        figures = {
            (figure.language, figure.system): figure
            for figure in scores
            if (figure.group, figure.task) == (group, task)
        }
        languages = list(dict.fromkeys(language for language, _ in figures))
        systems = list(dict.fromkeys(system for _, system in figures))
        rows = [[code, *(_cell(figures[code, system]) for system in systems)] for code in languages]
        values = [[figures[code, system].value for code in languages] for system in systems]
        worst = {(scores.index(min(scores)), column) for column, scores in enumerate(values, 1)}
        title = f"{short_name(task)}, {GROUPS[group]}; the worst language in bold"
        tables.append(Table(("query language", *systems), rows, title, bold=frozenset(worst)))
    return tables


def _drops(result: StudyResult) -> list[Table]:
    drops = result.select(kind="drop", baseline="", language="")
    if not drops:
        return []
    differences = [figure for figure in result.select(kind="drop", language="") if figure.baseline]
    by_language = [
        _grid(
            [replace(drop, task=f"{drop.task}: {drop.language}") for drop in lost],
            "Drop of AP above chance by language",
        )
        for lost in [[drop for drop in result.select(kind="drop", baseline="") if drop.language]]
        if lost
    ]
    title = "Differences between drops (negative: the first strategy loses less)"
    return [_grid(drops, "Drop of AP"), *by_language, differences_table(differences, title)]


def _contrasts(result: StudyResult) -> list[Table]:
    figures = result.select(kind="contrast")
    return [differences_table(figures, "Contrasts, corrected among themselves")] if figures else []


def differences_table(figures: Sequence[Estimate], title: str) -> Table:
    """Return a table of differences, with the tests of equivalence if there are any."""
    rows = [
        [
            figure.system,
            figure.baseline,
            short_name(figure.task),
            figure.measure.replace("_", " "),
            _signed(figure.value, figure.measure),
            f"[{_signed(figure.low, figure.measure)}, {_signed(figure.high, figure.measure)}]",
            probability(figure.p_raw),
            probability(figure.p),
            probability(figure.p_same),
        ]
        for figure in figures
    ]
    header = ["strategy", "against", "tasks", "measure", "difference", "95 %", "p", "p corrected", "p same"]
    if all(figure.p_same is None for figure in figures):
        header, *rows = (cells[:-1] for cells in (header, *rows))
    return Table(header, rows, title, names=4)


def _curve(plan: StudyPlan, result: StudyResult) -> Iterator[Section]:
    """Yield the section on the curve over alpha, if the study has a curve."""
    curves = curve.curves(result)
    if not curves:
        return
    header = list(charted_scores().values())
    rows = [
        [
            name,
            f"{alpha:g}",
            *(_cell(line.scores[column][index]) if column in line.scores else "-" for column in header),
        ]
        for name, line in curves.items()
        for index, alpha in enumerate(line.alphas)
    ]
    table = Table(("collection", "alpha", *header), rows, "In and out of the domain", names=1)
    paragraphs = [
        "Alpha is the share of monolingual batches, among the sources that have monolingual and cross-lingual batches: "
        "0 is cross-lingual training, 1 monolingual training. The cost of training has the shares that were drawn."
    ]
    base = plan.design.study.answer.strategy
    pictures = []
    if can_draw():
        paragraphs.append(
            f"The upper panels show changes against {base}, paired by seed and question. The lower panels show scores."
        )
        text = (
            "Changes of scores and rank distance with alpha, and multilingual AP and rank distance against monolingual "
            "AP, with 95 % intervals"
        )
        pictures.append(Picture("alpha.svg", svg(curve.draw(curves, base)), text))
    else:
        paragraphs.append("The plot needs an extra: run `pip install 'hbt-bench[report]'`.")
    yield Section("Trade-off over alpha", paragraphs, [table], pictures)


def _cost(result: StudyResult) -> Section:
    rows = [
        [
            cost.system,
            str(cost.models),
            f"{cost.steps:,}",
            f"{cost.pairs:,}",
            f"{cost.within:.0%}",
            f"{cost.seconds:,.1f}",
        ]
        for cost in result.costs
        if cost.steps  # an untouched init was not trained
    ]
    header = ("strategy", "models", "steps", "pairs seen", "of one language", "seconds")
    table = Table(header, rows, "Per model; shares and seconds are averages")
    budgets = sorted({(cost.steps, cost.pairs) for cost in result.costs if cost.steps})
    if len(budgets) == 1:
        steps, pairs = budgets[0]
        sentence = f"All trained models have the same budget: {steps:,} steps, {pairs:,} pairs seen."
    else:
        listed = " and ".join(f"{pairs:,}" for _, pairs in budgets)
        sentence = f"The budgets differ ({listed} pairs seen), so differences may come from that."
    return Section("Cost of training", [sentence], [table])


def _method(plan: StudyPlan, result: StudyResult, address: str) -> Section:
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    seeds = ", ".join(map(str, plan.design.study.seeds))
    made = f"Made by `{command(plan)}` from comparison {address}, with {versions}, on {result.machine}."
    clusters = ", ".join(f"{name}: {clusters}" for name, clusters in result.clusters.items())
    samples = [f"Questions are sampled by cluster. {clusters}."] if clusters else []
    if all(figure.errors is None or not figure.errors.rest for figure in result.figures):
        samples.append("The rest is not known, so it counts as part of the seeds and of the questions (the safe side).")
    return Section(
        "Method", [f"Inits: {', '.join(plan.design.study.inits)}. Seeds: {seeds}. {_METHOD}", *samples, made]
    )
