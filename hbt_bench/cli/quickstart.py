"""``hbt-bench quickstart``: train, evaluate and compare on built-in data, without network."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hbt_bench.cli import options
from hbt_bench.cli.terminal import progress_bars
from hbt_bench.data import cldr
from hbt_bench.errors import UsageError
from hbt_bench.identity.task_name import MODES
from hbt_bench.languages import LANGUAGES
from hbt_bench.tasks.registry import select_tasks

if TYPE_CHECKING:
    from hbt_bench.identity.task_name import Mode
    from hbt_bench.results.result import Result

log = logging.getLogger(__name__)

STRATEGIES = ("monolingual", "cross-lingual", "hybrid")
#: The model of the baseline without training, and the name of the baseline.
_CORRECTED = "monolingual"
_CENTERED = "centered"
_TASK = "cldr-facts"
#: The recipe of each model: a bag of subwords from random weights, half a minute on two cores.
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
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("quickstart"),
    show_default=True,
    help="Folder of the models and results.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the weights and batches."
)
@options.formats("table", "md", "csv", "json")
@click.pass_context
def command(context: click.Context, output: Path, seed: int, style: str) -> None:
    """Train, evaluate and compare models on built-in data, without network.

    The data are cldr-facts: questions and answers in 20 languages, made from Unicode CLDR data. Three small dual
    encoders start from the same random weights and see the same number of pairs: the first in monolingual batches, the
    second in cross-lingual batches, the third in a mix with half of each type. They are evaluated on facts that no
    model saw. No training text is in Greek or Vietnamese. A fourth row is a baseline that needs no such training: the
    first model, minus the mean vector of each language.

    \b
    hbt-bench quickstart --output quickstart/
    """  # noqa: D301 -- click needs the character
    from hbt_bench.cli import compare, leaderboard
    from hbt_bench.files import check_writable
    from hbt_bench.mteb.corrected_model import Correction
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
            except UsageError as error:  # the recipe is valid, so the folder has another model
                raise UsageError(
                    f"{folder} has a model of another --seed or version: choose another --output"
                ) from error
            log.info(f"evaluating the {strategy} model")
            arguments = select_tasks(_TASK), output / "results"
            corrects = strategy == _CORRECTED  # the correction then finds the vectors
            results[strategy] = Evaluation(ModelRequest(str(folder)), *arguments, keep_embeddings=corrects).run()
            log.info(f"{strategy}: AP {_spelled(results[strategy])}")
            if corrects:
                log.info(f"evaluating the {strategy} model minus the mean vector of each language")
                model = ModelRequest(str(folder), correction=Correction.parse("center"))
                results[_CENTERED] = Evaluation(model, *arguments).run()
    context.invoke(leaderboard.command, folder=output / "results", style=style)
    if style == "table":
        models = [str(output / "models" / strategy) for strategy in reversed(STRATEGIES)]
        comparison = compared(models, _TASK, results=output / "results")
        click.echo()
        compare.conclude(comparison, comparison.method(columns=False))
        click.echo()
        click.echo(unseen(results))
        click.echo()
        click.echo(verdict(results, output))
    log.info(f"the results are in {output / 'results'}, the models in {output / 'models'}")


def unseen(results: Mapping[str, Sequence[Result]]) -> str:
    """Return the AP of the models in the held-out languages, in the language alone and in the pool."""
    names = " and ".join(f"{LANGUAGES[code].name} ({code})" for code in cldr.HELD_OUT)
    lines = [f"{names} are in no training text; mono AP/multi AP:"]
    for code in cldr.HELD_OUT:
        scores = []
        for strategy, strategy_results in results.items():
            subsets = {name: scores for result in strategy_results for name, scores in result.subsets.items()}
            scores.append(f"{strategy} {subsets[code]['AP']:.3f}/{subsets[f'{code}-multi']['AP']:.3f}")
        lines.append(textwrap.fill(f"- {code}: " + ", ".join(scores), 80, subsequent_indent="  "))
    return "\n".join(lines)


def verdict(results: Mapping[str, Sequence[Result]], output: Path) -> str:
    """Return the models to choose, with the reasons, and the command for a model of the user."""
    within, across, pooled = ({name: _means(of_model)[mode] for name, of_model in results.items()} for mode in MODES)
    best = max(STRATEGIES, key=pooled.__getitem__)
    others = ", ".join(f"{name} {pooled[name]:.2f}" for name in STRATEGIES if name != best)
    spread = [within[name] for name in STRATEGIES]
    local = max(within, key=within.__getitem__)
    paragraphs = [
        f"Which model to ship? If users search all languages at once, {best}: its AP in the pool is {pooled[best]:.2f} "
        f"({others}). Within a language, where most leaderboards look, the three have {min(spread):.2f} to "
        f"{max(spread):.2f}. If users only search documents in their own language, {local}: {within[local]:.2f}.",
        f"Without another training, minus the mean vector of each language, {_CORRECTED} has {pooled[_CENTERED]:.2f} "
        f"in the pool instead of {pooled[_CORRECTED]:.2f}, and {across[_CENTERED]:.2f} across languages, where {best} "
        f"has {across[best]:.2f}.",
        "Next, your own model beside these, here in the folder ckpt/:",
    ]
    lines = [textwrap.fill(text, 80, break_on_hyphens=False) for text in paragraphs]
    lines.append(f"  hbt-bench run --model ckpt/ --tasks {_TASK} --output {output / 'results'}")
    lines.append(f"  hbt-bench leaderboard {output / 'results'}")
    return "\n".join(lines)


def _means(results: Sequence[Result]) -> dict[Mode, float]:
    """Return the mean AP by mode."""
    return {result.mode: result.scores["AP"] for result in results if result.mode}


def _spelled(results: Sequence[Result]) -> str:
    within, across, pooled = (_means(results)[mode] for mode in MODES)
    return f"{within:.2f} within a language, {across:.2f} across languages, {pooled:.2f} in the pool of all languages"
