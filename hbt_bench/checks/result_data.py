"""Whether results and their ranks are of the data that are here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hbt_bench.data.collection import Collection
from hbt_bench.ranking.subsets import judged_subsets
from hbt_bench.results.hierarchy import Hierarchy
from hbt_bench.results.ranks_file import StoredRanks
from hbt_bench.results.result import Result
from hbt_bench.results.scores import hierarchy_of


def data_problems(result: Result, collection: Collection) -> Iterator[str]:
    """Yield a sentence for each part of a result that contradicts the data here."""
    if result.fields.get("data") != collection.fingerprint:
        yield f"it is of data {result.fields.get('data')}, but the data here are {collection.fingerprint}"
        return
    if result.unshifted != collection.unshifted:
        yield f"it names the unchanged queries {result.unshifted}, but their data are {collection.unshifted}"
    assert result.mode is not None, "a result of our task"
    names = [judged.subset.name for judged in judged_subsets(collection, result.mode)]
    if list(result.subsets) != names or result.expected_subsets != len(names):
        yield f"the data have {len(names)} subsets, but the result {len(result.subsets)} of {result.expected_subsets}"
    hierarchy = hierarchy_of(collection)
    if result.hierarchy is not None and not _same_levels(result.hierarchy, hierarchy):
        yield "the clusters of its questions are not those of the data"


def _same_levels(stored: Hierarchy, exact: Hierarchy) -> bool:
    return stored.questions == exact.questions and stored.same_levels(replace(exact, asked={}))


def judgement_problems(stored: StoredRanks, collection: Collection) -> Iterator[str]:
    """Yield the parts of a file of ranks that differ from the data."""
    ours = stored.judgements
    pairs = {
        "judgements": [
            (getattr(ours.qrels, name), getattr(collection.qrels, name)) for name in ("offsets", "documents", "grades")
        ],
        "questions": [(ours.questions, collection.questions)],
        "languages": [(ours.query_languages, collection.query_languages)],
        "documents": [(ours.document_languages, collection.document_languages)],
    }
    for texts, arrays in pairs.items():
        if not all(np.array_equal(array, exact) for array, exact in arrays):
            yield f"its {texts} are not those of the data"
    if ours.languages != collection.languages or ours.parallel != collection.parallel:
        yield "its languages are not those of the data"
    if stored.ids is not None:
        documents = {column: document.id for column, document in enumerate(collection.documents)}
        wrong = any(documents.get(column) != name for column, name in stored.ids.documents.items())
        if wrong or stored.ids.queries != [query.id for query in collection.queries]:
            yield "its ids are not those of the data"
