"""The data of a training run: read the sources, check them for evaluation texts, and plan the batches."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from hbt_bench.data.collection import Collection
from hbt_bench.errors import DataError, UsageError, did_you_mean
from hbt_bench.identity.task_name import Mode
from hbt_bench.languages import general
from hbt_bench.measures.registry import MEASURES
from hbt_bench.measures.scores import ModeRanks
from hbt_bench.ranking.ranks import Ranks
from hbt_bench.tasks.registry import TaskRegistry
from hbt_bench.tasks.task import TaskSpec
from hbt_bench.training.held_out import development_plan, hold_out
from hbt_bench.training.overlap import Overlap
from hbt_bench.training.parallel import ParallelText
from hbt_bench.training.plan import BatchPlan
from hbt_bench.training.plan_report import check_keys, check_negatives, fill, report, usual_weight
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.sources import CldrFacts, SourceSpec
from hbt_bench.training.strategies import STRATEGIES, BatchMix, Phase, WeightedSource

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The batches of a run, its development batches if the recipe has some, and the texts removed from them.

    `dropped` counts the removed texts by source, language and reason. `guards` are the names of the collections that
    the training texts were compared with. `dev` is the collection for early stopping, if the recipe names one.
    `has_dev_data` states whether the development batches are those of `dev_data`, and not of held-out items.

    Example:
        data = TrainingData.from_recipe(Recipe(languages=("de", "en")), [Path("data")])
        data.plan.batch_at(0)
    """

    plan: BatchPlan
    held_out: BatchPlan | None
    dropped: Counter[tuple[str, str, str]]
    guards: tuple[str, ...]
    dev: Collection | None = None
    has_dev_data: bool = False

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
        registry = registry or TaskRegistry()
        dev = dev_collection(recipe, folders, registry)
        overlaps = _overlaps(recipe, folders, registry)
        dropped: Counter[tuple[str, str, str]] = Counter()
        specs = [*recipe.data, *(recipe.instruction.data if recipe.instruction else ())]
        sources: list[ParallelText] = []
        for spec in specs:
            source = _restricted(spec.preferring(recipe.languages or ()).read(folders), recipe)
            if source.name in {other.name for other in sources}:
                raise UsageError(f"two sources are called {source.name}: set a different `name` for one of them")
            if not isinstance(spec, CldrFacts):  # its training facts are not in the evaluation collection
                source = _without_overlaps(source, overlaps, dropped, drop=drop_overlap)
            sources.append(source)
        splits = hold_out(sources, recipe.dev_share) if recipe.dev_share else []
        sources = [training for training, _ in splits] or sources
        _check_languages(recipe, sources)
        check_keys(recipe, sources)
        phases: list[Phase] = ["main" if number < len(recipe.data) else "instruction" for number in range(len(specs))]
        plan = _plan(recipe, [_weighted(recipe, *parts) for parts in zip(specs, sources, phases, strict=True)])
        report(recipe, plan, [spec.weight for spec in specs])
        check_negatives(plan)
        held_out = [
            replace(weighted, source=source, weight=spec.weight or usual_weight(recipe, source))
            for weighted, spec, (_, source) in zip(plan.sources, specs, splits, strict=False)
        ]
        held_out += _dev_sources(recipe, folders)
        development = development_plan(held_out, recipe.batch_size, recipe.pivot) if held_out else None
        return cls(plan, development, dropped, tuple(overlaps), dev, bool(recipe.dev_data))

    @property
    def fingerprint(self) -> str:
        """A hash of all that the kept weights depend on: the batches, and `dev_data`, which chooses the checkpoint."""
        if self.held_out is None or not self.has_dev_data:
            return self.plan.fingerprint
        return f"{self.plan.fingerprint}-{self.held_out.fingerprint}"

    def texts(self) -> Iterator[str]:
        """Iterate over the texts that are trained on, each once per source, in the order of the data."""
        for weighted in self.plan.sources:
            used = weighted.source.used()
            yield from (text for text, is_used in zip(weighted.source.texts, used.tolist(), strict=True) if is_used)


def _dev_sources(recipe: Recipe, folders: Sequence[Path]) -> list[WeightedSource]:
    """Read the sources of `dev_data`, in the languages of the recipe."""
    sources = []
    for spec in recipe.dev_data or ():
        source = _restricted(spec.preferring(recipe.languages or ()).read(folders), recipe)
        mix = BatchMix.from_strategy(spec.strategy or recipe.strategy, recipe.alpha, recipe.pairs, source)
        weight = spec.weight or usual_weight(recipe, source)
        sources.append(WeightedSource(source, weight, mix, recipe.language_weights))
    return sources


def dev_collection(recipe: Recipe, folders: Sequence[Path], registry: TaskRegistry | None = None) -> Collection | None:
    """Return the collection that `dev` names, in the languages that it shares with the recipe; None without `dev`.

    Raises `UsageError` for an unknown name, and if `dev_measure` has no value on the collection. Raises `DataError` if
    the data are missing or damaged, or if no language is shared.
    """
    if recipe.dev is None:
        return None
    spec = None
    if recipe.dev == "cldr-facts":
        from hbt_bench.data import cldr

        codes: Sequence[str] = cldr.LANGUAGES
    else:
        spec = _find_task((registry or TaskRegistry()).specs, recipe.dev, "--dev")
        codes = spec.languages
    shared = [code for code in codes if recipe.languages is None or code in recipe.languages]
    if not shared:
        raise DataError(
            f"{recipe.dev} has none of the languages {' '.join(recipe.languages or ())}: choose another `dev`"
        )
    if spec is None:
        collection = cldr.read("dev", shared)
    else:
        collection = spec.load(None if recipe.languages is None else shared, _folder_with(spec, folders))
    if not has_measure(collection, recipe.dev_measure):
        raise UsageError(
            f"`dev_measure: {recipe.dev_measure}` has no value on {recipe.dev} in {' '.join(collection.languages)}, "
            "where a question has no translations to compare. Choose another `dev_measure` or `dev`"
        )
    return collection


def has_measure(collection: Collection, name: str, mode: Mode = "multi") -> bool:
    """Return whether a measure has a value for the queries of each subset of a mode."""
    pairs = np.ones(len(collection.qrels.documents), dtype=np.int32)
    ranks = Ranks(
        pairs, pairs, np.zeros((len(collection.queries), 1), dtype=np.int32)
    )  # any ranks have the same values
    try:
        values = ModeRanks(collection, ranks, mode).values(MEASURES[name])
    except DataError:
        return False
    return bool(values) and all(np.isfinite(array).any() for array in values)


@dataclass(frozen=True)
class _Guard:
    """A guarded collection, by its definition as JSON, in some languages, from a folder."""

    definition: str
    languages: tuple[str, ...] | None
    folder: Path
    spec: TaskSpec = field(compare=False)


@lru_cache(maxsize=16)  # a study trains many models with the same guard
def _overlap(guard: _Guard) -> Overlap:
    return Overlap([guard.spec.load(None, guard.folder)], guard.languages)


def _overlaps(recipe: Recipe, folders: Sequence[Path], registry: TaskRegistry) -> dict[str, Overlap]:
    """Read the guarded collections, without those that would need a download."""
    overlaps = {}
    for name in recipe.guard:
        spec = _find_task(registry.specs, name, "--guard")
        folder = _folder_with(spec, folders)
        if folder is None and spec.source.remote_files():
            log.warning(f"the training texts are not compared with {name}: its data is in none of the data folders")
            continue
        overlaps[name] = _overlap(_Guard(spec.model_dump_json(), recipe.languages, folder or folders[0], spec))
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
    # most instruction pairs are English, so by default their batches do not follow the recipe's strategy
    strategy = spec.strategy or (recipe.strategy if phase == "main" else "multi-task")
    mix = BatchMix.from_strategy(strategy, recipe.alpha, recipe.pairs, source)
    if source.unpaired and STRATEGIES[strategy].uses_alpha and recipe.alpha < 1:
        log.warning(f"{source.name} has no pairs of two languages, so its batches have one: {source.unpaired}")
    weight = spec.weight or usual_weight(recipe, source)
    return fill(WeightedSource(source, weight, mix, recipe.language_weights, phase), recipe.batch_size)


def _plan(recipe: Recipe, sources: Sequence[WeightedSource]) -> BatchPlan:
    share = recipe.instruction.share if recipe.instruction else 0.0
    when = recipe.instruction.when if recipe.instruction else "after"
    return BatchPlan(tuple(sources), recipe.batch_size, recipe.steps, recipe.seed, share, when, recipe.pivot)
