"""``hbt-bench show``: explain a number and how to reproduce it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hbt_bench.cli import options

if TYPE_CHECKING:
    from hbt_bench.results.result import Result
    from hbt_bench.tasks.registry import TaskRegistry


@click.command("show")
@click.argument("signature_or_file", metavar="SIGNATURE-or-FILE")
@options.task_dir
@options.formats("table", "json")
def command(signature_or_file: str, registry: TaskRegistry, style: str) -> None:
    """Explain a signature or a result file, and print the command that reproduces the number.

    \b
    hbt-bench show 'task:xquad-r-multi|text:sentence|...|ties:docid-desc'
    hbt-bench show results/MODEL/REVISION/XQuADRMultilingualRetrieval.json
    """  # noqa: D301 -- click needs the character
    import json

    from hbt_bench.reports.explain import explain, read_signature

    signature, result = read_signature(signature_or_file)
    explanation = explain(signature, result, registry)
    if style == "json":
        content = {
            "parts": [dict(zip(("field", "value", "meaning"), row, strict=True)) for row in explanation.parts],
            "setup": explanation.setup,
            "command": explanation.command,
            "notes": list(explanation.notes),
        }
        click.echo(json.dumps(content, ensure_ascii=False, indent=2))
        return
    for field, value, meaning in explanation.parts:
        click.echo(f"{click.style(f'{field:7}', bold=True)}{value}\n       {meaning}")
    if result is not None:
        _scores(result)
    click.echo("\nTo reproduce it:")
    for line in (explanation.setup, explanation.command):
        if line:
            click.echo(f"  $ {line}")
    for note in explanation.notes:
        click.echo(f"Note: {note}.")


def _scores(result: Result) -> None:
    from hbt_bench.measures.registry import MEASURES
    from hbt_bench.reports.table import number

    intervals = f", with 95 % intervals by {result.interval_level}" if result.intervals else ""
    click.echo(f"\nMeans over {len(result.subsets)} of {result.expected_subsets} subsets{intervals}:")
    for name in ("main_score", *MEASURES.in_tables()):
        if name in result.scores:
            interval = result.intervals.get(name)
            bounds = f"  [{', '.join(number(bound, name) for bound in interval)}]" if interval else ""
            click.echo(f"  {name:14}{number(result.scores[name], name):>9}{bounds}")
    if result.interval_signature:
        click.echo(f"  intervals: {result.interval_signature}")
