"""Latent semantic indexing over a parallel collection: a small model in seconds, without gradients or downloads.

Terms are subwords; a context is what one question's texts say. When a context holds all language versions of a
question, terms of different languages that mean the same get like vectors: cross-language LSI (Dumais, Letsche,
Littman and Landauer, 1997). When each language version is a context of its own, no language learns of another.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.corpus.collection import Collection

if TYPE_CHECKING:
    from tokenizers import Tokenizer


_UNKNOWN = "[UNK]"


@dataclass(frozen=True)
class Lsi:
    """What to fit: with `parallel`, a context spans all languages of a question, else one.

    `vocabulary` is the number of subwords, `dimensions` the rank of the factorization.
    """

    parallel: bool
    vocabulary: int = 8000
    dimensions: int = 256

    def fit(self, collection: Collection, folder: Path) -> Path:
        """Fit on the texts of `collection` and save a sentence-transformers model in `folder`."""
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding

        contexts = self._contexts(collection)
        tokenizer = _tokenizer([text for context in contexts for text in context], self.vocabulary)
        vectors = self._term_vectors(tokenizer, contexts)
        module: Any = StaticEmbedding(tokenizer, embedding_weights=vectors)
        SentenceTransformer(modules=[module], device="cpu", similarity_fn_name="cosine").save(
            str(folder), create_model_card=False
        )
        return folder

    def _contexts(self, collection: Collection) -> list[list[str]]:
        """Question and answers of each question, together or by language."""
        contexts: dict[tuple[str, ...], list[str]] = {}
        for row, query in enumerate(collection.queries):
            key = (query.question,) if self.parallel else (query.question, query.language)
            texts = contexts.setdefault(key, [])
            texts.append(query.text)
            pairs = slice(collection.qrels.offsets[row], collection.qrels.offsets[row + 1])
            for column in collection.qrels.documents[pairs]:
                document = collection.documents[column]
                if document.language == query.language:
                    texts.append(document.text)
        return list(contexts.values())

    def _term_vectors(self, tokenizer: Tokenizer, contexts: list[list[str]]) -> NDArray[np.float32]:
        """Singular vectors of the tf-idf matrix, each times its term's idf, shape (terms, dimensions)."""
        from scipy.sparse import csr_matrix
        from sklearn.decomposition import TruncatedSVD

        counts = [Counter(token for text in context for token in tokenizer.encode(text).ids) for context in contexts]
        rows = np.array([term for count in counts for term in count])
        columns = np.repeat(np.arange(len(contexts)), [len(count) for count in counts])
        values = np.log1p(np.array([times for count in counts for times in count.values()], dtype=np.float64))
        size = tokenizer.get_vocab_size()
        idf = np.log((1 + len(contexts)) / (1 + np.bincount(rows, minlength=size)))
        matrix = csr_matrix((values * idf[rows], (columns, rows)), shape=(len(contexts), size))
        svd = TruncatedSVD(min(self.dimensions, min(matrix.shape) - 1), n_iter=10, random_state=0).fit(matrix)
        vectors: NDArray[np.float32] = np.ascontiguousarray(idf[:, None] * svd.components_.T, dtype=np.float32)
        # what is not in the vocabulary says nothing; a vector of its own would make texts alike that share nothing else
        vectors[tokenizer.token_to_id(_UNKNOWN)] = 0
        return vectors


def _tokenizer(texts: list[str], vocabulary: int) -> Tokenizer:
    """Subwords by byte-pair merges inside runs of one script, learned from `texts`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("removed"), pre_tokenizers.UnicodeScripts()]
    )
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[_UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
