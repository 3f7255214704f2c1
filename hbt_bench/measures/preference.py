"""The user's view of language: how well a ranking serves readers of the query's language alone.

The measures follow MLAIRE (arXiv 2605.07249) and MLRS (arXiv 2502.11175); `docs/reference/measures.md` has the
differences. A ranking may have a low bias and serve these readers badly, and the reverse.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import TextlessCollection
from hbt_bench.measures.ranking import Array, Ranking, ratio
from hbt_bench.ranking.ranks import Ranks

#: The kinds of first documents: of right or wrong content, in the query's language (own) or in another.
FIRST = ("first_right_own", "first_right_other", "first_wrong_own", "first_wrong_other")


def own_language_pairs(judgements: TextlessCollection) -> NDArray[np.bool_]:
    """Return whether the relevant document of each pair is in the language of the query, (pairs,)."""
    qrels = judgements.qrels
    return np.equal(judgements.document_languages[qrels.documents], judgements.query_languages[qrels.queries])


def lang_ndcg(judgements: TextlessCollection, ranks: Ranks, depth: int) -> Array:
    """Return Lang-nDCG@depth, (queries,): nDCG in the pool if only documents in the query's language have a gain.

    The value is 1 if those are first, and NaN for a query without a relevant document in its language.
    """
    matches, qrels = own_language_pairs(judgements), judgements.qrels
    rows, owner = np.unique(qrels.queries[matches], return_inverse=True)
    order = np.lexsort((ranks.pool[matches], owner))
    rank, grade = ranks.pool[matches][order].astype(np.int64), qrels.grades[matches][order].astype(np.int64)
    values = np.full(len(judgements.questions), np.nan)
    values[rows] = Ranking(rank, grade, owner[order], len(rows)).ndcg(depth)
    return values


def first_document(judgements: TextlessCollection, ranks: Ranks, kind: str) -> Array:
    """Return 1 for a query whose first document is of this kind of `FIRST`, else 0, (queries,).

    The content is right if the document is relevant. The four kinds add up to 1.
    """
    _, content, language = kind.split("_")
    right = np.minimum.reduceat(ranks.pool, judgements.qrels.offsets[:-1]) == 1
    matches = judgements.document_languages[ranks.top[:, 0]] == judgements.query_languages
    return np.where((right == (content == "right")) & (matches == (language == "own")), 1.0, 0.0)


def rank_shift(judgements: TextlessCollection, ranks: Ranks) -> Array:
    """Return MLRS-Q, (queries,): how far relevant documents rise if the question is asked in their language.

    It is 100 times the sum of max(r(d) - r'(d), 0) over the sum of r(d) - 1, over the relevant documents d in other
    languages; r(d) is the rank for the query, and r'(d) for the version of the query in the language of d. The value is
    0 if the language of the question does not matter, and NaN if no such document has a version or all are first.
    """
    qrels, languages = judgements.qrels, len(judgements.languages)
    query, documents = qrels.queries, len(judgements.document_languages)
    version = np.full((int(judgements.questions.max()) + 1, languages), -1)
    version[judgements.questions, judgements.query_languages] = np.arange(len(judgements.questions))
    asked = version[judgements.questions[query], judgements.document_languages[qrels.documents]]
    keys = query * documents + qrels.documents  # ascending: by query, then by document
    target_keys = asked * documents + qrels.documents
    pair = np.minimum(np.searchsorted(keys, target_keys), len(keys) - 1)
    pairs = (asked >= 0) & (keys[pair] == target_keys) & ~own_language_pairs(judgements)
    rank = np.minimum(ranks.pool, documents).astype(np.int64)
    sizes = len(judgements.questions)
    rise = np.bincount(query[pairs], np.maximum(rank - rank[pair], 0)[pairs], sizes)
    return 100 * ratio(rise, np.bincount(query[pairs], (rank - 1)[pairs], sizes))
