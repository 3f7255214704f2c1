"""BM25 as a model that MTEB evaluates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hbt_bench.errors import ModelError
from hbt_bench.ranking import bm25

if TYPE_CHECKING:
    from hbt_bench.data.collection import Collection
    from hbt_bench.ranking.blocks import Scorer


class Bm25Model:
    """BM25 as a model. It scores whole collections for our tasks, and searches for MTEB's own tasks."""

    def __init__(self, meta: Any, parameters: bm25.Parameters) -> None:
        self.mteb_model_meta = meta
        self.parameters = parameters
        self._index: bm25.Bm25Index | None = None
        self._ids: list[str] = []

    def scorers(self, collection: Collection) -> tuple[Scorer, Mapping[str, Scorer]]:
        """Return a scorer of the pool, and a scorer of each language."""
        return bm25.scorers(collection, self.parameters)

    def index(self, corpus: Any, **kwargs: Any) -> None:
        """Index a corpus with the columns id, text and perhaps title (MTEB's search protocol)."""
        titles = corpus["title"] if "title" in corpus.column_names else [""] * len(corpus)
        texts = (f"{title} {text}" for title, text in zip(titles, corpus["text"], strict=True))
        self._ids = list(corpus["id"])
        self._index = bm25.Bm25Index.from_documents((bm25.tokenize(text) for text in texts), self.parameters)

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Mapping[str, list[str]] | None = None, **kwargs: Any
    ) -> dict[str, dict[str, float]]:
        """Return the best `top_k` documents of every query, or of its list of candidates (MTEB's search protocol)."""
        if self._index is None:
            raise ModelError("bm25 needs an index before it can search")
        column_of = {document: column for column, document in enumerate(self._ids)}
        run: dict[str, dict[str, float]] = {}
        for query, text in zip(queries["id"], queries["text"], strict=True):
            scores = self._index.scores(bm25.tokenize(text))
            columns = range(len(scores)) if top_ranked is None else [column_of[name] for name in top_ranked[query]]
            best = sorted(columns, key=lambda column, s=scores: (s[column], self._ids[column]), reverse=True)
            run[query] = {self._ids[column]: float(scores[column]) for column in best[:top_k]}
        return run
