"""``hbt-bench train --preview``: print the first batches and the planned shares."""

from __future__ import annotations

from collections import defaultdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hbt_bench.training.data import TrainingData
from hbt_bench.training.plan import Batch, BatchPlan

_PAIRS_SHOWN = 12
#: Characters of the column "pair" with its borders.
_PAIR = 11


def show(material: TrainingData, batches: int) -> None:
    """Print the first batches and the shares."""
    console = Console(soft_wrap=False)
    plan = material.plan
    for step in range(min(batches, plan.steps)):
        _batch(console, plan.batch_at(step))
    _shares(console, plan)
    for (source, language, reason), count in sorted(material.dropped.items()):
        console.print(Text(f"left out of {source}: {count} texts in {language} ({reason})"))


def _batch(console: Console, batch: Batch) -> None:
    codes = batch.source.languages
    console.print(Text(f"batch {batch.step + 1}: {batch.type}, {batch.source.name}"))
    table = Table()
    table.add_column("pair", no_wrap=True)
    headings = ["query", "passage", *(["hard negative"] if batch.negatives.shape[1] else [])]
    # without a width, rich shrinks the pair in favour of longer texts
    width = max(8, (console.width - _PAIR - 3 * len(headings)) // len(headings))
    for heading in headings:
        table.add_column(heading, no_wrap=True, overflow="ellipsis", max_width=width)
    texts = batch.source.texts
    for row, (query, passage) in enumerate(batch.pairs.tolist()):
        cells = [texts[batch.queries[row]], texts[batch.passages[row]]]
        if batch.negatives.shape[1]:
            cells.append(texts[batch.negatives[row, 0]])
        table.add_row(f"{codes[query]}-{codes[passage]}", *(Text(cell) for cell in cells))
    console.print(table)


def _shares(console: Console, plan: BatchPlan) -> None:
    shares = plan.batch_shares()
    kinds: dict[str, float] = defaultdict(float)
    queries: dict[str, float] = defaultdict(float)
    pairs: dict[str, float] = defaultdict(float)
    for (source, kind, query, passage), share in shares.items():
        kinds[f"{source}, {kind}"] += share
        queries[f"queries in {query}"] += share
        pairs[f"pair {query}-{passage}"] += share
    rows = plan.steps * plan.batch_size
    console.print(Text(f"planned shares of {plan.steps} batches of {plan.batch_size}, {rows:,} rows"))
    table = Table()
    table.add_column("share of")
    table.add_column("share", justify="right")
    for counts, digits in ((kinds, 1), (queries, 1), (pairs, 2)):
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        shown = ordered if counts is not pairs else ordered[:_PAIRS_SHOWN]
        for name, share in shown:
            table.add_row(Text(name), f"{share:.{digits}%}")
        if len(shown) < len(ordered):
            rest = sum(share for _, share in ordered[len(shown) :])
            table.add_row(f"{len(ordered) - len(shown)} other pairs", f"{rest:.1%}")
        table.add_section()
    console.print(table)
