"""A training item, and its texts in a language."""

from __future__ import annotations

from dataclasses import dataclass, field

from hbt_bench.errors import DataError
from hbt_bench.training.table import single_spaced


@dataclass(frozen=True, slots=True)
class Item:
    """A training item: a query, its passage, its hard negatives and its further passages, each by language code."""

    id: str
    queries: dict[str, str]
    passages: dict[str, str]
    negatives: dict[str, list[str]] = field(default_factory=dict)
    more_passages: dict[str, list[str]] = field(default_factory=dict)


def texts_of(name: str, item: Item, language: str) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return the query, the passage, the hard negatives and the further passages of an item in a language.

    The first two lists have one text, or none. An item without a passage in the language has no hard negatives in it.
    """
    lists = [[column[language]] if language in column else [] for column in (item.queries, item.passages)]
    for more in (item.negatives, item.more_passages):
        lists += [list(more.get(language, ())) if language in item.passages else []]
    query, passage, negatives, others = ([single_spaced(text) for text in texts] for texts in lists)
    if not all(text for texts in (query, passage, negatives, others) for text in texts):
        raise DataError(f"{name} has an empty text in item '{item.id}'. Remove the item.")
    if not {*passage, *others}.isdisjoint(negatives):
        raise DataError(negative_is_passage(name, item.id))
    return query, passage, negatives, others


def negative_is_passage(name: str, item: str) -> str:
    """Return the message on an item with a hard negative that equals its passage."""
    return f"{name} has a hard negative in item '{item}' that equals its passage. Remove it."
