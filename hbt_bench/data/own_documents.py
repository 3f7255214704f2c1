"""Queries that are documents: a query does not find its own text.

In ArguAna, Quora and CQADupstack, a query is a document too, under the same id. BEIR leaves out every document with the
query's id, and MTEB does so for tasks with `ignore_identical_ids`. But in many data sets, queries and documents are
both numbered from 0, and equal ids mean nothing. So by default the texts must be equal as well.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable, Mapping

log = logging.getLogger(__name__)


def same_text(query: str, texts: Iterable[str]) -> bool:
    """Return whether any of the texts is the query, apart from case, Unicode form, white space and punctuation.

    For example, ``same_text("Is it?", ["Title", "is  it"])`` is True.
    """
    plain_query = _plain(query)
    return any(_plain(text) == plain_query for text in texts)


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(sign for sign in text if unicodedata.category(sign)[0] in "LMNS") or text


def own_documents(
    name: str,
    candidates: Mapping[str, Iterable[str]],
    relevant: Mapping[str, Mapping[str, int]],
    ignore_identical_ids: bool | None,
) -> dict[str, list[str]] | None:
    """Return the ids of the documents that each query must not find, or None if there are none.

    `candidates` maps query ids to the documents with the query's id. If `ignore_identical_ids` is true, all of them are
    left out, so that a query with no other relevant document scores 0, as in BEIR and MTEB. If it is None, they have
    the query's text too, and those that are judged relevant stay. If it is false, all stay.
    """
    if ignore_identical_ids is False:
        return None
    left_out = {query: list(documents) for query, documents in candidates.items()}
    if ignore_identical_ids is None:
        left_out = {query: [key for key in keys if key not in relevant[query]] for query, keys in left_out.items()}
    left_out = {query: keys for query, keys in left_out.items() if keys}
    if not left_out:
        return None
    lost = sum(relevant[query].keys() <= set(keys) for query, keys in left_out.items())
    if ignore_identical_ids is None:
        log.info(
            f"{name}: a query does not find its own text, as in BEIR: {len(left_out):,} have a document with the same "
            "id and text. To change this, add `ignore_identical_ids: false` to the source."
        )
    elif lost:
        log.warning(
            f"{name}: {lost:,} of the queries have no relevant document but that with their own id, which is left out, "
            "so their AP is 0, as in BEIR and MTEB."
        )
    return left_out
