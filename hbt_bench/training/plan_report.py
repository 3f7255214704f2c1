"""What is checked and logged before the first step: shares of sources, and data that batches cannot draw as planned."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from hbt_bench.errors import UsageError
from hbt_bench.training.parallel import MISSING, ParallelText
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.strategies import STRATEGIES, BatchType, StrategyName, WeightedSource

log = logging.getLogger(__name__)

#: Language pairs that a warning names at most.
_MAX_PAIRS = 5
#: Sources that a message names at most.
_MAX_SOURCES = 8
#: The difference from alpha that causes a warning.
_ALPHA_TOLERANCE = 0.005
#: A source is hardly drawn if its share is smaller, and less than a tenth of its share without a weight, or no batch.
_HARDLY = 0.01
#: A text is frequent if a tenth of the items have it, and a batch would have it in four rows by chance.
_FREQUENT_SHARE, _FREQUENT_ROWS = 0.1, 4


def usual_weight(recipe: Recipe, source: ParallelText) -> float:
    """Return the weight of a source without a `weight`, such as its number of items."""
    return float(len(source)) if recipe.source_weights == "size" else 1.0


def check_keys(recipe: Recipe, sources: Sequence[ParallelText]) -> None:
    """Raise `UsageError` for a key without effect on the data of a recipe; log what users may not expect."""
    spoken = {code for source in sources for code in source.languages}
    weights = _weights(recipe)
    if unknown := [code for code in weights if code not in spoken and code in (recipe.languages or weights)]:
        raise UsageError(
            f"`language_weights` names {' '.join(unknown)}, but the data are in {' '.join(sorted(spoken))}: leave "
            f"{' '.join(unknown)} out, or write the codes of the data"
        )
    if not recipe.distillation:
        return
    if not any((source.queries != MISSING).sum(axis=0).max(initial=0) > 1 for source in sources):
        raise UsageError(
            "`distillation` has no effect, because no item has its query in two languages: leave it out, or add "
            "parallel queries"
        )
    asked = {
        source.languages[row] for source in sources for row in np.flatnonzero((source.queries != MISSING).any(axis=1))
    }
    if recipe.pivot not in asked:
        text = f"no source has queries in {recipe.pivot}, the `pivot` of `distillation`"
        if recipe.pivot != type(recipe).model_fields["pivot"].default:
            raise UsageError(f"{text}: choose one of {' '.join(sorted(asked))}")
        log.warning(f"{text}: each query learns from its version in a random other language")


def _report_unused(recipe: Recipe, plan: BatchPlan) -> None:
    """Warn of keys that the recipe sets and no batch depends on."""
    types = [batch_type for weighted in plan.sources for _, batch_type in weighted.mix.types]
    uses_alpha = any(strategy.uses_alpha for strategy in (STRATEGIES[name] for name in _strategies(recipe)))
    unused = {"alpha": not uses_alpha, "pairs": all(batch_type.mono == 1 for batch_type in types)}
    for key, is_unused in unused.items():
        if is_unused and getattr(recipe, key) != type(recipe).model_fields[key].default:
            log.warning(f"`{key}: {getattr(recipe, key)}` has no effect on {' and '.join(_strategies(recipe))} batches")
    if recipe.has_dev and recipe.save_every not in (None, recipe.dev_every):
        log.warning(
            f"`save_every: {recipe.save_every}` has no effect with development data, because each evaluation has a "
            f"checkpoint (`dev_every: {recipe.dev_every}`)"
        )
    for key in () if recipe.has_dev else ("dev_every", "dev_measure"):
        if getattr(recipe, key) != type(recipe).model_fields[key].default:
            log.warning(f"`{key}: {getattr(recipe, key)}` has no effect without development data, such as `dev`")
    if recipe.languages and (others := sorted(set(_weights(recipe)) - set(recipe.languages))):
        log.warning(f"`language_weights` has no effect on {' '.join(others)}, which `languages` does not name")


def _weights(recipe: Recipe) -> dict[str, float]:
    """Return the weights of languages that the recipe names."""
    return recipe.language_weights if isinstance(recipe.language_weights, dict) else {}


def _strategies(recipe: Recipe) -> list[StrategyName]:
    """Return the strategies of a recipe and of its sources."""
    return list(dict.fromkeys(source.strategy or recipe.strategy for source in recipe.data))


def fill(weighted: WeightedSource, rows: int) -> WeightedSource:
    """Return a source without the types of batch that cannot have so many rows, and log these types."""
    filled = weighted.filling(rows)
    for batch_type in weighted.types_missing_in(filled):
        log.warning(
            f"{weighted.source.name} has {weighted.room(batch_type, rows)} different items for a {batch_type.name} "
            f"batch, fewer than {rows}, so it has no such batch. Lower `batch_size` to have it"
        )
    return filled


def check_negatives(plan: BatchPlan) -> None:
    """Draw all batches once if a source may have too few hard negatives; raises `DataError` as a batch would."""
    if any(entry.source.depth and not entry.distinct.has_spare_negatives(plan.batch_size) for entry in plan.sources):
        for _ in plan.batches():
            pass


def report(recipe: Recipe, plan: BatchPlan, weights: Sequence[float | None]) -> None:
    """Log the shares of the sources, and warn of differences from the recipe; `weights` are those that it sets."""
    _report_alpha(recipe, plan)
    _report_unused(recipe, plan)
    for weighted in plan.sources:
        _report_frequent_text(weighted, plan.batch_size)
        for _, batch_type in weighted.mix.types:
            _report_rows(weighted, batch_type, plan.batch_size)
        _report_pairs(weighted, plan.batch_size)
    _report_shares(plan)
    _report_rare_sources(recipe, plan, weights)


def _report_alpha(recipe: Recipe, plan: BatchPlan) -> None:
    mono = sum(share for (_, batch_type, *_), share in plan.batch_shares().items() if batch_type == "mono")
    if recipe.strategy == "hybrid" and abs(mono - recipe.alpha) > _ALPHA_TOLERANCE:
        log.warning(
            f"{mono:.0%} of the batches, not {recipe.alpha:.0%}, are monolingual, because some sources lack pairs of "
            "one language or of two languages"
        )


def _report_frequent_text(weighted: WeightedSource, rows: int) -> None:
    source = weighted.source
    items, text = weighted.distinct.most_frequent()
    if items > len(source) * max(_FREQUENT_SHARE, _FREQUENT_ROWS / rows):
        log.warning(
            f"{items:,} of {len(source):,} items of {source.name} have the text '{text:.40}'. A batch has at most one "
            "of them, so they are drawn less often than the others"
        )


def _report_rows(weighted: WeightedSource, batch_type: BatchType, rows: int) -> None:
    """Warn if the rows of a batch, which draw pairs of one language and of two, cannot have both in these shares."""
    kinds = {"one language": (1.0, batch_type.mono), "two languages": (0.0, 1 - batch_type.mono)}
    for languages, (mono, share) in kinds.items() if batch_type.per_row else ():
        room = weighted.room(batch_type._replace(mono=mono), rows) if share else rows
        if room < share * rows:
            log.warning(
                f"{weighted.source.name} has {room} different items with pairs of {languages}, fewer than the "
                f"{share * rows:g} rows of a {batch_type.name} batch that draw such pairs. Others take their place"
            )


def _report_pairs(weighted: WeightedSource, rows: int) -> None:
    unused = weighted.unused_pairs(rows)
    if unused:
        pairs = [f"{pair} ({count})" for pair, count in unused[:_MAX_PAIRS]] + ["..."] * (len(unused) > _MAX_PAIRS)
        log.warning(
            f"{weighted.source.name} has too few items for a whole batch in {', '.join(pairs)}: training does not use "
            "these pairs"
        )


def _report_shares(plan: BatchPlan) -> None:
    if len(plan.sources) > 1:
        pairs = zip(plan.sources, plan.source_shares, strict=True)
        listed = [f"{weighted.source.name} {share:.2%}" for weighted, share in pairs]
        rest = [f"{len(listed) - _MAX_SOURCES} more"] * (len(listed) > _MAX_SOURCES)
        log.info(f"shares of the batches: {', '.join(listed[:_MAX_SOURCES] + rest)}")


def _report_rare_sources(recipe: Recipe, plan: BatchPlan, weights: Sequence[float | None]) -> None:
    usual = np.array([usual_weight(recipe, weighted.source) for weighted in plan.sources])
    phases = np.array([weighted.phase for weighted in plan.sources])
    shares = plan.source_shares
    for index, (weighted, weight, share) in enumerate(zip(plan.sources, weights, shares.tolist(), strict=True)):
        phase = phases == weighted.phase
        without = usual[index] / usual[phase].sum() * shares[phase].sum()
        if share < _HARDLY and (share * plan.steps < 1 or share < without / 10):
            advice = "Raise its `weight`"
            if weight and recipe.source_weights == "size":
                advice = (
                    f"Its `weight` replaces its number of items, {usual[index]:,.0f}. To draw it {weight:g} times as "
                    f"often as without, set `weight: {weight * usual[index]:g}`"
                )
            log.warning(
                f"{weighted.source.name} is hardly drawn: {share:.2%} of the batches, {share * plan.steps:.1f} of "
                f"{plan.steps:,}. {advice}"
            )
