"""From a recipe to what is trained on: sources read, checked against evaluation texts, and planned in batches."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.tasks.task import TaskSpec
from hbt_bench.training import counter_rng
from hbt_bench.training.overlap import Overlap
from hbt_bench.training.parallel import ParallelText
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.sources import CldrFacts, SourceSpec
from hbt_bench.training.strategies import BatchMix, Phase, WeightedSource

log = logging.getLogger(__name__)

#: Enough items for a development loss that does not jump about.
_HELD_OUT = 2000
#: A difference from alpha that is told.
_NOTICED = 0.005
_HOLD_OUT = 101  # the purpose of the draw, apart from those of a plan


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The plan of a run, the plan of its development batches if it holds some out, and what was left out.

    `dropped` counts texts by source, language and reason; `guards` names the collections that were compared with.
    """

    plan: BatchPlan
    held_out: BatchPlan | None
    dropped: Counter[tuple[str, str, str]]
    guards: tuple[str, ...]

    @classmethod
    def load(
        cls,
        recipe: Recipe,
        folders: Sequence[Path],
        *,
        drop_overlap: bool = False,
        registry: TaskRegistry | None = None,
    ) -> TrainingData:
        """Read the sources of a recipe and plan its batches.

        Raises `DataError` for data that is missing, damaged, too small, or shares text with a guarded collection
        unless `drop_overlap`; `UsageError` for a source that cannot have the strategy's batches.
        """
        guarded = _guarded(recipe, folders, registry or TaskRegistry())
        dropped: Counter[tuple[str, str, str]] = Counter()
        supplies: list[WeightedSource] = []
        held_out: list[WeightedSource] = []
        specs = [(spec, "main") for spec in recipe.data]
        specs += [(spec, "instruction") for spec in (recipe.instruction.data if recipe.instruction else ())]
        names: Counter[str] = Counter()
        phase: Phase
        for spec, phase in specs:  # type: ignore[assignment]
            source = _restricted(spec.read(folders), recipe)
            names[source.name] += 1
            if names[source.name] > 1:
                raise UsageError(f"two sources are called {source.name}: give one another `name`")
            if not isinstance(spec, CldrFacts):  # a training split apart from the evaluation's, by fact
                source = _guard(source, guarded, dropped, drop=drop_overlap)
            if recipe.dev_share:
                source, rest = _split(source, recipe)
                held_out.append(_supply(recipe, spec, rest, phase))
            supplies.append(_supply(recipe, spec, source, phase))
        _check_languages(recipe, [supply.source for supply in supplies])
        share = recipe.instruction.share if recipe.instruction else 0.0
        when = recipe.instruction.when if recipe.instruction else "after"
        plan = BatchPlan(tuple(supplies), recipe.batch_size, recipe.steps, recipe.seed, share, when, recipe.pivot)
        mono = sum(share for (_, kind, *_), share in plan.batch_shares().items() if kind == "mono")
        if recipe.strategy == "hybrid" and abs(mono - recipe.alpha) > _NOTICED:
            log.warning(
                f"some sources lack one kind of batch, so {mono:.0%} of the batches, not {recipe.alpha:.0%}, are "
                "monolingual"
            )
        for supply in supplies:
            small = supply.unused_pairs(recipe.batch_size)
            if small:
                listed = ", ".join(f"{pair} ({count})" for pair, count in small[:5]) + (", ..." if small[5:] else "")
                name = supply.source.name
                log.warning(f"{name} has too few items for a whole batch in {listed}: none is drawn there")
        apart = _held_out_plan(recipe, held_out) if held_out else None
        return cls(plan, apart, dropped, tuple(name for name, _ in guarded))


def dev_collection(
    recipe: Recipe, folders: Sequence[Path], registry: TaskRegistry | None = None
) -> Collection | None:
    """The collection that `dev` names, in the recipe's languages if it has them; raises `UsageError`, `DataError`."""
    if recipe.dev is None:
        return None
    if recipe.dev == "cldr-facts":
        from hbt_bench.data import cldr

        wanted = [code for code in recipe.languages or cldr.LANGUAGES if code in cldr.LANGUAGES]
        return cldr.read("dev", wanted)
    known = (registry or TaskRegistry()).specs
    if recipe.dev not in known:
        raise UsageError(f"--dev: unknown collection '{recipe.dev}'{did_you_mean(recipe.dev, known)}")
    spec = known[recipe.dev]
    shared = None if recipe.languages is None else [code for code in spec.languages if code in recipe.languages]
    return spec.load(shared, _folder_of(spec, folders))


def _guarded(recipe: Recipe, folders: Sequence[Path], registry: TaskRegistry) -> list[tuple[str, Overlap]]:
    """The collections to compare with that can be had without a download."""
    found = []
    for name in recipe.guard:
        if name not in registry.specs:
            raise UsageError(f"--guard: unknown collection '{name}'{did_you_mean(name, registry.specs)}")
        spec = registry.specs[name]
        folder = _folder_of(spec, folders)
        if folder is None and spec.source.remote_files():
            log.warning(f"the training texts are not compared with {name}: its data is in none of the data folders")
            continue
        definition = _Definition(spec.model_dump_json(), spec)
        found.append((name, _overlap(definition, recipe.languages, folder or folders[0])))
    return found


@dataclass(frozen=True)
class _Definition:
    """A task that equals others with the same content, as a key of the cache."""

    content: str
    spec: TaskSpec = field(compare=False)


@lru_cache(maxsize=16)
def _overlap(definition: _Definition, languages: tuple[str, ...] | None, folder: Path) -> Overlap:
    """Kept for the next run of the process: a study trains many models against the same collections."""
    return Overlap([definition.spec.load(None, folder)], languages)


def _folder_of(spec: TaskSpec, folders: Sequence[Path]) -> Path | None:
    """The folder that has all data of a task."""
    paths = spec.source.paths()
    return next((one for one in folders if paths and all((one / path).exists() for path in paths)), None)


def _guard(
    source: ParallelText, guarded: list[tuple[str, Overlap]], dropped: Counter[tuple[str, str, str]], *, drop: bool
) -> ParallelText:
    for name, overlap in guarded:
        count = overlap.count(source)
        if not count:
            continue
        if not drop:
            reasons = ", ".join(f"{number} in {code} ({reason})" for (code, reason), number in count.most_common(3))
            raise DataError(
                f"{source.name} shares {count.total()} texts with the evaluation collection {name}: {reasons}; leave "
                "them out with --drop-overlap"
            )
        dropped.update({(source.name, code, f"{reason}, {name}"): number for (code, reason), number in count.items()})
        source = overlap.remove_from(source)
    return source


def _restricted(source: ParallelText, recipe: Recipe) -> ParallelText:
    if recipe.languages is None:
        return source
    if not set(recipe.languages) & set(source.languages):
        raise DataError(
            f"{source.name} has none of the languages {' '.join(recipe.languages)}: it has {' '.join(source.languages)}"
        )
    return source.restricted(recipe.languages)


def _check_languages(recipe: Recipe, sources: Sequence[ParallelText]) -> None:
    """Raise `DataError` for a language that was asked for and of which no source has anything to train on."""
    usable = {
        code
        for source in sources
        for row, code in enumerate(source.languages)
        if source.counts[row].any() or source.counts[:, row].any()
    }
    for code in recipe.languages or ():
        if code not in usable:
            raise DataError(f"no source has anything to train on in '{code}': leave the language out, or add data")


def _split(source: ParallelText, recipe: Recipe) -> tuple[ParallelText, ParallelText]:
    """Hold a share of the items out, at most `_HELD_OUT`, the same ones for every strategy and seed."""
    share = min(recipe.dev_share, _HELD_OUT / len(source))
    return source.split(counter_rng.uniform(_HOLD_OUT, np.arange(len(source))) < share)


def _supply(recipe: Recipe, spec: SourceSpec, source: ParallelText, phase: Phase) -> WeightedSource:
    size = float(len(source)) if recipe.source_weights == "size" else 1.0
    # instruction pairs are mostly English: their batches are of one language whatever the recipe's strategy is
    strategy = spec.strategy or (recipe.strategy if phase == "main" else "multi-task")
    mix = BatchMix.from_strategy(strategy, recipe.alpha, recipe.pairs, source)
    return WeightedSource(source, spec.weight or size, mix, recipe.language_weights, phase)


def _held_out_plan(recipe: Recipe, supplies: Sequence[WeightedSource]) -> BatchPlan:
    """A fixed set of development batches, each of rows enough for the smallest source."""
    rows = min(recipe.batch_size, *(len(supply.source) // 2 for supply in supplies))
    if rows < 2:
        raise DataError("too few items are held out for a development loss: raise `dev_share`")
    steps = max(1, min(20, sum(len(supply.source) for supply in supplies) // rows))
    main = tuple(supply for supply in supplies if supply.phase == "main")
    return BatchPlan(main, rows, steps, 0, pivot=recipe.pivot)
