"""``hbt-bench tasks``: list, show, write, check and audit tasks."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from hbt_bench.cli import options
from hbt_bench.cli.terminal import print_table
from hbt_bench.errors import DataError, UsageError
from hbt_bench.reports.table import Table, render
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.tasks.task import TaskSpec

log = logging.getLogger(__name__)


@click.group("tasks", invoke_without_command=True)
@options.formats("table", "md", "csv", "json")
@options.task_dir
@click.pass_context
def command(context: click.Context, style: str, registry: TaskRegistry) -> None:
    """List the tasks, or show a task with `hbt-bench tasks show NAME`.

    The name of a collection stands for all its modes. MTEB's tasks run under their MTEB names.

    \b
    hbt-bench tasks --format csv
    """  # noqa: D301 -- click needs the character
    context.obj = registry
    if context.invoked_subcommand is not None:
        if style != "table":
            raise UsageError(
                f"--format {style} is for the list of tasks: leave it out, or give it after the command's name"
            )
        return
    rows = []
    for name, spec in registry.specs.items():
        queries, documents = ("-", "-")
        if spec.expect:
            queries, documents = (
                str(sum(counts.values()) or "-") for counts in (spec.expect.queries, spec.expect.documents)
            )
        declared = spec.source.declared
        rows.append([name, ", ".join(spec.modes), "-" if declared is None else str(len(declared)), queries, documents])
    table = Table(("collection", "modes", "languages", "queries", "documents"), rows)
    if style == "table":
        print_table(table)
        for suite in registry.suites.values():
            click.echo(f"suite:{suite.name:14} {suite.description}")
        click.echo("Run a task with --tasks xquad-r (all modes) or --tasks xquad-r-multi (a single mode).")
    else:
        click.echo(table.markdown() if style == "md" else render([table], style))


@command.command("show")
@click.argument("name")
@options.task_dir
def show(name: str, registry: TaskRegistry) -> None:
    """Show a task or a suite.

    If NAME is a task or a task file, show its languages, counts, source, licence and citation. If it is a suite, list
    its tasks.

    \b
    hbt-bench tasks show xquad-r
    hbt-bench tasks show suite:mlir
    """  # noqa: D301 -- click needs the character
    if name.startswith("suite:"):
        for selection in registry.select(name):
            spec = selection.spec
            names = [spec.task_name(mode) for mode in selection.modes] if spec else [selection.stock]
            click.echo(", ".join(names))
        return
    if name not in registry.tasks and not name.endswith((".yaml", ".yml")):
        raise registry.unknown(name, registry.tasks)
    [selection] = registry.select(name)
    spec = selection.spec
    assert spec is not None  # MTEB's own tasks are not in the registry
    about = spec.metadata
    click.echo(f"{spec.name}: {spec.title}\n{spec.description}\n")
    for mode in selection.modes:
        click.echo(f"  {spec.task_name(mode):24} {spec.mteb_task_name(mode)}")
    rows = [
        ("licence", about.license),
        ("reference", about.reference),
        ("candidate", spec.source.text),
        ("main score", spec.main_score),
        *([("also shown", " ".join(spec.measures))] if spec.measures else []),
        ("languages", " ".join(spec.source.declared or ("those of MTEB",))),
    ]
    click.echo("\n" + "\n".join(f"  {key:24} {value or '-'}" for key, value in rows))
    _show_counts(spec)
    for file in spec.source.remote_files().values():
        click.echo(f"  {file.path}  {file.size:,} bytes  sha256 {file.sha256[:16]}…")
    click.echo("\n" + (about.citation or "no citation").rstrip())


def _show_counts(spec: TaskSpec) -> None:
    if not spec.expect:
        return
    click.echo("\n  language           queries  documents")
    for code in sorted({*spec.expect.queries, *spec.expect.documents}):
        queries, documents = (counts.get(code, 0) for counts in (spec.expect.queries, spec.expect.documents))
        click.echo(f"  {code:16} {queries:9,}  {documents:9,}")
    for count, questions in sorted(spec.expect.relevant.items()):
        click.echo(f"  {questions:,} questions have {count} relevant documents")


@command.command("validate")
@click.argument("file", type=click.Path(path_type=Path))
@options.data_dir
@click.option("--strict", is_flag=True, help="Treat warnings, such as a missing licence, as errors.")
@click.pass_obj
def validate(registry: TaskRegistry, file: Path, data_dir: Path | None, strict: bool) -> None:
    """Check a task file and its data, and print each check.

    Exit with code 3 if a check fails. A task with warnings (?) is usable, but fails if --strict is set.

    \b
    hbt-bench tasks validate ./my-task.yaml --strict
    """  # noqa: D301 -- click needs the character
    from hbt_bench.checks.task_file import Validation

    failed = False
    for check in Validation(file, data_dir, registry).run():
        click.echo(f" {check.mark}  {check.name:22} {check.message}")
        failed = failed or check.status == "failed" or (strict and check.status == "warning")
    if failed:
        raise DataError(f"{file} did not pass: fix the checks that are marked and validate again")


@command.command("audit")
@click.argument("names")
@click.option(
    "--threshold",
    type=options.FiniteRange(0.5, 1),
    help="Similarity of near-duplicates, the Jaccard index of their word pairs.  [default: 0.7]",
)
@click.option(
    "--answers",
    "answers_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help='JSON lines with the answers of queries, as in {"query": "en-q-7", "answers": ["two"]}.',
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File for the candidates, JSON lines.")
@options.formats("table", "md", "json")
@options.languages
@options.data_dir
@options.task_dir
def audit(
    names: str,
    threshold: float | None,
    answers_file: Path | None,
    output: Path | None,
    style: str,
    languages: tuple[str, ...],
    data_dir: Path | None,
    registry: TaskRegistry,
) -> None:
    """Find texts that occur twice and unjudged documents that may be relevant.

    NAMES are tasks, task files or suites, separated by commas. The audit prints three tables: texts with the same words
    or nearly the same words; unjudged documents that may be relevant, which --output writes with their evidence; and
    the best AP that a system can expect if these documents look relevant to it. They are candidates for people to
    judge, so the exit code is 0.

    \b
    hbt-bench tasks audit xquad-r --output candidates.jsonl
    """  # noqa: D301 -- click needs the character
    from hbt_bench.cli.audit import print_audits

    print_audits(registry.select(names), threshold, answers_file, output, style, languages, data_dir)


@command.command("new")
@click.argument("name")
@click.option("--from", "data", required=True, type=click.Path(path_type=Path), help="Data file or BEIR folder.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Folder of the task file.")
@click.option(
    "--columns", metavar="KEY=FIELD,...", default="", help="Fields, such as query=title,document=body,language=lang."
)
@click.option("--language", help="Code of the language, if the data have no field for it.")
@click.option(
    "--quoting",
    type=click.Choice(["none", "csv"]),
    help="none: a quotation mark is an ordinary letter; csv: cells may be quoted.",
)
@click.option("--delimiter", metavar="CHARACTER", help="The character between cells of a table, or the word tab.")
@options.names("--header", "NAMES", "The names of the columns, for a table without a header line.")
@click.option("--split", help="The split with the judgements of a BEIR folder, by default test or a development split.")
@click.option("--overwrite", is_flag=True, help="Replace an existing task file.")
@options.data_dir
@click.pass_obj
def new(
    registry: TaskRegistry,
    name: str,
    data: Path,
    output: Path | None,
    columns: str,
    language: str | None,
    quoting: str | None,
    delimiter: str | None,
    header: tuple[str, ...],
    split: str | None,
    overwrite: bool,
    data_dir: Path | None,
) -> None:
    """Write a task file for a data file.

    The columns are detected. If they are wrong, set them with --columns. A table in a text file may need --quoting,
    --delimiter or --header.

    \b
    hbt-bench tasks new my-task --from data.jsonl
    hbt-bench tasks new my-task --from queries.tsv --header id,query,document --language en
    hbt-bench tasks validate my-task.yaml
    hbt-bench run --model bm25 --tasks ./my-task.yaml
    """  # noqa: D301 -- click needs the character
    from hbt_bench.actions import draft_task

    path = draft_task(
        name,
        data,
        output,
        columns=columns,
        language=language,
        split=split,
        overwrite=overwrite,
        data_dir=data_dir,
        registry=registry,
        quoting=quoting,
        delimiter=delimiter,
        header=header,
    ).path
    click.echo(f"{path}")
    log.info(f"check it with `hbt-bench tasks validate {path}`")
