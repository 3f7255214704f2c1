"""The report of a study, Markdown and HTML from one structure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hbt_bench.errors import DataError
from hbt_bench.files import write_text
from hbt_bench.reports.table import Table, number
from hbt_bench.studies import curve
from hbt_bench.studies.answer import answer, holding, probability
from hbt_bench.studies.design import GROUPS
from hbt_bench.studies.jobs import StudyPlan, short
from hbt_bench.studies.study_result import Estimate, StudyResult
from hbt_bench.text import as_html, as_prose

_METHOD = (
    "Every model answers every question, so seeds and questions are crossed. Values are averaged over both; intervals "
    "and tests take the variance of the mean over seeds plus that over questions, with the critical value of Cochran "
    "and Cox, so that a difference must hold for other seeds and other questions. Models of one seed are paired, and "
    "so are the versions of a question. ± is the standard deviation over seeds. The p-values of the answer are "
    "corrected among themselves (Holm), all others among themselves."
)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "div{overflow-x:auto}table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;font-weight:600;padding:.4rem 0}th,td{padding:.2rem .7rem;border-bottom:1px solid #ddd;"
    "text-align:right;white-space:nowrap}th:first-child{text-align:left}small{color:#555}"
    ".answer{border-left:4px solid #0072b2;padding:.5rem 1rem;background:#f2f7fb}svg{max-width:100%;height:auto}"
)


@dataclass(frozen=True)
class Picture:
    """A drawing as SVG; `name` is that of its file, `text` says what is to be seen."""

    name: str
    svg: str
    text: str


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, then tables, then pictures."""

    heading: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Report:
    """What a study found, in the order in which it is read."""

    title: str
    question: str
    answer: str
    sections: Sequence[Section]

    @classmethod
    def of(cls, plan: StudyPlan) -> Report:
        """The report of a plan that ran to its end; raises `DataError` when it did not."""
        design = plan.design
        if not plan.comparison.is_file():
            raise DataError(
                f"the study {design.study.name} has not run to its end: run `{command(plan)} --output "
                f"{plan.place.output}`"
            )
        findings = StudyResult.read(plan.comparison.read_text("utf-8"))
        found = findings.select(kind="answer")
        sections = [
            Section("What answers it", [design.limits] if design.limits else (), [_differences(found, "The answer")]),
            *_curve(plan, findings),
            *_scores(findings),
            Section(
                "By language", ["AP in the pool of all languages, by the language of the query."], _languages(findings)
            ),
            Section("Drops", ["What a model loses; smaller is more robust."], _drops(findings)),
            Section("Differences", [holding(_plain(findings))], [_differences(_plain(findings), "Against each other")]),
            _cost(findings),
            _method(plan, findings),
        ]
        title = f"{design.study.title} ({design.scale})"
        sections = [one for one in sections if one.tables or one.paragraphs or one.pictures]
        return cls(title, design.study.question, answer(design.answer, found), sections)

    def markdown(self) -> str:
        """For GitHub; pictures are files beside it."""
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
        """One file with its pictures inside; it loads nothing."""
        parts = [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{as_html(self.title)}</title>',
            '<meta name="viewport" content="width=device-width">',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{as_html(self.title)}</h1><p><strong>Question.</strong> {as_html(self.question)}</p>",
            f'<p class="answer"><strong>Answer.</strong> {as_html(self.answer)}</p>',
        ]
        for section in self.sections:
            parts.append(f"<h2>{as_html(section.heading)}</h2>")
            parts += [f"<p>{_code(paragraph)}</p>" for paragraph in section.paragraphs]
            parts += [f"<div>{table.html()}</div>" for table in section.tables]
            parts += [
                f'<figure role="img" aria-label="{as_html(one.text)}">{one.svg[one.svg.index("<svg") :]}</figure>'
                for one in section.pictures
            ]
        return "\n".join([*parts, "</body></html>"]) + "\n"

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write both, and the pictures; returns the paths of Markdown and HTML."""
        for section in self.sections:
            for picture in section.pictures:
                write_text(folder / picture.name, picture.svg)
        write_text(folder / "report.md", self.markdown())
        write_text(folder / "report.html", self.html())
        return folder / "report.md", folder / "report.html"


def folder(plan: StudyPlan) -> Path:
    """Where the report of a plan lies."""
    return plan.place.output / f"{plan.design.study.name}-{plan.design.scale}"


def command(plan: StudyPlan) -> str:
    """The command that makes the report."""
    return f"hbt-bench study run {plan.design.study.name} --scale {plan.design.scale}"


def _code(text: str) -> str:
    """A paragraph with its code between backquotes as HTML."""
    parts = as_html(text).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


def _cell(figure: Estimate) -> str:
    measure = figure.measure
    low, high = number(figure.low, measure), number(figure.high, measure)
    return f"{number(figure.value, measure)} ± {number(figure.spread, measure)}\n[{low}, {high}]"


def _signed(value: float, measure: str) -> str:
    return f"{value:+z.1f}" if "rank_distance" in measure else f"{value:+z.4f}"


def _scores(findings: StudyResult) -> Iterable[Section]:
    for group in GROUPS:
        tables = []
        for measure in ("AP", "main_score", "rank_distance"):
            chosen = findings.select(kind="score", group=group, measure=measure, language="", baseline="")
            if chosen:
                arrow = "↓" if measure == "rank_distance" else "↑"
                tables.append(_grid(chosen, [one.task for one in chosen], f"{measure.replace('_', ' ')} {arrow}"))
        yield Section(f"Scores {_GROUP[group]}", (), tables)


_GROUP = {"in-domain": "in the domain", "out-of-domain": "out of the domain", "shifted": "on shifted queries"}


#: Columns of scores that are read without scrolling.
_WIDE = 4


def _grid(figures: Sequence[Estimate], columns: Sequence[str], title: str) -> Table:
    """Systems down, `columns` (one a figure) across; the other way round where that is less wide."""
    systems, header = list(dict.fromkeys(one.system for one in figures)), list(dict.fromkeys(columns))
    cells = {(one.system, column): _cell(one) for one, column in zip(figures, columns, strict=True)}
    if len(header) > max(len(systems), _WIDE):
        turned = [[short(column), *(cells.get((system, column), "-") for system in systems)] for column in header]
        return Table(("task", *systems), turned, title)
    rows = [[system, *(cells.get((system, column), "-") for column in header)] for system in systems]
    return Table(("strategy", *map(short, header)), rows, title)


def _languages(findings: StudyResult) -> list[Table]:
    """A table a task, strategies across; the worst language of each is bold."""
    tables = []
    chosen = [one for one in findings.figures if one.kind == "score" and one.language and not one.baseline]
    chosen = [one for one in chosen if one.group != "shifted"]
    for group, task in dict.fromkeys((one.group, one.task) for one in chosen):
        figures = {(one.language, one.system): one for one in chosen if (one.group, one.task) == (group, task)}
        languages = list(dict.fromkeys(language for language, _ in figures))
        systems = list(dict.fromkeys(system for _, system in figures))
        rows = [[code, *(_cell(figures[code, system]) for system in systems)] for code in languages]
        values = [[figures[code, system].value for code in languages] for system in systems]
        worst = {(column.index(min(column)), place) for place, column in enumerate(values, 1)}
        title = f"{short(task)}, {_GROUP[group]}; the worst language in bold"
        tables.append(Table(("query language", *systems), rows, title, bold=frozenset(worst)))
    return tables


def _drops(findings: StudyResult) -> list[Table]:
    chosen = findings.select(kind="drop", baseline="")
    compared = [one for one in findings.select(kind="drop") if one.baseline]
    tables = [_grid(chosen, [one.task for one in chosen], "Drop of AP")] if chosen else []
    return [*tables, _differences(compared, "How the drops differ (negative: the first loses less)")] if tables else []


def _plain(findings: StudyResult) -> list[Estimate]:
    return [one for one in findings.select(kind="score") if one.baseline]


def _differences(figures: Sequence[Estimate], title: str) -> Table:
    rows = [
        [
            one.system,
            one.baseline,
            short(one.task) if one.task else f"mean {_GROUP[one.group]}",
            one.measure.replace("_", " "),
            _signed(one.value, one.measure),
            f"[{_signed(one.low, one.measure)}, {_signed(one.high, one.measure)}]",
            probability(one.p_raw),
            probability(one.p),
        ]
        for one in figures
    ]
    header = ("strategy", "against", "tasks", "measure", "difference", "95 %", "p", "p corrected")
    return Table(header, rows, title, names=4)


def _curve(plan: StudyPlan, findings: StudyResult) -> Iterable[Section]:
    curves = curve.curves(findings)
    if not curves:
        return
    header = list(curve.COLUMNS.values())
    rows = [
        [name, f"{alpha:g}", *(_cell(one.scores[column][at]) if column in one.scores else "-" for column in header)]
        for name, one in curves.items()
        for at, alpha in enumerate(one.alphas)
    ]
    table = Table(("collection", "alpha", *header), rows, "In and out of the domain", names=1)
    base = plan.design.answer.strategy
    svg = curve.draw(curves, base)
    said = [
        "Alpha is the share of batches of one language, of the sources that have both kinds: 0 is cross-lingual "
        "training, 1 monolingual. What was drawn stands under the cost of training."
    ]
    if svg:
        said.append(f"Above, changes against {base} are paired by seed and question; below are the scores as they are.")
    else:
        said.append("The plot needs an extra: `pip install 'hbt-bench[plot]'`.")
    text = (
        "Changes of scores and rank distance with alpha, and multilingual AP and rank distance against monolingual AP, "
        "with 95 % intervals"
    )
    yield Section("Trade-off over alpha", said, [table], [Picture("alpha.svg", svg, text)] if svg else ())


def _cost(findings: StudyResult) -> Section:
    rows = [
        [one.system, str(one.models), f"{one.steps:,}", f"{one.pairs:,}", f"{one.within:.0%}", f"{one.seconds:,.1f}"]
        for one in findings.costs
    ]
    header = ("strategy", "models", "steps", "pairs seen", "of one language", "seconds")
    table = Table(header, rows, "Of each model; shares and seconds on average")
    budgets = sorted({(one.steps, one.pairs) for one in findings.costs})
    if len(budgets) == 1:
        steps, pairs = budgets[0]
        said = f"All models have the same budget: {steps:,} steps, {pairs:,} pairs seen."
    else:
        listed = " and ".join(f"{pairs:,}" for _, pairs in budgets)
        said = f"The budgets differ ({listed} pairs seen), so differences may come from that."
    return Section("Cost of training", [said], [table])


def _method(plan: StudyPlan, findings: StudyResult) -> Section:
    versions = ", ".join(f"{name} {number}" for name, number in findings.versions.items())
    seeds = ", ".join(map(str, plan.design.seeds))
    made = f"Made by `{command(plan)}` from comparison {plan.address}, with {versions}, on {findings.machine}."
    return Section("Method", [f"Inits: {', '.join(plan.design.inits)}. Seeds: {seeds}. {_METHOD}", made])
