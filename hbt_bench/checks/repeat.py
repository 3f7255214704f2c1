"""Evaluate a model again, and compare its results with those that were submitted."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hbt_bench.checks.submission import Checked, Finding, Verification
from hbt_bench.errors import UsageError
from hbt_bench.mteb.models import ModelRequest
from hbt_bench.results.evaluate import Evaluation
from hbt_bench.results.result import Result
from hbt_bench.tasks.registry import TaskRegistry

log = logging.getLogger(__name__)

#: Largest differences of AP between machines, which round scores differently: of the mean over all subsets, and of a
#: subset. In a language that a model's tokenizer does not know, texts have nearly the same vector and rounding decides:
#: with all-MiniLM-L6-v2, AP of a pair of languages of cldr-facts differed by 0.0094.
SAME_MEAN = 0.0005
SAME_SUBSET = 0.02


def repeated(
    verification: Verification, model: str, registry: TaskRegistry, data_dir: Path | None = None
) -> Verification:
    """Evaluate `model` on the tasks of its results, and add a finding for each result that has other scores.

    The results of a model are those of its revision, a hash of its files. For example, with the name ``bm25`` all
    results of BM25 are computed again. Raises `UsageError` if no result has the revision of the model, and the errors
    of `Evaluation.run`.
    """
    request = ModelRequest(model)
    if request.identity is None:
        raise UsageError(f"--repeat needs a folder with a model or bm25, not '{model}'")
    _, revision = request.identity
    chosen = [each for each in verification.checked if each.result.revision == revision]
    if not chosen:
        names = sorted({each.result.label for each in verification.checked})
        raise UsageError(f"no result is of {model} in revision {revision}: the results are of {', '.join(names)[:200]}")
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory() as folder:
        selections = registry.select([each.result.task for each in chosen])
        again = {each.task: each for each in Evaluation(request, selections, Path(folder), None, data_dir).run()}
        for each in chosen:
            findings += _differences(each, again[each.result.task])
    log.info(f"{len(chosen)} results of {model} were evaluated again")
    return replace(verification, findings=(*verification.findings, *findings))


def _differences(each: Checked, again: Result) -> Sequence[Finding]:
    """Return a finding if a mean of the result is not that of the new evaluation."""
    result = each.result
    advice = f"Evaluate {result.label} again; it has AP {again.scores['AP']:.6f} on {result.task} here."
    if result.fields["data"] != again.fields["data"]:
        return [Finding(result.path, f"its data are not those here, {again.fields['data']}", advice)]
    if result.fields["prompt"] != again.fields["prompt"]:
        return [Finding(result.path, "it has other prompts than the model here", advice)]
    stored = result.subsets.by_subset("AP")
    differences = [value - stored.get(name, np.inf) for name, value in again.subsets.by_subset("AP").items()]
    mean, largest = abs(float(np.mean(differences))), float(np.max(np.abs(differences)))
    text = f"AP differs by {mean:.6f}, and by {largest:.6f} in a subset, from an evaluation here"
    if mean > SAME_MEAN or largest > SAME_SUBSET:
        return [Finding(result.path, text, advice)]
    log.info(f"{result.path.name}: {text}; {_ranks(each, again)}")
    return []


def _ranks(each: Checked, again: Result) -> str:
    """Return how many ranks differ, in words."""
    if not each.verified:
        return "there are no ranks to compare"
    pairs = [result.stored_ranks().ranks for result in (each.result, again)]
    number = int(np.sum((pairs[0].pool != pairs[1].pool) | (pairs[0].block != pairs[1].block)))
    return f"{number:,} of {len(pairs[0].pool):,} ranks differ"
