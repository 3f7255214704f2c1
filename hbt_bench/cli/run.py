"""``hbt-bench run``: evaluate a model on tasks."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hbt_bench.cli import options
from hbt_bench.cli.terminal import print_table, progress_bars
from hbt_bench.errors import OutputError, UsageError
from hbt_bench.identity.task_name import TaskName

if TYPE_CHECKING:
    from hbt_bench.mteb.endpoint import Endpoint
    from hbt_bench.results.result import Result
    from hbt_bench.tasks.registry import TaskRegistry

log = logging.getLogger(__name__)

#: Longer names of tasks would push the numbers out of 80 columns; their languages are counted instead.
_NAME_WIDTH = 19


@click.command("run")
@click.option(
    "--model", "name", required=True, help="Local folder, hub name, a name of MTEB, bm25, vectors:DIR, or a URL."
)
@click.option(
    "--tasks", multiple=True, required=True, metavar="NAMES", help="Tasks, suite:NAME or task files, with commas."
)
@options.language_choice
@options.task_dir
@options.results("--output")
@options.data_dir
@options.formats("table", "json")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Texts that are encoded at once."
)
@click.option("--batch-tokens", type=click.IntRange(min=1), help="Tokens per batch, in place of --batch-size.")
@click.option("--device", help="Device, such as cpu, cuda or cuda:1.  [default: torch's choice]")
@options.variant
@options.correction
@click.option("--name", "given_name", metavar="NAME", help="Name of a folder's or a server's model in the results.")
@click.option("--revision", help="Commit or tag of a hub model, or version of a server's model.")
@click.option("--query-prompt", help="Text before every query.  [default: the model's]")
@click.option("--document-prompt", help="Text before every document.  [default: the model's]")
@click.option("--trust-remote-code", is_flag=True, help="Run Python code that comes with the model.")
@options.endpoint
@click.option("--keep-embeddings", is_flag=True, help="Keep the vectors in the cache for later runs.")
@click.option(
    "--keep-run", type=click.IntRange(min=1), metavar="DEPTH", help="Keep the best DEPTH documents of each query."
)
@click.option("--overwrite", is_flag=True, help="Repeat finished evaluations.")
def command(
    name: str,
    tasks: tuple[str, ...],
    languages: tuple[str, ...],
    query_languages: tuple[str, ...],
    document_languages: tuple[str, ...],
    script: tuple[str, ...],
    family: tuple[str, ...],
    registry: TaskRegistry,
    output: Path,
    data_dir: Path | None,
    style: str,
    batch_size: int,
    batch_tokens: int | None,
    device: str | None,
    dtype: str | None,
    backend: str,
    truncate_dim: int | None,
    max_seq_length: int | None,
    precision: str | None,
    correct: str | None,
    correct_on: str,
    given_name: str | None,
    revision: str | None,
    query_prompt: str | None,
    document_prompt: str | None,
    trust_remote_code: bool,
    endpoint: Endpoint | None,
    keep_embeddings: bool,
    keep_run: int | None,
    overwrite: bool,
) -> None:
    """Evaluate a model on tasks and write MTEB results.

    If the command was interrupted, run it again to continue: finished work is not repeated.

    If there are several GPUs, start the command with accelerate or torchrun, and they share the work.

    \b
    hbt-bench run --model ckpt/ --tasks xquad-r-multi
    hbt-bench run --model bm25 --tasks xquad-r --languages en,de --format json
    hbt-bench run --model ckpt/ --tasks ./my-task.yaml,xquad-r+typos,suite:mlir
    hbt-bench run --model ckpt/ --tasks xquad-r --correct center
    hbt-bench run --model http://localhost:8000 --served-name bge-m3 --tasks xquad-r
    accelerate launch -m hbt_bench run --model ckpt/ --tasks xquad-r
    """  # noqa: D301 -- click needs the character
    from hbt_bench.distributed import is_first, joined
    from hbt_bench.mteb.corrected_model import Correction
    from hbt_bench.mteb.given import GivenModel, given_vectors
    from hbt_bench.mteb.models import ModelRequest
    from hbt_bench.mteb.vectors import PREFIX
    from hbt_bench.results.evaluate import Evaluation

    restrictions = (languages, query_languages, document_languages, script, family)
    selections = [
        replace(selection, spec=options.narrowed(selection.spec, *restrictions)) if selection.spec else selection
        for selection in registry.select(tasks)
    ]
    query_prompt = options.typed("--query-prompt", query_prompt)
    document_prompt = options.typed("--document-prompt", document_prompt)
    if correct is None and correct_on != "own":
        raise UsageError("--correct-on names the texts of a correction: add --correct, as in --correct center")
    model: ModelRequest | GivenModel
    if name.startswith(PREFIX):
        settings = {
            "--query-prompt": query_prompt,
            "--document-prompt": document_prompt,
            "--device": device,
            "--trust-remote-code": trust_remote_code,
            "--dtype": dtype,
            "--backend": backend != "torch",
            "--truncate-dim": truncate_dim,
            "--max-seq-length": max_seq_length,
            "--batch-tokens": batch_tokens,
            "--served-name": endpoint,
            "--precision": precision,
            "--correct": correct,
            "--revision": revision,
        }
        model = given_vectors(name, given_name, settings)
    else:
        model = ModelRequest(
            name,
            revision=revision,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            device=device,
            trust_remote_code=trust_remote_code,
            dtype=dtype,
            backend=backend,
            truncate_dim=truncate_dim,
            max_seq_length=max_seq_length,
            batch_tokens=batch_tokens,
            endpoint=endpoint,
            given_name=given_name,
            precision=precision,
            correction=Correction.parse(correct, correct_on, registry, data_dir) if correct else None,
        )
    with joined() as processes, progress_bars():
        if trust_remote_code:
            log.warning(f"running the code that comes with {name}; its results are marked -remote-code")
        if any(restrictions) and any(selection.spec is None for selection in selections):
            log.warning("the choice of languages does not restrict MTEB's own tasks")
        evaluation = Evaluation(
            model,
            selections,
            output,
            data_dir=data_dir,
            batch_size=batch_size,
            keep_embeddings=keep_embeddings,
            overwrite=overwrite,
            processes=processes,
            keep_run=keep_run,
        )
        results = evaluation.run()
    if not is_first():
        return
    if style == "json":
        click.echo(_as_json(results))
    else:
        show(results, [measure for selection in selections if selection.spec for measure in selection.spec.measures])


def drop(result: Result) -> tuple[Mapping[str, float], str]:
    """Return the drop of each measure due to a query shift, or {} with the reason why it cannot be computed.

    A drop is the score on the unshifted task minus the score on the shifted task, so a positive drop is a loss. Both
    results are in the same folder, and must have the same data, prompts and subsets. A task without a query shift has
    neither drops nor a reason.
    """
    from hbt_bench.data.query_shift import Shift
    from hbt_bench.results.result import Result

    name = TaskName.parse(result.task)
    if not name.shifts:
        return {}, ""
    task = name.unshifted
    suffix = "".join(f"_{Shift.parse(shift).word}" for shift in name.shifts)
    path = result.path.with_name(f"{result.mteb_name.removesuffix(suffix)}.json")
    try:
        unshifted = Result.read(path)
    except OutputError as error:
        return {}, str(error) if path.exists() else f"there is no result of {task} in {path.parent}. Run {task}, too."
    data = unshifted.fields.get("data")
    if result.unshifted is None:
        return {}, "the result does not name the data of its queries. Run it again with --overwrite."
    if data != result.unshifted:
        return {}, (
            f"{path.name} is of data {data}, but the queries were made from data {result.unshifted}. "
            f"Run {task} again with --overwrite."
        )
    if unshifted.fields.get("prompt") != result.fields.get("prompt"):
        return {}, f"{path.name} has other prompts. Run {task} with the same prompts."
    if unshifted.subsets.keys() != result.subsets.keys():
        return {}, f"{path.name} has other subsets. Run {task} again with --overwrite."
    scores = result.scores
    return {measure: value - scores[measure] for measure, value in unshifted.scores.items() if measure in scores}, ""


def _as_json(results: Sequence[Result]) -> str:
    from hbt_bench.results.result import finite

    entries = []
    for result in results:
        drops, reason = drop(result)
        entries.append(result.as_json() | ({"drop": finite(drops)} if drops else {"no_drop": reason} if reason else {}))
    return json.dumps({"results": entries}, ensure_ascii=False)


def show(results: Sequence[Result], more: Sequence[str] = ()) -> None:
    """Print results as a table, with the means of each task in a row; `more` are measures that the tasks add."""
    from hbt_bench.measures.registry import MEASURES
    from hbt_bench.reports.table import Table, number

    drops = {result.task: drop(result) for result in results}
    dropped = any(values for values, _ in drops.values())  # the results of the unshifted task are there, too
    measures = MEASURES.in_tables()
    measures[4:4] = [measure for measure in dict.fromkeys(more) if measure not in measures]
    if dropped:
        measures.remove("R@1")  # or the table is wider than 80 columns
    if any("AP" not in result.scores for result in results):
        measures = ["main_score", *measures]
    measures = [measure for measure in measures if any(measure in result.scores for result in results)]
    long = any(len(result.task) > _NAME_WIDTH for result in results)
    rows = [
        [
            TaskName.parse(result.task).counted() if long else result.task,
            *(number(result.scores.get(measure), measure) for measure in measures),
            *([number(drops[result.task][0].get("AP"), "AP")] if dropped else []),
            str(len(result.subsets)),
        ]
        for result in results
    ]
    header = [*(measure.replace("_distance", "\ndist.") for measure in measures), *(["AP drop"] if dropped else [])]
    title = f"{results[0].model} ({results[0].revision[:12]})"
    print_table(Table(("task", *header, "subsets"), rows, title))
    for result in results:
        click.echo(f"{result.path}")
        if reason := drops[result.task][1]:
            log.warning(f"no drop for {result.task}: {reason}")
