"""What a trained model says of itself: everything it was made from, as JSON and as a model card."""

from __future__ import annotations

import json
import platform
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import yaml

from hbt_bench.text import as_code, as_markdown, as_prose, fenced
from hbt_bench.training.data import TrainingData
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.strategies import STRATEGIES

_LIBRARIES = ("hbt-bench", "sentence-transformers", "transformers", "torch", "numpy")


def about(
    recipe: Recipe, material: TrainingData, steps: int, kept: int, seconds: float, history: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """All that the model depends on, and what training it took.

    `kept` is the step whose weights the model has, `history` the trainer's log.
    """
    drawn = material.plan.drawn_shares(steps)
    looks = [entry for entry in history if any(key.startswith("eval_") for key in entry)]
    return {
        "name": recipe.name,
        "strategy": recipe.strategy,
        "alpha": recipe.alpha,
        "seed": recipe.seed,
        "init": recipe.init,
        "recipe": recipe.resolved(),
        "plan": material.plan.fingerprint,
        "data": {supply.source.name: supply.source.fingerprint for supply in material.plan.sources},
        "languages": sorted({code for supply in material.plan.sources for code in supply.source.languages}),
        "dropped": [[*key, count] for key, count in sorted(material.dropped.items())],
        "guards": list(material.guards),
        "steps": steps,
        "kept_step": kept,
        "pairs_seen": steps * recipe.batch_size,
        "seconds": round(seconds, 1),
        "batches": dict(sorted(Counter(material.plan.type_at(step) for step in range(steps)).items())),
        "shares": [[*key, round(share, 6)] for key, share in sorted(drawn.items())],
        "queries": _languages(drawn),
        "losses": [[entry["step"], entry["loss"]] for entry in history if "loss" in entry],
        "dev": [{key: value for key, value in entry.items() if not _is_speed(key)} for entry in looks],
        "versions": {name: version(name) for name in _LIBRARIES},
        "machine": f"{platform.machine()} {platform.system()}, Python {platform.python_version()}",
    }


def readme(folder: str, facts: Mapping[str, Any]) -> str:
    """A model card: what the model is, how to use it, and how it came about."""
    name = facts["name"] or folder
    head = {
        "language": facts["languages"],
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["sentence-transformers", "feature-extraction", "retrieval", "multilingual", "hbt-bench"],
    }
    if ":" not in facts["init"]:
        head["base_model"] = facts["init"]
    recipe = {key: value for key, value in facts["recipe"].items() if value is not None}
    rows = ["| kind of batch | batches |", "|---|---:|", *(f"| {k} | {n} |" for k, n in facts["batches"].items())]
    rows += ["", "| queries in | share |", "|---|---:|"]
    rows += [f"| {code} | {share:.1%} |" for code, share in facts["queries"].items()]
    sources = [f"- {as_markdown(source)}: data hash `{digest}`" for source, digest in facts["data"].items()]
    dropped = sum(entry[-1] for entry in facts["dropped"])
    if dropped:
        sources.append(f"- {dropped} texts were left out because evaluation data has them too")
    if facts["guards"]:
        sources.append(f"- compared with the texts of {as_markdown(', '.join(facts['guards']))}")
    looks = [
        f"- step {entry.get('step')}: "
        + ", ".join(f"{key.removeprefix('eval_')} {entry[key]:.4f}" for key in sorted(entry) if key.startswith("eval_"))
        for entry in facts["dev"]
    ]
    if looks:
        looks.append(f"- the weights are those of step {facts['kept_step']}")
    parts = [
        "---\n" + yaml.safe_dump(head, allow_unicode=True, sort_keys=False) + "---",
        f"# {as_prose(name)}",
        f"A dual encoder for multilingual retrieval, trained with {facts['strategy']} batches"
        + (f" (alpha {facts['alpha']})" if STRATEGIES[facts["strategy"]].uses_alpha else "")
        + f" from `{as_code(facts['init'])}`: {facts['steps']} steps, {facts['pairs_seen']:,} pairs, "
        f"{facts['seconds']:.0f} s.",
        fenced(
            "from sentence_transformers import SentenceTransformer\n\n"
            f"model = SentenceTransformer({json.dumps(folder, ensure_ascii=False)})\n"
            'queries = model.encode(["..."], prompt_name="query")\n'
            'documents = model.encode(["..."], prompt_name="document")',
            "python",
        ),
        "## Training",
        *(["\n".join(sources)] if sources else []),
        "\n".join(rows),
        *(["### Development data\n\n" + "\n".join(looks)] if looks else []),
        "### Recipe",
        fenced(yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False), "yaml"),
        "Made with " + ", ".join(f"{key} {value}" for key, value in facts["versions"].items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _languages(drawn: Mapping[tuple[str, str, str, str], float]) -> dict[str, float]:
    """The share of each query language among the rows drawn, largest first."""
    shares: dict[str, float] = defaultdict(float)
    for (_, _, query, _), share in drawn.items():
        shares[query] += share
    return {code: round(share, 6) for code, share in sorted(shares.items(), key=lambda one: (-one[1], one[0]))}


def _is_speed(key: str) -> bool:
    return key.endswith(("_runtime", "_per_second"))
