"""The init of a training before it is loaded: mistakes that its files show, and settings that a recipe leaves open.

A model of the hub and its copy in a folder are treated the same, by their files.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.identity.checkpoint import Checkpoint
from hbt_bench.identity.model_files import KNOWN_MODULES, may_have_code, model_files, model_modules, read_json
from hbt_bench.mteb.file_checks import check_files, require_peft
from hbt_bench.mteb.loaders import hub_checkpoint
from hbt_bench.training.weights import require_lora

if TYPE_CHECKING:
    from hbt_bench.training.recipe import Recipe

log = logging.getLogger(__name__)

#: Keys for models with layers.
_LAYERED = ("max_length", "cached", "gradient_checkpointing", "lora")
#: Value of `pooling` for modules that do not pool, or pool in several ways.
OWN = "own"


def is_random(init: str) -> bool:
    """Return whether an init is a static: or tiny: model with random weights."""
    return init.partition(":")[0] in ("static", "tiny") and ":" in init


def resolve(recipe: Recipe) -> Recipe:
    """Check the init of a recipe by its files, and return the recipe with the init's own pooling and prompts.

    They replace the defaults of `pooling`, `query_prefix` and `passage_prefix`, not the values that a user set. For
    example, with an init that pools the first token, ``resolve(Recipe(init="bge")).pooling`` is ``cls``.

    Raises `UsageError` for a missing folder and for a key that the init cannot honour, and `ModelError` for a model
    that cannot be trained.
    """
    require_lora(recipe)
    if recipe.guide:
        if is_random(recipe.guide):
            raise UsageError(f"`guide: {recipe.guide}` has random weights: name a trained model")
        Init.from_name(recipe.guide).check_model(trust_remote_code=recipe.trust_remote_code)
    if is_random(recipe.init):
        _check_random(recipe)
        return recipe
    init = Init.from_name(recipe.init, recipe.revision)
    init.check_model(trust_remote_code=recipe.trust_remote_code)
    init.check_keys(recipe)
    settings = init.settings(recipe)
    return recipe.model_copy(update={key: value for key, value in settings.items() if value != getattr(recipe, key)})


def revision(init: str, wanted: str | None = None) -> str | None:
    """Return the revision of an init: the hash of a folder's files, or the commit of the hub. Random weights have none.

    `wanted` is a commit, branch or tag of the hub. Raises the errors of `Init.from_name`.
    """
    if is_random(init):
        return None
    model = Init.from_name(init, wanted)
    return model.revision or model.checkpoint.revision


def code_files(recipe: Recipe) -> dict[str, Path]:
    """Return the code of an init that a recipe trusts: the file of each path in the model's folder."""
    if not recipe.trust_remote_code:
        return {}
    folder = Init.from_name(recipe.init, recipe.revision).checkpoint.path
    return {path.relative_to(folder).as_posix(): path for path in model_files(folder) if path.suffix == ".py"}


def check_matryoshka(recipe: Recipe, dimensions: int | None) -> None:
    """Raise `UsageError` if `matryoshka` goes beyond the dimensions of a model."""
    if recipe.matryoshka and max(recipe.matryoshka) > (dimensions or 0):
        raise UsageError(
            f"`matryoshka` goes up to the model's {dimensions} dimensions, but the recipe has {max(recipe.matryoshka)}"
        )


def check_positions(recipe: Recipe, positions: float) -> None:
    """Raise `UsageError` if `max_length` goes beyond the positions of a model."""
    if (recipe.longest or 0) > positions:
        raise UsageError(
            f"`max_length: {recipe.longest}` is beyond the {positions} positions of {recipe.init}: lower it"
        )


def _check_random(recipe: Recipe) -> None:
    for key in ("revision", "trust_remote_code"):
        if getattr(recipe, key):
            raise UsageError(f"`{key}` is for models with files, and {recipe.init} has random weights: leave it out")
    kind, _, size = recipe.init.partition(":")
    check_matryoshka(recipe, int(size.rpartition("x")[2]))
    if kind == "tiny":
        _check_own(recipe)
        return
    _check_static(recipe)
    if recipe.pooling != "mean":
        raise UsageError(
            f"`pooling: {recipe.pooling}` has no effect on {recipe.init}, a mean of subwords: leave it out"
        )


def _check_own(recipe: Recipe) -> None:
    """Raise `UsageError` if a recipe wants the pooling of modules from an init without modules."""
    if recipe.pooling == OWN:
        raise UsageError(f"`pooling: {OWN}` is for inits with modules, and {recipe.init} has none: choose a pooling")


def _check_static(recipe: Recipe, keys: Sequence[str] = _LAYERED) -> None:
    """Raise `UsageError` for a key that needs the layers or the positions of a transformer."""
    for key in keys:
        if getattr(recipe, key):
            raise UsageError(f"`{key}` has no effect on {recipe.init}, which has no layers: leave it out")


@dataclass(frozen=True)
class InitModule:
    """A module of an init: the class that loads it, its folder and its configuration."""

    kind: str
    folder: Path
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """The class without its package, such as ``Pooling``."""
        return self.kind.rpartition(".")[2]

    @property
    def pooling(self) -> str:
        """The way in which a Pooling pools, `OWN` if it pools in several ways."""
        from sentence_transformers.sentence_transformer.modules import Pooling

        if not self.config:  # damaged: the library reports it
            return OWN
        mode = Pooling.load_config(str(self.folder)).get("pooling_mode", "mean")  # older models have a key for each way
        return mode if isinstance(mode, str) else OWN


@dataclass(frozen=True)
class Init:
    """A model to start from: its name in the recipe, and the folder with its configuration."""

    name: str
    checkpoint: Checkpoint

    @classmethod
    def from_name(cls, name: str, revision: str | None = None) -> Init:
        """Find a folder, or fetch the configuration of a model of the hub at a commit, branch or tag.

        Raises `UsageError` if a folder does not exist or has a revision, and `ModelError` if the hub has no such model.
        """
        folder = Path(name)
        if folder.is_dir():
            if revision:
                raise UsageError(f"`revision` is for models of the hub, and {name} is a folder: leave it out")
            return cls(name, Checkpoint.from_folder(folder))
        if name.count("/") > 1 or name.startswith((".", "/", "~")):
            raise UsageError(
                f"there is no folder {name}: give --init a folder, a hub name, static:DIM or tiny:LAYERSxDIM"
            )
        return cls(name, hub_checkpoint(hub_name(name), revision))

    @property
    def hub_name(self) -> str | None:
        """The name on the hub, None for a folder."""
        return None if Path(self.name).is_dir() else hub_name(self.name)

    @property
    def revision(self) -> str | None:
        """The commit of a model of the hub, None for a folder."""
        return self.checkpoint.path.name if self.hub_name else None

    @cached_property
    def modules(self) -> tuple[InitModule, ...]:
        """The modules, with those of a Router. A plain transformer is a single module."""
        static = self.checkpoint.kind == "model2vec"
        return tuple(
            InitModule(f"{kind}StaticEmbedding" if static else kind, folder, _mapping(folder / "config.json"))
            for folder, kind in model_modules(self.checkpoint.path)
        )

    @property
    def is_adapter(self) -> bool:
        """Whether a module is an adapter of another model, such as LoRA's."""
        return any((module.folder / "adapter_config.json").is_file() for module in self.modules)

    def check_model(self, *, trust_remote_code: bool = False) -> None:
        """Raise `ModelError` if the model has no single vector per text, or weights that cannot be trained.

        Without `trust_remote_code`, the same holds for a model that needs code of its repository.
        """
        if not self.checkpoint.dense:
            raise ModelError(
                f"{self.name} is a {self.checkpoint.kind}: training starts from a model that gives one vector per text"
            )
        if self.is_adapter:
            require_peft(f"the init {self.name}")
        for module in self.modules:
            if method := module.config.get("quantization_config"):
                name = method.get("quant_method") if isinstance(method, dict) else None
                raise ModelError(
                    f"the init {self.name} is quantized ({name or 'see its quantization_config'}), and such weights "
                    "cannot be trained: start from the model before quantization"
                )
            if not trust_remote_code and (not module.kind.startswith(KNOWN_MODULES) or _needs_code(module.config)):
                raise ModelError(
                    f"{self.name} needs code of its repository ({_code(module)}), which is not run: read the code and "
                    "set `trust_remote_code`, or choose a model that transformers has built in"
                )
        if not self.hub_name:
            check_files(self.checkpoint.path)

    def check_keys(self, recipe: Recipe) -> None:
        """Raise `UsageError` for a key of a recipe that the model cannot honour."""
        if recipe.vocabulary != type(recipe).model_fields["vocabulary"].default:
            raise UsageError(
                f"`vocabulary` is for static: and tiny: inits, and {recipe.init} has its tokenizer: leave it out"
            )
        classes = {module.name for module in self.modules}
        if "StaticEmbedding" in classes:
            _check_static(recipe, *([["cached"]] if "Transformer" in classes else []))
        for module in self.modules:
            positions = module.config.get("max_position_embeddings")
            if isinstance(positions, int) and positions > 0:
                check_positions(recipe, positions)
        self._check_code(recipe)
        if recipe.lora and self.is_adapter:
            raise UsageError(
                f"the init {recipe.init} is an adapter, which is trained: leave `lora` out, or merge it into its base "
                "model"
            )
        cut = self._settings.get("truncate_dim")
        if cut is not None and not recipe.matryoshka:
            raise UsageError(
                f"the init {recipe.init} cuts its vectors to {cut} dimensions: train these with `matryoshka: [{cut}]`"
            )
        if self._pooling is None:
            _check_own(recipe)
        elif "pooling" in recipe.model_fields_set and recipe.pooling not in (OWN, self._pooling):
            raise UsageError(
                f"`pooling: {recipe.pooling}` is for plain transformers, and {recipe.init} has its own modules with "
                f"`{self._pooling}`: leave it out"
            )

    def _check_code(self, recipe: Recipe) -> None:
        if not recipe.trust_remote_code:
            return
        if not may_have_code(self.checkpoint.path):
            raise UsageError(f"`trust_remote_code` has no effect on {recipe.init}, which has no code: leave it out")
        log.warning(f"running the code that comes with {recipe.init}")

    def settings(self, recipe: Recipe) -> dict[str, str]:
        """Return the pooling and the prompts of a training by a recipe."""
        if self._pooling is None and "pooling" not in recipe.model_fields_set:
            log.info(f"{self.name} is a plain transformers model: training uses `pooling: {recipe.pooling}`")
        return {"pooling": self._pooling or recipe.pooling, **self._prompts(recipe)}

    @property
    def _settings(self) -> dict[str, Any]:
        return _mapping(self.checkpoint.path / "config_sentence_transformers.json")

    @cached_property
    def _pooling(self) -> str | None:
        """The pooling of the modules, None for a plain transformer, which gets the recipe's."""
        if self.checkpoint.kind == "transformers":
            return None
        modes = {module.pooling for module in self.modules if module.name == "Pooling"}
        if not modes and any(module.name == "StaticEmbedding" for module in self.modules):
            return "mean"
        return modes.pop() if len(modes) == 1 else OWN

    def _prompts(self, recipe: Recipe) -> dict[str, str]:
        """Return the prefixes: those that the user set, else the model's prompts if it has any, else the defaults."""
        prompts = {"query_prefix": self.checkpoint.prompts.query, "passage_prefix": self.checkpoint.prompts.document}
        explicit = {key: getattr(recipe, key) for key in prompts if key in recipe.model_fields_set}
        if not any(prompts.values()):
            return explicit
        if replaced := [key for key, text in explicit.items() if text != prompts[key]]:
            changes = " and ".join(f"{key} {explicit[key]!r} for {prompts[key]!r}" for key in replaced)
            log.info(f"the recipe replaces prompts of {recipe.init}: {changes}")
        if unset := [key for key in prompts if key not in explicit and prompts[key] != getattr(recipe, key)]:
            used = " and ".join(f"{key} {prompts[key]!r}" for key in unset)
            log.info(f"training uses the prompts of {recipe.init}: {used}; the recipe may set other prefixes")
        return {**prompts, **explicit}


def hub_name(name: str) -> str:
    """Return the whole name on the hub: sentence-transformers has a short name for its models.

    >>> hub_name("LaBSE"), hub_name("xlm-roberta-base")
    ('sentence-transformers/LaBSE', 'xlm-roberta-base')
    """
    from sentence_transformers.util import ORIGINAL_TRANSFORMER_MODELS

    complete = "/" in name or name.lower() in ORIGINAL_TRANSFORMER_MODELS
    return name if complete else f"sentence-transformers/{name}"


def _mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file, empty if there is none."""
    content = read_json(path)
    return content if isinstance(content, dict) else {}


def _needs_code(config: dict[str, Any]) -> bool:
    """Return whether transformers would have to run code of the repository to load a model."""
    if not config.get("auto_map"):
        return False
    from transformers import CONFIG_MAPPING

    return config.get("model_type") not in CONFIG_MAPPING


def _code(module: InitModule) -> str:
    return str(module.config.get("model_type")) if module.kind.startswith(KNOWN_MODULES) else module.kind
