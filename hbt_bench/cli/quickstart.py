"""``hbt-bench quickstart``: the main job on built-in data, without network."""

from __future__ import annotations

from pathlib import Path

import click

from hbt_bench.cli import options
from hbt_bench.tasks.registry import select_tasks


@click.command("quickstart")
@click.option("--output", type=click.Path(path_type=Path), default=Path("quickstart"), show_default=True)
@options.formats("table", "md", "csv", "json")
def command(output: Path, style: str) -> None:
    """Run the main job on built-in data, without network, ending in a leaderboard.

    Three models are compared on cldr-facts, whose questions and answers in 20 languages are made from Unicode CLDR
    data: BM25, and two small models fitted here on the training split by latent semantic indexing, one on each
    language by itself and one on parallel texts. Greek and Vietnamese are in no training text.
    """
    from hbt_bench.cli import leaderboard
    from hbt_bench.cli.progress import Bars
    from hbt_bench.corpus import cldr
    from hbt_bench.corpus.atomic import check_writable
    from hbt_bench.reporting.evaluation import Evaluation
    from hbt_bench.tasks.mteb_model import BM25, ModelRequest

    check_writable(output)
    selections = select_tasks("cldr-facts")
    with Bars() as bars:
        requests = [ModelRequest(BM25)]
        bars.say("fitting two small models on the training split of cldr-facts")
        from hbt_bench.training.lsi import Lsi

        train = cldr.read("train")
        for name, parallel in (("lsi-monolingual", False), ("lsi-parallel", True)):
            requests.append(ModelRequest(str(Lsi(parallel).fit(train, output / "models" / name))))
        for request in requests:
            bars.say(f"evaluating {Path(request.name).name}")
            Evaluation(request, selections, output / "results", progress=bars.update).run()
    leaderboard.report(output / "results", style)
    click.echo(f"hbt-bench: the results are in {output / 'results'}, the models in {output / 'models'}", err=True)
