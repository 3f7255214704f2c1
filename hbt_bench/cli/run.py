"""``hbt-bench run``: evaluate a model on tasks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hbt_bench.cli import options
from hbt_bench.cli.terminal import progress_bars, show_results
from hbt_bench.errors import UsageError

if TYPE_CHECKING:
    from hbt_bench.mteb.corrected_model import Correction
    from hbt_bench.mteb.given import GivenModel
    from hbt_bench.mteb.models import ModelRequest
    from hbt_bench.results.result import Result
    from hbt_bench.tasks.registry import TaskRegistry
    from hbt_bench.tasks.task import TaskSpec

log = logging.getLogger(__name__)

#: The flags of settings whose names differ.
_FLAGS = {"endpoint": "--served-name"}


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
    narrow: Callable[[TaskSpec], TaskSpec] | None,
    registry: TaskRegistry,
    output: Path,
    data_dir: Path | None,
    style: str,
    batch_size: int,
    correct: str | None,
    correct_on: str,
    save_correction: Path | None,
    keep_embeddings: bool,
    keep_run: int | None,
    overwrite: bool,
    **settings: Any,
) -> None:
    """Evaluate a model on tasks and write MTEB results.

    If the command was interrupted, run it again to continue: finished work is not repeated.

    To share the work among several GPUs, start the command with accelerate or torchrun.

    \b
    hbt-bench run --model ckpt/ --tasks xquad-r-multi
    hbt-bench run --model bm25 --tasks xquad-r --languages en,de --format json
    hbt-bench run --model ckpt/ --tasks ./my-task.yaml,xquad-r+typos,suite:mlir
    hbt-bench run --model ckpt/ --tasks xquad-r --correct center
    hbt-bench run --model http://localhost:8000 --served-name bge-m3 --tasks xquad-r
    accelerate launch -m hbt_bench run --model ckpt/ --tasks xquad-r
    """  # noqa: D301 -- click needs the character
    from hbt_bench.distributed import is_first, joined
    from hbt_bench.reports.results import as_json
    from hbt_bench.results.evaluate import Evaluation

    selections = registry.select(tasks)
    if narrow:
        selections = [
            replace(selection, spec=narrow(selection.spec)) if selection.spec else selection for selection in selections
        ]
    correction = _correction(correct, correct_on, registry, data_dir, save_correction)
    model = _model(name, correction=correction, **settings)
    with joined() as processes, progress_bars():
        if settings["trust_remote_code"]:
            log.warning(f"running the code that comes with {name}; its results are marked -remote-code")
        if narrow and any(selection.spec is None for selection in selections):
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
        started = time.time()
        results = evaluation.run()
        if keep_embeddings:
            _warn_if_stored(results, started)
    if not is_first():
        return
    if style == "json":
        click.echo(as_json(results))
    else:
        more = [measure for selection in selections if selection.spec for measure in selection.spec.measures]
        show_results(results, more)


def _correction(
    correct: str | None, correct_on: str, registry: TaskRegistry, data_dir: Path | None, save: Path | None
) -> Correction | None:
    """Return the correction of the options; raises `UsageError` for an option of a correction without one."""
    from hbt_bench.mteb.corrected_model import Correction

    if correct is None and (correct_on != "own" or save):
        option = "--save-correction" if save else "--correct-on"
        raise UsageError(f"{option} is for the texts of a correction: add --correct, as in --correct center")
    return Correction.parse(correct, correct_on, registry, data_dir, save) if correct else None


def _warn_if_stored(results: Sequence[Result], started: float) -> None:
    """Log a warning if all results are older than the command, which then encoded nothing."""
    if results and all(result.path.stat().st_mtime < started for result in results):
        log.warning("no vectors were kept, because the results exist already: add --overwrite to encode again")


def _model(name: str, *, given_name: str | None, **settings: Any) -> ModelRequest | GivenModel:
    """Return the model of the options; `settings` are fields of `ModelRequest`, whose errors it raises."""
    from hbt_bench.mteb.given import given_vectors
    from hbt_bench.mteb.models import ModelRequest
    from hbt_bench.mteb.vectors import PREFIX

    for role in ("query_prompt", "document_prompt"):
        settings[role] = options.typed(f"--{role.replace('_', '-')}", settings[role])
    if not name.startswith(PREFIX):
        return ModelRequest(name, given_name=given_name, **settings)
    default = ModelRequest.__dataclass_fields__
    return given_vectors(
        name,
        given_name,
        {
            _FLAGS.get(key, f"--{key.replace('_', '-')}"): value
            for key, value in settings.items()
            if value != default[key].default
        },
    )
