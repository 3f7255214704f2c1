"""Ranks that no ranking has, though each array is well-formed.

The ranks of a document in the pool and in its language come from the same scores, and the best documents of the pool
are stored. So an edited rank contradicts other ranks, unless the whole ranking was invented.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.ranking.ranks import BELOW_CUT, UNRETRIEVED
from hbt_bench.results.ranks_file import StoredRanks

Ints = NDArray[np.int64]


def depth_problems(stored: StoredRanks, depth: int | None) -> Iterator[str]:
    """Yield a sentence if the rankings of a run were cut at another depth than `depth`, that of the signature."""
    cut = stored.ranks.cut
    if depth is not None and (cut is None or cut.depth != depth):
        yield f"the signature has the depth {depth}, but the ranks are {f'cut at {cut.depth}' if cut else 'not cut'}"


def contradictions(stored: StoredRanks, own_blocks: bool, collection: Collection | None = None) -> Iterator[str]:
    """Yield a sentence for each contradiction in ranks that passed `StoredRanks.read`.

    `own_blocks` is whether each language has its own scores, as with BM25; then the ranks in a language are independent
    of those in the pool. `collection` is the collection with its texts, if it is here.

    For example, ``list(contradictions(StoredRanks.read(path), own_blocks=False))`` is empty for ranks of `run`.
    """
    ranks, qrels = stored.ranks, stored.judgements.qrels
    documents = len(stored.judgements.document_languages)
    rows = qrels.queries.astype(np.int64)
    judged = rows * documents + qrels.documents
    best = np.arange(len(ranks.top))[:, None] * documents + ranks.top.astype(np.int64)
    if np.isin(best, judged).sum() != (ranks.pool <= ranks.top.shape[1]).sum():
        yield "a relevant document is among the best documents of a query, but has a lower rank"
    if collection is not None:
        if not np.array_equal(ranks.pool == UNRETRIEVED, collection.own_pairs):
            yield "the documents that a query cannot find are not its own text"
        elif collection.copies is not None and _finds_itself(ranks.top, collection.copies):
            yield "a query has its own text among its best documents"
    if ranks.cut is None and not own_blocks:
        yield from _blocks(stored, rows)


def _finds_itself(top: NDArray[np.int32], copies: NDArray[np.int32]) -> bool:
    return bool((top[:, :, None] == copies[:, None, :]).any())


def _blocks(stored: StoredRanks, rows: Ints) -> Iterator[str]:
    """Yield the contradictions between ranks in the pool and ranks in a language, which have the same scores."""
    judgements, ranks = stored.judgements, stored.ranks
    pairs = np.flatnonzero(ranks.pool < BELOW_CUT)
    rows, languages = rows[pairs], judgements.document_languages[judgements.qrels.documents[pairs]].astype(np.int64)
    pool, block = ranks.pool[pairs].astype(np.int64), ranks.block[pairs].astype(np.int64)
    others = pool - block  # better documents of other languages
    sizes = np.bincount(judgements.document_languages, minlength=len(judgements.languages))
    if ((others < 0) | (others > len(judgements.document_languages) - sizes[languages])).any():
        yield "a rank in the pool is impossible with the rank in the language of the document"
    order = np.lexsort((pool, languages, rows))
    same = (np.diff(rows[order]) == 0) & (np.diff(languages[order]) == 0)
    if (same & ((np.diff(block[order]) <= 0) | (np.diff(others[order]) < 0))).any():
        yield "two documents of a language have another order in the pool than in their language"
    top_languages = judgements.document_languages[ranks.top]
    same_language = top_languages[rows] == languages[:, None]
    better = np.arange(ranks.top.shape[1]) < pool[:, None] - 1
    in_top, here = (same_language & better).sum(axis=1), (~same_language & better).sum(axis=1)
    high = pool <= ranks.top.shape[1]
    if (high & (in_top != block - 1)).any() or (~high & ((in_top > block - 1) | (here > others))).any():
        yield "the best documents of a query contradict a rank in the language of the document"
