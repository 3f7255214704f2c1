"""BM25 as a lexical baseline: word tokens, and character pairs for scripts that write no spaces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.errors import UsageError
from hbt_bench.ranking.blocks import Scorer

if TYPE_CHECKING:
    import bm25s

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"


def require() -> None:
    """Raise `UsageError` with the command that installs what BM25 needs, when it is missing."""
    if not (find_spec("bm25s") and find_spec("regex")):  # importing them would be slow
        raise UsageError("the model bm25 needs an extra: run `pip install 'hbt-bench[bm25]'`")


@dataclass(frozen=True)
class Parameters:
    """How soon a repeated term counts no more, and how much a document's length counts.

    The defaults are Lucene's, which are also those of Anserini's multilingual baselines.
    """

    k1: float = 0.9
    b: float = 0.4

    @classmethod
    def parse(cls, text: str) -> Parameters:
        """Read ``k0.9-b0.4``; raises `UsageError`."""
        match = re.fullmatch(r"k(\d+(?:\.\d+)?)-b(\d+(?:\.\d+)?)", text)
        if match is None or float(match[2]) > 1:
            raise UsageError(f"bm25@{text} is no BM25: write its parameters as in bm25@k1.2-b0.75, with b up to 1")
        return cls(float(match[1]), float(match[2]))

    def __str__(self) -> str:
        """What `parse` reads, the revision of the model."""
        return f"k{self.k1:g}-b{self.b:g}"


def tokenize(text: str) -> list[str]:
    """Words of letters, marks and digits, case-folded; a run of an unspaced script becomes its character pairs.

    Pairs overlap, as in Lucene's CJK analyzer, and are pairs of grapheme clusters, so that a Thai vowel sign stays
    with its consonant. A run of one cluster is that cluster.
    """
    import regex

    tokens: list[str] = []
    pattern = rf"(?P<unspaced>[{_UNSPACED}](?:[{_UNSPACED}]|\p{{M}})*)|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+"
    for match in regex.finditer(pattern, unicodedata.normalize("NFKC", text).casefold(), regex.VERSION1):
        if match["unspaced"] is None:
            tokens.append(match[0])
            continue
        clusters = regex.findall(r"\X", match[0])
        tokens.extend(map("".join, pairwise(clusters)) if len(clusters) > 1 else clusters)
    return tokens


@dataclass(frozen=True, eq=False)
class Bm25Index:
    """BM25 (Lucene's variant) over one set of documents; the statistics are those of this set alone."""

    index: bm25s.BM25
    vocabulary: dict[str, int]
    size: int

    @classmethod
    def of(cls, documents: Iterable[Sequence[str]], parameters: Parameters = Parameters()) -> Bm25Index:
        """Index tokenized documents."""
        import bm25s

        vocabulary: dict[str, int] = {}
        ids = [[vocabulary.setdefault(token, len(vocabulary)) for token in document] for document in documents]
        index = bm25s.BM25(k1=parameters.k1, b=parameters.b, method="lucene", dtype="float32")
        with np.errstate(invalid="ignore"):  # documents without any word have a mean length of 0
            index.index(bm25s.tokenization.Tokenized(ids, vocabulary), create_empty_token=False, show_progress=False)
        return cls(index, vocabulary, len(ids))

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """The score of every document, shape (documents,); a document without a query term scores 0."""
        known = [self.vocabulary[token] for token in query if token in self.vocabulary]
        if not known:
            return np.zeros(self.size, np.float32)
        scores: NDArray[np.float32] = self.index.get_scores_from_ids(known)
        return scores.astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class Bm25Scorer:
    """Scores tokenized queries against one index."""

    queries: list[list[str]]
    index: Bm25Index

    def scores(self, rows: slice) -> NDArray[np.float32]:
        """The scores of the queries `rows`."""
        return np.stack([self.index.scores(query) for query in self.queries[rows]])


def scorers(collection: Collection, parameters: Parameters = Parameters()) -> tuple[Scorer, dict[str, Scorer]]:
    """A scorer of the pool and one of each language.

    BM25's term statistics depend on the candidates, so a language alone is indexed on its own, and its scores do
    not change with the other languages of the collection.
    """
    queries = [tokenize(query.text) for query in collection.queries]
    documents = [tokenize(document.text) for document in collection.documents]
    blocks: Iterator[tuple[str, slice]] = iter(collection.document_blocks.items())
    return (
        Bm25Scorer(queries, Bm25Index.of(documents, parameters)),
        {
            code: Bm25Scorer(queries, Bm25Index.of(documents[block], parameters))
            for code, block in blocks
            if block.start < block.stop
        },
    )
