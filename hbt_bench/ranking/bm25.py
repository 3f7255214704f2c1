"""BM25, the lexical baseline, over the tokens of `hbt_bench.ranking.tokens`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hbt_bench.data.collection import Collection
from hbt_bench.errors import UsageError
from hbt_bench.ranking.blocks import Scorer
from hbt_bench.ranking.tokens import VERSION, tokenize

if TYPE_CHECKING:
    import bm25s

__all__ = ["Bm25Index", "Bm25Scorer", "Parameters", "require", "scorers", "tokenize"]


def require() -> None:
    """Raise `UsageError` with the command that installs the libraries of BM25, if they are missing."""
    if not (find_spec("bm25s") and find_spec("regex")):  # importing them would be slow
        raise UsageError("the model bm25 needs an extra: run `pip install 'hbt-bench[bm25]'`")


@dataclass(frozen=True)
class Parameters:
    """The parameters of BM25: `k1` bounds the weight of repeated terms, `b` scales by document length.

    The defaults are those of Anserini's multilingual baselines.
    """

    k1: float = 0.9
    b: float = 0.4

    @classmethod
    def parse(cls, text: str) -> Parameters:
        """Read text such as ``k0.9-b0.4``, or the revision of a result; raises `UsageError`."""
        match = re.fullmatch(r"k(\d+(?:\.\d+)?)-b(\d+(?:\.\d+)?)(?:-t(\d+))?", text)
        if match is None or float(match[2]) > 1:
            raise UsageError(f"bm25@{text} is not a BM25 model. Write it like bm25@k1.2-b0.75, with b at most 1.")
        if match[3] not in (None, str(VERSION)):
            raise UsageError(
                f"bm25@{text} has tokens of version {match[3]}, and this hbt-bench makes version {VERSION}. Leave out "
                f"-t{match[3]}, or install the hbt-bench in the result's signature."
            )
        return cls(float(match[1]), float(match[2]))

    def __str__(self) -> str:
        """The revision of the model: the parameters and the version of the tokens, such as ``k0.9-b0.4-t2``."""
        return f"k{self.k1:g}-b{self.b:g}-t{VERSION}"


@dataclass(frozen=True, eq=False)
class Bm25Index:
    """BM25 (Lucene's variant) over a set of documents, with term statistics of this set."""

    index: bm25s.BM25
    vocabulary: dict[str, int]
    size: int

    @classmethod
    def from_documents(cls, documents: Iterable[Sequence[str]], parameters: Parameters = Parameters()) -> Bm25Index:
        """Index tokenized documents."""
        import bm25s

        vocabulary: dict[str, int] = {}
        ids = [[vocabulary.setdefault(token, len(vocabulary)) for token in document] for document in documents]
        index = bm25s.BM25(k1=parameters.k1, b=parameters.b, method="lucene", dtype="float32")
        with np.errstate(invalid="ignore"):  # the mean length is 0 if no document has a word
            index.index(bm25s.tokenization.Tokenized(ids, vocabulary), create_empty_token=False, show_progress=False)
        return cls(index, vocabulary, len(ids))

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """Return the score of every document, shape (documents,); a document without a query term scores 0."""
        terms = [self.vocabulary[token] for token in query if token in self.vocabulary]
        if not terms:
            return np.zeros(self.size, np.float32)
        scores: NDArray[np.float32] = self.index.get_scores_from_ids(terms)
        return scores.astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class Bm25Scorer:
    """Scores tokenized queries against an index."""

    queries: list[list[str]]
    index: Bm25Index

    def scores(self, rows: slice) -> NDArray[np.float32]:
        """Return the scores of the queries `rows`, shape (rows, documents)."""
        return np.stack([self.index.scores(query) for query in self.queries[rows]])


def scorers(collection: Collection, parameters: Parameters = Parameters()) -> tuple[Scorer, dict[str, Scorer]]:
    """Return a scorer of the pool and a scorer of each language's documents.

    BM25's term statistics depend on the candidates, so each language has its own index, and its scores do not change
    with the other languages of the collection.
    """
    queries = [tokenize(query.text) for query in collection.queries]
    documents = [tokenize(document.text) for document in collection.documents]
    blocks: Iterator[tuple[str, slice]] = iter(collection.document_blocks.items())
    return (
        Bm25Scorer(queries, Bm25Index.from_documents(documents, parameters)),
        {
            code: Bm25Scorer(queries, Bm25Index.from_documents(documents[block], parameters))
            for code, block in blocks
            if block.start < block.stop
        },
    )
