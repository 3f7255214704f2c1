"""The facts about a trained model, as JSON and as a model card."""

from __future__ import annotations

import json
import platform
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import yaml

from hbt_bench.text import as_code, as_markdown, as_prose, fenced
from hbt_bench.training.data import TrainingData
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.strategies import STRATEGIES

_LIBRARIES = ("hbt-bench", "sentence-transformers", "transformers", "torch", "numpy")


def training_facts(
    recipe: Recipe, data: TrainingData, steps: int, kept_step: int, seconds: float, history: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return everything that the model depends on, and the course of its training.

    The model has the weights of `kept_step`. `history` is the trainer's log.
    """
    drawn = data.plan.drawn_shares(steps)
    queries: dict[str, float] = defaultdict(float)
    for (_, _, query, _), share in drawn.items():
        queries[query] += share
    evaluations = [entry for entry in history if any(key.startswith("eval_") for key in entry)]
    return {
        "name": recipe.name,
        "strategy": recipe.strategy,
        "alpha": recipe.alpha,
        "seed": recipe.seed,
        "init": recipe.init,
        "recipe": recipe.resolved(),
        "plan": data.plan.fingerprint,
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


def readme(folder: str, facts: Mapping[str, Any]) -> str:
    """Return the model card: a description of the model, its use and its training."""
    recipe = {key: value for key, value in facts["recipe"].items() if value is not None}
    metadata = {
        "language": facts["languages"],
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["sentence-transformers", "feature-extraction", "retrieval", "multilingual", "hbt-bench"],
    }
    if ":" not in facts["init"]:
        metadata["base_model"] = facts["init"]
    alpha = f" (alpha {facts['alpha']})" if STRATEGIES[facts["strategy"]].uses_alpha else ""
    parts = [
        f"---\n{_as_yaml(metadata)}---",
        f"# {as_prose(facts['name'] or folder)}",
        f"A dual encoder for multilingual retrieval, trained with {facts['strategy']} batches{alpha} from "
        f"`{as_code(facts['init'])}`: {facts['steps']} steps, {facts['pairs_seen']:,} pairs, {facts['seconds']:.0f} s.",
        fenced(
            "from sentence_transformers import SentenceTransformer\n\n"
            f"model = SentenceTransformer({json.dumps(folder, ensure_ascii=False)})\n"
            'queries = model.encode(["..."], prompt_name="query")\n'
            'documents = model.encode(["..."], prompt_name="document")',
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
