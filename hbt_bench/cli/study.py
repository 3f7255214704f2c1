"""``hbt-bench study``: train, evaluate and compare to answer a research question."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hbt_bench.cli import options
from hbt_bench.cli.terminal import print_table, progress_bars

if TYPE_CHECKING:
    from hbt_bench.studies.study_plan import StudyPlan

    PlanOf = Callable[[str], StudyPlan]

_scale = click.option(
    "--scale",
    type=click.Choice(("smoke", "small", "paper")),
    default="smoke",
    show_default=True,
    help="smoke: built-in data, a minute; small: a data folder and a GPU; paper: the hub and days on a GPU.",
)


def _plan(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a study that is run to a command; it receives ``plan``, a function of the study's name."""

    @functools.wraps(command)
    def with_plan(scale: str, init: str | None, output: Path, data_dir: Path | None, **values: Any) -> None:
        from hbt_bench.actions import study_plan

        command(plan=lambda name: study_plan(name, scale, output, data_dir, init), **values)

    flags: Callable[..., None] = with_plan
    for option in (
        options.data_dir,
        click.option(
            "--output",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("runs"),
            show_default=True,
            help="Folder of models, results and reports, shared by all studies.",
        ),
        click.option("--init", help="Model to start from, instead of the study's: a folder or a hub name."),
        _scale,
    ):
        flags = option(flags)
    return flags


@click.group("study")
def command() -> None:
    """Answer a research question: train and evaluate the missing models, compare them, and write a report.

    \b
    hbt-bench study list
    hbt-bench study plan ood-low-resource --scale small
    hbt-bench study run ood-low-resource --scale small --data-dir ../data
    """  # noqa: D301 -- click needs the character


@command.command("list")
def _list() -> None:
    """List the studies.

    \b
    hbt-bench study list
    """  # noqa: D301 -- click needs the character
    from hbt_bench.reports.table import Table
    from hbt_bench.studies.study import find_study, study_names

    rows = [[name, find_study(name).question] for name in study_names()]
    print_table(Table(("study", "question"), rows, names=2))


@command.command("show")
@click.argument("name")
@_scale
def _show(name: str, scale: str) -> None:
    """Show the models, tasks and comparisons of a study.

    NAME is a study of the list, or the path of a study file.

    \b
    hbt-bench study show ood-low-resource --scale paper
    """  # noqa: D301 -- click needs the character
    import yaml

    from hbt_bench.studies.study import find_study

    design = find_study(name).at(scale)  # type: ignore[arg-type]
    study = design.study
    click.echo(f"{study.title}\n\n{click.wrap_text(study.question, 80)}\n")
    content = {
        "scale": scale,
        "inits": list(study.inits),
        "seeds": list(study.seeds),
        "recipe": study.recipe,
        "strategies": {system.strategy: dict(system.changes) for system in design.systems},
        "tasks": study.tasks.model_dump(by_alias=True, mode="json"),
        "answer": study.answer.model_dump(mode="json"),
        "limits": study.limits,
    }
    click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=72), nl=False)


@command.command("run")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_plan
@click.option("--dry-run", is_flag=True, help="Print the plan with its estimated cost; do nothing.")
@click.option(
    "--only",
    multiple=True,
    metavar="ADDRESS",
    help="Run only the jobs of the model that has this job, and write no report; repeat it for several models. "
    "--dry-run lists the addresses.",
)
@click.option("--compact", is_flag=True, help="Delete weights and ranks once all evaluations of a model are there.")
def _run(names: tuple[str, ...], plan: PlanOf, dry_run: bool, only: tuple[str, ...], compact: bool) -> None:
    """Run studies and write their reports. Studies with equal recipes share models.

    If a study was interrupted, run the command again: finished jobs are not repeated.

    \b
    hbt-bench study run ood-low-resource --scale small --init e5-small-4bit --data-dir data/
    """  # noqa: D301 -- click needs the character
    from hbt_bench.studies.study_plan import models_named, run_jobs
    from hbt_bench.studies.study_result import compare

    with progress_bars():
        plans = [plan(name) for name in names]
        if dry_run:
            chosen = models_named(plans, only)
            for planned in plans:
                _print(planned, chosen)
            return
        run_jobs(plans, only, compact=compact)
        if only:
            return
        for planned in plans:
            compare(planned)
    for planned in plans:
        _write(planned)


@command.command("report")
@click.argument("name")
@_plan
def _report(name: str, plan: PlanOf) -> None:
    """Write the report of a finished study again.

    \b
    hbt-bench study report ood-low-resource --scale small
    """  # noqa: D301 -- click needs the character
    _write(plan(name))


@command.command("contrast")
@click.argument("name")
@click.option("--of", multiple=True, required=True, help="A strategy; repeat it for the mean of several.")
@click.option("--minus", multiple=True, required=True, help="The strategy to compare with; repeat it for several.")
@click.option("--each", is_flag=True, help="Compare with each of several strategies, in place of their mean.")
@click.option(
    "--margin",
    type=options.POSITIVE,
    help="Also test whether scores are the same within this margin. Choose it beforehand.",
)
@_plan
def _contrast(
    name: str, of: tuple[str, ...], minus: tuple[str, ...], each: bool, margin: float | None, plan: PlanOf
) -> None:
    """Test any strategies of a finished study against each other.

    The p-values are corrected over the rows of the table.

    \b
    hbt-bench study contrast ood-low-resource --of cross-lingual --minus monolingual
    hbt-bench study contrast ood-low-resource --of hybrid --of cross-lingual --minus monolingual --margin 0.01
    hbt-bench study contrast ood-low-resource --of hybrid --minus monolingual --minus cross-lingual --each
    """  # noqa: D301 -- click needs the character
    from hbt_bench.studies import report
    from hbt_bench.studies.score_table import ScoreTable
    from hbt_bench.studies.study_result import contrasts, corrected

    planned = plan(name)
    baselines = [(name,) for name in minus] if each else [minus]
    pairs = [planned.design.contrast(of, baseline) for baseline in baselines]
    report.check_finished(planned)
    table = ScoreTable(planned)
    figures = corrected(estimate for pair in pairs for estimate in contrasts(table, pair, margin))
    title = f"{' and '.join(of)} minus {'each of ' if each else ''}{' and '.join(minus)}"
    print_table(report.differences_table(figures, title))


@command.command("plan")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_scale
@click.option(
    "--from",
    "earlier",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Result of an earlier study, runs/comparisons/ADDRESS.json.  [default: the published results]",
)
@click.option(
    "--difference",
    type=options.POSITIVE,
    default=0.01,
    show_default=True,
    help="The smallest difference that matters.",
)
@click.option("--seeds", type=click.IntRange(min=2, max=1000), help="Planned seeds.  [default: those of the study]")
@click.option("--questions", type=click.IntRange(min=2), help="Planned questions.  [default: those of the results]")
def _power(
    names: tuple[str, ...],
    scale: str,
    earlier: Path | None,
    difference: float,
    seeds: int | None,
    questions: int | None,
) -> None:
    """Show the smallest differences that studies can find, before anything is trained.

    The variances are those of an earlier study of the same kind. The percentages are the shares of the variance that
    come from the seeds, from the questions, and from the rest, which is specific to a seed and a question.

    \b
    hbt-bench study plan ood-low-resource --scale small
    hbt-bench study plan mine.yaml --from runs/comparisons/1f2e3d4c5b6a7988.json --difference 0.005
    """  # noqa: D301 -- click needs the character
    from hbt_bench.studies.planning import plan_table
    from hbt_bench.studies.study import find_study

    designs = [find_study(name).at(scale) for name in names]  # type: ignore[arg-type]
    print_table(plan_table(designs, difference, earlier=earlier, seeds=seeds, questions=questions))


def _write(plan: StudyPlan) -> None:
    from hbt_bench.studies import report

    made = report.Report.from_plan(plan)
    click.echo(made.question)
    click.echo(made.answer)
    for path in made.write(report.folder(plan)):
        click.echo(path)


def _print(plan: StudyPlan, chosen: Container[str]) -> None:
    """Print the jobs of the chosen models and an estimate of the time left."""
    from hbt_bench.reports.table import Table
    from hbt_bench.studies.jobs import model_of

    estimates = [(job, seconds) for job, seconds in plan.estimates() if model_of(job).address in chosen]
    rows = [
        [
            type(job).__name__.lower(),
            job.label,
            job.address[:8],
            "-" if seconds == 0 else "?" if seconds is None else f"{seconds:,.0f} s",
        ]
        for job, seconds in estimates
    ]
    rows.append(["compare", plan.design.study.name, plan.address[:8], "-" if plan.comparison.is_file() else "10 s"])
    title = f"{plan.design.study.name}, {plan.design.scale}: - is done, or shared with a job above"
    print_table(Table(("job", "of", "address", "estimate"), rows, title, names=3))
    total = sum(seconds for _, seconds in estimates if seconds)
    unknown = sum(seconds is None for _, seconds in estimates)
    machine = "one core" if all(":" in init for init in plan.design.study.inits) else "one A100"
    more = f", and {unknown} jobs of unknown cost" if unknown else ""
    click.echo(f"{len(rows)} jobs; about {total / 60:,.0f} minutes of {machine} are left{more}")
