"""The data of a training run: read the sources, check them for evaluation texts, and plan the batches."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.languages import general
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

#: Items held out of a source at most; more would hardly make the development loss more stable.
_MAX_HELD_OUT = 2000
#: Development batches at most.
_MAX_DEV_BATCHES = 20
#: Language pairs that a warning names at most.
_MAX_PAIRS = 5
#: The difference from alpha that causes a warning.
_ALPHA_TOLERANCE = 0.005
#: The first key of the draw that holds items out; the draws of a plan use smaller keys.
_HOLD_OUT = 101
#: The guarded collections by definition, languages and folder, because a study trains many models with the same guard.
_read_overlaps: dict[tuple[str, tuple[str, ...] | None, Path], Overlap] = {}


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The batches of a run, its development batches if it holds items out, and the texts removed from them.

    `dropped` counts the removed texts by source, language and reason. `guards` are the names of the collections that
    the training texts were compared with.

    Example:
        data = TrainingData.from_recipe(Recipe(languages=("de", "en")), [Path("data")])
        data.plan.batch_at(0)
    """

    plan: BatchPlan
    held_out: BatchPlan | None
    dropped: Counter[tuple[str, str, str]]
    guards: tuple[str, ...]

    @classmethod
    def from_recipe(
        cls,
        recipe: Recipe,
        folders: Sequence[Path],
        *,
        drop_overlap: bool = False,
        registry: TaskRegistry | None = None,
    ) -> TrainingData:
        """Read the sources of a recipe from `folders` and plan its batches.

        Raises `DataError` if data is missing, damaged or too small, or if it shares text with a guarded collection and
        `drop_overlap` is false. Raises `UsageError` if a source cannot have the batches of its strategy.
        """
        overlaps = _overlaps(recipe, folders, registry or TaskRegistry())
        dropped: Counter[tuple[str, str, str]] = Counter()
        sources: list[WeightedSource] = []
        held_out: list[WeightedSource] = []
        instruction = recipe.instruction.data if recipe.instruction else ()
        for number, spec in enumerate((*recipe.data, *instruction)):
            phase: Phase = "main" if number < len(recipe.data) else "instruction"
            source = _restricted(spec.read(folders), recipe)
            if source.name in {weighted.source.name for weighted in sources}:
                raise UsageError(f"two sources are called {source.name}: set a different `name` for one of them")
            if not isinstance(spec, CldrFacts):  # its training facts are not in the evaluation collection
                source = _without_overlaps(source, overlaps, dropped, drop=drop_overlap)
            if recipe.dev_share:  # the items are the same for every strategy and seed
                share = min(recipe.dev_share, _MAX_HELD_OUT / len(source))
                source, rest = source.split(counter_rng.uniform(_HOLD_OUT, np.arange(len(source))) < share)
                held_out.append(_weighted(recipe, spec, rest, phase))
            sources.append(_weighted(recipe, spec, source, phase))
        _check_languages(recipe, [weighted.source for weighted in sources])
        plan = _plan(recipe, sources)
        _warn(recipe, plan)
        return cls(plan, _held_out_plan(recipe, held_out) if held_out else None, dropped, tuple(overlaps))

    def texts(self) -> Iterator[str]:
        """Iterate over the training texts, each once per source."""
        for weighted in self.plan.sources:
            yield from weighted.source.texts


def dev_collection(recipe: Recipe, folders: Sequence[Path], registry: TaskRegistry | None = None) -> Collection | None:
    """Return the collection that `dev` names, in the languages that it shares with the recipe; None without `dev`.

    Raises `UsageError` for an unknown name, and `DataError` if the data are missing or damaged.
    """
    if recipe.dev is None:
        return None
    if recipe.dev == "cldr-facts":
        from hbt_bench.data import cldr

        return cldr.read("dev", [code for code in recipe.languages or cldr.LANGUAGES if code in cldr.LANGUAGES])
    spec = _find_task((registry or TaskRegistry()).specs, recipe.dev, "--dev")
    shared = None if recipe.languages is None else [code for code in spec.languages if code in recipe.languages]
    return spec.load(shared, _folder_with(spec, folders))


def _overlaps(recipe: Recipe, folders: Sequence[Path], registry: TaskRegistry) -> dict[str, Overlap]:
    """Read the guarded collections, without those that would need a download."""
    overlaps = {}
    for name in recipe.guard:
        spec = _find_task(registry.specs, name, "--guard")
        folder = _folder_with(spec, folders)
        if folder is None and spec.source.remote_files():
            log.warning(f"the training texts are not compared with {name}: its data is in none of the data folders")
            continue
        key = spec.model_dump_json(), recipe.languages, folder or folders[0]
        if key not in _read_overlaps:
            _read_overlaps[key] = Overlap([spec.load(None, folder or folders[0])], recipe.languages)
        overlaps[name] = _read_overlaps[key]
    return overlaps


def _without_overlaps(
    source: ParallelText, overlaps: Mapping[str, Overlap], dropped: Counter[tuple[str, str, str]], *, drop: bool
) -> ParallelText:
    """Return a source without its overlapping texts, and count them; raises `DataError` unless `drop`."""
    for name, overlap in overlaps.items():
        counts = overlap.count(source)
        if not counts:
            continue
        if not drop:
            reasons = ", ".join(f"{count} in {code} ({reason})" for (code, reason), count in counts.most_common(3))
            raise DataError(
                f"{source.name} shares {counts.total()} texts with the evaluation collection {name}: {reasons}; "
                "leave them out with --drop-overlap"
            )
        for (code, reason), count in counts.items():
            dropped[source.name, code, f"{reason}, {name}"] += count
        source = overlap.remove_from(source)
    return source


def _find_task(specs: Mapping[str, TaskSpec], name: str, flag: str) -> TaskSpec:
    if name not in specs:
        raise UsageError(f"{flag}: unknown collection '{name}'{did_you_mean(name, specs)}")
    return specs[name]


def _folder_with(spec: TaskSpec, folders: Sequence[Path]) -> Path | None:
    """Return the first folder with all data of a task."""
    paths = spec.source.paths()
    return next((folder for folder in folders if paths and all((folder / path).exists() for path in paths)), None)


def _restricted(source: ParallelText, recipe: Recipe) -> ParallelText:
    """Restrict a source to the languages of the recipe."""
    if recipe.languages is None:
        return source
    if not set(recipe.languages) & set(source.languages):
        raise DataError(
            f"{source.name} has none of the languages {' '.join(recipe.languages)}: it has {' '.join(source.languages)}"
        )
    return source.restricted(recipe.languages)


def _check_languages(recipe: Recipe, sources: Sequence[ParallelText]) -> None:
    """Raise `DataError` if no source has a pair in one of the recipe's languages."""
    usable = {
        code
        for source in sources
        for row, code in enumerate(source.languages)
        if source.counts[row].any() or source.counts[:, row].any()
    }
    for code in recipe.languages or ():
        if code not in usable:
            others = " or ".join(f"'{other}'" for other in sorted(usable) if general(other) == general(code))
            advice = f"write {others}, as in the data" if others else "leave the language out, or add data"
            raise DataError(f"no source has anything to train on in '{code}': {advice}")


def _weighted(recipe: Recipe, spec: SourceSpec, source: ParallelText, phase: Phase) -> WeightedSource:
    size = float(len(source)) if recipe.source_weights == "size" else 1.0
    # most instruction pairs are English, so by default their batches do not follow the recipe's strategy
    strategy = spec.strategy or (recipe.strategy if phase == "main" else "multi-task")
    mix = BatchMix.from_strategy(strategy, recipe.alpha, recipe.pairs, source)
    return WeightedSource(source, spec.weight or size, mix, recipe.language_weights, phase)


def _plan(recipe: Recipe, sources: Sequence[WeightedSource]) -> BatchPlan:
    share = recipe.instruction.share if recipe.instruction else 0.0
    when = recipe.instruction.when if recipe.instruction else "after"
    return BatchPlan(tuple(sources), recipe.batch_size, recipe.steps, recipe.seed, share, when, recipe.pivot)


def _warn(recipe: Recipe, plan: BatchPlan) -> None:
    """Warn if the share of monolingual batches is not alpha, and of language pairs with too few items."""
    mono = sum(share for (_, batch_type, *_), share in plan.batch_shares().items() if batch_type == "mono")
    if recipe.strategy == "hybrid" and abs(mono - recipe.alpha) > _ALPHA_TOLERANCE:
        log.warning(
            f"{mono:.0%} of the batches, not {recipe.alpha:.0%}, are monolingual, because some sources lack pairs of "
            "one language or of two languages"
        )
    for weighted in plan.sources:
        unused = weighted.unused_pairs(recipe.batch_size)
        if unused:
            pairs = [f"{pair} ({count})" for pair, count in unused[:_MAX_PAIRS]] + ["..."] * (len(unused) > _MAX_PAIRS)
            log.warning(
                f"{weighted.source.name} has too few items for a whole batch in {', '.join(pairs)}: training does not "
                "use these pairs"
            )


def _held_out_plan(recipe: Recipe, sources: Sequence[WeightedSource]) -> BatchPlan:
    """Return a fixed set of development batches, small enough for the smallest source."""
    rows = min(recipe.batch_size, *(len(weighted.source) // 2 for weighted in sources))
    if rows < 2:
        raise DataError("too few items are held out for a development loss: raise `dev_share`")
    steps = max(1, min(_MAX_DEV_BATCHES, sum(len(weighted.source) for weighted in sources) // rows))
    main = tuple(weighted for weighted in sources if weighted.phase == "main")
    return BatchPlan(main, rows, steps, 0, pivot=recipe.pivot)
