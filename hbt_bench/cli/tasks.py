"""``hbt-bench tasks``: what can be run."""

from __future__ import annotations

import click

from hbt_bench.cli import options
from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.reporting.table import Table
from hbt_bench.tasks.registry import definitions, task_names


@click.group("tasks", invoke_without_command=True)
@options.formats("table", "md", "csv", "json")
@click.pass_context
def command(context: click.Context, style: str) -> None:
    """List the tasks, or show one with `hbt-bench tasks show NAME`.

    The name of a collection stands for all its modes. Any task of MTEB's own can be run by its MTEB name too.
    """
    if context.invoked_subcommand is not None:
        return
    rows = []
    for name, spec in definitions().items():
        queries, documents = ("-", "-")
        if spec.expect:
            queries = str(sum(spec.expect.queries.values()))
            documents = str(sum(spec.expect.documents.values()))
        rows.append([name, ", ".join(spec.modes), str(len(spec.languages)), queries, documents])
    table = Table(("collection", "modes", "languages", "queries", "documents"), rows)
    if style == "table":
        from rich.console import Console

        Console().print(table.rich())
        click.echo("Run one with --tasks xquad-r (all modes) or --tasks xquad-r-multi (one mode).")
    else:
        click.echo({"md": table.markdown, "csv": table.csv, "json": table.json}[style]())


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show the definition of a task: languages, counts, source, licence and citation."""
    known = task_names()
    if name not in known:
        raise UsageError(f"unknown task '{name}'{did_you_mean(name, known) or '; `hbt-bench tasks` lists all'}")
    spec, modes = known[name]
    about = spec.metadata
    click.echo(f"{spec.name}: {spec.title}\n{spec.description}\n")
    for mode in modes:
        click.echo(f"  {spec.task_name(mode):24} {spec.mteb_task_name(mode)}")
    rows = [("licence", about.license), ("reference", about.reference), ("candidate", spec.source.text)]
    click.echo("\n" + "\n".join(f"  {key:24} {value}" for key, value in rows))
    if spec.expect:
        click.echo("\n  language           queries  documents")
        for code in spec.languages:
            click.echo(f"  {code:16} {spec.expect.queries[code]:9,}  {spec.expect.documents[code]:9,}")
        for count, questions in sorted(spec.expect.relevant.items()):
            click.echo(f"  {questions:,} questions have {count} relevant documents")
    for file in spec.source.remote_files().values():
        click.echo(f"  {file.path}  {file.size:,} bytes  sha256 {file.sha256[:16]}…")
    click.echo("\n" + about.citation.rstrip())
