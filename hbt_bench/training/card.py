"""The facts about a trained model, as JSON and as a card. Both may be published, so they have no absolute path."""

from __future__ import annotations

import json
import logging
import platform
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from hbt_bench.text import as_code, as_markdown, as_prose, fenced
from hbt_bench.training import inits
from hbt_bench.training.data import TrainingData
from hbt_bench.training.recipe import NEUTRAL_FIELDS, Recipe
from hbt_bench.training.strategies import STRATEGIES

log = logging.getLogger(__name__)

#: Keys of a recipe, and of the facts, whose texts may be paths.
_PATHS = frozenset({"init", "guide", "path", "dev", "guard", "guards"})
_LIBRARIES = ("hbt-bench", "sentence-transformers", "transformers", "torch", "numpy")
_TAG = "hbt-bench"
_METADATA = re.compile(r"---\r?\n(.*?\n)---\r?\n", re.DOTALL)
#: A model on the hub. Models without an owner are old, and few of them are inits.
_HUB_NAME = re.compile(
    r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
    r"|(bert|distilbert|roberta|distilroberta|xlm-roberta)-(base|large)(-multilingual)?(-(un)?cased)?"
)
#: First parts of paths such as ``output/checkpoint-500``, which look like names on the hub, and the last part.
_FOLDERS = re.compile(
    r"(saved_|trained_)?models?|checkpoints?|ckpts?|content|data|exp|experiments|home|local|mnt|outputs?|out|results|root"
    r"|runs|tmp|work|workspace",
    re.IGNORECASE,
)
_CHECKPOINT = re.compile(r"(checkpoint|step|epoch)[-_=]?\d+")
_CACHED = re.compile(r"/models--([^/]+)/snapshots/[^/]+$")


@dataclass(frozen=True)
class Inputs:
    """All that a run depends on: its recipe, the fingerprint of its batches, and the revisions of its init and guide.

    A revision is None for random weights, and without a guide. For example,
    ``Inputs(recipe, data.plan.fingerprint, None).identity``.
    """

    recipe: Recipe
    plan: str
    init_revision: str | None
    guide_revision: str | None = None

    @property
    def identity(self) -> str:
        """The identity of the run, by which it knows its checkpoints."""
        return " ".join(filter(None, (self.plan, self.recipe.digest, self.init_revision, self.guide_revision)))

    def changed_since(self, facts: Mapping[str, Any]) -> list[str]:
        """Return which of data and init are others than in the facts about a model of the same recipe."""
        now = {"version of the data": ("plan", self.plan), "version of the init": ("init_revision", self.init_revision)}
        now["version of the guide"] = ("guide_revision", self.guide_revision)
        # older models have no revision of an init of the hub
        return [name for name, (key, value) in now.items() if facts.get(key) not in (None, value)]


def training_facts(
    recipe: Recipe,
    data: TrainingData,
    steps: int,
    kept_step: int,
    seconds: float,
    history: Sequence[Mapping[str, Any]],
    init_revision: str | None = None,
) -> dict[str, Any]:
    """Return everything that the model depends on, and the course of its training.

    The model has the weights of `kept_step`. `history` is the trainer's log. `init_revision` is that of
    `hbt_bench.training.inits`, at the start.
    """
    drawn = data.plan.drawn_shares(steps)
    queries: dict[str, float] = defaultdict(float)
    for (_, _, query, _), share in drawn.items():
        queries[query] += share
    evaluations = [entry for entry in history if any(key.startswith("eval_") for key in entry)]
    facts = {
        "name": recipe.name,
        "strategy": recipe.strategy,
        "alpha": recipe.alpha,
        "seed": recipe.seed,
        "init": recipe.init,
        "init_revision": init_revision,
        "base_model": base_model(recipe.init),
        "recipe": recipe.resolved(),
        "recipe_digest": recipe.digest,
        "plan": data.fingerprint,
        "data": {weighted.source.name: weighted.source.fingerprint for weighted in data.plan.sources},
        "languages": sorted({code for weighted in data.plan.sources for code in weighted.source.languages}),
        "dropped": [[*key, count] for key, count in sorted(data.dropped.items())],
        "guards": list(data.guards),
        "steps": steps,
        "kept_step": kept_step,
        "pairs_seen": steps * recipe.batch_size,
        "seconds": round(seconds, 1),
        "batches": dict(sorted(Counter(data.plan.type_at(step) for step in range(steps)).items())),
        "shares": [[*key, round(share, 6)] for key, share in sorted(drawn.items())],
        "queries": {
            code: round(share, 6) for code, share in sorted(queries.items(), key=lambda item: (-item[1], item[0]))
        },
        "losses": [[entry["step"], entry["loss"]] for entry in history if "loss" in entry],
        "dev": [
            {key: value for key, value in entry.items() if not key.endswith(("_runtime", "_per_second"))}
            for entry in evaluations
        ],
        "versions": {name: version(name) for name in _LIBRARIES},
        "machine": f"{platform.machine()} {platform.system()}, Python {platform.python_version()}",
    }
    published: dict[str, Any] = without_paths(facts)
    return published


def without_paths(content: Any, is_path: bool = False) -> Any:
    """Return a recipe, or facts, in which each absolute path is replaced by its last part.

    >>> without_paths({"init": "/home/ann/bert", "data": [{"path": "pairs.jsonl"}]})
    {'init': 'bert', 'data': [{'path': 'pairs.jsonl'}]}
    """
    if isinstance(content, dict):
        return {key: without_paths(value, is_path or key in _PATHS) for key, value in content.items()}
    if isinstance(content, list):
        return [without_paths(value, is_path) for value in content]
    if not isinstance(content, str) or not is_path:
        return content
    kinds = (PurePosixPath(content.removeprefix("file://")), PureWindowsPath(content))
    path = next((path for path in kinds if path.is_absolute()), None)
    return content if path is None else _cached_name(path) or path.name


def differences(recipe: Recipe, facts: Mapping[str, Any]) -> list[str]:
    """Return the fields, sorted, in which a recipe differs from the recipe in the facts about a model.

    Fields without effect on the weights are left out. Paths are compared by a hash, because the facts lack them.
    """
    resolved, digest = recipe.resolved(), facts.get("recipe_digest")  # facts of an older version have the paths
    shown = without_paths(resolved) if digest else resolved
    fields = {key for key in Recipe.model_fields if shown.get(key) != facts["recipe"].get(key)} - NEUTRAL_FIELDS
    if not fields and digest and digest != recipe.digest:
        fields = {key for key, value in resolved.items() if value != shown[key]}
    return sorted(fields)


def base_model(init: str) -> str | None:
    """Return the hub's name of an init, for the metadata of a card.

    A folder has a name if it is in the hub's cache, or if its card or its configuration declares a base model that can
    be on the hub. Random weights have none.
    """
    folder = Path(init)
    if not folder.is_dir():
        return None if ":" in init else inits.hub_name(init)
    if name := _cached_name(folder.resolve()):
        return name
    declared = _card_metadata(folder).get("base_model")
    names = [declared]
    for file, key in (("adapter_config.json", "base_model_name_or_path"), ("config.json", "_name_or_path")):
        try:
            names.append(json.loads((folder / file).read_bytes())[key])
        except (OSError, ValueError, LookupError, TypeError):  # the library reports a damaged file
            continue
    flat = [name for entry in names for name in (entry if isinstance(entry, list) else [entry])]
    name = next((entry for entry in flat if isinstance(entry, str) and _is_hub_name(entry, folder)), None)
    if name and not declared:
        log.info(
            f"the card names {name} as base model, by the configuration of {init}: correct the card if this is wrong"
        )
    return name


def _cached_name(folder: PurePath) -> str | None:
    """Return the name of a model in the cache of the hub, ``models--org--name/snapshots/<commit>``."""
    match = _CACHED.search(folder.as_posix())
    return match[1].replace("--", "/", 1) if match else None


def _is_hub_name(name: str, folder: Path) -> bool:
    """Return whether a name that a model in `folder` declares can be on the hub, and is not that of a folder."""
    first, _, last = name.rpartition("/")
    return (
        bool(_HUB_NAME.fullmatch(name))
        and not _FOLDERS.fullmatch(first)
        and not _CHECKPOINT.fullmatch(last)
        and not any((parent / name).exists() for parent in (Path(), folder, *folder.absolute().parents))
    )


def _card_metadata(folder: Path) -> Mapping[str, Any]:
    """Return the metadata of the card in a folder, empty without a readable card."""
    try:
        match = _METADATA.match((folder / "README.md").read_text(encoding="utf-8"))
        content = yaml.safe_load(match[1]) if match else {}
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def is_own(text: str) -> bool:
    """Return whether this program wrote a card."""
    metadata = _METADATA.match(text)
    return bool(metadata and re.search(rf"^\s*- {_TAG}\r?$", metadata[1], re.MULTILINE))


def readme(folder: str, facts: Mapping[str, Any]) -> str:
    """Return the model card: a description of the model, its use and its training."""
    recipe = {key: value for key, value in facts["recipe"].items() if value is not None}
    tags = [code for code in facts["languages"] if "-" in code]
    metadata = {
        # the hub takes codes of ISO 639 here, and tags with a script or region in a field of their own
        "language": list(dict.fromkeys(code.partition("-")[0] for code in facts["languages"])),
        **({"language_bcp47": tags} if tags else {}),
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["sentence-transformers", "feature-extraction", "retrieval", "multilingual", _TAG],
    }
    if facts["base_model"]:
        metadata["base_model"] = facts["base_model"]
    alpha = f" (alpha {facts['alpha']})" if STRATEGIES[facts["strategy"]].uses_alpha else ""
    parts = [
        f"---\n{_as_yaml(metadata)}---",
        f"# {as_prose(facts['name'] or folder)}",
        f"A dual encoder for multilingual retrieval, trained with {facts['strategy']} batches{alpha} from "
        f"`{as_code(facts['init'])}`: {facts['steps']} steps, {facts['pairs_seen']:,} pairs, {facts['seconds']:.0f} s.",
        fenced(
            "from sentence_transformers import SentenceTransformer\n\n"
            f"model = SentenceTransformer({json.dumps(folder, ensure_ascii=False)})\n"
            'queries = model.encode_query(["..."])\n'
            'documents = model.encode_document(["..."])',
            "python",
        ),
        "## Training",
        "\n".join(_sources(facts)),
        "\n".join(_tables(facts)),
        "\n".join(_evaluations(facts)),
        "### Recipe",
        fenced(_as_yaml(recipe), "yaml"),
        "Made with " + ", ".join(f"{name} {number}" for name, number in facts["versions"].items()) + ".",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _sources(facts: Mapping[str, Any]) -> Iterator[str]:
    for source, digest in facts["data"].items():
        yield f"- {as_markdown(source)}: data hash `{digest}`"
    dropped = sum(entry[-1] for entry in facts["dropped"])
    if dropped:
        yield f"- {dropped} texts were left out because evaluation data has them too"
    if facts["guards"]:
        yield f"- compared with the texts of {as_markdown(', '.join(facts['guards']))}"


def _tables(facts: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over the lines of two tables: the types of batch, and the query languages."""
    yield from ("| kind of batch | batches |", "|---|---:|")
    yield from (f"| {name} | {count} |" for name, count in facts["batches"].items())
    yield from ("", "| queries in | share |", "|---|---:|")
    yield from (f"| {code} | {share:.1%} |" for code, share in facts["queries"].items())


def _evaluations(facts: Mapping[str, Any]) -> Iterator[str]:
    """Iterate over the lines of the section on development data, none without development data."""
    if not facts["dev"]:
        return
    yield from ("### Development data", "")
    for entry in facts["dev"]:
        scores = {key.removeprefix("eval_"): entry[key] for key in sorted(entry) if key.startswith("eval_")}
        yield f"- step {entry.get('step')}: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
    yield f"- the weights are those of step {facts['kept_step']}"


def _as_yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), allow_unicode=True, sort_keys=False)
