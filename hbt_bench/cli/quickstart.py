"""``hbt-bench quickstart``: train, evaluate and compare on built-in data, without network."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hbt_bench.cli import options
from hbt_bench.data import cldr
from hbt_bench.errors import UsageError
from hbt_bench.languages import LANGUAGES
from hbt_bench.tasks.registry import select_tasks

if TYPE_CHECKING:
    from hbt_bench.results.store import Result

log = logging.getLogger(__name__)

STRATEGIES = ("monolingual", "cross-lingual", "hybrid")
_TASK = "cldr-facts"
#: The same for all three: a bag of subwords from random weights, so that two cores need half a minute a model.
_RECIPE = {
    "init": "static:128",
    "steps": 400,
    "batch_size": 128,
    "learning_rate": 0.05,
    "weight_decay": 0.0,
    "temperature": 0.1,
    "guard": (),
}


@click.command("quickstart")
@click.option("--output", type=click.Path(path_type=Path), default=Path("quickstart"), show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@options.formats("table", "md", "csv", "json")
def command(output: Path, seed: int, style: str) -> None:
    """Train, evaluate and compare three models on built-in data, without network.

    The data are cldr-facts: questions and answers in 20 languages, made from Unicode CLDR data. Three small dual
    encoders start from the same random weights and see the same number of pairs: one in batches of one language, one
    in batches of language pairs, one in hybrid batches, half of each. They are evaluated on facts that none of them
    saw; Greek and Vietnamese are in no training text.
    """
    from hbt_bench.cli import compare, leaderboard
    from hbt_bench.cli.progress import progress_bars
    from hbt_bench.files import check_writable
    from hbt_bench.mteb.models import ModelRequest
    from hbt_bench.reports.compare import compare as compared
    from hbt_bench.results.evaluate import Evaluation
    from hbt_bench.training.recipe import Recipe
    from hbt_bench.training.run import Training

    check_writable(output)
    results = {}
    with progress_bars():
        for strategy in STRATEGIES:
            folder = output / "models" / strategy
            log.info(f"training the {strategy} model")
            recipe = Recipe(strategy=strategy, seed=seed, name=strategy, **_RECIPE)
            try:
                Training(recipe, folder).run()
            except UsageError as error:  # the recipe is sound, so the folder has a model of another one
                raise UsageError(f"{folder} is of another --seed or version: choose another --output") from error
            log.info(f"evaluating the {strategy} model")
            request = ModelRequest(str(folder))
            results[strategy] = Evaluation(request, select_tasks(_TASK), output / "results").run()
    leaderboard.report(output / "results", style)
    if style == "table":
        models = [str(output / "models" / strategy) for strategy in reversed(STRATEGIES)]
        found = compared(models, _TASK, results=output / "results")
        click.echo()
        compare.conclude(found, found.test)
        click.echo()
        click.echo(unseen(results))
    log.info(f"the results are in {output / 'results'}, the models in {output / 'models'}")


def unseen(results: Mapping[str, Sequence[Result]]) -> str:
    """How the models do in the languages that are in no training text: AP in one's own language and in the pool."""
    names = " and ".join(f"{LANGUAGES[code].name} ({code})" for code in cldr.HELD_OUT)
    lines = [f"{names} are in no training text; AP alone/in the pool:"]
    for code in cldr.HELD_OUT:
        scores = []
        for strategy, found in results.items():
            subsets = {name: scores for result in found for name, scores in result.subsets.items()}
            scores.append(f"{strategy} {subsets[code]['AP']:.3f}/{subsets[f'{code}-multi']['AP']:.3f}")
        lines.append(f"- {code}: " + ", ".join(scores))
    return "\n".join(lines)
